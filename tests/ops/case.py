"""What a row of the case tables is, and how it is run: interpreted, or compiled with others into one library."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import ingot
from ingot.oracle import interpret_model
from ingot.testing import CLOSE, Array, Feed, Level, assert_close, reference

STRINGS = ("", "a", "ab", "zebra", "straße", "日本語", "A longer one")
"""What inputs of strings are made up from."""
GROUP = 24
"""Cases that are compiled into one library."""


@dataclass(frozen=True, eq=False)
class Case:
    """A small model with inputs and how near its results must be.

    feeds: one run each, of different sizes where the model has symbols. oracle: "reference" is the evaluator of the
    onnx package, "onnxruntime" stands in where that one lacks or misreads the operator. expected: the outputs of
    each run, where neither knows them.
    """

    name: str
    model: onnx.ModelProto
    feeds: tuple[Feed, ...]
    level: Level = CLOSE
    reduction: int = 1
    scale: float = 0.0
    oracle: str = "reference"
    expected: tuple[list[Array], ...] | None = field(default=None, repr=False)

    @property
    def opset(self) -> int:
        return next(o.version for o in self.model.opset_import if not o.domain)

    def answers(self) -> list[list[Array]]:
        """The right outputs of every run."""
        return _answers(self)

    def check(self, results: Sequence[Sequence[Array]]) -> None:
        """Raise AssertionError where a result of some run is wrong."""
        for number, (got, wanted) in enumerate(zip(results, self.answers(), strict=True)):
            assert len(got) == len(wanted)
            for value, a, b in zip(self.model.graph.output, got, wanted, strict=True):
                try:
                    assert_close(a, b, self.level, reduction=self.reduction, scale=self.scale)
                except AssertionError as error:
                    raise AssertionError(f"{self.name}, run {number}, {value.name}: {error}") from None


@cache
def _answers(case: Case) -> list[list[Array]]:
    if case.expected is not None:
        return list(case.expected)
    if case.oracle == "onnxruntime":
        return [list(map(_plain, reference(case.model, feed))) for feed in case.feeds]
    assert case.oracle == "reference"
    evaluator = ReferenceEvaluator(case.model)
    with np.errstate(all="ignore"):
        return [[_plain(np.asarray(y)) for y in evaluator.run(None, dict(feed))] for feed in case.feeds]


def _plain(array: Array) -> Array:
    """Strings as a session gives them."""
    return array.astype(object) if array.dtype.kind == "U" else array


def case(
    name: str,
    inputs: str,
    body: str,
    outputs: str = "float[] y",
    *,
    opset: int = 17,
    constants: Mapping[str, Any] | None = None,
    feed: Mapping[str, Any] | None = None,
    sizes: Sequence[Mapping[str, int]] = ({},),
    whole: bool = False,
    domains: Mapping[str, int] | None = None,
    **how: Any,
) -> Case:
    """A case from ONNX text: `inputs`, `outputs` and `body` as onnx.parser reads them.

    constants: initializers that the body names. feed: inputs; those left out are made up, of the declared dtype and
    shape: floats normal, or with `whole` integers of one digit, so that no sum rounds; integers of one digit.
    sizes: the values of the symbols, one run each. domains: versions of other domains than ONNX's own. how: the other
    fields of the case.
    """
    imports = ", ".join(
        f'"{domain}" : {version}' for domain, version in {"": opset, **(domains or {})}.items()
    )
    header = f"<ir_version: {8 if opset < 21 else 10}, opset_import: [{imports}]>"
    model = onnx.parser.parse_model(f"{header} {name} ({inputs}) => ({outputs}) {{ {body} }}")
    for key, value in (constants or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), key))
    feeds = []
    for number, size in enumerate(sizes):
        rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        made = {v.name: _array(v, size, rng, whole) for v in model.graph.input}
        feeds.append(made | {k: np.asarray(v) for k, v in (feed or {}).items()})
    return Case(name, model, tuple(feeds), **how)


def weights(name: str, *shape: int, whole: bool = False, dtype: str = "float32") -> Array:
    """Constants made up from their name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    made = rng.integers(-4, 5, shape) if whole else rng.standard_normal(shape)
    return made.astype(dtype)


