"""Time a model against other runtimes, in one process and in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import ingot
from ingot.errors import IngotError
from ingot.report.inputs import Array, Shapes, make_inputs, parse_inputs
from ingot.report.peak import bandwidth_size, peak_flops, read_bandwidth
from ingot.report.peers import PEERS, Job, Run, first_run, model_file, open_peer, ready_peer, require_peer
from ingot.report.sources import Progress, is_folder, package_of

BLOCK_SECONDS = 0.03
SETTLE_SECONDS = 0.003
"""How long a contender runs before it is timed."""
QUIET_SECONDS = 0.5
"""How long a contender waits at most for the threads of the one before it, which may spin on after its last run."""
QUIET_SHARE = 0.1
"""Of one processor: what all threads together may use where they count as asleep."""
MIN_BLOCKS = 5
TOLERANCES = {"f32": 1e-3, "bf16": 5e-2}
"""Largest difference of outputs, as a share of the largest output value, at which two runtimes count as equal."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: median and the 10th and 90th percentile of `runs` runs."""

    median: float
    p10: float
    p90: float
    runs: int


@dataclass(frozen=True)
class BenchReport:
    """name, target, precision, threads, shapes: what ran. ours, peers: times. differences: for each peer the largest difference of an
    output, as a share of that output's largest value. macs: multiply-adds of one run, convolutions summed directly, or
    None when they are not known. moved_bytes: weights, inputs and outputs. peak_flops: operations of the precision in a
    second that this machine reaches in registers. read_bandwidth: bytes in a second read from memory. bandwidth: the same for
    as many bytes as the run moves, which may fit a cache. All with `threads` threads. versions, settings: of the peers.
    skipped: peers that were not timed, with the reason.
    """

    name: str
    target: str
    threads: int
    shapes: dict[str, list[int]]
    ours: Timing
    peers: dict[str, Timing]
    differences: dict[str, float]
    macs: int | None
    peak_flops: float
    read_bandwidth: float
    moved_bytes: int = 0
    bandwidth: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    precision: str = "f32"

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as fast as each peer ingot is: above 1 it is faster."""
        return {name: timing.median / self.ours.median for name, timing in self.peers.items()}

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        return min(self.peers, key=lambda name: self.peers[name].median, default=None)

    @property
    def flops(self) -> float | None:
        """Floating-point operations in a second of the median run."""
        return None if self.macs is None else 2 * self.macs / self.ours.median

    @property
    def limit(self) -> float | None:
        """Seconds that no run can be shorter than at these peaks, unless it needs fewer multiply-adds (Winograd does)."""
        if self.macs is None:
            return None
        return max(
            2 * self.macs / self.peak_flops, self.moved_bytes / (self.bandwidth or self.read_bandwidth)
        )

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; times in seconds."""
        flops = self.flops
        return {
            "name": self.name,
            "target": self.target,
            "precision": self.precision,
            "threads": self.threads,
            "shapes": self.shapes,
            "ingot": vars(self.ours),
            "peers": {
                name: {
                    **vars(timing),
                    "ratio": self.ratios[name],
                    "difference": self.differences[name],
                    "version": self.versions.get(name, ""),
                    "settings": self.settings.get(name, ""),
                }
                for name, timing in self.peers.items()
            },
            "skipped": self.skipped,
            "best": self.best,
            "ratio": None if self.best is None else self.ratios[self.best],
            "macs": self.macs,
            "gflops": None if flops is None else flops / 1e9,
            "peak_gflops": self.peak_flops / 1e9,
            "share_of_peak": None if flops is None else flops / self.peak_flops,
            "read_gbytes": self.read_bandwidth / 1e9,
            "moved_bytes": self.moved_bytes,
            "bandwidth_gbytes": self.bandwidth / 1e9,
            "limit": self.limit,
            "share_of_limit": None if self.limit is None else self.limit / self.ours.median,
        }


