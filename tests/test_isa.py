"""Every instruction of every set that this machine can run, compiled and compared with the meaning of its operation."""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot import toolchain
from ingot.compiler import FLAGS
from ingot.emit.c import source
from ingot.ir.nodes import DTYPES, STORED
from ingot.ir.ops import OPS
from ingot.isa import Instruction, closure, generic, instruction
from ingot.isa.avx2 import TABLE as AVX2
from ingot.isa.avx512 import TABLE as AVX512
from ingot.isa.avx512_bf16 import TABLE as AVX512_BF16
from ingot.isa.instruction import BYTES, parse, type_name
from ingot.runtime.sources import native_text
from ingot.target import TARGETS, cpu_features
from ingot.testing import EXACT, Array, Level, assert_close, ulp

LANES = {name: target.lanes for name, target in TARGETS.items()}
TABLES: dict[str, dict[str, Instruction]] = {
    "generic": {},
    "avx2": AVX2,
    "avx512": AVX512 | AVX2,
    "avx512_bf16": AVX512_BF16 | AVX512 | AVX2,
}
SETS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not target.cpu_flags <= cpu_features(), reason=f"this machine cannot run {name}"
        ),
    )
    for name, target in TARGETS.items()
]

PUBLIC = '__attribute__((visibility("default")))'
FLOATS = ("f32", "f64", "f16")
SIGNED, UNSIGNED = ("i64", "i32", "i16", "i8"), ("u64", "u32", "u16", "u8")
NUMBERS = (*FLOATS, *SIGNED, *UNSIGNED)
DTYPES_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("add", "sub", "mul", "min", "max", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge", "div"), NUMBERS),
    **dict.fromkeys(("neg",), (*FLOATS, *SIGNED)),
    **dict.fromkeys(("abs", "sign"), NUMBERS),
    **dict.fromkeys(("mod", "fmod"), ("f32", "f64", *SIGNED, *UNSIGNED)),
    **dict.fromkeys(("pow",), ("f32", "f64", "i64", "i32", "u8")),
    **dict.fromkeys(("bitand", "bitor", "bitxor", "bitnot"), (*SIGNED, *UNSIGNED)),
    **dict.fromkeys(("shl", "shr"), UNSIGNED),
    **dict.fromkeys(("and", "or", "xor", "not"), ("u8",)),
    **dict.fromkeys(("sqrt", "floor", "ceil", "trunc", "round", "exp", "sigmoid", "tanh", "isnan", "isinf", "fma"), FLOATS),
    **dict.fromkeys(("log", "erf", "gelu", "silu", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
                    ("f32", "f64")),
    "dot": (),
}  # fmt: skip
ULPS = {
    "exp": 1, "log": 2, "tanh": 2, "sigmoid": 2, "silu": 3, "erf": 2, "gelu": 2, "pow": 1, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "sinh": 2,
    "cosh": 2, "asinh": 2, "acosh": 2, "atanh": 2,
}  # fmt: skip
"""How far from the correctly rounded result an operation may be; all others are exact."""
TABLED = ("sigmoid", "silu")
"""What AVX-512 takes of a table, in whole vectors: within 4, where x < -20 within 7."""


def names(isa: str) -> list[str]:
    """The elementwise instructions: scalars and whole vectors of every dtype, and all that the set itself has."""
    found = dict.fromkeys(
        f"{operation}_{dtype}{lanes}"
        for operation, dtypes in DTYPES_OF.items()
        for dtype in dtypes
        for lanes in ("", f"x{LANES[isa]}")
    )
    own = [name for name in TABLES[isa] if name.rpartition("_")[0] in DTYPES_OF]
    return [*found, *(name for name in own if name not in found)]


def library(isa: str, label: str, functions: dict[str, tuple[Iterable[str], str]]) -> ctypes.CDLL:
    """Compiled test functions: name -> (instructions used, C text)."""
    target = TARGETS[isa]
    compiler = toolchain.find_compiler()
    parts = _batched(functions.values(), 80)
    sources = {
        f"{label}_{i}.c": source(isa, [text for _, text in part], [u for used, _ in part for u in used])
        for i, part in enumerate(parts)
    }
    flags = [*FLAGS, *target.flags]
    objects = toolchain.compile_objects(compiler, sources, flags)
    headers = {name: native_text(name) for name in ("ingot.h", "ingot_abi.h")}
    runtime = {"ingot_runtime.c": native_text("ingot_runtime.c")}
    objects += toolchain.compile_objects(compiler, runtime, FLAGS, include=headers)
    folder = Path(tempfile.mkdtemp(prefix="ingot-isa-"))
    output = folder / f"lib{label}_{isa}.so"
    toolchain.link_shared(compiler, objects, output, flags)
    return ctypes.CDLL(str(output))


def _batched(items: Iterable[Any], size: int) -> list[tuple[Any, ...]]:
    left = list(items)
    return [tuple(left[at : at + size]) for at in range(0, len(left), size)]


def each(found: Instruction) -> str:
    """A function that applies an instruction to arrays of its arguments, one after the other."""
    types = [p.rpartition(" ")[0] for p in found.parameters]
    letters = "abc"[: len(types)]
    loads = " ".join(
        f"{t} {x}; __builtin_memcpy(&{x}, p{x} + i * sizeof {x}, sizeof {x});"
        for t, x in zip(types, letters, strict=True)
    )
    pointers = "".join(f"const unsigned char *p{x}, " for x in letters)
    return (
        f"{PUBLIC} void test_{found.name}({pointers}unsigned char *pr, int64_t n) {{ for (int64_t i = 0; i < n; i++) {{ {loads} "
        f"{found.result} r = {found.name}({', '.join(letters)}); __builtin_memcpy(pr + i * sizeof r, &r, sizeof r); }} }}"
    )


@cache
def elementwise(isa: str) -> ctypes.CDLL:
    found = [instruction(isa, name) for name in names(isa)]
    return library(isa, "elementwise", {i.name: ([i.name], each(i)) for i in found})


def apply(
    compiled: ctypes.CDLL,
    found: Instruction,
    arguments: list[Array],
    result: np.dtype[Any],
    lanes: int,
    size: int | None = None,
) -> Array:
    """The instruction over arrays, whose length is a multiple of the lanes. size: of the result, where it differs."""
    made = np.zeros(arguments[0].size if size is None else size, result)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arguments, made)]
    getattr(compiled, f"test_{found.name}")(*pointers, ctypes.c_int64(made.size // lanes))
    return made


def whole(a: Array, lanes: int) -> Array:
    """The array, its last element repeated until it fills whole vectors."""
    return np.concatenate([a, np.repeat(a[-1:], -a.size % lanes)])


def interesting(dtype: str) -> Array:
    """Numbers at which operations of a dtype go wrong."""
    kind = DTYPES[dtype]
    if kind.kind == "f":
        info = np.finfo(kind)
        tiny, top = float(info.smallest_subnormal), float(info.max)
        some = [
            0.0,
            0.5,
            1.0,
            1.5,
            2.0,
            2.5,
            3.0,
            7.0,
            10.25,
            100.0,
            math.pi,
            tiny,
            3 * tiny,
            float(info.tiny),
            top,
            top / 2,
            math.inf,
        ]
        return np.array([*some, *(-x for x in some), math.nan], kind)
    info_i = np.iinfo(kind)
    some_i = {
        0,
        1,
        2,
        3,
        5,
        7,
        8,
        100,
        info_i.max,
        info_i.max - 1,
        info_i.max // 2,
        info_i.min,
        info_i.min + 1,
    }
    low = {-x for x in some_i if info_i.min <= -x <= info_i.max}
    return np.array(sorted(some_i | low), kind)


def arguments(operation: str, dtype: str, count: int) -> list[Array]:
    """Every pair of interesting numbers and random ones; what an operation is not defined for is left out."""
    rng = np.random.default_rng(0)
    kind = DTYPES[dtype]
    numbers = interesting(dtype)
    if operation in ("and", "or", "xor", "not"):
        numbers = np.array([0, 1], kind)
    if kind.kind == "f":
        extra = (rng.standard_normal((count, 500)) * 4).astype(kind)
    else:
        extra = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (count, 500), dtype=kind, endpoint=True)
    if operation in ("and", "or", "xor", "not"):
        extra = extra & np.array(1, kind)
    pairs = np.array(list(itertools.product(numbers, repeat=min(count, 2))), kind).T
    if count == 3:
        pairs = np.concatenate([pairs, rng.permutation(pairs[0])[None]])
    columns = np.concatenate([pairs, extra], axis=1)
    if operation == "pow" and kind.kind != "f":
        columns = np.stack([columns[0] % 7, np.abs(columns[1]) % 12]).astype(kind)
    if operation in ("shl", "shr"):
        columns[1] %= 70
    return list(columns)


def expected_of(operation: str, given: list[Array], result: np.dtype[Any]) -> Array:
    """The meaning of an operation; computed in double where only an error of some ulps is allowed."""
    inexact = operation in ULPS and given[0].dtype.kind == "f"
    with np.errstate(all="ignore"):
        wide = [a.astype(np.float64) for a in given] if inexact else given
        return np.asarray(OPS[operation].compute(*wide)).astype(result)


def in_steps(result: Array, of: Array) -> Array:
    """result counted in the spacing of `of`."""
    return np.round(result.astype(np.float64) / np.spacing(np.abs(of)).astype(np.float64)).astype(np.int64)


def check(isa: str, operation: str, kind: str, got: Array, given: list[Array]) -> None:
    expected = expected_of(operation, given, got.dtype)
    inexact = operation in ULPS and given[0].dtype.kind == "f"
    if operation == "sigmoid":
        small = np.abs(expected) < np.finfo(got.dtype).tiny
        assert ((got[small] >= 0) & (got[small] <= np.finfo(got.dtype).tiny)).all()
        got, expected = (
            np.where(small, 0, got).astype(got.dtype),
            np.where(small, 0, expected).astype(got.dtype),
        )
    if operation == "silu":
        low = given[0] < -88
        assert ((np.abs(got[low]) < 1e-36) | (given[0][low] == -np.inf)).all()
        got, expected, given = got[~low], expected[~low], [given[0][~low]]
    if operation == "gelu":
        finite = np.isfinite(given[0])
        steps = [in_steps(values[finite], given[0][finite]) for values in (got, expected)]
        assert_close(steps[0], steps[1], ulp(ULPS[operation]))
        lowest = given[0] == -np.inf
        assert (np.abs(got[lowest]) < np.finfo(got.dtype).eps).all()
        got, expected = got[~finite & ~lowest], expected[~finite & ~lowest]
    tabled = operation in TABLED and isa.startswith("avx512") and kind == "f32x16"
    level: Level = (
        ulp(7 if tabled else ULPS[operation]) if inexact else ulp(0) if operation == "sign" else EXACT
    )
    try:
        assert_close(got, expected, level)
        if tabled:
            near = given[0] > -20
            assert_close(got[near], expected[near], ulp(4))
    except AssertionError as error:
        differs = np.flatnonzero(
            (got != expected) & ~(np.not_equal(got, got) & np.not_equal(expected, expected))
        )
        raise AssertionError(f"of {[tuple(a[i] for a in given) for i in differs[:3]]}: {error}") from None


@pytest.mark.parametrize("isa", SETS)
def test_elementwise(isa: str) -> None:
    compiled, wrong = elementwise(isa), []
    for name in names(isa):
        found = instruction(isa, name)
        operation, _, kind = name.rpartition("_")
        dtype, lanes = parse(kind)
        if operation in ("fma", "dot"):
            continue
        given = [whole(a, lanes) for a in arguments(operation, dtype, len(found.parameters))]
        result = np.dtype(np.uint8) if OPS[operation].boolean else DTYPES[dtype]
        try:
            check(isa, operation, kind, apply(compiled, found, given, result, lanes), given)
        except AssertionError as error:
            wrong.append(f"{name} {error}")
    assert not wrong, f"{len(wrong)} instructions:\n" + "\n".join(wrong)


@pytest.mark.parametrize("isa", SETS)
def test_fused_multiply_add_rounds_once_or_twice(isa: str) -> None:
    compiled = elementwise(isa)
    for name in (n for n in names(isa) if n.startswith("fma_f32")):
        lanes = parse(name.rpartition("_")[2])[1]
        given = [whole(a, lanes) for a in arguments("fma", "f32", 3)]
        got = apply(compiled, instruction(isa, name), given, np.dtype(np.float32), lanes)
        with np.errstate(all="ignore"):
            a, b, c = (x.astype(np.float64) for x in given)
            once = (a * b + c).astype(np.float32)
            twice = given[0] * given[1] + given[2]
        both_nan = np.isnan(got) & np.isnan(twice)
        assert ((got == once) | (got == twice) | both_nan).all(), name


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize(
    "operation",
    ["exp", "log", "tanh", "sigmoid", "silu", "erf", "gelu", "abs", "sqrt", "floor", "ceil", "round"],
)
def test_the_whole_range_of_floats(isa: str, operation: str) -> None:
    every = np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for lanes in (1, LANES[isa]):
        kind = f"f32x{lanes}" if lanes > 1 else "f32"
        found = instruction(isa, f"{operation}_{kind}")
        given = [whole(every, lanes)]
        check(isa, operation, kind, apply(elementwise(isa), found, given, np.dtype(np.float32), lanes), given)


MEMORY = ("load", "loadn", "loads", "loadsn", "store", "storen", "stores", "storesn")


def memory_names(isa: str) -> list[str]:
    """Loads and stores of every dtype in whole vectors, and the set's own."""
    own = [name for name in TABLES[isa] if name.rpartition("_")[0] in MEMORY]
    return list(dict.fromkeys([*(f"{m}_{t}x{LANES[isa]}" for m in MEMORY for t in NUMBERS), *own]))


def other_names(isa: str) -> list[str]:
    lanes = LANES[isa]
    folds = [
        f"fold{f}_{t}x{lanes}"
        for t in ("f32", "f64", "i64", "i32")
        for f in ("add", "mul", "max", "min", "maximum", "minimum")
    ]
    folds += [f"fold{f}_u8x{lanes}" for f in ("and", "or")]
    own = [name for name in TABLES[isa] if name.startswith("fold")]
    found = (
        [f"splat_{t}x{lanes}" for t in NUMBERS]
        + [f"select_{t}x{lanes}" for t in NUMBERS]
        + [f"exponent_f32x{lanes}"]
    )
    return list(dict.fromkeys([*found, *folds, *own]))


def moved(found: Instruction) -> str:
    """A function that loads a vector from p and puts it down densely at q, or stores what stands at q to p."""
    operation, _, kind = found.name.rpartition("_")
    own = type_name(*parse(kind))
    more = "".join(f", {letter}" for letter in operation.removeprefix("store").removeprefix("load"))
    if operation.startswith("load"):
        body = f"{own} a = {found.name}((const void *)p{more}); __builtin_memcpy(q, &a, sizeof a);"
    else:
        body = f"{own} a; __builtin_memcpy(&a, q, sizeof a); {found.name}((void *)p, a{more});"
    return f"{PUBLIC} void test_{found.name}(unsigned char *p, unsigned char *q, int64_t s, int64_t n) {{ (void)s; (void)n; {body} }}"


@cache
def memory(isa: str) -> ctypes.CDLL:
    found = [instruction(isa, name) for name in memory_names(isa)]
    return library(isa, "memory", {i.name: ([i.name], moved(i)) for i in found})


@cache
def others(isa: str) -> ctypes.CDLL:
    found = [instruction(isa, name) for name in other_names(isa)]
    functions = {i.name: ([i.name], each(i)) for i in found}
    iota = f"iota_i64x{LANES[isa]}"
    own = type_name("i64", LANES[isa])
    text = f"{PUBLIC} void test_iota(unsigned char *q, int64_t a, int64_t s) {{ {own} r = {iota}(a, s); __builtin_memcpy(q, &r, sizeof r); }}"
    return library(isa, "others", functions | {"iota": ([iota], text)})


def at_the_end_of_a_page(size: int, dtype: np.dtype[Any]) -> Array:
    """An array behind which no memory can be read or written."""
    page = mmap.PAGESIZE
    pages = -(-size * dtype.itemsize // page) + 1
    area = mmap.mmap(-1, pages * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(base + (pages - 1) * page), ctypes.c_size_t(page), 0) == 0
    return np.frombuffer(area, dtype, size, (pages - 1) * page - size * dtype.itemsize)


@pytest.mark.parametrize("isa", SETS)
def test_loads_and_stores_touch_what_they_should(isa: str) -> None:
    for name in memory_names(isa):
        operation, _, kind = name.rpartition("_")
        dtype, lanes = parse(kind)
        call = getattr(memory(isa), f"test_{name}")
        masked, strided = operation.endswith("n"), "s" in operation.removeprefix("store").removeprefix("load")
        for count, stride in itertools.product(
            range(lanes + 1) if masked else (lanes,), (1, 2, 4, 5) if strided else (1,)
        ):
            reach = max((count - 1) * stride + 1, 0)
            p = at_the_end_of_a_page(reach, DTYPES[dtype])
            q = np.arange(1, lanes + 1).astype(DTYPES[dtype])
            p[:] = np.arange(reach) % 100 + 20
            before = p.copy()
            call(
                ctypes.c_void_p(p.ctypes.data),
                ctypes.c_void_p(q.ctypes.data),
                ctypes.c_int64(stride),
                ctypes.c_int64(count),
            )
            places = np.arange(count) * stride
            if operation.startswith("load"):
                wanted = np.zeros(lanes, DTYPES[dtype])
                wanted[:count] = before[places]
                assert_close(q, wanted, EXACT)
                assert_close(p, before, EXACT)
            else:
                before[places] = q[:count]
                assert_close(p, before, EXACT)


@pytest.mark.parametrize("isa", SETS)
def test_folds(isa: str) -> None:
    steps: dict[str, Callable[[Array], Array]] = {
        "add": lambda a: a.sum(1), "mul": lambda a: a.prod(1), "max": lambda a: a.max(1), "min": lambda a: a.min(1),
        "maximum": lambda a: a.max(1), "minimum": lambda a: a.min(1),
        "and": lambda a: a.all(1), "or": lambda a: a.any(1),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for name in (n for n in other_names(isa) if n.startswith("fold")):
        operation, _, kind = name.rpartition("_")
        dtype, lanes = parse(kind)
        if dtype == "u8":
            a = (rng.random((100, lanes)) < (0.9 if operation == "foldand" else 0.1)).astype(np.uint8)
        else:
            a = rng.choice([-2, -1, 1, 2], (100, lanes)).astype(DTYPES[dtype])
        got = apply_rows(isa, name, a)
        assert_close(got, steps[operation[4:]](a).astype(DTYPES[dtype]), EXACT)


def apply_rows(isa: str, name: str, a: Array) -> Array:
    """A fold of every row."""
    made = np.zeros(len(a), a.dtype)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (np.ascontiguousarray(a), made)]
    getattr(others(isa), f"test_{name}")(*pointers, ctypes.c_int64(len(a)))
    return made


@pytest.mark.parametrize("isa", SETS)
def test_select(isa: str) -> None:
    rng, lanes = np.random.default_rng(0), LANES[isa]
    for dtype in NUMBERS:
        found = instruction(isa, f"select_{dtype}x{lanes}")
        a = whole(interesting(dtype), lanes)
        b = np.roll(a, 5)
        mask = rng.integers(0, 2, a.size).astype(np.uint8)
        assert_close(
            apply(others(isa), found, [mask, a, b], DTYPES[dtype], lanes, size=a.size),
            np.where(mask, a, b),
            EXACT,
        )


@pytest.mark.parametrize("isa", SETS)
def test_splat_and_iota(isa: str) -> None:
    lanes = LANES[isa]
    for dtype in NUMBERS:
        a = interesting(dtype)
        got = apply(
            others(isa),
            instruction(isa, f"splat_{dtype}x{lanes}"),
            [a],
            DTYPES[dtype],
            lanes,
            size=a.size * lanes,
        )
        assert_close(got, np.repeat(a, lanes), EXACT)
    made = np.zeros(lanes, np.int64)
    for base, stride in ((0, 1), (-5, 3), (2**40, -(2**33)), (7, 0)):
        others(isa).test_iota(ctypes.c_void_p(made.ctypes.data), ctypes.c_int64(base), ctypes.c_int64(stride))
        assert made.tolist() == [base + i * stride for i in range(lanes)]


@pytest.mark.parametrize("isa", SETS)
def test_exponent_scales_by_a_power_of_two(isa: str) -> None:
    lanes = LANES[isa]
    a, b = (
        x.ravel()
        for x in np.meshgrid(
            np.linspace(0.7, 1.5, 16, dtype=np.float32), np.arange(-160, 129, dtype=np.float32)
        )
    )
    a, b = whole(np.ascontiguousarray(a), lanes), whole(np.ascontiguousarray(b), lanes)
    got = apply(others(isa), instruction(isa, f"exponent_f32x{lanes}"), [a, b], np.dtype(np.float32), lanes)
    with np.errstate(over="ignore", under="ignore"):
        assert_close(got, np.ldexp(a, b.astype(np.int32)), EXACT)


def test_every_half_and_the_floats_around_it_are_converted() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = halves.astype(np.float32)
    ordered = np.sort(wide[np.isfinite(wide)])
    middle = ((ordered[:-1].astype(np.float64) + ordered[1:]) / 2).astype(np.float32)
    edges = [np.nextafter(middle, np.float32(s), dtype=np.float32) for s in (-np.inf, np.inf)]
    rng = np.random.default_rng(0)
    floats = np.concatenate(
        [wide, middle, *edges, rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)]
    )
    up = f"{PUBLIC} void up(const _Float16 *a, float *r, int64_t n) {{ for (int64_t i = 0; i < n; i++) r[i] = a[i]; }}"
    down = f"{PUBLIC} void down(const float *a, _Float16 *r, int64_t n) {{ for (int64_t i = 0; i < n; i++) r[i] = a[i]; }}"
    for isa in (p.values[0] for p in SETS if TARGETS[str(p.values[0])].cpu_flags <= cpu_features()):
        compiled = library(str(isa), "half", {"up": ([], up), "down": ([], down)})
        for function, given, result in (
            (compiled.up, halves, np.float32),
            (compiled.down, floats, np.float16),
        ):
            made = np.zeros(given.size, result)
            function(
                ctypes.c_void_p(given.ctypes.data),
                ctypes.c_void_p(made.ctypes.data),
                ctypes.c_int64(given.size),
            )
            with np.errstate(all="ignore"):
                assert_close(made, given.astype(result), EXACT)


def bf16_names(isa: str) -> list[str]:
    """Conversions and products: scalars, whole vectors and what the set itself has."""
    n = LANES[isa]
    found = [
        "widen_bf16",
        f"widen_bf16x{n}",
        "narrow_f32",
        f"narrow_f32x{n}",
        f"dot_f32x{n}",
        f"repeat_bf16x{n}",
    ]
    own = [name for name in TABLES[isa] if name.rpartition("_")[0] in ("widen", "narrow", "dot")]
    return list(dict.fromkeys([*found, *own]))


@cache
def bf16(isa: str) -> ctypes.CDLL:
    found = [instruction(isa, name) for name in bf16_names(isa)]
    return library(isa, "bf16", {i.name: ([i.name], each(i)) for i in found})


@pytest.mark.parametrize("isa", SETS)
def test_every_bf16_and_the_floats_around_it_are_converted(isa: str) -> None:
    kind = DTYPES["bf16"]
    every = np.arange(65536, dtype=np.uint16).view(kind)
    wide = every.astype(np.float32)
    bits = np.arange(65536, dtype=np.uint32)[:, None] << 16
    near = (bits + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).view(np.float32).ravel()
    normal = near[~(np.abs(near) < np.finfo(np.float32).tiny)]
    for name in bf16_names(isa):
        operation, _, of = name.rpartition("_")
        lanes = parse(of)[1]
        found = instruction(isa, name)
        with np.errstate(all="ignore"):
            if operation == "widen":
                got = apply(bf16(isa), found, [every], np.dtype(np.float32), lanes)
                assert_close(got, wide, EXACT)
            if operation == "narrow":
                given = whole(normal, lanes)
                got = apply(bf16(isa), found, [given], kind, lanes)
                assert_close(got.astype(np.float32), given.astype(kind).astype(np.float32), EXACT)
            if operation == "repeat":
                got = apply(bf16(isa), found, [every], kind, lanes, size=every.size // 2 * lanes)
                pairs = np.tile(every.view(np.uint32)[:, None], lanes // 2).view(np.uint16)
                assert (got.view(np.uint16) == pairs.ravel()).all()


@pytest.mark.parametrize("isa", SETS)
def test_pairs_of_bf16_are_multiplied(isa: str) -> None:
    rng = np.random.default_rng(0)
    for name in (n for n in bf16_names(isa) if n.startswith("dot")):
        lanes = parse(name.rpartition("_")[2])[1]
        a = rng.standard_normal(100 * lanes).astype(np.float32)
        b, c = (rng.standard_normal(200 * lanes).astype(DTYPES["bf16"]) for _ in "bc")
        a[:4], b[:8] = (0, -0.0, np.inf, np.nan), (1, 2, 0, 0, 3, 1, 0, 0)
        got = apply(bf16(isa), instruction(isa, name), [a, b, c], np.dtype(np.float32), lanes, size=a.size)
        with np.errstate(all="ignore"):
            assert_close(got, OPS["dot"].compute(a, b, c), EXACT)


@pytest.mark.parametrize("isa", TARGETS)
def test_closure_puts_what_is_called_first(isa: str) -> None:
    kind = f"f32x{LANES[isa]}"
    order = [
        i.name for i in closure(isa, [f"tanh_{kind}", f"foldmax_i32x{LANES[isa]}", f"pow_i64x{LANES[isa]}"])
    ]
    assert len(set(order)) == len(order)
    for caller, called in ((f"tanh_{kind}", f"exp_{kind}"), (f"exp_{kind}", f"exponent_{kind}"), (f"exp_{kind}", f"splat_{kind}"),
                           (f"foldmax_i32x{LANES[isa]}", "max_i32"), (f"pow_i64x{LANES[isa]}", "pow_i64"), ("pow_i64", "mul_i64")):  # fmt: skip
        assert order.index(called) < order.index(caller)


def test_a_set_falls_back() -> None:
    assert instruction("avx512", "fma_f32x16") is AVX512["fma_f32x16"]
    assert instruction("avx512", "fma_f32x8") is AVX2["fma_f32x8"]
    assert instruction("avx512", "add_f32x16") == generic.derive("add", "f32x16")
    assert instruction("generic", "fma_f32x8") == generic.derive("fma", "f32x8")


@pytest.mark.parametrize(
    "name", ["nothing_f32", "nothing_f32x4", "bitand_f32", "exp_i32", "shl_f32x4", "foldsub_f32x4"]
)
def test_an_instruction_that_no_type_has_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        instruction("avx2", name)


def test_every_operation_of_the_grammar_is_tested_here() -> None:
    assert set(DTYPES_OF) == {name for name, meaning in OPS.items() if not meaning.types}
    assert set(OPS) <= generic.OPERATIONS


@pytest.mark.parametrize("isa", SETS)
def test_every_number_of_a_byte_and_the_floats_around_it_are_converted(isa: str) -> None:
    every = np.arange(256, dtype=np.uint8)
    bits = np.arange(65536, dtype=np.uint32)[:, None] << 16
    near = (bits + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).view(np.float32).ravel()
    lanes = LANES[isa]
    used = [
        name
        for dtype in BYTES
        for kind in (STORED[dtype], f"{STORED[dtype]}x{lanes}")
        for name in (f"from{dtype}_{kind}", f"to{dtype}_{kind}")
    ]
    found = {name: instruction(isa, name) for name in used}
    compiled = library(isa, "bytes", {i.name: ([i.name], each(i)) for i in found.values()})
    for name in used:
        operation, _, of = name.partition("_")
        dtype = operation.removeprefix("from").removeprefix("to")
        width, kind, wide = parse(of)[1], DTYPES[dtype], DTYPES[STORED[dtype]]
        with np.errstate(all="ignore"):
            if operation.startswith("from"):
                given = every % 16 if dtype == "f4e2m1" else every
                got = apply(compiled, found[name], [given], wide, width)
                assert_close(got, given.view(kind).astype(wide), EXACT)
            else:
                given = every.view(wide) if wide.kind in "iu" else near
                got = apply(compiled, found[name], [whole(given, width)], np.dtype(np.uint8), width)
                assert_close(got, whole(given, width).astype(kind).view(np.uint8), EXACT)