def _array(
    value: onnx.ValueInfoProto, sizes: Mapping[str, int], rng: np.random.Generator, whole: bool
) -> Array:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in kind.shape.dim]
    if "float" in dtype.name and not whole:
        return (rng.standard_normal(shape) * 2).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind == "O":
        return rng.choice(np.array(STRINGS, object), shape)
    return rng.integers(0 if dtype.name.startswith("u") else -9, 10, shape).astype(dtype)


def run_interpreted(case: Case, target: str, *, optimise: bool = True) -> list[list[Array]]:
    """The outputs of every run by the interpreter."""
    run = interpret_model(case.model, target, optimise=optimise)
    return [run(feed) for feed in case.feeds]


@dataclass(frozen=True)
class Group:
    """Cases of one opset that become one library."""

    name: str
    cases: tuple[Case, ...]

    def model(self) -> onnx.ModelProto:
        """The cases side by side, all their names prefixed."""
        first = self.cases[0].model
        joined = onnx.ModelProto(ir_version=first.ir_version, opset_import=first.opset_import)
        joined.graph.name = self.name
        for one in self.cases:
            graph = onnx.GraphProto()
            graph.CopyFrom(one.model.graph)
            _prefix(graph, f"{one.name}.")
            for part in ("node", "input", "output", "initializer", "value_info"):
                getattr(joined.graph, part).extend(getattr(graph, part))
        return joined

    def runs(self) -> list[Feed]:
        """The inputs of every run; the first, which is one of the others, leaves the arena used."""
        count = max(len(c.feeds) for c in self.cases)
        return [
            {
                f"{one.name}.{key}": array
                for one in self.cases
                for key, array in one.feeds[min(number, len(one.feeds) - 1)].items()
            }
            for number in (count - 1, *range(count))
        ]

    def split(self, results: Sequence[Sequence[Array]]) -> dict[str, list[list[Array]]]:
        """The outputs of every run of every case, by the case's name, from those of `runs`."""
        made: dict[str, list[list[Array]]] = {one.name: [] for one in self.cases}
        for outputs in results[1:]:
            left = iter(outputs)
            for one in self.cases:
                made[one.name].append([next(left) for _ in one.model.graph.output])
        return {one.name: made[one.name][: len(one.feeds)] for one in self.cases}

    def run(self, target: str) -> dict[str, list[list[Array]]]:
        """The outputs of every run of every case, by the case's name."""
        session = ingot.load(ingot.compile(self.model(), target=target, name=self.name))
        return self.split([session.run(None, feed) for feed in self.runs()])


def _prefix(graph: onnx.GraphProto, prefix: str) -> None:
    for node in graph.node:
        node.name = prefix + (node.name or node.op_type)
        node.input[:] = [prefix + name if name else "" for name in node.input]
        node.output[:] = [prefix + name if name else "" for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _prefix(attribute.g, prefix)
            if node.op_type == "Gradient":
                attribute.s = prefix.encode() + attribute.s if attribute.s else b""
                attribute.strings[:] = [prefix.encode() + name for name in attribute.strings]
    for tensor in graph.initializer:
        tensor.name = prefix + tensor.name
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = prefix + value.name
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = prefix + dim.dim_param


def groups(name: str, cases: Sequence[Case]) -> list[Group]:
    """The cases in groups of at most GROUP, by opset."""
    by_opset: dict[int, list[Case]] = {}
    for one in cases:
        by_opset.setdefault(one.opset, []).append(one)
    return [
        Group(f"{name}_opset{opset}_{at // GROUP}", tuple(members[at : at + GROUP]))
        for opset, members in sorted(by_opset.items())
        for at in range(0, len(members), GROUP)
    ]


__all__ = ["Case", "Group", "case", "groups", "replace", "run_interpreted", "weights"]
