"""Whether a compiled model gives what ONNX Runtime gives, and what is wrong first where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

import ingot
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.guard import MOVES, verify
from ingot.graph.part import before, part, producers
from ingot.report.inputs import Array, Shapes, make_inputs, parse_inputs, typical_shapes
from ingot.report.sources import Progress
from ingot.testing import CLOSE, QUANTIZED, REDUCED, Level, assert_close, lengths, reference

_SLOPES: dict[str, Callable[[Array, Array], Array]] = {
    "Sigmoid": lambda x, y: y * (1 - y),
    "HardSigmoid": lambda x, y: np.ones_like(y),
    "Softmax": lambda x, y: 2 * y * (1 - y),
    "LogSoftmax": lambda x, y: 2 - 2 * np.exp(y),
    "Tanh": lambda x, y: 1 - y * y,
    "Erf": lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x),
}
"""Operators whose results are small where their inputs are large, with how much each element of y = f(x) moves with x at most: so
much of the rounding of the largest input may be found in the largest output."""


@dataclass(frozen=True)
class Output:
    """One output. relative: the norm of the difference as a share of the norm. largest: difference as a share of the
    largest value; both infinite where one side alone is infinite or NaN at some place. problem: how it departs from the reference, "" where it does not.
    """

    name: str
    relative: float
    largest: float
    problem: str


@dataclass(frozen=True)
class Departure:
    """The first node whose output departs. nodes: how many the smallest model has that shows it, this node the last of
    them. reproducer: the folder that model was written to, in the layout of ONNX's backend tests.
    """

    node: str
    operator: str
    value: str
    problem: str
    nodes: int
    reproducer: str | None


@dataclass(frozen=True)
class Comparison:
    """reference: what the outputs were compared with. tolerance: the named level. suspects: what, left out or undone, makes
    the outputs equal: "rule NAME", "precision bf16", "winograd". departure: None where all outputs are equal, or where no
    single node could be found.
    """

    reference: str
    tolerance: str
    outputs: tuple[Output, ...]
    suspects: tuple[str, ...] = ()
    departure: Departure | None = None

    @property
    def equal(self) -> bool:
        return not any(output.problem for output in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "equal": self.equal,
            "reference": self.reference,
            "tolerance": self.tolerance,
            "outputs": [vars(output) for output in self.outputs],
            "suspects": list(self.suspects),
            "departure": vars(self.departure) if self.departure else None,
        }


def compare(
    model: Any,
    inputs: Iterable[str] | Mapping[str, str | Array] = (),
    *,
    shapes: Shapes | None = None,
    target: str = "native",
    precision: str = "f32",
    reproducer: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compares the outputs of the compiled model with those of ONNX Runtime with its optimisations off.

    inputs: as for `ingot run`; those left out are random. Where an output departs, the graph rules, the precision and the
    nodes are tried in turn. reproducer: a folder for a small model that shows the first departure. onnx.reference stands in
    where ONNX Runtime cannot run the model. Raises IngotError.
    """
    tell = progress or (lambda stage, done, total: None)
    tell("compile", 0, 1)
    whole = _serializable(ir.to_proto(load_model(model, shapes)))
    package = ingot.compile(model, shapes=shapes, target=target, precision=precision)
    session = ingot.load(package)
    ports = session.get_inputs()
    given = inputs if isinstance(inputs, Mapping) else parse_inputs(inputs, [port.name for port in ports])
    if unknown := [name for name in given if name not in {port.name for port in ports}]:
        raise IngotError(
            "input-name",
            f"the model has no input {unknown[0]!r}",
            where="inputs",
            remedy=f"the inputs are: {', '.join(port.name for port in ports)}",
        )
    feed = make_inputs(ports, given, typical_shapes(ports, given, package.manifest))
    tell("run", 0, 1)
    names = [value.name for value in whole.graph.output]
    sloped = [node for name in names for node in _sloped(whole, name)]
    oracle, values = _reference(
        whole, feed, [name for node in sloped for name in (node.input[0], node.output[0])]
    )
    wanted = [values[name] for name in names]
    options = {"target": target, "precision": precision}
    search = _Search(whole, feed, options, package.manifest["winograd_error"])
    search.know(values, _nudged_reference(whole, feed))
    got = session.run(None, feed)
    outputs = tuple(
        _output(name, a, b, search.problem(whole, name, a, b))
        for name, a, b in zip(names, got, wanted, strict=True)
    )
    result = Comparison(oracle, search.level.name, outputs)
    if result.equal:
        return result
    wrong = next(output.name for output in outputs if output.problem)
    tell("graph rules, precision", 0, 1)
    suspects = _suspects(model, shapes, search, dict(zip(names, wanted, strict=True)))
    tell("nodes", 0, 1)
    departure = search.departure(wrong, Path(reproducer) if reproducer is not None else None)
    return Comparison(oracle, search.level.name, outputs, suspects, departure)


