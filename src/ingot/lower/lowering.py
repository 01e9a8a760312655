"""An optimised ONNX model -> a Program, and the check that tells beforehand what cannot be lowered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import onnx
import onnx_ir as onnxir

from ingot.errors import IngotError
from ingot.ir.bounds import most
from ingot.ir.index import Ix, UnknownSizeError, Var, ix, symbol
from ingot.ir.nodes import NAMES, STORED
from ingot.ir.program import Group, Map, Program, Tensor, identity
from ingot.lower import shapes
from ingot.lower.context import Context
from ingot.lower.dtypes import check_types
from ingot.lower.operand import Absent, Anything, Node, Operand, SequenceOperand, elements_of
from ingot.lower.registry import REGISTRY
from ingot.lower.ties import Ties

FAMILIES = tuple(
    import_module(f"{__package__}.{module.name}")
    for module in iter_modules([str(Path(__file__).parent)])
    if module.name
    not in (
        "context",
        "dtypes",
        "lowering",
        "operand",
        "origin",
        "registry",
        "shapes",
        "ties",
        "values",
        "writer",
    )
)
"""The modules of this folder whose import fills the registry: one for each family of operators."""


INTERFACE_RANK = 8


@dataclass(frozen=True)
class Gap:
    """Something a model needs that ingot does not do."""

    node: str
    operator: str
    domain: str
    reason: str
    remedy: str


@dataclass
class CheckReport:
    """nodes: how many the model has, subgraphs included. gaps: everything unsupported, all at once."""

    nodes: int
    gaps: list[Gap] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.gaps


def check(model: onnxir.Model) -> CheckReport:
    """Every unsupported thing in a model, found by lowering all of it and going on after each gap."""
    report = CheckReport(sum(1 for _ in model.graph.all_nodes()))
    first = _Lowering(model, report.gaps, _looking(model))
    first.run()
    if first.ctx.ties.open:
        report.gaps.clear()
        _Lowering(model, report.gaps, first.ties()).run()
    return report


def lower(model: onnxir.Model, name: str) -> Program:
    """The program of a model. Raises IngotError unsupported at the first gap."""
    first = _Lowering(model, None, _looking(model))
    try:
        program = first.run()
    except IngotError:
        if not first.ctx.ties.open:
            raise
    if first.ctx.ties.open:
        program = _Lowering(model, None, first.ties()).run()
    program.name = name
    return program


def _looking(model: onnxir.Model) -> Ties:
    return Ties({name: limit for name, (_, limit) in model.meta.get("ranges", {}).items()}, looking=True)


class _Lowering:
    """gaps: a list to fill and go on, or None to raise at the first."""

    def __init__(self, model: onnxir.Model, gaps: list[Gap] | None, ties: Ties) -> None:
        self.model, self.gaps = model, gaps
        self.opsets = {("" if d == "ai.onnx" else d): v for d, v in model.opset_imports.items()}
        self.symbols: dict[str, Var] = {}
        self.ranges: Mapping[str, tuple[int, int]] = model.meta.get("ranges", {})
        program = Program(model.graph.name or "model", [], [], [], [])
        self.ctx = Context(program, self.graph, ties=ties)
        self.poisoned: set[str] = set()

    def run(self) -> Program:
        graph, ctx = self.model.graph, self.ctx
        ctx.node = Node("", "", "", 0, [], {}, [])
        initializers = graph.initializers
        for value in graph.inputs:
            if value.name in initializers:
                continue
            if not isinstance(value.type, onnxir.TensorType | None):
                raise IngotError(
                    "shape-unknown",
                    "this input is a sequence or an optional, and nothing says of what",
                    where=str(value.name),
                    remedy=f"give its elements, such as --shape {value.name}.0:4 --shape {value.name}.1:3, or "
                    f"--shape {value.name}: for none",
                )
            tensor = Tensor(str(value.name), self.dtype(value), self.shape(value), "input")
            self.check_rank(tensor)
            ctx.program.inputs.append(tensor)
            ctx.values[tensor.name] = ctx.wrap(tensor)
        ctx.names |= self.symbols.keys()
        ctx.program.input_groups = [Group(*group) for group in self.model.meta.get("groups", ())] or [
            Group(t.name) for t in ctx.program.inputs
        ]
        results = self.graph(graph)
        for value, result in zip(graph.outputs, results, strict=True):
            name = str(value.name)
            if name in self.poisoned:
                continue
            group = Group(name)
            if isinstance(result, SequenceOperand):
                group = Group(name, "sequence", len(result.elements))
                for i, element in enumerate(result.elements):
                    self.output(f"{name}.{i}", element, _declared(value))
            elif isinstance(result, Absent):
                group = Group(name, "absent", 0)
            else:
                self.output(name, result, _declared(value))
            ctx.program.output_groups.append(group)
        ctx.program.symbols = [*self.symbols.values(), *ctx.bounds]
        ctx.program.shapes = {n: v.shape for n, v in ctx.values.items() if isinstance(v, Operand)}
        return ctx.program

    def ties(self) -> Ties:
        """What this lowering has found of sizes without a bound."""
        return self.ctx.ties.solved(self.symbols.values())

    def output(self, name: str, operand: Operand, declared: list[int | str | None] | None) -> None:
        """Give a graph output a tensor of its own; the copy is fused away where the producer can write it.

        A dimension that is computed from measured ones becomes a symbol, so that what bounds them bounds it.
        """
        ctx = self.ctx
        ctx.node = Node("Output", "", name, 0, [], {}, [], [declared])
        shape = []
        ctx.ties.stated(operand.shape, declared)
        for d in operand.shape:
            computed = len(d.terms) != 1 or d != ix(next(iter(d.variables()), 0))
            if computed and not d.variables().isdisjoint(ctx.bounds):
                d = ctx.measure(d, most=most(d, ctx.bounds))
            shape.append(d)
        tensor = Tensor(name, operand.stored, tuple(shape), "output")
        self.check_rank(tensor)
        axes = ctx.axes(shape)
        source = ctx.place(operand)
        ctx.add(Map(tensor, axes, identity(source, axes)))
        ctx.program.outputs.append(tensor)

    def check_rank(self, tensor: Tensor) -> None:
        """The C interface describes inputs and outputs of at most INTERFACE_RANK dimensions."""
        if tensor.rank > INTERFACE_RANK:
            reason = f"an {tensor.kind} of rank {tensor.rank}, more than {INTERFACE_RANK}"
            self.refuse(Gap(tensor.name, "", "", reason, "reshape it inside the model"))

    def dtype(self, value: onnxir.Value) -> str:
        try:
            return NAMES[value.dtype.numpy()]  # type: ignore[union-attr]
        except (KeyError, TypeError, AttributeError):
            kind = getattr(value.dtype, "name", "no tensor")
            self.refuse(Gap(str(value.name), "", "", f"dtype {kind}", "cast to a supported dtype"))
            return "f32"

    def refuse(self, gap: Gap) -> None:
        if self.gaps is None:
            raise IngotError("unsupported", gap.reason, where=gap.node, remedy=gap.remedy)
        self.gaps.append(gap)

    def shape(self, value: onnxir.Value) -> tuple[Ix, ...]:
        if value.shape is None:
            raise IngotError(
                "shape-unknown",
                "this input has no shape, not even a rank",
                where=str(value.name),
                remedy=f"give one with --shape {value.name}:1x3x224x224",
            )
        dims: list[Ix] = []
        for i, d in enumerate(value.shape):
            if isinstance(d, int):
                dims.append(ix(d))
            else:
                label = d.value or f"{value.name}_{i}"
                key = re.sub(r"\W", "_", str(label))
                key = f"d_{key}" if key[0].isdigit() else key
                least, limit = self.ranges.get(str(label), (1, None))
                dims.append(ix(self.symbols.setdefault(key, symbol(key, least, limit))))
        return tuple(dims)

    def graph(self, graph: onnxir.Graph, inputs: Sequence[Anything] = ()) -> list[Anything]:
        """The values of a graph's outputs. inputs: those of a subgraph's inputs."""
        ctx, outer = self.ctx, self.ctx.node
        ctx.values.update(zip((str(v.name) for v in graph.inputs), inputs, strict=False))
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                ctx.values[name] = self.initializer(name, value.const_value)
        for i, node in enumerate(graph):
            self.node(node, i)
        ctx.node = outer
        return [ctx.values.get(str(v.name)) or self.missing(str(v.name)) for v in graph.outputs]

    def missing(self, name: str) -> Operand:
        if self.gaps is None or name not in self.poisoned:
            raise IngotError(
                "model-invalid", f"no node makes the output {name!r}", where=name, remedy="repair the model"
            )
        return Operand(name, "f32", ())

    def initializer(self, name: str, tensor: Any) -> Operand:
        try:
            return self.ctx.constant(elements_of(tensor), name)
        except IngotError:
            self.refuse(
                Gap(name, "initializer", "", f"dtype {tensor.dtype.name}", "cast it to a supported dtype")
            )
            self.poisoned.add(name)
            return Operand(name, "f32", tuple(ix(d) for d in tensor.shape))

    def node(self, node: onnxir.Node, position: int) -> None:
        ctx, domain = self.ctx, "" if node.domain == "ai.onnx" else node.domain
        label = node.name or f"{node.op_type}_{position}"
        outputs = [str(v.name or "") for v in node.outputs]
        if any(v is not None and str(v.name) in self.poisoned for v in node.inputs):
            self.poisoned.update(outputs)
            return
        function = REGISTRY.get((domain, node.op_type))
        if function is None:
            standard = not domain or onnx.defs.has(node.op_type, domain)
            reason = f"operator {domain + '.' if domain else ''}{node.op_type} is not supported"
            remedy = (
                "replace it with supported operators"
                if standard
                else f"the domain {domain!r} is not ONNX's: export without it"
            )
            self.fail(Gap(label, node.op_type, domain, reason, remedy), outputs)
            return
        inputs = [None if v is None else self.operand(str(v.name), label) for v in node.inputs]
        attributes = {k: a.value for k, a in node.attributes.items()}
        declared = [_declared(v) for v in node.outputs]
        opset = self.opsets.get(domain, 1)
        ctx.node = Node(node.op_type, domain, label, opset, inputs, attributes, outputs, declared)
        since = len(ctx.program.operations)
        try:
            check_types(ctx.node)
            result = shapes.evaluate(ctx, ctx.node) or function(ctx, ctx.node)
            results = self.stored(ctx.node, result if isinstance(result, Sequence) else [result], since)
        except IngotError as error:
            if self.gaps is None:
                raise
            self.fail(Gap(label, node.op_type, domain, error.cause, error.remedy), outputs)
            return
        except UnknownSizeError as error:
            refusal = ctx.node.unsupported(
                f"a size that is known only at run time ({error})", "give the input shapes with --shape"
            )
            if self.gaps is None:
                raise refusal from error
            self.fail(Gap(label, node.op_type, domain, refusal.cause, refusal.remedy), outputs)
            return
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            gap = Gap(
                label, node.op_type, domain, f"{node.op_type}: malformed node ({error})", "repair the model"
            )
            if self.gaps is None:
                raise IngotError("model-invalid", gap.reason, where=label, remedy=gap.remedy) from error
            self.fail(gap, outputs)
            return
        for name, value, shape in zip(outputs, results, declared, strict=False):
            if name:
                ctx.values[name] = value
            if isinstance(value, Operand) and not ctx.guards:
                ctx.ties.stated(value.shape, shape)

    def stored(self, node: Node, results: Sequence[Anything], since: int) -> Sequence[Anything]:
        """The results of a node, those that ONNX gives the dtype of an input of a type of storage converted to it."""
        if not any(isinstance(x, Operand) and x.stored in STORED for x in node.inputs):
            return results
        if not onnx.defs.has(node.operator, node.opset, node.domain):
            return results
        schema = onnx.defs.get_schema(node.operator, node.opset, node.domain)
        formal = schema.inputs
        dtypes: dict[str, str] = {}
        for i, x in enumerate(node.inputs):
            if isinstance(x, Operand) and formal[min(i, len(formal) - 1)].is_homogeneous:
                dtypes.setdefault(formal[min(i, len(formal) - 1)].type_str, x.stored)
        made = []
        for i, result in enumerate(results):
            kind = schema.outputs[min(i, len(schema.outputs) - 1)].type_str
            if isinstance(result, Operand) and dtypes.get(kind) in STORED:
                result = self.ctx.store_as(result, dtypes[kind], since)
            made.append(result)
        return made

    def operand(self, name: str, user: str) -> Anything:
        if name not in self.ctx.values:
            raise IngotError(
                "model-invalid",
                f"its input {name!r} is never produced",
                where=user,
                remedy="repair the model",
            )
        return self.ctx.values[name]

    def fail(self, gap: Gap, outputs: list[str]) -> None:
        self.refuse(gap)
        self.poisoned.update(o for o in outputs if o)


def _declared(value: onnxir.Value) -> list[int | str | None] | None:
    """The shape that the model states for a value: integers, names of symbols, or None for what it leaves open."""
    if value.shape is None:
        return None
    return [d if isinstance(d, int) else d.value for d in value.shape]
