"""Where a model's time goes: each kernel timed inside of a run."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import ingot
from ingot.errors import IngotError
from ingot.ir.work import kind, work
from ingot.report.inputs import Array, Shapes, bind_symbols, make_inputs, parse_inputs
from ingot.report.peak import peak_flops, read_bandwidth
from ingot.report.sources import Progress, is_folder

MIN_RUNS = 5


@dataclass(frozen=True)
class KernelTime:
    """One kernel: how often a run calls it, for which ONNX nodes, and the seconds of all its calls in a run.

    kind: "copy" where it only moves elements, be it to another layout; otherwise the operation, such as "dense" or "row".
    flops, bytes: of all its calls, as it computes (Winograd's products, not the convolution's), None where a size is
    known only while running.
    """

    name: str
    kind: str
    calls: int
    nodes: tuple[str, ...]
    seconds: float
    flops: int | None
    bytes: int | None


@dataclass(frozen=True)
class Profile:
    """kernels: the slowest first. seconds: of a run as the caller sees it, the clocks between the kernels included."""

    name: str
    target: str
    threads: int
    shapes: dict[str, list[int]]
    runs: int
    seconds: float
    kernels: list[KernelTime]
    peak_flops: float
    read_bandwidth: float
    precision: str = "f32"

    @property
    def kinds(self) -> dict[str, float]:
        """Seconds by kind of kernel, the largest first."""
        totals: dict[str, float] = {}
        for kernel in self.kernels:
            totals[kernel.kind] = totals.get(kernel.kind, 0.0) + kernel.seconds
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """The profile for JSON; times in seconds."""
        return {
            **vars(self),
            "kinds": self.kinds,
            "kernels": [
                {
                    **vars(kernel),
                    "gflops": _rate(kernel.flops, kernel.seconds),
                    "gbytes": _rate(kernel.bytes, kernel.seconds),
                }
                for kernel in self.kernels
            ],
        }


def profile(
    source: Any,
    *,
    inputs: Sequence[str] | Mapping[str, str | Array] = (),
    shapes: Shapes | None = None,
    target: str = "native",
    precision: str = "f32",
    threads: int = 1,
    runs: int | None = None,
    seconds: float = 5.0,
    progress: Progress | None = None,
) -> Profile:
    """Compiles a model with a clock between its kernels and runs it `runs` times, or for `seconds`.

    Times are medians over the runs. inputs, shapes: as for `infer`; other inputs are random. Raises IngotError, and
    option-invalid for a package, which has no clocks.
    """
    if is_folder(source) or hasattr(source, "manifest"):
        raise IngotError(
            "option-invalid",
            "a package has no clocks between its kernels",
            where="--profile",
            remedy="give the model that it was compiled from",
        )
    package = ingot.compile(
        source, shapes=shapes, target=target, precision=precision, profile=True, progress=progress
    )
    session = ingot.load(package, threads=threads)
    ports = session.get_inputs()
    given = inputs if isinstance(inputs, Mapping) else parse_inputs(inputs, [port.name for port in ports])
    arrays = make_inputs(ports, given, shapes)
    steps = package.report["steps"]
    library = ctypes.CDLL(str(package.folder() / f"lib{package.name}.so"))
    counters = np.ctypeslib.as_array(
        (ctypes.c_int64 * max(len(steps), 1)).in_dll(library, f"{package.name}_profile")
    )
    session.run(None, arrays)
    walls: list[float] = []
    laps: list[Array] = []
    start = time.perf_counter()
    while len(walls) < (runs or MIN_RUNS) or (runs is None and time.perf_counter() - start < seconds):
        counters[:] = 0
        begin = time.perf_counter()
        session.run(None, arrays)
        walls.append(time.perf_counter() - begin)
        laps.append(counters[: len(steps)] * 1e-9)
        if progress:
            done = len(walls) / runs if runs else (time.perf_counter() - start) / max(seconds, 1e-9)
            progress("time", min(100, round(100 * done)), 100)
    chosen = str(package.manifest["target"]["name"])
    symbols = bind_symbols(ports, {name: array.shape for name, array in arrays.items()})
    return Profile(
        name=package.name,
        target=chosen,
        threads=threads,
        shapes={name: list(array.shape) for name, array in arrays.items()},
        runs=len(walls),
        seconds=float(np.median(walls)),
        kernels=_kernels(steps, np.median(laps, axis=0).tolist(), symbols),
        peak_flops=peak_flops(chosen, threads, precision),
        read_bandwidth=read_bandwidth(chosen, threads),
        precision=precision,
    )


def _kernels(
    steps: Sequence[tuple[str, Any]], seconds: Sequence[float], symbols: Mapping[str, int]
) -> list[KernelTime]:
    found: dict[str, KernelTime] = {}
    for (name, operation), spent in zip(steps, seconds, strict=True):
        done = work(operation, symbols)
        known = found.get(name)
        if known is None:
            flops, moved = (None, None) if done is None else (done.flops, done.bytes)
            found[name] = KernelTime(name, kind(operation), 1, tuple(operation.nodes), spent, flops, moved)
            continue
        found[name] = KernelTime(
            name,
            known.kind,
            known.calls + 1,
            tuple(dict.fromkeys((*known.nodes, *operation.nodes))),
            known.seconds + spent,
            None if known.flops is None or done is None else known.flops + done.flops,
            None if known.bytes is None or done is None else known.bytes + done.bytes,
        )
    return sorted(found.values(), key=lambda kernel: -kernel.seconds)


def _rate(amount: int | None, seconds: float) -> float | None:
    """Billions a second; None where either is not known."""
    return None if amount is None or seconds <= 0 else amount / seconds / 1e9