def _serializable(model: onnx.ModelProto) -> onnx.ModelProto:
    if model.ByteSize() >= 2**31:
        raise IngotError(
            "model-too-large",
            "the model has more than 2 GiB, which no protobuf holds",
            remedy="compare parts of it",
        )
    return model


def _reference(
    model: onnx.ModelProto, feed: Mapping[str, Array], more: Iterable[str] = ()
) -> tuple[str, dict[str, Any]]:
    """What computed the right outputs, and these by name, with some values besides. Raises IngotError run-failed where nothing can."""
    made, known = producers(model), {value.name for value in model.graph.output}
    added = [name for name in dict.fromkeys(more) if name in made and name not in known]
    names = [*(value.name for value in model.graph.output), *added]
    cause = ""
    for exact in (True, False):
        whole = onnx.ModelProto()
        whole.CopyFrom(model)
        whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in added)
        if exact:
            _make_sigmoids_exact(whole.graph)
        try:
            return "onnxruntime", dict(zip(names, reference(whole, feed), strict=True))
        except Exception as error:
            cause = str(error).splitlines()[0]
    try:
        from onnx.reference import ReferenceEvaluator

        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(whole).run(None, dict(feed))
        return "onnx.reference", dict(zip(names, results, strict=True))
    except Exception as error:
        raise IngotError(
            "run-failed",
            f"neither ONNX Runtime ({cause}) nor onnx.reference ({error}) can run the model on these inputs",
            where="compare",
            remedy="give its inputs (--input), or their shapes (--shape)",
        ) from error


