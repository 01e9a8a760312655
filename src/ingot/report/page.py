"""A model on one HTML page: its graph before and after each rule, what its nodes cost, and where its tensors lie."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ingot.compiler import label_of, schedule
from ingot.emit.model import Step
from ingot.emit.package import Package
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.pipeline import PassReport, optimize
from ingot.graph.trace import place
from ingot.ir.index import Ix, evaluate, show
from ingot.ir.program import Program, Tensor
from ingot.ir.work import kind, work
from ingot.lower.registry import REGISTRY
from ingot.report.cost import ENERGY_SOURCE, energy, node_macs
from ingot.report.inputs import Shapes
from ingot.report.inspect import facts, inspect
from ingot.report.optimize import destination
from ingot.report.sources import is_folder
from ingot.schedule.assignment import Assignment
from ingot.schedule.memory import Plan, plan
from ingot.target import resolve
from ingot.version import __version__

TEMPLATE = Path(__file__).with_name("page.html")

_DATA = "/*data*/null"
"""What the template has in place of the data."""
_LONGEST = 80
"""Characters of an attribute that are shown."""


class Recorder:
    """Watches a compilation (`compiler.Observer`) and makes the data of its page.

    target, precision: what the model is compiled for. problem: why it cannot be compiled, "" where it can.
    """

    def __init__(self, name: str, target: str, precision: str) -> None:
        self._name, self._target, self._precision = name, target, precision
        self.problem = ""
        self._facts: dict[str, Any] = {}
        self._nodes: list[ir.Node] = []
        self._records: list[dict[str, Any]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._values: dict[str, ir.Value] = {}
        self._passes: list[dict[str, Any]] = []
        self._order: list[int] = []
        self._program: dict[str, Any] = {}
        self._symbols: dict[str, int] = {}
        self._shapes: dict[str, tuple[Ix, ...]] = {}

    def loaded(self, graph: ir.Model) -> None:
        """The model as it was read."""
        self._graph = graph
        self._facts = facts(graph, self._name)
        self._order = self._snapshot()
        self._before = self._order
        for value in graph.graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                if not isinstance(dim, int):
                    self._symbols.setdefault(str(dim), 64 if axis else 1)

    def applied(self, report: PassReport) -> None:
        """A rule was applied; it is kept where it did something."""
        if report.fired:
            self._order = self._snapshot()
            self._passes.append({"rule": report.name, "fired": report.fired, "order": self._order})

    def planned(self, program: Program, steps: Sequence[Step], memory: Plan, assigned: Assignment) -> None:
        """What runs, and where and in which layouts its tensors lie."""
        converted = {id(c.operation): c for c in assigned.conversions}
        self._symbols |= memory.typical
        self._shapes = program.shapes
        works = [work(step.operation, memory.typical) for step in steps]
        known = [one for one in works if one is not None]
        self._program = {
            "operations": [
                {
                    "kernel": step.built.kernel.name,
                    "kind": kind(step.operation),
                    "output": step.operation.output.name,
                    "dtype": step.operation.output.dtype,
                    "shape": [d.value if d.is_const else show(d) for d in step.operation.output.shape],
                    "nodes": list(step.operation.nodes),
                    "macs": None if done is None else done.macs,
                    "flops": None if done is None else done.flops,
                    "bytes": None if done is None else done.bytes,
                    "layout": _layout(step.operation.output, assigned),
                    "reads": [_layout(t, assigned) for t in step.operation.inputs() if t.kind != "const"],
                    "cycles": assigned.cycles.get(step.operation),
                    "conversion": converted[id(step.operation)].cycles
                    if id(step.operation) in converted
                    else 0,
                }
                for step, done in zip(steps, works, strict=True)
            ],
            "layout": assigned.summary(),
            "memory": {
                "arena": memory.typical_size,
                "peak": memory.lower_bound,
                "lives": [
                    {
                        "tensors": [tensor.name for tensor in life.tensors],
                        "first": life.first,
                        "last": life.last,
                        "offset": evaluate(memory.offsets[life.tensors[0]], memory.typical),
                        "bytes": life.size,
                    }
                    for life in sorted(memory.lives, key=lambda life: life.first)
                ],
            },
            "run": {
                "macs": sum(one.macs for one in known),
                "flops": sum(one.flops for one in known),
                "bytes": sum(one.bytes for one in known),
                "unknown": len(works) - len(known),
                "energy": energy(known, self._precision),
                "energy_source": ENERGY_SOURCE,
            },
        }

    def data(self) -> dict[str, Any]:
        """The page's data; every value fits JSON, and the same model gives the same data.

        What `inspect` tells of the model, and "nodes": every node that was there at some time, "before" and each pass's
        "order": their numbers, in order; "values" by name; "operations", "layout", "memory" and "run" of the compiled program, left
        out where it cannot be compiled for the "problem".
        """
        for node, record in zip(self._nodes, self._records, strict=True):
            record |= self._cost(node, record)
        return {
            **self._facts,
            "version": __version__,
            "target": self._target,
            "precision": self._precision,
            "problem": self.problem,
            "symbols": self._symbols,
            "nodes": self._records,
            "values": {name: self._value(value) for name, value in self._values.items()},
            "before": self._before,
            "passes": self._passes,
            **self._program,
        }

    def _snapshot(self) -> list[int]:
        """The numbers of the graph's nodes as they are now; a node that changed gets a new one."""
        order = []
        for node, outer in _walk(self._graph.graph, ()):
            attributes = {name: _text(attribute) for name, attribute in node.attributes.items()}
            inputs = [value.name if value is not None else "" for value in node.inputs]
            outputs = [str(value.name or "") for value in node.outputs]
            for value in (*node.inputs, *node.outputs):
                if value is not None and value.name:
                    self._values[value.name] = value
            key = (id(node), node.name, node.op_type, *inputs, "->", *outputs, *attributes.items())
            number = self._known.setdefault(key, len(self._nodes))
            order.append(number)
            if number == len(self._nodes):
                self._nodes.append(node)
                self._records.append(
                    {
                        "name": place(node),
                        "op": f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
                        "scope": [*outer, *_scope(node)],
                        "inputs": inputs,
                        "outputs": outputs,
                        "attributes": attributes,
                    }
                )
        return order

    def _cost(self, node: ir.Node, record: Mapping[str, Any]) -> dict[str, Any]:
        constants = [
            self._values[name].const_value
            for name in dict.fromkeys(record["inputs"])
            if name and _is_constant(self._values[name])
        ]
        outputs = [self._bytes(self._values[name]) for name in record["outputs"] if name]
        return {
            "macs": node_macs(node, self._shape),
            "parameters": sum(tensor.size for tensor in constants if tensor is not None),
            "bytes": None if None in outputs else sum(count or 0 for count in outputs),
        }

    def _shape(self, value: ir.Value) -> list[int] | None:
        """With the typical sizes of symbols, by ONNX's inference or that of the program; None where a dimension is not
        known."""
        latest = self._values.get(value.name or "", value)
        dims = [self._symbols.get(str(d)) if not isinstance(d, int) else d for d in latest.shape or ()]
        if latest.shape is not None and None not in dims:
            return [d for d in dims if d is not None]
        try:
            return [evaluate(d, self._symbols) for d in self._shapes[str(value.name)]]
        except (AssertionError, KeyError):
            return None

    def _bytes(self, value: ir.Value) -> int | None:
        shape = self._shape(value)
        if shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
            return None
        return math.ceil(math.prod(shape) * value.dtype.itemsize)

    def _value(self, value: ir.Value) -> dict[str, Any]:
        shape = None if value.shape is None else [_dim(dim) for dim in value.shape]
        found = self._shapes.get(str(value.name))
        if found is not None and (shape is None or "?" in shape):
            shape = [d.value if d.is_const else show(d) for d in found]
        return {
            "dtype": value.dtype.short_name() if value.dtype is not None else None,
            "shape": shape,
            "bytes": self._bytes(value),
            "constant": _is_constant(value),
        }


