"""The search: a model is built again and again, each time with the next candidate of every choice, and timed as a
whole with a clock between its kernels, in turns with the build it starts from. So each kernel is timed where it will
run: after the kernel before it, with its weights as cold as in the model."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.emit.model import Emitted
from ingot.errors import IngotError
from ingot.ir.index import evaluate
from ingot.ir.nodes import DTYPES
from ingot.ir.program import Operation, Tensor
from ingot.kernels.choice import KERNELS, LAYOUTS, METHODS, Site
from ingot.runtime import load
from ingot.runtime.session import HasFolder
from ingot.target import Target, runs_here
from ingot.tune.results import Result

WORTH = 0.98
"""A candidate is picked if it takes at most this share of the default's time."""
FASTER = 0.995
"""The tuned model is kept if it takes at most this share of the untuned one's time."""
LARGE, SMALL = 0.01, 0.002
"""Choices that decide at least this share of a run's time are searched first, and those at all."""
STAGES = (METHODS, LAYOUTS, KERNELS)
ROUND_SECONDS = 1.0
BLOCK_SECONDS = 0.01
MIN_BLOCKS = 5


@dataclass(frozen=True)
class Variant:
    """One build of the model. sites: its choices. operations: one for each step of a run. inputs, sizes: to run it with.
    emitted: its C, kernels of which another build may have in common. clocks: whether there is one after each step."""

    package: HasFolder
    name: str
    sites: Mapping[str, Site]
    operations: Sequence[Operation]
    inputs: Sequence[Tensor]
    sizes: Mapping[str, int]
    emitted: Emitted
    clocks: bool


class Make(Protocol):
    """Builds the model with some picks. clocks: with a clock after each step. known: a build to share kernels with."""

    def __call__(
        self, picks: Mapping[str, str], *, clocks: bool, known: Variant | None = None
    ) -> Variant: ...


Seconds = NDArray[np.float64]
Compare = Callable[[Variant, Variant, float], tuple[Seconds, Seconds]]
"""Runs two builds in turns for so many seconds: of each the seconds of each step, or of the whole without clocks."""


def check_tunable(target: Target, seconds: float) -> None:
    """Raises IngotError where kernels for the target cannot be timed here, or not for so long."""
    if not runs_here(target):
        raise IngotError(
            "target-mismatch",
            f"this machine cannot run code for {target.name}, so it cannot time it",
            where="--tune",
            remedy="tune on a machine that can, and use its results with --tuning",
        )
    if not 0 < seconds < float("inf"):
        raise IngotError(
            "option-invalid",
            f"{seconds} is no time to spend",
            where="--tune",
            remedy="give a number of seconds above 0",
        )


