"""Random small graphs: valid, typed, of operators that ingot lowers, with constants and inputs of every awkward shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Rng = np.random.Generator
OPSET = 18
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
FLOATS = ("float32", "float64")
INTEGERS = ("int64", "int32")
ELEMENTS = 4096
"""A value has at most so many."""


@dataclass(frozen=True)
class Made:
    """A value of the graph."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)


class Graph:
    """A graph under construction. special: floats may be NaN, infinite or -0, and operators keep to those with one answer."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.special = bool(rng.random() < 0.3)
        self.symbolic = bool(rng.random() < 0.4)
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.constants: list[onnx.TensorProto] = []
        self.values: list[Made] = []
        self.fixed: set[str] = set()

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def shape(self, most: int = 4) -> tuple[int, ...]:
        while True:
            shape = tuple(int(self.pick(SIZES)) for _ in range(int(self.rng.integers(0, most + 1))))
            if np.prod(shape, dtype=np.int64) <= ELEMENTS:
                return shape

    def array(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        if dtype == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype in INTEGERS:
            wide = dtype == "int64" and self.chance(0.1)
            low, high = (-(2**62), 2**62) if wide else (-9, 10)
            return np.asarray(self.rng.integers(low, high, shape)).astype(dtype)
        made = np.asarray(self.rng.standard_normal(shape) * self.pick((0.1, 1, 1, 30))).astype(dtype)
        if self.special and made.size:
            flat = made.reshape(-1)
            for value in (np.nan, np.inf, -np.inf, -0.0):
                flat[self.rng.integers(flat.size)] = value
        return made

    def value(self, dtype: str, shape: tuple[int, ...]) -> Made:
        """A new input or constant."""
        array = self.array(dtype, shape)
        name = f"v{len(self.inputs) + len(self.constants)}"
        if self.chance(0.6):
            self.inputs[name] = array
        else:
            self.constants.append(numpy_helper.from_array(array, name))
        made = Made(name, dtype, shape)
        self.values.append(made)
        return made

    def constant(self, values: Any, dtype: str = "int64") -> str:
        name = f"c{len(self.inputs) + len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

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

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        results: Sequence[tuple[str, tuple[int, ...]]],
        **attributes: Any,
    ) -> None:
        names = [f"t{len(self.nodes)}_{i}" for i in range(len(results))]
        self.nodes.append(
            helper.make_node(operator, inputs, names, f"{operator}_{len(self.nodes)}", **attributes)
        )
        self.values += [
            Made(n, dtype, tuple(shape)) for n, (dtype, shape) in zip(names, results, strict=True)
        ]

    def axis(self, rank: int) -> int:
        """An axis, half of the time counted from the end."""
        axis = int(self.rng.integers(rank))
        return axis - rank if self.chance(0.5) else axis

    def model(self) -> onnx.ModelProto:
        """Every value that no node reads is an output."""
        used = {name for node in self.nodes for name in node.input}
        made = [v for v in self.values if v.name.startswith("t")]
        outputs = [v for v in made if v.name not in used][:8] or made[-1:]
        inputs = []
        for name, array in self.inputs.items():
            dims = [
                f"D{d}" if self.symbolic and name not in self.fixed and d > 1 and self.chance(0.5) else d
                for d in array.shape
            ]
            inputs.append(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims)
            )
        graph = helper.make_graph(
            self.nodes,
            "fuzz",
            inputs,
            [
                helper.make_tensor_value_info(
                    v.name, helper.np_dtype_to_tensor_dtype(np.dtype(v.dtype)), [None] * v.rank
                )
                for v in outputs
            ],
            self.constants,
        )
        return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", OPSET)])


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 4
    except ValueError:
        return False


def _size_fits(*shape: int) -> bool:
    return int(np.prod(shape, dtype=np.int64)) <= ELEMENTS


SMOOTH = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Softplus",
    "LeakyRelu",
    "Elu",
    "HardSigmoid",
    "HardSwish",
    "Sin",
    "Cos",
)
SMOOTH += (
    "Selu",
    "Celu",
    "Mish",
    "Atan",
    "Softsign",
    "ThresholdedRelu",
    "Abs",
    "Neg",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
)
ANYWHERE = ("Relu", "Abs", "Neg", "Floor", "Ceil", "IsNaN", "IsInf", "Identity", "LeakyRelu", "Sqrt", "Round")
"""Operators that treat NaN and infinities as IEEE 754 does, in ONNX Runtime too."""


def unary(g: Graph) -> None:
    name = g.pick(ANYWHERE if g.special else SMOOTH)
    x = g.any(("float32",))
    g.add(name, [x.name], [("bool" if name.startswith("Is") else x.dtype, x.shape)])


def integer_unary(g: Graph) -> None:
    x = g.any(INTEGERS)
    g.add(g.pick(("Neg", "Abs", "Sign")), [x.name], [(x.dtype, x.shape)])


def logical(g: Graph) -> None:
    x = g.any(("bool",))
    if g.chance(0.3):
        g.add("Not", [x.name], [("bool", x.shape)])
        return
    y = g.partner(x)
    g.add(g.pick(("And", "Or", "Xor")), [x.name, y.name], [("bool", np.broadcast_shapes(x.shape, y.shape))])


def binary(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    names = ["Add", "Sub", "Mul"] + ([] if g.special else ["Min", "Max"])
    if x.dtype in FLOATS and not g.special:
        names.append("Div")
    g.add(g.pick(names), [x.name, y.name], [(x.dtype, np.broadcast_shapes(x.shape, y.shape))])


def division(g: Graph) -> None:
    """Of integers by constants that are not zero."""
    x = g.any(INTEGERS)
    divisor = g.rng.integers(1, 9, x.shape) * g.rng.choice([-1, 1], x.shape)
    y = g.constant(divisor, x.dtype)
    g.add(g.pick(("Div", "Mod")), [x.name, y], [(x.dtype, x.shape)])


def comparison(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    name = g.pick(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"))
    g.add(name, [x.name, y.name], [("bool", np.broadcast_shapes(x.shape, y.shape))])


def where(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    shape = np.broadcast_shapes(x.shape, y.shape)
    cond = g.value("bool", tuple(1 if g.chance(0.3) else d for d in shape))
    g.add("Where", [cond.name, x.name, y.name], [(x.dtype, shape)])


def convert(g: Graph) -> None:
    x = g.any((*INTEGERS, "bool") if g.special else (*FLOATS, *INTEGERS, "bool"))
    to = g.pick((*FLOATS, *INTEGERS, "bool"))
    if x.dtype in FLOATS and to in INTEGERS:
        to = "bool"
    g.add("Cast", [x.name], [(to, x.shape)], to=int(helper.np_dtype_to_tensor_dtype(np.dtype(to))))


def clip(g: Graph) -> None:
    """With both bounds where there are infinities: those of ONNX Runtime are finite where one is left out."""
    x = g.any((*FLOATS, *INTEGERS))
    share = 1.0 if g.special else 0.7
    bounds = [g.constant(v, x.dtype) if g.chance(share) else "" for v in (-2, 3)]
    g.add("Clip", [x.name, *bounds], [(x.dtype, x.shape)])


def reduction(g: Graph) -> None:
    names = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
    x = g.any(("float32", "int32"), nonempty=True) if not g.special else g.any(("int32",), nonempty=True)
    name = g.pick(names if x.dtype == "float32" else names[:1] + names[2:4])
    axes = (
        sorted({int(a) for a in g.rng.integers(0, max(x.rank, 1), int(g.rng.integers(0, x.rank + 1)))})
        if x.rank
        else []
    )
    keep, noop = g.chance(0.5), g.chance(0.3)
    reduced = set(axes) if axes or noop else set(range(x.rank))
    shape = [1 if i in reduced else d for i, d in enumerate(x.shape) if keep or i not in reduced]
    signed = [a - x.rank if g.chance(0.5) else a for a in axes]
    axes_input = [g.constant(signed)] if axes or g.chance(0.5) else []
    g.add(
        name,
        [x.name, *axes_input],
        [(x.dtype, tuple(shape))],
        keepdims=int(keep),
        noop_with_empty_axes=int(noop),
    )


def arg(g: Graph) -> None:
    x = g.any(("int32",) if g.special else ("float32", "int32"), 1, nonempty=True)
    axis, keep = g.axis(x.rank), g.chance(0.5)
    shape = [1 if i == axis % x.rank else d for i, d in enumerate(x.shape) if keep or i != axis % x.rank]
    g.add(
        g.pick(("ArgMax", "ArgMin")), [x.name], [("int64", tuple(shape))],
        axis=axis, keepdims=int(keep), select_last_index=int(g.chance(0.5)),
    )  # fmt: skip


def rows(g: Graph) -> None:
    x = g.any(("float32",), 1, nonempty=True)
    if g.special:
        return
    g.add(g.pick(("Softmax", "LogSoftmax")), [x.name], [(x.dtype, x.shape)], axis=g.axis(x.rank))


def cumulative(g: Graph) -> None:
    x = g.any(INTEGERS if g.special else ("float32", *INTEGERS), 1)
    g.add(
        "CumSum", [x.name, g.constant(g.axis(x.rank))], [(x.dtype, x.shape)],
        exclusive=int(g.chance(0.5)), reverse=int(g.chance(0.5)),
    )  # fmt: skip


def transpose(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS, "bool"))
    perm = [int(p) for p in g.rng.permutation(x.rank)]
    how = {"perm": perm} if x.rank and g.chance(0.8) else {}
    order = perm if how else list(range(x.rank))[::-1]
    g.add("Transpose", [x.name], [(x.dtype, tuple(x.shape[p] for p in order))], **how)


def reshape(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS, "bool"))
    total = int(np.prod(x.shape, dtype=np.int64))
    shape: list[int] = []
    left = total
    if total:
        for _ in range(int(g.rng.integers(0, 4))):
            divisors = [d for d in range(1, left + 1) if left % d == 0]
            shape.append(int(g.pick(divisors)))
            left //= shape[-1]
        shape.append(left)
        wanted = list(shape)
        if g.chance(0.5):
            wanted[int(g.rng.integers(len(wanted)))] = -1
        g.add("Reshape", [x.name, g.constant(wanted)], [(x.dtype, tuple(shape))])
    elif x.rank:
        g.add("Reshape", [x.name, g.constant([0] * x.rank)], [(x.dtype, x.shape)])


def flatten(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1)
    axis = int(g.rng.integers(-x.rank, x.rank + 1))
    at = axis % x.rank if axis < x.rank else x.rank
    shape = (int(np.prod(x.shape[:at], dtype=np.int64)), int(np.prod(x.shape[at:], dtype=np.int64)))
    g.add("Flatten", [x.name], [(x.dtype, shape)], axis=axis)


def unsqueeze(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS, "bool"))
    if x.rank > 3:
        return
    axis = g.axis(x.rank + 1)
    at = axis % (x.rank + 1)
    g.add("Unsqueeze", [x.name, g.constant([axis])], [(x.dtype, (*x.shape[:at], 1, *x.shape[at:]))])


def squeeze(g: Graph) -> None:
    fit = [v for v in g.values if 1 in v.shape]
    if not fit:
        return
    x = g.pick(fit)
    at = g.pick([i for i, d in enumerate(x.shape) if d == 1])
    signed = at - x.rank if g.chance(0.5) else at
    g.add("Squeeze", [x.name, g.constant([signed])], [(x.dtype, (*x.shape[:at], *x.shape[at + 1 :]))])


def concat(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1)
    axis = g.axis(x.rank)
    at = axis % x.rank
    others = [
        g.value(x.dtype, tuple(int(g.pick((0, 1, 2, 5))) if i == at else d for i, d in enumerate(x.shape)))
        for _ in range(int(g.rng.integers(1, 3)))
    ]
    parts = [x, *others, *([x] if g.chance(0.2) else [])]
    shape = tuple(sum(p.shape[at] for p in parts) if i == at else d for i, d in enumerate(x.shape))
    if _size_fits(*shape):
        g.add("Concat", [p.name for p in parts], [(x.dtype, shape)], axis=axis)


def split(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1)
    axis = g.axis(x.rank)
    at = axis % x.rank
    first = int(g.rng.integers(0, x.shape[at] + 1))
    sizes = [first, x.shape[at] - first]
    results = [(x.dtype, tuple(s if i == at else d for i, d in enumerate(x.shape))) for s in sizes]
    g.add("Split", [x.name, g.constant(sizes)], results, axis=axis)


def slice_(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS, "bool"), 1)
    axes = sorted({int(a) for a in g.rng.integers(0, x.rank, int(g.rng.integers(1, x.rank + 1)))})
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        step = int(g.pick((1, 1, 2, 3, -1, -2)))
        start, end = (int(v) for v in g.rng.integers(-12, 13, 2))
        if g.chance(0.2):
            end = int(g.pick((2**31 - 1, 2**63 - 1) if step > 0 else (-(2**31), -(2**63))))
        starts.append(start)
        ends.append(end)
        steps.append(step)
        shape[axis] = len(range(*_bounds(start, end, step, x.shape[axis])))
    signed = [a - x.rank if g.chance(0.5) else a for a in axes]
    names = [g.constant(v) for v in (starts, ends, signed, steps)]
    g.add("Slice", [x.name, *names], [(x.dtype, tuple(shape))])


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """As ONNX clamps them."""
    start, end = (v + size if v < 0 else v for v in (start, end))
    if step > 0:
        return min(max(start, 0), size), min(max(end, 0), size), step
    return min(max(start, 0), size - 1), min(max(end, -1), size - 1), step


def expand(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    target = tuple(int(g.pick((1, 2, 3))) if d == 1 else int(g.pick((1, d))) for d in x.shape)
    target = (int(g.pick((1, 2))), *target) if x.rank < 4 and g.chance(0.4) else target
    shape = np.broadcast_shapes(x.shape, target)
    if _size_fits(*shape):
        g.add("Expand", [x.name, g.constant(np.array(target, np.int64))], [(x.dtype, shape)])


def tile(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    repeats = [int(g.pick((0, 1, 1, 2, 3))) for _ in x.shape]
    shape = tuple(d * r for d, r in zip(x.shape, repeats, strict=True))
    if _size_fits(*shape):
        g.add("Tile", [x.name, g.constant(np.array(repeats, np.int64))], [(x.dtype, shape)])


def pad(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1, nonempty=True)
    mode = g.pick(("constant", "reflect", "edge", "wrap"))
    most = [d - 1 if mode == "reflect" else d for d in x.shape]
    low = 0 if mode != "constant" else -1
    before = [
        int(g.rng.integers(low if d > 2 else 0, min(m, 3) + 1)) if m > 0 else 0
        for d, m in zip(x.shape, most, strict=True)
    ]
    after = [
        int(g.rng.integers(low if d > 2 else 0, min(m, 3) + 1)) if m > 0 else 0
        for d, m in zip(x.shape, most, strict=True)
    ]
    shape = tuple(d + a + b for d, a, b in zip(x.shape, before, after, strict=True))
    inputs = [x.name, g.constant(before + after)]
    if mode == "constant" and g.chance(0.5):
        inputs.append(g.constant(7, x.dtype))
    if _size_fits(*shape):
        g.add("Pad", inputs, [(x.dtype, shape)], mode=mode)


def gather(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1, nonempty=True)
    axis = g.axis(x.rank)
    size = x.shape[axis % x.rank]
    shape = g.shape(2)
    indices = g.rng.integers(-size, size, shape)
    name = g.pick((lambda: g.constant(indices), lambda: _given(g, indices)))()
    at = axis % x.rank
    result = (*x.shape[:at], *shape, *x.shape[at + 1 :])
    if _size_fits(*result) and len(result) <= 5:
        g.add("Gather", [x.name, name], [(x.dtype, result)], axis=axis)


def _given(g: Graph, array: np.ndarray) -> str:
    name = f"i{len(g.inputs) + len(g.constants)}"
    g.inputs[name] = np.asarray(array)
    return name


def gather_elements(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1, nonempty=True)
    axis = g.axis(x.rank)
    at = axis % x.rank
    shape = tuple(
        int(g.pick((0, 1, 2, 5))) if i == at else int(g.rng.integers(1, d + 1)) for i, d in enumerate(x.shape)
    )
    indices = g.rng.integers(-x.shape[at], x.shape[at], shape)
    g.add("GatherElements", [x.name, _given(g, indices)], [(x.dtype, shape)], axis=axis)


def scatter_elements(g: Graph) -> None:
    """Each place at most once, so that the order does not matter."""
    x = g.any((*FLOATS, *INTEGERS), 1, nonempty=True)
    axis = g.axis(x.rank)
    at = axis % x.rank
    shape = tuple(int(g.rng.integers(1, d + 1)) for d in x.shape)
    order = np.argsort(g.rng.random(x.shape), axis=at)
    indices = order[tuple(slice(0, s) for s in shape)]
    updates = g.value(x.dtype, shape)
    g.add("ScatterElements", [x.name, _given(g, indices), updates.name], [(x.dtype, x.shape)], axis=axis)


def gather_nd(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 1, nonempty=True)
    depth = int(g.rng.integers(1, x.rank + 1))
    shape = g.shape(2)
    columns = [g.rng.integers(-d, d, shape) for d in x.shape[:depth]]
    result = (*shape, *x.shape[depth:])
    if _size_fits(*result):
        indices = _given(g, np.stack(columns, -1))
        g.fixed.add(indices)
        g.add("GatherND", [x.name, indices], [(x.dtype, result)])


def trilu(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS), 2)
    extra = [g.constant(int(g.rng.integers(-4, 5)))] if g.chance(0.7) else []
    g.add("Trilu", [x.name, *extra], [(x.dtype, x.shape)], upper=int(g.chance(0.5)))


def one_hot(g: Graph) -> None:
    shape, depth = g.shape(2), int(g.rng.integers(1, 6))
    indices = g.rng.integers(-depth - 2, depth + 2, shape)
    axis = int(g.rng.integers(-len(shape) - 1, len(shape) + 1))
    at = axis % (len(shape) + 1)
    g.add(
        "OneHot", [_given(g, indices), g.constant(depth), g.constant([2, 5], "float32")],
        [("float32", (*shape[:at], depth, *shape[at:]))], axis=axis,
    )  # fmt: skip


def shape_arithmetic(g: Graph) -> None:
    """A reshape to a shape that the graph computes."""
    x = g.any((*FLOATS, *INTEGERS), 2, nonempty=True)
    g.add("Shape", [x.name], [("int64", (x.rank,))])
    dims = g.values[-1].name
    g.add("Slice", [dims, g.constant([0]), g.constant([1])], [("int64", (1,))])
    first = g.values[-1].name
    g.add("Concat", [first, g.constant([-1])], [("int64", (2,))], axis=0)
    target = g.values[-1].name
    rest = int(np.prod(x.shape[1:], dtype=np.int64))
    g.add("Reshape", [x.name, target], [(x.dtype, (x.shape[0], rest))])


def matmul(g: Graph) -> None:
    if g.special:
        return
    x = g.any(("float32", "int32"), 1)
    k, n = x.shape[-1], int(g.pick(SIZES))
    shape = (k, n) if g.chance(0.6) else (*(int(g.pick((1, d))) for d in x.shape[:-2]), k, n)
    shape = (k,) if g.chance(0.15) else shape
    y = g.value(x.dtype, tuple(shape))
    result = np.matmul(np.zeros(x.shape), np.zeros(shape)).shape
    if _size_fits(*result):
        g.add("MatMul", [x.name, y.name], [(x.dtype, result)])


def gemm(g: Graph) -> None:
    """ONNX Runtime leaves beta out where the sum is of nothing."""
    if g.special:
        return
    x = g.any(("float32",), 2)
    if x.rank != 2:
        return
    a, b = g.chance(0.5), g.chance(0.5)
    m, k = x.shape[::-1] if a else x.shape
    n = int(g.pick(SIZES))
    y = g.value("float32", (n, k) if b else (k, n))
    extra = [g.value("float32", g.pick(((n,), (1, n), (m, 1), (m, n), ()))).name] if g.chance(0.6) else []
    g.add(
        "Gemm",
        [x.name, y.name, *extra],
        [("float32", (m, n))],
        transA=int(a),
        transB=int(b),
        alpha=0.5,
        beta=2.0 if k else 1.0,
    )


def convolution(g: Graph) -> None:
    if g.special:
        return
    dims = int(g.pick((1, 2, 2)))
    group = int(g.pick((1, 1, 2, 3)))
    channels, features = group * int(g.pick((1, 2, 5))), group * int(g.pick((1, 2, 3, 17)))
    size = tuple(int(g.pick((3, 5, 8, 9))) for _ in range(dims))
    x = g.value("float32", (int(g.pick((1, 1, 2))), channels, *size))
    kernel = tuple(int(g.pick((1, 2, 3, 3))) for _ in range(dims))
    strides = [int(g.pick((1, 1, 2, 3))) for _ in range(dims)]
    dilations = [int(g.pick((1, 1, 2))) for _ in range(dims)]
    pads = [int(g.pick((0, 1, 2))) for _ in range(2 * dims)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if g.chance(0.25):
        weight = g.value("float32", (channels, features // group, *kernel))
        pads = [min(p, r - 1) for p, r in zip(pads, reach * 2, strict=True)]
        out = [
            (s - 1) * t + r - pads[i] - pads[dims + i]
            for i, (s, t, r) in enumerate(zip(size, strides, reach, strict=True))
        ]
        name = "ConvTranspose"
    else:
        weight = g.value("float32", (features, channels // group, *kernel))
        out = [
            (s + pads[i] + pads[dims + i] - r) // t + 1
            for i, (s, t, r) in enumerate(zip(size, strides, reach, strict=True))
        ]
        name = "Conv"
    if min(out) < 1:
        return
    bias = [g.value("float32", (features,)).name] if g.chance(0.5) else []
    g.add(
        name, [x.name, weight.name, *bias], [("float32", (x.shape[0], features, *out))],
        group=group, strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip


def pooling(g: Graph) -> None:
    fit = [v for v in g.values if v.dtype == "float32" and v.rank in (3, 4) and 0 not in v.shape]
    if g.special:
        return
    x = g.pick(fit) if fit else g.value("float32", (1, 3, 8, 9))
    dims = x.rank - 2
    kernel = [int(g.rng.integers(1, min(d, 3) + 1)) for d in x.shape[2:]]
    strides = [int(g.pick((1, 2))) for _ in range(dims)]
    pads = [int(g.rng.integers(0, k)) for k in kernel * 2]
    out = [
        (d + pads[i] + pads[dims + i] - k) // s + 1
        for i, (d, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True))
    ]
    name = g.pick(("MaxPool", "AveragePool"))
    how = {"count_include_pad": int(g.chance(0.5))} if name == "AveragePool" else {}
    g.add(
        name,
        [x.name],
        [("float32", (*x.shape[:2], *out))],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        **how,
    )


def normalisation(g: Graph) -> None:
    x = g.any(("float32",), 2, nonempty=True)
    if g.special:
        return
    axis = g.axis(x.rank)
    inner = x.shape[axis % x.rank :]
    inputs = [x.name, g.value("float32", inner).name]
    if g.chance(0.5):
        inputs.append(g.value("float32", inner).name)
    g.add("LayerNormalization", inputs, [("float32", x.shape)], axis=axis, epsilon=0.01)


MAKERS: tuple[Callable[[Graph], None], ...] = (
    unary, unary, integer_unary, logical, binary, binary, binary, division, comparison, where, convert, clip, reduction,
    reduction, arg, rows, cumulative, transpose, transpose, reshape, reshape, flatten, unsqueeze, squeeze, concat, split,
    slice_, slice_, expand, tile, pad, gather, gather_elements, scatter_elements, gather_nd, trilu, one_hot,
    shape_arithmetic, matmul, matmul, gemm, convolution, convolution, pooling, normalisation,
)  # fmt: skip


def random_graph(rng: Rng) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and its inputs."""
    g = Graph(rng)
    while len(g.nodes) < int(rng.integers(2, 9)):
        g.pick(MAKERS)(g)
    model = g.model()
    used = {name for node in model.graph.node for name in node.input}
    for table in (model.graph.input, model.graph.initializer):
        for value in [v for v in table if v.name not in used]:
            table.remove(value)
    return model, {v.name: g.inputs[v.name] for v in model.graph.input}