def page_data(
    source: Any, *, shapes: Shapes | None = None, target: str = "native", precision: str = "f32"
) -> dict[str, Any]:
    """What the page of a model (path, ModelProto or ir.Model) or of a package (folder or `Package`) shows.

    shapes, target and precision mean nothing for a package. Raises IngotError where a model cannot be read; of one that
    cannot be compiled the data has the graph, and says why.
    """
    if isinstance(source, Package) or is_folder(source):
        return {**inspect(source), "problem": ""}
    chosen = resolve(target, precision)
    graph = load_model(source, shapes)
    name = label_of(source, graph)
    recorder = Recorder(name, chosen.name, precision)
    recorder.loaded(graph)
    optimize(graph, on_pass=recorder.applied, keep=REGISTRY)
    try:
        program, assigned, steps = schedule(graph, name, chosen, precision=precision)
        recorder.planned(program, steps, plan(program, assigned.layouts), assigned)
    except IngotError as error:
        recorder.problem = str(error)
    return recorder.data()


def write_page(data: Mapping[str, Any], file: Path) -> None:
    """Write the page of `data`: one HTML file that needs no other. Raises IngotError output-unwritable."""
    target = destination(file)
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    page = TEMPLATE.read_text(encoding="utf-8").replace(_DATA, text.replace("<", "\\u003c"))
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise IngotError(
            "output-unwritable",
            f"the page cannot be written: {error.strerror or error}",
            where=str(file),
            remedy="choose another file",
        ) from error


