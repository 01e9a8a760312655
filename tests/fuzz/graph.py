"""A random graph under construction: its values, where new ones come from, and the model that it becomes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

Rng = np.random.Generator
OPSET = 21
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
FLOATS = ("float32", "float64")
INTEGERS = ("int64", "int32")
BYTES = ("uint8", "int8")
MOVED = (*FLOATS, *INTEGERS, *BYTES, "bool", "float16", "bfloat16")
"""Types of values that nodes which only move elements take."""
STORED = ("bfloat16", "int4", "uint4", "float8_e4m3fn", "float8_e5m2")
"""Types that ONNX Runtime takes from no NumPy array: constants and what nodes make."""
ELEMENTS = 4096
"""A value has at most so many."""
DEPTH = 2
"""Bodies inside bodies at most."""


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy type of a name, those of ml_dtypes included."""
    return np.dtype(getattr(ml_dtypes, name)) if name in STORED else np.dtype(name)


def tensor_type(name: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(dtype_of(name)))


@dataclass(frozen=True)
class Made:
    """A value of the graph."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    def info(self) -> onnx.ValueInfoProto:
        """Its type and rank."""
        return helper.make_tensor_value_info(self.name, tensor_type(self.dtype), [None] * self.rank)


class Graph:
    """A graph under construction, or a body inside one, which shares the model's inputs and constants.

    special: floats may be NaN, infinite or -0, and operators keep to those with one answer. symbolic: dimensions of inputs
    have names. fixed: inputs whose dimensions have none. results: what its nodes made.
    """

    def __init__(self, rng: Rng, makers: Sequence[Callable[[Graph], None]]) -> None:
        self.rng = rng
        self.makers = makers
        self.special = bool(rng.random() < 0.3)
        self.symbolic = bool(rng.random() < 0.4)
        self.sizes = (0, *SIZES[:5]) if rng.random() < 0.1 else SIZES
        self.inputs: dict[str, np.ndarray] = {}
        self.constants: list[onnx.TensorProto] = []
        self.fixed: set[str] = set()
        self.numbers = itertools.count()
        self.depth = 0
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[Made] = []
        self.results: list[Made] = []

    def body(self) -> Graph:
        """An empty graph inside this one, which sees its values."""
        inner = Graph.__new__(Graph)
        inner.__dict__.update(self.__dict__)
        inner.depth, inner.nodes, inner.values, inner.results = self.depth + 1, [], list(self.values), []
        return inner

    def grow(self, most: int) -> None:
        """Add nodes until there are at least a random number of them."""
        wanted = int(self.rng.integers(1, most + 1))
        while len(self.nodes) < wanted:
            self.pick(self.makers)(self)

    def fresh(self, letter: str) -> str:
        return f"{letter}{next(self.numbers)}"

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def shape(self, most: int = 4) -> tuple[int, ...]:
        while True:
            shape = tuple(int(self.pick(self.sizes)) for _ in range(int(self.rng.integers(0, most + 1))))
            if fits(*shape):
                return shape

    def array(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        kind = dtype_of(dtype)
        if dtype == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if "int" in dtype:
            wide = dtype == "int64" and self.chance(0.1)
            low, high = (-(2**62), 2**62) if wide else (0, 10) if dtype.startswith("u") else (-8, 8)
            return np.asarray(self.rng.integers(low, high, shape)).astype(kind)
        made = np.asarray(self.rng.standard_normal(shape) * self.pick((0.1, 1, 1, 30))).astype(kind)
        if self.special and made.size:
            flat = made.reshape(-1)
            for value in (np.nan, np.inf, -np.inf, -0.0):
                flat[self.rng.integers(flat.size)] = value
        return made

    def value(self, dtype: str, shape: tuple[int, ...]) -> Made:
        """A new input or constant."""
        array = self.array(dtype, shape)
        given = dtype not in STORED and self.chance(0.6)
        made = Made(self.given(array) if given else self.constant(array, dtype), dtype, shape)
        self.values.append(made)
        return made

    def constant(self, values: Any, dtype: str = "int64") -> str:
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(values).astype(dtype_of(dtype)), name))
        return name

    def given(self, array: np.ndarray, fixed: bool = False) -> str:
        """A new input. fixed: its dimensions get no names."""
        name = self.fresh("v")
        self.inputs[name] = np.asarray(array)
        if fixed:
            self.fixed.add(name)
        return name

    def integer(self, values: Any) -> str:
        """Integers as a constant or as an input."""
        return self.constant(values) if self.chance(0.6) else self.given(np.asarray(values, np.int64), True)

    def any(self, dtypes: Sequence[str], least: int = 0, nonempty: bool = False) -> Made:
        """A value of one of these dtypes and at least this rank, made now where there is none."""
        fit = [
            v
            for v in self.values
            if v.dtype in dtypes and v.rank >= least and not (nonempty and 0 in v.shape)
        ]
        if fit and self.chance(0.8):
            return self.pick(fit[-6:])
        while True:
            shape = self.shape()
            if len(shape) >= least and not (nonempty and 0 in shape):
                return self.value(self.pick(dtypes), shape)

    def partner(self, x: Made) -> Made:
        """A value that broadcasts with x."""
        shape = tuple(1 if self.chance(0.3) else d for d in x.shape)
        shape = shape[int(self.rng.integers(0, len(shape) + 1)) :] if self.chance(0.3) else shape
        if self.chance(0.2) and len(shape) < 4:
            shape = (int(self.pick((1, 2, 3))), *shape) if len(shape) == x.rank else shape
        fit = [v for v in self.values if v.dtype == x.dtype and _broadcasts(v.shape, x.shape)]
        if fit and self.chance(0.5):
            return self.pick(fit)
        return self.value(x.dtype, shape)

    def like(self, x: Made) -> Made:
        """A result of this graph with x's dtype and shape: an `Identity` of x where it has none."""
        fit = [v for v in self.results if (v.dtype, v.shape) == (x.dtype, x.shape)]
        if not fit:
            self.add("Identity", [x.name], [(x.dtype, x.shape)])
        return self.pick(fit or self.results[-1:])

    def node(self, operator: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs."""
        names = [self.fresh("t") for _ in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, names, self.fresh(f"{operator}_"), **attributes))
        return names

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        results: Sequence[tuple[str, tuple[int, ...]]],
        **attributes: Any,
    ) -> None:
        """Add a node whose results later nodes may take."""
        self.made(self.node(operator, inputs, len(results), **attributes), results)

    def made(self, names: Sequence[str], results: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        """Values with these names are there from now on."""
        new = [Made(n, dtype, tuple(shape)) for n, (dtype, shape) in zip(names, results, strict=True)]
        self.values += new
        self.results += new

    def axis(self, rank: int) -> int:
        """An axis, half of the time counted from the end."""
        axis = int(self.rng.integers(rank))
        return axis - rank if self.chance(0.5) else axis

    def graph(self, inputs: Sequence[Made], outputs: Sequence[Made]) -> onnx.GraphProto:
        """The body of a node."""
        return helper.make_graph(
            self.nodes, self.fresh("g"), [v.info() for v in inputs], [v.info() for v in outputs]
        )

    def model(self) -> onnx.ModelProto:
        """Every value that no node reads is an output; one that NumPy has no type for as a float."""
        used = _names_read(self.nodes)
        outputs = [v for v in self.results if v.name not in used][:8] or self.results[-1:]
        for i, v in enumerate(outputs):
            if v.dtype in STORED:
                self.add("Cast", [v.name], [("float32", v.shape)], to=tensor_type("float32"))
                outputs[i] = self.results[-1]
        used = _names_read(self.nodes)
        inputs = []
        for name, array in self.inputs.items():
            dims = [
                f"D{d}" if self.symbolic and name not in self.fixed and d > 1 and self.chance(0.5) else d
                for d in array.shape
            ]
            if name in used:
                inputs.append(helper.make_tensor_value_info(name, tensor_type(array.dtype.name), dims))
        constants = [c for c in self.constants if c.name in used]
        graph = helper.make_graph(self.nodes, "fuzz", inputs, [v.info() for v in outputs], constants)
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", OPSET)])


def _names_read(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """What nodes and their bodies read, the outputs of the bodies included."""
    found: set[str] = set()
    for node in nodes:
        found |= set(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _names_read(attribute.g.node) | {v.name for v in attribute.g.output}
    return found


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 4
    except ValueError:
        return False


def fits(*shape: int) -> bool:
    return int(np.prod(shape, dtype=np.int64)) <= ELEMENTS
