"""The grammar of kernel IR, on one screen.

    value     = Const | Index | Read | Acc | Op | Cast | Select | Text     (scalar; may be written by `lower`)
              | Load | Local | Splat | Pack | Iota | Fold | Pick | Shuffle (of a kernel; may have lanes)
    statement = Let | Assign | For | If | Define | Write               (Write: of `lower`, a kernel has a Store for it)
              | Store | Prefetch
    kernel    = Kernel(name, buffers, tasks, body, scratch)

Types are a dtype name ("f32", "i64", "bool" …) and a number of lanes. The types of `STORED` are only stored and converted, bf16 also multiplied. A "str" is a
place in memory and a number of bytes, UTF-8 without an end mark, always a scalar; a tensor of it holds these, not the bytes. Integers that
place things (loop bounds, offsets) are `Ix`; a value becomes one through an `Atom("data", …)`, an `Ix` becomes a value through `Index`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from ingot.ir.index import Atom, Ix, Var, ix_of, substitute

if TYPE_CHECKING:
    from ingot.ir.program import Tensor

DTYPES: dict[str, np.dtype] = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "u64": np.dtype(np.uint64),
    "u32": np.dtype(np.uint32),
    "u16": np.dtype(np.uint16),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
    "f8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "f8e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "f8e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "f4e2m1": np.dtype(ml_dtypes.float4_e2m1fn),
    "i4": np.dtype(ml_dtypes.int4),
    "u4": np.dtype(ml_dtypes.uint4),
    "i2": np.dtype(ml_dtypes.int2),
    "u2": np.dtype(ml_dtypes.uint2),
    "str": np.dtype(object),
}
"""The NumPy dtype of each; elements of "str" are `bytes`."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
STORED = {
    **dict.fromkeys(("bf16", "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1"), "f32"),
    "i4": "i8", "u4": "u8", "i2": "i8", "u2": "u8",
}  # fmt: skip
"""The types of storage, an element of at most 8 bits in a byte of its own, and what each is computed with."""


def computed(dtype: str) -> str:
    """What elements of a tensor of this dtype are computed with: those of `STORED` are converted as they are read."""
    return STORED.get(dtype, dtype)


def size_of(dtype: str) -> int:
    """Bytes of an element in a library's memory."""
    return 16 if dtype == "str" else DTYPES[dtype].itemsize


@dataclass(frozen=True)
class Const:
    """A literal."""

    value: float | int | bool | bytes
    dtype: str
    lanes: int = 1


@dataclass(frozen=True)
class Index:
    """The integer an index expression is, as an i64 value."""

    index: Ix
    dtype: str = "i64"
    lanes: int = 1


@dataclass(frozen=True)
class Read:
    """An element of a tensor at a logical index (one `Ix` a dimension), converted to what it is computed with."""

    tensor: Tensor
    index: tuple[Ix, ...]
    lanes: int = 1

    @property
    def dtype(self) -> str:
        return computed(self.tensor.dtype)


@dataclass(frozen=True)
class Acc:
    """In an epilogue: the result that the kernel has just computed for this element."""

    dtype: str
    lanes: int = 1


@dataclass(frozen=True)
class Op:
    """An elementwise operation of `ir.ops`, on arguments of equal lanes; "dot" takes a pair of bf16 for each lane."""

    name: str
    args: tuple[Value, ...]
    dtype: str

    @property
    def lanes(self) -> int:
        return self.args[0].lanes


@dataclass(frozen=True)
class Cast:
    """Conversion as C and NumPy do it: floats to integers truncate, floats to floats round to nearest, ties to even.

    bits: not a conversion, but the value of the other type, as wide, that has the same bits.
    """

    value: Value
    dtype: str
    bits: bool = False

    @property
    def lanes(self) -> int:
        return self.value.lanes


@dataclass(frozen=True)
class Select:
    """then where cond else otherwise; with a scalar condition only the chosen side is evaluated.

    guards: whether a side may be impossible to evaluate where it is not chosen.
    """

    cond: Value
    then: Value
    otherwise: Value
    guards: bool = field(default=True, kw_only=True)

    @property
    def dtype(self) -> str:
        return self.then.dtype

    @property
    def lanes(self) -> int:
        return self.then.lanes


@dataclass(frozen=True)
class Text:
    """The string of `length` bytes that begin at the element `at` reads, one of u8; they must stay as they are until the
    run is over."""

    at: Value
    length: Value
    dtype: str = "str"
    lanes: int = 1


@dataclass(frozen=True)
class Load:
    """Elements of a buffer at `index`, `index + stride` …; with count only the first count lanes, the others zero."""

    buffer: str
    index: Ix
    dtype: str
    lanes: int = 1
    stride: int = 1
    count: Ix | None = None


@dataclass(frozen=True)
class Local:
    """A named scalar or vector of the kernel."""

    name: str
    dtype: str
    lanes: int = 1