def bench(
    source: Any,
    against: Sequence[str] | None = None,
    *,
    model: Any = None,
    files: Mapping[str, Path] | None = None,
    inputs: Sequence[str] | Mapping[str, str | Array] = (),
    shapes: Shapes | None = None,
    target: str = "native",
    precision: str = "f32",
    threads: int = 1,
    runs: int | None = None,
    seconds: float = 5.0,
    progress: Progress | None = None,
) -> BenchReport:
    """Times `source`, a model or a package, against the peers named in `against`.

    against: by default ONNX Runtime where it is installed and the model is known. model: what the peers run, when `source`
    is a package. files: for a peer by name, the same model in a format of its own. inputs, shapes: as for `infer`; other
    inputs are random. It stops after `runs` runs of each runtime, or after `seconds` in all and at least `MIN_BLOCKS`
    blocks. A peer that refuses the model, or gives other outputs, is skipped. Raises IngotError, and outputs-differ when
    peers could run the model and none gave equal outputs.
    """
    original = model if model is not None else (None if _is_package(source) else source)
    names = _peers(against, original)
    package = package_of(source, shapes=shapes, target=target, precision=precision, progress=progress)
    precision = str(package.manifest.get("precision", "f32"))
    session = ingot.load(package, threads=threads)
    ports = session.get_inputs()
    given = inputs if isinstance(inputs, Mapping) else parse_inputs(inputs, [port.name for port in ports])
    arrays = make_inputs(ports, given, shapes)
    contenders: dict[str, Callable[[], list[Array]]] = {"ingot": session.bind(arrays).run}
    expected = dict(
        zip((port.name for port in session.get_outputs()), session.run(None, arrays), strict=True)
    )
    differences: dict[str, float] = {}
    skipped: dict[str, str] = {}
    differs: IngotError | None = None
    for name in names:
        file = (files or {}).get(name) or model_file(original, name)
        job = Job(file, arrays, {key: array.shape for key, array in expected.items()}, threads, precision)
        try:
            run, outputs = _open(name, job)
            differences[name] = _difference(
                name, list(expected), list(expected.values()), outputs, TOLERANCES[precision]
            )
            contenders[name] = run
        except IngotError as error:
            skipped[name] = error.cause
            differs = error if error.code == "outputs-differ" else differs
    if differs is not None and not differences:
        raise differs
    times = interleave(contenders, runs=runs, seconds=seconds, progress=progress)
    chosen = str(package.manifest.get("target", {}).get("name", target))
    moved = sum(array.nbytes for array in (*arrays.values(), *expected.values()))
    moved += int(package.manifest.get("memory", {}).get("weights_bytes", 0))
    return BenchReport(
        name=package.name,
        target=chosen,
        threads=threads,
        shapes={name: list(array.shape) for name, array in arrays.items()},
        ours=times["ingot"],
        peers={name: times[name] for name in differences},
        differences=differences,
        macs=_macs(package.manifest),
        peak_flops=peak_flops(chosen, threads, precision),
        read_bandwidth=read_bandwidth(chosen, threads),
        moved_bytes=moved,
        bandwidth=read_bandwidth(chosen, threads, bandwidth_size(moved)),
        versions={name: PEERS[name].version for name in names},
        settings={name: PEERS[name].settings.format(threads=threads, precision=precision) for name in names},
        skipped=skipped,
        precision=precision,
    )


def _open(name: str, job: Job) -> tuple[Run, list[Array]]:
    """A peer's run and its first outputs."""
    run = open_peer(name, ready_peer(name, job))
    return run, first_run(name, run)


