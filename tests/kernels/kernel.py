"""What a row of the tables of kernels is, and how it is run: interpreted, or compiled with others into one library."""

from __future__ import annotations

import ctypes
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from ingot import toolchain
from ingot.compiler import FLAGS
from ingot.emit.c import Printer, source
from ingot.ir.index import Ix, IxLike, Var, evaluate, ix, symbol, var
from ingot.ir.interpret import interpret
from ingot.ir.nodes import DTYPES, Acc, Const, Op, Read, Value
from ingot.ir.program import Operation, Tensor
from ingot.ir.verify import verify_kernel
from ingot.kernels.builder import SPARE, Built, Packed
from ingot.kernels.select import build
from ingot.runtime.sources import native_text
from ingot.schedule.layout import Layout, blocked_by, row_major
from ingot.target import Target
from ingot.testing import Array, Feed, Level, assert_close, ulp

N = symbol("n")
Layouts = dict[Tensor, Layout]
Sizes = Mapping[str, int]

PLANAR, CHANNELS_LAST = row_major(4), Layout((0, 2, 3, 1))
DIGITS = tuple(range(-4, 5))


@dataclass(frozen=True, eq=False)
class Kernel:
    """An operation with the layouts to build its kernel for, and what it has to compute.

    formula: the elements of every tensor by name -> those of the output; under the output's own name stands what it
    held before. values: what the inputs are drawn from; with small whole numbers nothing rounds and the level is ==.
    sizes: the values of the symbol n, one run each. rows: whether all tensors that have n have it first, and
    row i of the output comes from row i of the inputs. ahead: how many bytes before their use it asks for weights.
    """

    name: str
    operation: Operation
    layouts: Layouts = field(repr=False)
    formula: Callable[[Feed], Array] = field(repr=False)
    values: tuple[float, ...] = DIGITS
    sizes: tuple[int, ...] = (3,)
    level: Level = ulp(0)  # noqa: RUF009
    reduction: int = 1
    scale: float = 0.0
    rows: bool = False
    ahead: int = 0


SOME = (1, 0, 2, 3, 17)
"""Values of n for kernels that have it."""


def around(*widths: int) -> list[int]:
    """1, 2, 3 and n - 1, n, n + 1 for each width."""
    return sorted({1, 2, 3, *(n + d for n in widths for d in (-1, 0, 1))} - {0})


def by_channel(block: int, rank: int = 4) -> Layout:
    return blocked_by(rank, 1, block)


def tensor(name: str, shape: Sequence[IxLike | Var], dtype: str = "f32", kind: str = "temp") -> Tensor:
    return Tensor(name, dtype, tuple(ix(d) for d in shape), kind)


def constant(name: str, *shape: int, dtype: str = "f32") -> Tensor:
    made = tensor(name, shape, dtype, "const")
    made.data = drawn(name, shape, dtype)
    return made


def part(of: Tensor, origin: Sequence[int], shape: Sequence[IxLike]) -> Tensor:
    """The box of a tensor that starts at `origin`."""
    return Tensor(
        f"{of.name}_part", of.dtype, tuple(map(ix, shape)), of.kind, region=(of, tuple(map(ix, origin)))
    )


def within(kernel: Kernel, origin: Sequence[int]) -> Kernel:
    """The same, written into the middle of a larger tensor, `origin` away from all of its ends."""
    made = kernel.operation.output
    whole = tensor("whole", [d + 2 * o for d, o in zip(made.shape, origin, strict=True)], made.dtype)
    operation = replace(kernel.operation, output=part(whole, origin, made.shape))
    layouts = {**kernel.layouts, whole: kernel.layouts[made]}
    return replace(kernel, name=f"{kernel.name}_within", operation=operation, layouts=layouts)


def asking(kernel: Kernel) -> Kernel:
    """The kernel that asks for weights ahead."""
    return replace(kernel, name=f"{kernel.name}_ahead", ahead=4096)


def loops(stem: str, shape: Sequence[IxLike | Var]) -> tuple[Var, ...]:
    return tuple(var(f"{stem}{i}", ix(d)) for i, d in enumerate(shape))