def _layout(tensor: Tensor, assigned: Assignment) -> str:
    """The kind of layout, where there was a choice, and the order of the axes."""
    root = tensor.root()[0]
    order = assigned.layouts[root].describe()
    return f"{assigned.kinds[root]}: {order}" if root in assigned.kinds else order


def _is_constant(value: ir.Value) -> bool:
    """Whether it is an initializer, or was one before a rule removed it."""
    return value.const_value is not None and value.producer() is None


def _dim(dim: int | ir.SymbolicDim) -> int | str:
    """ONNX's shape inference has made-up names for dimensions that it does not know."""
    return dim if isinstance(dim, int) else "?" if str(dim).startswith("unk__") else str(dim)


def _walk(graph: ir.Graph, outer: tuple[str, ...]) -> Iterator[tuple[ir.Node, tuple[str, ...]]]:
    """The nodes in order, each followed by those of its subgraphs, and the scopes around it that are nodes."""
    for node in graph:
        yield node, outer
        for attribute in node.attributes.values():
            inner = (*outer, *_scope(node), place(node))
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _walk(attribute.as_graph(), inner)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for one in attribute.as_graphs():
                    yield from _walk(one, inner)


def _scope(node: ir.Node) -> list[str]:
    """Where a node lies, from the outermost scope in: PyTorch's modules, or a path in its name or its output's, with
    slashes or dots."""
    scopes = _list(node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))[:-1]
    if scopes:
        classes = _list(node.metadata_props.get("pkg.torch.onnx.class_hierarchy", ""))
        known = len(classes) == len(scopes) + 1
        inner = [
            scopes[i].removeprefix(f"{scopes[i - 1]}.") if scopes[i - 1] else scopes[i]
            for i in range(1, len(scopes))
        ]
        words = [one.rpartition(".")[2] for one in classes[1:]] if known else []
        return [f"{a} {b}" for a, b in zip(inner, words, strict=False)] if known else inner
    path = node.name or next((value.name for value in node.outputs if value.name), "") or ""
    return [word for word in path.split("/" if "/" in path else ".")[:-1] if word]


def _list(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(word) for word in found] if isinstance(found, list) else []


def _text(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"the function's {attribute.ref_attr_name}"
    value = attribute.value
    if isinstance(value, ir.Graph):
        return f"a graph of {len(value)} nodes"
    if isinstance(value, ir.TensorProtocol):
        return f"{value.dtype.short_name()}{list(value.shape)}"
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