def interleave(
    contenders: Mapping[str, Callable[[], Any]],
    *,
    runs: int | None = None,
    seconds: float = 5.0,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Times the contenders in turns: blocks of a few runs each, the order changing from round to round.

    A block starts when no thread of the one before computes any longer; its first runs, for `SETTLE_SECONDS`, are not
    counted.
    """
    blocks = {name: _block_length(run) for name, run in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        rounds = 0
        while True:
            for name in order:
                _settle(contenders[name])
                samples[name] += [_time(contenders[name]) for _ in range(blocks[name])]
            order = order[1:] + order[:1]
            rounds += 1
            spent = time.perf_counter() - start
            least = min(map(len, samples.values()))
            if progress:
                done = least / runs if runs else min(spent / seconds, rounds / MIN_BLOCKS)
                progress("time", min(100, round(100 * done)), 100)
            if least >= runs if runs else spent >= seconds and rounds >= MIN_BLOCKS:
                break
    finally:
        if collecting:
            gc.enable()
    return {name: _timing(values) for name, values in samples.items()}


def _settle(run: Callable[[], Any]) -> None:
    end = time.perf_counter() + QUIET_SECONDS
    used = 1.0
    while used > QUIET_SHARE and time.perf_counter() < end:
        start, before = time.perf_counter(), time.process_time()
        time.sleep(0.002)
        used = (time.process_time() - before) / (time.perf_counter() - start)
    start = time.perf_counter()
    run()
    while time.perf_counter() - start < SETTLE_SECONDS:
        run()


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _block_length(run: Callable[[], Any]) -> int:
    """How many runs take about `BLOCK_SECONDS`: at least 2, at most 1000."""
    run()
    return max(2, min(1000, round(BLOCK_SECONDS / max(_time(run), 1e-7))))


def _timing(samples: Sequence[float]) -> Timing:
    low, middle, high = np.percentile(samples, (10, 50, 90))
    return Timing(float(middle), float(low), float(high), len(samples))


def _is_package(source: Any) -> bool:
    return is_folder(source) or hasattr(source, "manifest")


def _peers(against: Sequence[str] | None, original: Any) -> list[str]:
    if against is None:
        return [name for name in ("onnxruntime",) if original is not None and PEERS[name].installed]
    names = list(dict.fromkeys(against))
    for name in names:
        require_peer(name)
    if names and original is None:
        raise IngotError(
            "peer-missing",
            "a package does not hold the model that other runtimes need",
            where="--against",
            remedy="give the model instead of the package, or beside it with --model",
        )
    if original is not None and isinstance(original, (str, Path)) and names and not Path(original).is_file():
        raise IngotError(
            "model-not-found", "there is no such file", where=str(original), remedy="check the path"
        )
    return names


def _difference(
    peer: str,
    names: Sequence[str],
    ours: Sequence[Array],
    theirs: Sequence[Array],
    tolerance: float = TOLERANCES["f32"],
) -> float:
    """The largest difference as a share of the output's largest value. Raises IngotError outputs-differ."""
    worst = 0.0
    for name, mine, other in zip(names, ours, theirs, strict=True):
        if mine.shape != other.shape:
            raise _differ(peer, name, f"its shape is {mine.shape} here and {other.shape} there")
        if mine.size == 0 or np.array_equal(mine, other, equal_nan=np.issubdtype(mine.dtype, np.floating)):
            continue
        if not (np.isfinite(mine) == np.isfinite(other)).all():
            raise _differ(peer, name, "one of them has infinities or NaN where the other has not")
        finite = np.isfinite(other)
        a, b = mine[finite].astype(np.float64), other[finite].astype(np.float64)
        share = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) if a.size else 0.0
        if share > tolerance:
            raise _differ(peer, name, f"the largest difference is {share:.2g} of the largest value")
        worst = max(worst, share)
    return worst


def _differ(peer: str, output: str, cause: str) -> IngotError:
    return IngotError(
        "outputs-differ",
        f"ingot and {peer} disagree: {cause}",
        where=output,
        remedy="nothing was timed; this is a bug in ingot unless --model names another model",
    )


def _macs(manifest: Mapping[str, Any]) -> int | None:
    value = manifest.get("macs")
    return int(value) if value else None