def drawn(
    name: str, shape: Sequence[int], dtype: str = "f32", values: tuple[float, ...] | None = DIGITS
) -> Array:
    """Elements that depend on the name, the first rows of a larger tensor being the same; None: normal numbers."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    made = rng.standard_normal(shape) if values is None else rng.choice(values, shape)
    return (np.abs(made) if DTYPES[dtype].kind == "u" else made).astype(DTYPES[dtype])


def epilogue(
    kind: str, output: Tensor, axes: tuple[Var, ...], feature: int, layouts: Layouts
) -> tuple[Value, Callable[[Array, Feed], Array]]:
    """(finish, what it makes of a result). kind: "plain"; "bias", by feature; a bias, another tensor and a ReLU, the
    tensor being laid out as the output ("residual") or row-major ("mixed"); "heavy": as "residual", a 16th, which takes long.
    """
    if kind == "plain":
        return Acc("f32"), lambda result, feed: result
    bias = constant("bias", output.shape[feature].value)
    layouts[bias] = row_major(1)
    shape = [-1 if i == feature else 1 for i in range(output.rank)]
    total: Value = Op("add", (Acc("f32"), Read(bias, (ix(axes[feature]),))), "f32")
    if kind == "bias":
        return total, lambda result, feed: result + feed["bias"].reshape(shape)
    other = tensor("other", output.shape)
    layouts[other] = row_major(output.rank) if kind == "mixed" else layouts[output.root()[0]]
    total = Op("add", (total, Read(other, tuple(map(ix, axes)))), "f32")
    finish = Op("max", (total, Const(0.0, "f32")), "f32")
    share = 1.0
    if kind == "heavy":
        share = 1 / 16
        for _ in range(2):
            finish = Op("div", (finish, Const(4.0, "f32")), "f32")
    return (
        finish,
        lambda result, feed: (
            np.maximum(result + feed["bias"].reshape(shape) + feed["other"], 0) * np.float32(share)
        ),
    )


def concrete(shape: Sequence[Ix], sizes: Sizes) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in shape)


def places(layout: Layout, shape: tuple[int, ...]) -> Array:
    """Where in its storage a layout keeps each element of a tensor."""
    index = np.indices(shape)
    at = [index[a] // layout.block if a == layout.blocked else index[a] for a in layout.order]
    if layout.blocked is not None:
        at.append(index[layout.blocked] % layout.block)
    strides = layout.strides(tuple(map(ix, shape)))
    return sum((i * s.value for i, s in zip(at, strides, strict=True)), np.zeros(shape, np.int64))


def box(whole: Array, given: Tensor, sizes: Sizes) -> Array:
    """A tensor's elements in those of the tensor that owns its storage."""
    origin = concrete(given.root()[1], sizes)
    shape = concrete(given.shape, sizes)
    return whole[(*(slice(o, o + d) for o, d in zip(origin, shape, strict=True)), ...)]


def unwritten(size: int, dtype: np.dtype[np.generic]) -> Array:
    return np.full(size, np.nan if dtype.kind == "f" else 1 if dtype.kind == "b" else 0x55, dtype)


class Run:
    """One run of a kernel: its storage, in which padding and what nobody wrote are NaN or a large number.

    values: as `Kernel.values`; None: normal numbers.
    """

    def __init__(self, kernel: Kernel, sizes: Sizes, values: tuple[float, ...] | None) -> None:
        self.kernel, self.sizes = kernel, sizes
        self.feed: Feed = {}
        self.storage: dict[Tensor, Array] = {}
        operation = kernel.operation
        for given in operation.inputs():
            whole = self.place(given.root()[0], values)
            self.feed[given.name] = box(whole, given, sizes)
        for made in operation.writes():
            root = made.root()[0]
            if root not in self.storage:
                shape = concrete(root.shape, sizes)
                self.feed[root.name] = unwritten(int(np.prod(shape)), DTYPES[root.dtype]).reshape(shape)
                self.storage[root] = unwritten(self.size(root), DTYPES[root.dtype])

    def size(self, root: Tensor) -> int:
        return evaluate(self.kernel.layouts[root].size(root.shape), self.sizes)

    def place(self, root: Tensor, values: tuple[float, ...] | None) -> Array:
        """Draw a tensor's elements and lay them out."""
        shape, dtype = concrete(root.shape, self.sizes), DTYPES[root.dtype]
        elements = drawn(root.name, shape, root.dtype, values) if root.data is None else root.data
        stored = unwritten(self.size(root), dtype)
        stored[places(self.kernel.layouts[root], shape)] = elements
        spare = SPARE // dtype.itemsize if root.kind == "const" else 0
        self.storage[root] = np.concatenate([stored, unwritten(spare, dtype)])
        return elements

    def arguments(self, built: Built) -> list[Array]:
        return [
            np.ascontiguousarray(a.data).reshape(-1)
            if isinstance(a, Packed)
            else self.storage[a.root][a.start :]
            for a in built.arguments
        ]

    def output(self) -> Array:
        """The tensor that owns the output's storage, its padding left out."""
        root = self.kernel.operation.output.root()[0]
        shape = concrete(root.shape, self.sizes)
        return np.asarray(self.storage[root][places(self.kernel.layouts[root], shape)])

    def check(self) -> None:
        """Raise AssertionError unless `output` is what the formula says and, around the output's region, unchanged."""
        kernel, made = self.kernel, self.kernel.operation.output
        wanted = self.feed[made.root()[0].name].copy()
        with np.errstate(all="ignore"):
            box(wanted, made, self.sizes)[...] = kernel.formula(self.feed)
        self.compare(self.output(), wanted, kernel.level)

    def same(self, other: Run, level: Level) -> None:
        """Raise AssertionError unless everything that the kernel writes, padding too, is as in another run."""
        for made in self.kernel.operation.writes():
            root = made.root()[0]
            self.compare(self.storage[root], other.storage[root], level)

    def compare(self, actual: Array, expected: Array, level: Level) -> None:
        kernel = self.kernel
        assert_close(actual, expected, level, reduction=kernel.reduction, scale=kernel.scale)


