"""What this machine can do at most, measured: floating-point operations in registers, and bytes read from memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ingot.target import resolve
from ingot.toolchain import compile_objects, find_compiler, link_shared

_ACCUMULATORS = 12
_READ_BYTES = 256 << 20


@cache
def peak_flops(target: str, threads: int = 1) -> float:
    """Multiply-adds on float32 vectors that never leave the registers, as operations (two each) in a second."""
    lanes = resolve(target).lanes
    function = _library(target).fma_run
    steps = 1 << 20
    sink = np.zeros((threads, 64), np.float32)

    def work(thread: int) -> None:
        function(ctypes.c_int64(steps), sink[thread].ctypes.data_as(ctypes.c_void_p))

    return steps * _ACCUMULATORS * lanes * 2 * threads / _best(work, threads)


@cache
def read_bandwidth(target: str, threads: int = 1) -> float:
    """Bytes in a second that `threads` threads read from memory, each its own part of one large array."""
    function = _library(target).read_run
    data = np.ones(_READ_BYTES // 4, np.float32)
    parts = np.array_split(data[: data.size // (64 * threads) * 64 * threads], threads)
    sink = np.zeros((threads, 64), np.float32)

    def work(thread: int) -> None:
        part = parts[thread]
        function(
            part.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(part.size),
            sink[thread].ctypes.data_as(ctypes.c_void_p),
        )

    return sum(part.nbytes for part in parts) / _best(work, threads)


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
    compiler = find_compiler()
    flags = [*chosen.flags, "-O3", "-ffp-contract=fast"]
    objects = compile_objects(compiler, {"peak.c": _source(chosen.lanes)}, flags)
    with TemporaryDirectory(prefix="ingot-peak-") as folder:
        path = Path(folder) / "libpeak.so"
        link_shared(compiler, objects, path, flags)
        return ctypes.CDLL(str(path))


def _source(lanes: int) -> str:
    names = [f"a{i}" for i in range(_ACCUMULATORS)]
    declare = "\n".join(f"  vec {name} = b + {i};" for i, name in enumerate(names))
    step = "\n".join(f"    {name} = {name} * b + c;" for name in names)
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

__attribute__((visibility("default"))) void read_run(const float *data, int64_t count, float *out) {{
  vec s0 = {{0}}, s1 = {{0}}, s2 = {{0}}, s3 = {{0}};
  for (int64_t i = 0; i < count; i += {4 * lanes}) {{
    s0 += *(const vec *)(data + i);
    s1 += *(const vec *)(data + i + {lanes});
    s2 += *(const vec *)(data + i + {2 * lanes});
    s3 += *(const vec *)(data + i + {3 * lanes});
  }}
  *(vec *)out = s0 + s1 + s2 + s3;
}}
"""