class Search:
    """Tries the candidates of a model's choices. results: what is known already, and then more. sites: the choices."""

    def __init__(self, make: Make, results: Mapping[str, Result], compare: Compare | None = None) -> None:
        self.make, self.compare = make, compare or interleave
        self.results = {key: Result(r.pick, dict(r.seconds)) for key, r in results.items()}
        self.sites: dict[str, Site] = {}
        self.timed_twice: set[tuple[str, str]] = set()
        self.total = 1.0

    def run(
        self,
        seconds: float,
        progress: Callable[[float], None] = lambda share: None,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        """Search until everything was tried, or no further round is likely to end within so many seconds.

        The methods of convolutions come first, then the layouts, because they decide which kernels there are; then the kernels. What wins is
        timed once more, and its longer time counts. The time to build the model the first time does not. progress: called with the share that is done.
        """
        base = self.make(self.picks(), clocks=True)
        start = time.perf_counter()
        longest, rounds = 0.0, 0
        for stage in STAGES:
            base = self._again(base, stage)
            while trial := self._trial(base, stage) or self._winners(base, stage):
                begin = time.perf_counter()
                if rounds and begin - start + longest > seconds:
                    return
                other = self.make({**self.picks(), **trial}, clocks=True, known=base)
                self._record(base, other, trial, self.compare(base, other, round_seconds))
                longest = max(longest, time.perf_counter() - begin)
                rounds += 1
                expected = sum(
                    max((len(s.candidates) - 1 for s in base.sites.values() if s.stage == number), default=0)
                    for number in STAGES
                )
                progress(
                    min(1.0, max((time.perf_counter() - start) / seconds, rounds / max(expected, rounds)))
                )

    def _again(self, base: Variant, stage: int) -> Variant:
        """A build with the picks of earlier stages."""
        picks = self.picks()
        earlier = {key: site for key, site in base.sites.items() if site.stage < stage}
        if any(picks.get(key, site.picked) != site.picked for key, site in earlier.items()):
            return self.make(picks, clocks=True, known=base)
        return base

    def _trial(self, base: Variant, stage: int) -> dict[str, str]:
        """The next candidate of each choice, of those that decide much time while they have any."""
        self.sites |= base.sites
        found: dict[str, str] = {}
        small: dict[str, str] = {}
        for key, site in base.sites.items():
            if site.stage != stage:
                continue
            known = self.results.get(key)
            untried = [name for name in site.candidates if known is None or name not in known.seconds]
            untried = [name for name in untried if name != site.picked]
            if untried:
                large = known is None or not known.seconds or self._share(base, key) >= LARGE
                (found if large else small)[key] = untried[0]
        return found or {k: n for k, n in small.items() if self._share(base, k) >= SMALL}

    def _winners(self, base: Variant, stage: int) -> dict[str, str]:
        """What was picked after one timing only, which may have been lucky."""
        found = {
            key: self.results[key].pick
            for key, site in base.sites.items()
            if site.stage == stage and key in self.results and self.results[key].pick != site.picked
        }
        found = {key: name for key, name in found.items() if (key, name) not in self.timed_twice}
        self.timed_twice.update(found.items())
        return found

    def _share(self, base: Variant, key: str) -> float:
        site = base.sites[key]
        known = self.results.get(key)
        return (known.seconds.get(site.picked, 0.0) * site.uses / self.total) if known else 1.0

    def _record(
        self, base: Variant, other: Variant, trial: Mapping[str, str], times: tuple[Seconds, Seconds]
    ) -> None:
        self.total = float(times[0].sum())
        for key, name in trial.items():
            before = _spent(base, key, times[0])
            after = _spent(other, key, times[1])
            result = self.results.setdefault(key, Result(base.sites[key].picked))
            known = result.seconds.setdefault(base.sites[key].picked, before)
            result.seconds[name] = max(known * after / before, result.seconds.get(name, 0.0))
            result.pick = _best(self.sites[key], result)

    def picks(self) -> dict[str, str]:
        """What seems best so far."""
        return {key: result.pick for key, result in self.results.items()}

    def race(self, seconds: float = 2 * ROUND_SECONDS) -> tuple[float, float]:
        """Seconds of a run of the whole with the defaults, and with the picks; equal where these are the same."""
        untuned, tuned = self.make({}, clocks=False), self.make(self.picks(), clocks=False)
        differ = any(_default(site) != site.picked for site in tuned.sites.values())
        before, after = self.compare(untuned, tuned if differ else untuned, seconds)
        return float(before.sum()), float(after.sum()) if differ else float(before.sum())

    def verdict(self) -> tuple[float, float]:
        """As `race`; where the whole is not faster with the picks, the defaults become the picks."""
        before, after = self.race()
        if after > before * FASTER:
            for key, site in self.sites.items():
                if key in self.results:
                    self.results[key].pick = _default(site)
            after = before
        return before, after


def _default(site: Site) -> str:
    return next(iter(site.candidates))


def _best(site: Site, result: Result) -> str:
    default = _default(site)
    timed = {name: spent for name, spent in result.seconds.items() if name in site.candidates}
    best = min(timed, key=lambda name: timed[name], default=default)
    return best if timed.get(best, 0.0) <= timed.get(default, np.inf) * WORTH else default


def _spent(variant: Variant, key: str, times: Seconds) -> float:
    """Seconds of a choice's steps, for one use of it."""
    site = variant.sites[key]
    made = {id(operation) for operation in site.operations}
    steps = [i for i, operation in enumerate(variant.operations) if id(operation) in made]
    return max(float(times[steps].sum()), 1e-9) / max(site.uses, 1)


def interleave(a: Variant, b: Variant, seconds: float) -> tuple[Seconds, Seconds]:
    """Blocks of runs of each in turns, the order changing; the least over the blocks, because what else the machine does
    only adds to it. The first runs of a block do not count: they find the other's weights in the caches."""
    runners = [_Runner(a), _Runner(b)]
    blocks: list[list[Seconds]] = [[], []]
    start = time.perf_counter()
    while len(blocks[0]) < MIN_BLOCKS or time.perf_counter() - start < seconds:
        for i in (0, 1) if len(blocks[0]) % 2 else (1, 0):
            blocks[i].append(runners[i].block())
    first, second = (np.min(block, axis=0) for block in blocks)
    return first, second


class _Runner:
    """A loaded build with inputs: normal floats, and integers that are 0 or 1."""

    def __init__(self, variant: Variant) -> None:
        self.session = load(variant.package)
        random = np.random.default_rng(0)
        self.feeds = {t.name: _random(t, variant.sizes, random) for t in variant.inputs}
        self.counters: Any = None
        if variant.clocks:
            steps = len(variant.operations)
            library = ctypes.CDLL(str(variant.package.folder() / f"lib{variant.name}.so"))
            table = (ctypes.c_int64 * max(steps, 1)).in_dll(library, f"{variant.name}_profile")
            self.counters = np.ctypeslib.as_array(table)[:steps]
        self.session.run(None, self.feeds)
        start = time.perf_counter()
        self.session.run(None, self.feeds)
        self.runs = max(1, min(1000, round(BLOCK_SECONDS / max(time.perf_counter() - start, 1e-7))))

    def block(self) -> Seconds:
        """The mean seconds of each step, or of a run, over a block of runs."""
        for _ in range(max(1, self.runs // 4)):
            self.session.run(None, self.feeds)
        if self.counters is not None:
            self.counters[:] = 0
        start = time.perf_counter()
        for _ in range(self.runs):
            self.session.run(None, self.feeds)
        spent = time.perf_counter() - start
        total = np.array([spent]) if self.counters is None else self.counters * 1e-9
        return total / self.runs


def _random(tensor: Tensor, sizes: Mapping[str, int], random: np.random.Generator) -> NDArray[Any]:
    shape = [evaluate(d, sizes) for d in tensor.shape]
    dtype = DTYPES[tensor.dtype]
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(shape, np.float32).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
