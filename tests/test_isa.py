"""Every instruction of every set that this machine can run, compiled and compared with the meaning of its operation."""

from __future__ import annotations

import ctypes
import itertools
import math
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot import toolchain
from ingot.compiler import FLAGS
from ingot.emit.c import source
from ingot.ir.nodes import DTYPES
from ingot.ir.ops import OPS
from ingot.isa import Instruction, instruction
from ingot.isa.avx2 import TABLE as AVX2
from ingot.isa.avx512 import TABLE as AVX512
from ingot.isa.instruction import parse
from ingot.runtime.sources import native_text
from ingot.target import TARGETS, cpu_features
from ingot.testing import EXACT, Array, Level, assert_close, ulp

LANES = {name: target.lanes for name, target in TARGETS.items()}
TABLES: dict[str, dict[str, Instruction]] = {"generic": {}, "avx2": AVX2, "avx512": AVX512 | AVX2}
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
    **dict.fromkeys(("add", "sub", "mul", "min", "max", "eq", "ne", "lt", "le", "gt", "ge", "div"), NUMBERS),
    **dict.fromkeys(("neg",), (*FLOATS, *SIGNED)),
    **dict.fromkeys(("abs", "sign"), NUMBERS),
    **dict.fromkeys(("mod", "fmod"), ("f32", "f64", *SIGNED, *UNSIGNED)),
    **dict.fromkeys(("pow",), ("f32", "f64", "i64", "i32", "u8")),
    **dict.fromkeys(("bitand", "bitor", "bitxor", "bitnot"), (*SIGNED, *UNSIGNED)),
    **dict.fromkeys(("shl", "shr"), UNSIGNED),
    **dict.fromkeys(("and", "or", "xor", "not"), ("u8",)),
    **dict.fromkeys(("sqrt", "floor", "ceil", "trunc", "round", "exp", "sigmoid", "tanh", "isnan", "isinf", "fma"), FLOATS),
    **dict.fromkeys(("log", "erf", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
                    ("f32", "f64")),
}  # fmt: skip
ULPS = {
    "exp": 1, "log": 2, "tanh": 4, "sigmoid": 3, "erf": 4, "pow": 2, "sin": 2, "cos": 2, "tan": 2, "asin": 2, "acos": 2, "atan": 2, "sinh": 2,
    "cosh": 2, "asinh": 2, "acosh": 2, "atanh": 2,
}  # fmt: skip
"""How far from the correctly rounded result an operation may be; all others are exact."""


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
    compiled: ctypes.CDLL, found: Instruction, arguments: list[Array], result: np.dtype[Any], lanes: int
) -> Array:
    """The instruction over arrays, whose length is a multiple of the lanes."""
    made = np.zeros(arguments[0].size, result)
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


@pytest.mark.parametrize("isa", SETS)
def test_elementwise(isa: str) -> None:
    compiled = elementwise(isa)
    wrong = []
    for name in names(isa):
        found = instruction(isa, name)
        operation, _, kind = name.rpartition("_")
        dtype, lanes = parse(kind)
        if operation == "fma":
            continue
        given = [whole(a, lanes) for a in arguments(operation, dtype, len(found.parameters))]
        boolean = OPS[operation].boolean
        result = np.dtype(np.uint8) if boolean else DTYPES[dtype]
        got = apply(compiled, found, given, result, lanes)
        exactly = operation in ULPS and DTYPES[dtype].kind == "f"
        with np.errstate(all="ignore"):
            wide = [a.astype(np.float64) for a in given] if exactly else given
            expected = np.asarray(OPS[operation].compute(*wide)).astype(result)
        level: Level = ulp(ULPS[operation]) if exactly else ulp(0) if operation == "sign" else EXACT
        try:
            assert_close(got, expected, level)
        except AssertionError as error:
            worst = np.flatnonzero((got != expected) & ~((got != got) & (expected != expected)))[:1]
            shown = [tuple(a[i] for a in given) for i in worst]
            wrong.append(f"{name}{shown}: {error}")
    assert not wrong, f"{len(wrong)} instructions:\n" + "\n".join(wrong)