@dataclass(frozen=True)
class Splat:
    """A scalar in every lane, or a pair of bf16 in every pair of lanes."""

    value: Value
    lanes: int

    @property
    def dtype(self) -> str:
        return self.value.dtype


@dataclass(frozen=True)
class Pack:
    """A vector of scalars, a lane each."""

    items: tuple[Value, ...]

    @property
    def dtype(self) -> str:
        return self.items[0].dtype

    @property
    def lanes(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Iota:
    """The i64 vector base, base + stride, base + 2 stride …"""

    base: Ix
    stride: int
    lanes: int
    dtype: str = "i64"


@dataclass(frozen=True)
class Fold:
    """The lanes of a vector combined into a scalar by "add", "mul", "max", "min", "maximum", "minimum", "and" or "or"."""

    name: str
    value: Value

    @property
    def dtype(self) -> str:
        return self.value.dtype

    @property
    def lanes(self) -> int:
        return 1


@dataclass(frozen=True)
class Pick:
    """One lane of a vector."""

    value: Value
    lane: int

    @property
    def dtype(self) -> str:
        return self.value.dtype

    @property
    def lanes(self) -> int:
        return 1


@dataclass(frozen=True)
class Shuffle:
    """Lanes picked from two vectors of equal length, those of the second numbered after those of the first."""

    first: Value
    second: Value
    picks: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.first.dtype

    @property
    def lanes(self) -> int:
        return len(self.picks)


Value = (
    Const
    | Index
    | Read
    | Acc
    | Op
    | Cast
    | Select
    | Text
    | Load
    | Local
    | Splat
    | Pack
    | Iota
    | Fold
    | Pick
    | Shuffle
)


@dataclass(frozen=True)
class Let:
    """Declare a local and give it its first value."""

    local: Local
    value: Value


@dataclass(frozen=True)
class Assign:
    """Change a local."""

    local: Local
    value: Value


@dataclass(frozen=True)
class Store:
    """Write a value's lanes to a buffer at `index`, `index + stride` …; with count only the first count lanes."""

    buffer: str
    index: Ix
    value: Value
    stride: int = 1
    count: Ix | None = None


@dataclass(frozen=True)
class Prefetch:
    """Ask for the cache line of a buffer's element at `index`, or of the place beyond its end where that would be."""

    buffer: str
    index: Ix


@dataclass(frozen=True)
class Write:
    """Set the element of a tensor at a logical index, converted to the tensor's dtype from what it is computed with."""

    tensor: Tensor
    index: tuple[Ix, ...]
    value: Value


@dataclass(frozen=True)
class Define:
    """Name an integer; later indices use the variable."""

    var: Var
    index: Ix


@dataclass(frozen=True)
class For:
    """Run body for var in [start, stop) in steps of step. unroll: how many iterations to write out together; 0 leaves it to
    the C compiler."""

    var: Var
    stop: Ix
    body: tuple[Stmt, ...]
    start: Ix = field(default_factory=lambda: Ix(()))
    step: int = 1
    unroll: int = 0


@dataclass(frozen=True)
class If:
    """Run body where cond holds, else otherwise."""

    cond: Value
    body: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


Stmt = Let | Assign | Store | Prefetch | Write | Define | For | If


def statements(body: Iterable[Stmt]) -> Iterator[Stmt]:
    """Every statement, those inside others too."""
    for s in body:
        yield s
        if isinstance(s, For):
            yield from statements(s.body)
        elif isinstance(s, If):
            yield from statements(s.body)
            yield from statements(s.otherwise)


def operands(s: Stmt) -> tuple[list[Value], list[Ix]]:
    """The values and the indices that a statement itself, not those inside it, works with."""
    if isinstance(s, Let | Assign):
        return [s.value], []
    if isinstance(s, Store):
        return [s.value], [s.index, *([s.count] if s.count is not None else [])]
    if isinstance(s, Write):
        return [s.value], list(s.index)
    if isinstance(s, Define | Prefetch):
        return [], [s.index]
    if isinstance(s, For):
        return [], [s.start, s.stop]
    return [s.cond], []


@dataclass(frozen=True)
class Buffer:
    """A parameter of a kernel: a flat array."""

    name: str
    dtype: str
    written: bool
    note: str = ""


@dataclass(frozen=True)
class Scratch:
    """A flat array that a task works with. It finds nothing there that it has not stored itself."""

    name: str
    dtype: str
    size: int


@dataclass(frozen=True)
class Kernel:
    """A function over a range of independent tasks; body runs once for each value of `task`.

    work: rough cost of a task in nanoseconds of one core, for deciding how many tasks are worth a thread. wave: where
    given, only so many successive tasks are independent, and each such wave follows the one before. scratch: what tasks
    work with besides the buffers, each thread its own.
    """

    name: str
    buffers: tuple[Buffer, ...]
    symbols: tuple[str, ...]
    task: Var
    tasks: Ix
    body: tuple[Stmt, ...]
    work: float = 1.0
    wave: Ix | None = None
    scratch: tuple[Scratch, ...] = ()


def rewrite(value: Value, leaf: Callable[[Value], Value | None]) -> Value:
    """Rebuild a value bottom-up; where `leaf` returns something for a node, that takes its place unvisited."""
    seen: dict[int, Value] = {}

    def visit(node: Value) -> Value:
        key = id(node)
        if key not in seen:
            changed = leaf(node)
            seen[key] = changed if changed is not None else _rebuild(node, visit)
        return seen[key]

    return visit(value)


def _rebuild(node: Value, visit: Callable[[Value], Value]) -> Value:
    if isinstance(node, Op):
        args = tuple(visit(a) for a in node.args)
        return node if all(a is b for a, b in zip(args, node.args, strict=True)) else replace(node, args=args)
    if isinstance(node, Cast | Splat | Fold | Pick):
        inner = visit(node.value)
        return node if inner is node.value else replace(node, value=inner)
    if isinstance(node, Select):
        return Select(visit(node.cond), visit(node.then), visit(node.otherwise), guards=node.guards)
    if isinstance(node, Shuffle):
        return Shuffle(visit(node.first), visit(node.second), node.picks)
    if isinstance(node, Text):
        return replace(node, at=visit(node.at), length=visit(node.length))
    if isinstance(node, Pack):
        return Pack(tuple(visit(i) for i in node.items))
    return node


def kept(value: Value, dtype: str) -> Value:
    """What a read gives after the value has been stored in a tensor of a dtype."""
    if dtype not in STORED or (isinstance(value, Read) and value.tensor.dtype == dtype):
        return value
    if isinstance(value, Const):
        rounded = np.asarray(value.value, DTYPES[value.dtype]).astype(DTYPES[dtype])
        return replace(value, value=rounded.astype(DTYPES[value.dtype]).item())
    return Cast(stored(value, dtype), STORED[dtype])


def stored(value: Value, dtype: str) -> Value:
    """The value as a tensor of a dtype keeps it; one that has just been read from such a tensor is not converted twice."""
    if dtype not in STORED or value.dtype == dtype:
        return value
    if isinstance(value, Cast) and not value.bits and value.value.dtype == dtype:
        return value.value
    return Cast(value, dtype)


def reindex(value: Value, mapping: dict[Var, Ix]) -> Value:
    """The value with its loop variables replaced, in every index inside it."""

    def index(e: Ix) -> Ix:
        return substitute(e, mapping, lambda v: reindex(v, mapping))  # type: ignore[arg-type]

    def leaf(node: Value) -> Value | None:
        if isinstance(node, Read):
            return replace(node, index=tuple(index(i) for i in node.index))
        if isinstance(node, Index | Load):
            return replace(node, index=index(node.index))
        return None

    return rewrite(value, leaf) if mapping else value


def walk(value: Value) -> Iterator[Value]:
    """Every node of a value once, the values inside its run-time indices too."""
    seen: set[int] = set()
    stack: list[Value] = [value]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, Op):
            stack.extend(node.args)
        elif isinstance(node, Cast | Splat | Fold | Pick):
            stack.append(node.value)
        elif isinstance(node, Shuffle):
            stack += [node.first, node.second]
        elif isinstance(node, Select):
            stack += [node.cond, node.then, node.otherwise]
        elif isinstance(node, Text):
            stack += [node.at, node.length]
        elif isinstance(node, Pack):
            stack.extend(node.items)
        elif isinstance(node, Read):
            for i in node.index:
                stack.extend(data_of(i))
        elif isinstance(node, Index | Load):
            stack.extend(data_of(node.index))


