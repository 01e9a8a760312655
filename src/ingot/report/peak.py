"""What this machine can do at most, measured: floating-point operations in registers, and bytes read from memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from ingot.target import Target, resolve
from ingot.toolchain import load_source

_ACCUMULATORS = 12
_STREAMS = 8
MEMORY = 256 << 20
"""More bytes than a cache holds."""


@cache
def peak_flops(target: str, threads: int = 1, precision: str = "f32") -> float:
    """Multiply-adds on vectors that never leave the registers, as operations (two each) in a second."""
    lanes = resolve(target).lanes * (2 if precision == "bf16" else 1)
    library = _library(target)
    function = library.dot_run if precision == "bf16" else library.fma_run
    steps = 1 << 20
    sink = np.zeros((threads, 64), np.float32)

    def work(thread: int) -> None:
        function(ctypes.c_int64(steps), sink[thread].ctypes.data_as(ctypes.c_void_p))

    return steps * _ACCUMULATORS * lanes * 2 * threads / _best(work, threads)


@cache
def read_bandwidth(target: str, threads: int = 1, size: int = MEMORY) -> float:
    """Bytes in a second that `threads` threads read again and again, each its own part of one array of `size` bytes."""
    function = _library(target).read_run
    raw = np.ones(size // 4 + 16, np.float32)
    data = raw[-raw.ctypes.data % 64 // 4 :][: size // 4]
    step = _STREAMS * resolve(target).lanes * threads
    parts = np.array_split(data[: data.size // step * step], threads)
    sink = np.zeros((threads, 64), np.float32)
    passes = max(1, (MEMORY >> 2) // size)

    def work(thread: int) -> None:
        part = parts[thread]
        function(
            part.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(part.size),
            ctypes.c_int64(passes),
            sink[thread].ctypes.data_as(ctypes.c_void_p),
        )

    return sum(part.nbytes for part in parts) * passes / _best(work, threads)


def bandwidth_size(size: int) -> int:
    """A power of two, at least `size` up to `MEMORY`: the size to measure the bandwidth of so many bytes at."""
    return min(MEMORY, 1 << max(14, (size - 1).bit_length()))


def _best(work: Callable[[int], None], threads: int, rounds: int = 12) -> float:
    """The fewest seconds of several rounds in which every thread does its `work` once."""
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            times.append(time.perf_counter() - start)
    return min(times)


@cache
def _library(target: str) -> ctypes.CDLL:
    chosen = resolve(target)
    return load_source(_source(chosen), [*chosen.flags, "-O3", "-ffp-contract=fast"])


def _source(target: Target) -> str:
    lanes = target.lanes
    names = [f"a{i}" for i in range(_ACCUMULATORS)]
    declare = "\n".join(f"  vec {name} = b + {i};" for i, name in enumerate(names))
    step = "\n".join(f"    {name} = {name} * b + c;" for name in names)
    pairs = "\n".join(f"    {name} = (vec)_mm512_dpbf16_ps((__m512){name}, b, b);" for name in names)
    sums = [f"s{i}" for i in range(_STREAMS)]
    zero = ", ".join(f"{name} = {{0}}" for name in sums)
    load = "\n".join(
        f"      {name} += *(const vec *)(data + i + {i * lanes});" for i, name in enumerate(sums)
    )
    dot = f"""
#include <immintrin.h>

__attribute__((visibility("default"))) void dot_run(int64_t steps, float *out) {{
  __m512bh b = (__m512bh)_mm512_loadu_ps(out);
  vec {", ".join(f"{name} = *(vec *)out + {i}" for i, name in enumerate(names))};
  for (int64_t i = 0; i < steps; i++) {{
{pairs}
  }}
  *(vec *)out = {" + ".join(names)};
}}
"""
    return f"""\
#include <stdint.h>

typedef float vec __attribute__((vector_size({4 * lanes}), aligned(4), may_alias));

__attribute__((visibility("default"))) void fma_run(int64_t steps, float *out) {{
  vec b = *(vec *)out, c = *(vec *)(out + {lanes});
{declare}
  for (int64_t i = 0; i < steps; i++) {{
{step}
  }}
  *(vec *)(out + {2 * lanes}) = {" + ".join(names)};
}}

__attribute__((visibility("default"))) void read_run(const float *data, int64_t count, int64_t passes, float *out) {{
  vec {zero};
  for (int64_t pass = 0; pass < passes; pass++) {{
    for (int64_t i = 0; i < count; i += {_STREAMS * lanes}) {{
{load}
    }}
    __asm__ volatile("" ::: "memory");
  }}
  *(vec *)out = {" + ".join(sums)};
}}
{dot if "bf16" in target.precisions else ""}"""