@cache
def built(kernel: Kernel, target: Target) -> Built:
    made = build(kernel.operation, kernel.layouts, target, ahead=kernel.ahead)
    verify_kernel(made.kernel)
    return made


@cache
def interpreted(kernel: Kernel, target: Target, n: int) -> Run:
    """A run by the interpreter that defines kernel IR; an index outside a buffer is an IndexError."""
    run = Run(kernel, {"n": n}, kernel.values)
    made = built(kernel, target)
    interpret(made.kernel, run.arguments(made), run.sizes)
    return run


@dataclass
class Library:
    """Kernels compiled together."""

    target: Target
    functions: ctypes.CDLL

    def run(
        self,
        kernel: Kernel,
        n: int,
        *,
        halves: bool = False,
        normal: bool = False,
        over: Tensor | None = None,
    ) -> Run:
        """halves: the second half of the tasks of each wave before the first. normal: normal numbers, which sums round. over: an
        input that the output overwrites."""
        run = Run(kernel, {"n": n}, None if normal else kernel.values)
        if over is not None:
            made = kernel.operation.output
            run.storage[made] = run.storage[over].view(DTYPES[made.dtype])
        made = built(kernel, self.target)
        arguments = run.arguments(made)
        tasks = evaluate(made.kernel.tasks, run.sizes)
        pointers = (ctypes.c_void_p * len(arguments))(*(a.ctypes.data for a in arguments))
        symbols = (ctypes.c_int64 * 1)(n)
        wave = tasks if made.kernel.wave is None else evaluate(made.kernel.wave, run.sizes)
        for first in range(0, tasks, max(wave, 1)):
            last = first + wave
            middle = first + wave // 2 if halves else first
            for begin, end in ((middle, last), (first, middle)):
                getattr(self.functions, kernel.name)(
                    pointers, symbols, ctypes.c_int64(begin), ctypes.c_int64(end)
                )
        return run


def compiled(name: str, kernels: Sequence[Kernel], target: Target) -> Library:
    """All kernels of a table, FUNCTIONS to a file, beside the runtime, which has the conversions of halves."""
    sources = {}
    for at in range(0, len(kernels), FUNCTIONS):
        texts, used = [], dict[str, None]()
        for kernel in kernels[at : at + FUNCTIONS]:
            printer = Printer(built(kernel, target).kernel, [N.name])
            texts.append(f'__attribute__((visibility("default"))) {printer.function(kernel.name)}')
            used |= printer.used
        sources[f"{name}_{at}.c"] = source(target.isa, texts, used)
    compiler, flags = toolchain.find_compiler(), [*FLAGS, *target.flags]
    objects = toolchain.compile_objects(compiler, sources, flags)
    headers = {header: native_text(header) for header in ("ingot.h", "ingot_abi.h")}
    runtime = {"ingot_runtime.c": native_text("ingot_runtime.c")}
    objects += toolchain.compile_objects(compiler, runtime, FLAGS, include=headers)
    output = Path(tempfile.mkdtemp(prefix="ingot-kernels-")) / f"lib{name}_{target.name}.so"
    toolchain.link_shared(compiler, objects, output, flags)
    return Library(target, ctypes.CDLL(str(output)))


FUNCTIONS = 40