def has_text(value: Value) -> bool:
    """Whether some part of a value is a string."""
    return any(node.dtype == "str" for node in walk(value))


def data_of(index: Ix) -> list[Value]:
    """The run-time values that an index depends on."""
    found: list[Value] = []
    for monomial, _ in index.terms:
        for factor in monomial:
            if isinstance(factor, Atom):
                if factor.kind == "data":
                    found.append(factor.args[0])  # type: ignore[arg-type]
                else:
                    for arg in factor.args:
                        found += data_of(arg)  # type: ignore[arg-type]
    return found


def as_index(value: Value) -> Ix:
    """An integer value used as an index."""
    if isinstance(value, Index):
        return value.index
    if isinstance(value, Const):
        return Ix((((), int(value.value)),)) if value.value else Ix(())
    return ix_of(Atom("data", (value,)))


def value_variables(value: Value) -> set[Var]:
    """Every loop variable and symbol a value depends on."""
    found: set[Var] = set()
    for node in walk(value):
        if isinstance(node, Read):
            for i in node.index:
                found |= i.variables()
        elif isinstance(node, Index | Load):
            found |= node.index.variables()
            if isinstance(node, Load) and node.count is not None:
                found |= node.count.variables()
        elif isinstance(node, Iota):
            found |= node.base.variables()
    return found