def _nudged_reference(model: onnx.ModelProto, feed: Mapping[str, Array]) -> dict[str, Any]:
    """The outputs where each float of the inputs is moved by up to one rounding, which shows how much rounding matters to the model;
    none where it cannot run on such."""
    rng = np.random.default_rng(0)

    def nudged(array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        factors = 1 + rng.uniform(-1, 1, array.shape) * np.finfo(array.dtype).eps
        return np.asarray(array.astype(np.float64) * factors).astype(array.dtype)

    try:
        return _reference(model, {name: nudged(np.asarray(array)) for name, array in feed.items()})[1]
    except IngotError:
        return {}


def _make_sigmoids_exact(graph: onnx.GraphProto) -> None:
    """Sigmoid(x) as exp(-log(1 + exp(-x))), which ONNX Runtime has for all floats but double: its own is right to the spacing at 1,
    however small the result is."""
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _make_sigmoids_exact(inner)
        if node.op_type != "Sigmoid" or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
            continue
        y = node.output[0]
        names = [node.input[0], *(f"{y}/exact{i}" for i in range(3)), y]
        steps = zip(("Neg", "Softplus", "Neg", "Exp"), names, names[1:], strict=False)
        nodes += [onnx.helper.make_node(operator, [a], [b]) for operator, a, b in steps]
    del graph.node[:]
    graph.node.extend(nodes)


def _sloped(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """The nodes of operators of `_SLOPES` whose elements a value consists of, in part or all."""
    makers, found, front, seen = producers(model), [], [name], {name}
    while front:
        value = front.pop()
        node = model.graph.node[makers[value]] if value in makers else None
        if node is None or node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type in _SLOPES:
            found.append(node)
        elif node.op_type in MOVES:
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            front += [i for i in inputs if i not in seen]
            seen.update(inputs)
    return found


def _slope_scale(node: onnx.NodeProto, values: Mapping[str, Any]) -> float:
    """The largest output, as a number to scale errors by, of a node of `_SLOPES` with only the rounding of its input; at most 1."""
    x, y = values.get(node.input[0]), values.get(node.output[0])
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        return 1.0
    with np.errstate(all="ignore"):
        slope = _SLOPES[node.op_type](x.astype(np.float64), y.astype(np.float64))
    largest = np.abs(x[np.isfinite(x)].astype(np.float64)).max(initial=0.0)
    return min(1.0, float(np.nan_to_num(slope).max(initial=0.0)) * float(largest))


def _output(name: str, got: Any, wanted: Any, problem: str) -> Output:
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind in "OSU" or np.shape(got) != wanted.shape:
        error = np.inf if problem else 0.0
        return Output(name, error, error, problem)
    a, b = np.asarray(wanted).astype(np.complex128).ravel(), np.asarray(got).astype(np.complex128).ravel()
    real = np.isfinite(a) & np.isfinite(b)
    if problem and not np.array_equal(a[~real], b[~real], equal_nan=True):
        return Output(name, np.inf, np.inf, problem)
    difference, size = np.abs(a - b)[real], np.abs(a[real])
    relative = float(np.linalg.norm(difference) / max(float(np.linalg.norm(size)), 1e-30))
    largest = float(difference.max(initial=0.0) / max(float(size.max(initial=0.0)), 1e-30))
    return Output(name, relative, largest, problem)


def _suspects(
    model: Any, shapes: Shapes | None, search: _Search, wanted: Mapping[str, Any]
) -> tuple[str, ...]:
    """The graph rule, the precision or the method without which the outputs are right."""
    found = [
        f"rule {verdict.name}"
        for verdict in verify(load_model(model, shapes), search.feed, level=search.level)
        if verdict.problem
    ]
    variants: list[tuple[str, dict[str, Any]]] = [("winograd", {"winograd_error": 0.0})]
    if search.options["precision"] != "f32":
        variants.insert(0, (f"precision {search.options['precision']}", {"precision": "f32"}))
    for name, options in variants:
        got = search.run(search.whole, options)
        if got is not None and not any(
            search.problem(search.whole, key, array, wanted[key])
            for key, array in zip(wanted, got, strict=True)
        ):
            found.append(name)
    return tuple(found)


class _Search:
    """The search for the first node whose output departs.

    whole: the model. feed: its inputs. options: how it is compiled. winograd: the error that its transforms may add.
    values: values of the model by the reference; all that are arrays, once `departure` has asked for them. moved: how much the
    largest change of a value is where the inputs move by a rounding.
    """

    def __init__(
        self, whole: onnx.ModelProto, feed: Mapping[str, Array], options: dict[str, Any], winograd: float
    ) -> None:
        self.whole, self.feed, self.options = whole, dict(feed), options
        level = self._level()
        self.level = replace(level, operands=max(level.operands, winograd))
        self.values: dict[str, Any] = dict(feed)
        self.moved: dict[str, float] = {}

    def know(self, values: Mapping[str, Any], nudged: Mapping[str, Any]) -> None:
        """Values by the reference, of the inputs and of inputs that have moved a little."""
        self.values |= values
        for name, other in nudged.items():
            value = values.get(name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.shape(other) == value.shape:
                gap = np.abs(value.astype(np.float64) - other.astype(np.float64))
                self.moved[name] = float(gap[np.isfinite(gap)].max(initial=0.0))

    def _level(self) -> Level:
        if any(node.op_type.endswith("QuantizeLinear") for node in self.whole.graph.node):
            return QUANTIZED
        return CLOSE if self.options["precision"] == "f32" else REDUCED

    def problem(self, model: onnx.ModelProto, name: str, got: Any, wanted: Any) -> str:
        """How a value that a model computes departs; "" where it does not."""
        if isinstance(wanted, list):
            if not isinstance(got, list) or len(got) != len(wanted):
                return f"a sequence of {len(got) if isinstance(got, list) else 'no'} elements, expected {len(wanted)}"
            return next(
                filter(None, (self.problem(model, name, a, b) for a, b in zip(got, wanted, strict=True))), ""
            )
        if wanted is None or got is None:
            return "" if wanted is got else "an optional that is empty on one side only"
        array, sizes = np.asarray(wanted), lengths(model)
        scale = max((_slope_scale(node, self.values) for node in _sloped(model, name)), default=0.0)
        if array.dtype.kind == "f":
            # Each layer rounds as much anew, and independently.
            unit = math.sqrt(sizes["depth"] / sizes["reduction"]) / float(np.finfo(array.dtype).eps)
            scale = max(scale, self.moved.get(name, 0.0) * unit)
        try:
            assert_close(got, array, self.level, scale=scale, **sizes)
        except AssertionError as error:
            return str(error)
        return ""

    def run(self, model: onnx.ModelProto, options: Mapping[str, Any] | None = None) -> list[Any] | None:
        """The outputs of a part, compiled; None where it cannot be compiled or run as it stands."""
        feed = {v.name: self.feed.get(v.name, self.values.get(v.name)) for v in model.graph.input}
        try:
            return ingot.load(ingot.compile(model, **self.options | dict(options or {}))).run(None, feed)
        except IngotError:
            return None

    def departs(self, nodes: Iterable[int], value: str) -> str:
        """How the value departs where these nodes compute it, "" where it does not."""
        model = part(self.whole, set(nodes), [value], self.values)
        got = self.run(model)
        return "" if got is None else self.problem(model, value, got[0], self.values[value])

    def departure(self, wrong: str, folder: Path | None) -> Departure | None:
        """The first node that departs, given an output that does."""
        self._record()
        makers = producers(self.whole)
        if wrong not in makers or not isinstance(self.values.get(wrong), np.ndarray):
            return None
        values = [name for name in makers if isinstance(self.values.get(name), np.ndarray)]
        value, problem = self._together(values) or self._bisect(values, wrong, makers)
        nodes, steps = {makers[value]}, 0
        while not (alone := self.departs(nodes, value)):
            steps = 2 * steps + 1
            more = before(self.whole, nodes, steps)
            if more == nodes:
                break
            nodes = more
        node = self.whole.graph.node[makers[value]]
        written = self._write(folder, nodes, value) if folder is not None and alone else None
        label = node.name or f"{node.op_type}_{makers[value]}"
        return Departure(label, node.op_type, value, problem, len(nodes), written)

    def _record(self) -> None:
        """Fill `values` and `moved` by two runs of the reference."""
        makers = producers(self.whole)
        everything = part(self.whole, range(len(self.whole.graph.node)), list(makers), {})
        _, values = _reference(everything, self.feed)
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        self.know(arrays, _nudged_reference(everything, self.feed))

    def _together(self, values: Sequence[str]) -> tuple[str, str] | None:
        """The first value that departs where all of them are outputs of one library."""
        everything = part(self.whole, range(len(self.whole.graph.node)), values, self.values)
        got = self.run(everything)
        for name, array in zip(values, got or (), strict=False):
            upto = part(self.whole, before(self.whole, [producers(self.whole)[name]]), [name], self.values)
            if problem := self.problem(upto, name, array, self.values[name]):
                return name, problem
        return None

    def _bisect(self, values: Sequence[str], wrong: str, makers: Mapping[str, int]) -> tuple[str, str]:
        """The first value, of those that the wrong output needs, that departs where it alone is the output."""
        needed = before(self.whole, [makers[wrong]])
        line = [name for name in values if makers[name] in needed and makers[name] < makers[wrong]] + [wrong]
        problems: dict[str, str] = {}
        low, high = 0, len(line) - 1
        while low < high:
            middle = (low + high) // 2
            name = line[middle]
            problems[name] = self.departs(before(self.whole, [makers[name]]), name)
            low, high = (low, middle) if problems[name] else (middle + 1, high)
        problem = problems.get(line[low]) or self.departs(needed, line[low])
        return line[low], problem or "it departs only where the other outputs are computed too"

    def _write(self, folder: Path, nodes: set[int], value: str) -> str:
        """The nodes as a model with its inputs and right output, as ONNX's backend tests lie in a folder."""
        model = part(self.whole, nodes, [value], self.values)
        data = folder / "test_data_set_0"
        arrays = [("input", i, v.name, self.values[v.name]) for i, v in enumerate(model.graph.input)]
        try:
            data.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(model.SerializeToString())
            for kind, i, name, array in [*arrays, ("output", 0, value, self.values[value])]:
                tensor = onnx.numpy_helper.from_array(np.asarray(array), name)
                (data / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())
        except OSError as error:
            raise IngotError(
                "output-unwritable",
                f"cannot write: {error.strerror}",
                where=str(folder),
                remedy="choose another folder",
            ) from error
        return str(folder)
