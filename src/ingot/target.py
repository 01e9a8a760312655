"""What code is compiled for: instruction set, vector width, registers, caches and compiler flags.

A target starts from another and overrides what differs: `avx512` falls back to `avx2`, `avx2` to `generic`.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ingot.errors import IngotError


@dataclass(frozen=True)
class Target:
    """A machine to compile for.

    name: the key in `TARGETS`. isa: the table in `ingot.isa` with the vector instructions. lanes: f32 values in a vector.
    registers: architectural vector registers. l1, l2: bytes of data cache a core has. flags: given to clang and gcc.
    cpu_flags: features of /proc/cpuinfo that running its code needs. fallback: the target to try where these are absent.
    precisions: what it multiplies at full speed, and so may compile for.
    """

    name: str
    isa: str
    lanes: int
    registers: int
    l1: int
    l2: int
    flags: tuple[str, ...]
    cpu_flags: frozenset[str] = frozenset()
    fallback: str | None = None
    precisions: tuple[str, ...] = ("f32",)


_GENERIC = Target("generic", "generic", lanes=4, registers=16, l1=32 << 10, l2=256 << 10, flags=())
_AVX2 = replace(
    _GENERIC,
    name="avx2",
    isa="avx2",
    lanes=8,
    l2=512 << 10,
    flags=("-march=haswell",),
    cpu_flags=frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}),
    fallback="generic",
)
_AVX512 = replace(
    _AVX2,
    name="avx512",
    isa="avx512",
    lanes=16,
    registers=32,
    l2=1 << 20,
    flags=("-march=skylake-avx512", "-mprefer-vector-width=512"),
    cpu_flags=_AVX2.cpu_flags | {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"},
    fallback="avx2",
)
_AVX512_BF16 = replace(
    _AVX512,
    name="avx512_bf16",
    isa="avx512_bf16",
    flags=(*_AVX512.flags, "-mavx512bf16"),
    cpu_flags=_AVX512.cpu_flags | {"avx512_bf16"},
    fallback="avx512",
    precisions=("f32", "bf16"),
)
TARGETS: dict[str, Target] = {t.name: t for t in (_GENERIC, _AVX2, _AVX512, _AVX512_BF16)}


@cache
def cpu_features() -> frozenset[str]:
    """The feature flags of this machine's first core, as the kernel names them; empty where they are not told."""
    return frozenset((_cpuinfo("flags") or _cpuinfo("Features")).split())


def cpu_name() -> str:
    """What the processor calls itself."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(name: str) -> str:
    """What the kernel says of this machine's first core; empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    line = next((line for line in text.splitlines() if line.startswith(name)), ":")
    return line.split(":", 1)[1].strip()


def runs_here(target: Target) -> bool:
    """Whether this machine can run what is compiled for the target."""
    return target.cpu_flags <= cpu_features()


def native(precision: str = "f32") -> Target:
    """The best target for a precision that this machine can run. Raises IngotError precision-unsupported."""
    x86 = platform.machine() in ("x86_64", "AMD64")
    runnable = [t for t in TARGETS.values() if runs_here(t) and (x86 or t is _GENERIC)]
    able = [t for t in runnable if precision in t.precisions]
    if not able:
        raise _unable("this machine", precision)
    return max(able, key=lambda t: t.lanes)


def _unable(what: str, precision: str) -> IngotError:
    able = [t.name for t in TARGETS.values() if precision in t.precisions]
    return IngotError(
        "precision-unsupported",
        f"{what} has no {precision} products",
        where="--precision",
        remedy=f"use f32, or compile for {' or '.join(able)} with --target",
    )


def resolve(name: str, precision: str = "f32") -> Target:
    """The target called `name`; "native" is this machine's best. Raises IngotError target-unknown, precision-unsupported."""
    if name == "native":
        return native(precision)
    if name not in TARGETS:
        raise IngotError(
            "target-unknown",
            f"there is no target {name!r}",
            where="--target",
            remedy=f"use one of: native, {', '.join(TARGETS)}",
        )
    if precision not in TARGETS[name].precisions:
        raise _unable(f"target {name}", precision)
    return TARGETS[name]
