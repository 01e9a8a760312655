"""How good the picks are: every candidate of every choice that a model has, timed inside of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingot.compiler import label_of, maker
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.ir.work import work
from ingot.kernels.choice import Site
from ingot.lower.registry import REGISTRY
from ingot.report.inputs import Shapes
from ingot.report.sources import Progress, is_folder
from ingot.target import resolve
from ingot.tune.results import Result
from ingot.tune.search import Search, check_tunable


@dataclass(frozen=True)
class Timed:
    """One candidate. seconds: of one call, None where it was not timed. gflops: of what is to be computed, whatever the
    method; None where a size is known only while running. predicted: its estimated time as a multiple of the default's.
    """

    name: str
    seconds: float | None
    gflops: float | None
    predicted: float


@dataclass(frozen=True)
class Choice:
    """Something that may be built in more than one way. uses: how often a run has it. picked: what is built untuned."""

    name: str
    uses: int
    nodes: tuple[str, ...]
    picked: str
    candidates: list[Timed]

    @property
    def best(self) -> str:
        """The candidate with the least time."""
        timed = {c.name: c.seconds for c in self.candidates if c.seconds is not None}
        return min(timed, key=lambda name: timed[name], default=self.picked)


@dataclass(frozen=True)
class Candidates:
    """choices: those that decide the most time first. default, best: seconds of a whole run with the picks, and with the
    fastest candidate of each choice, in turns."""

    name: str
    target: str
    sizes: dict[str, int]
    choices: list[Choice]
    default: float
    best: float

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; times in seconds."""
        choices = [
            {**vars(c), "candidates": [vars(t) for t in c.candidates], "best": c.best} for c in self.choices
        ]
        return {**vars(self), "choices": choices, "ratio": self.default / self.best}


def candidates(
    source: Any,
    *,
    shapes: Shapes | None = None,
    target: str = "native",
    seconds: float = 1.0,
    progress: Progress | None = None,
) -> Candidates:
    """Builds a model once for every candidate that its choices have at most, and times each build for `seconds`, in
    turns with the default. A choice that decides less than 0.2 % of the time is left out.

    Inputs are random, and dimensions without a size have their typical one. Raises IngotError, and option-invalid for a
    package, which is built already.
    """
    if is_folder(source) or hasattr(source, "manifest"):
        raise IngotError(
            "option-invalid",
            "a package is built already",
            where="--candidates",
            remedy="give the model that it was compiled from",
        )
    chosen = resolve(target)
    check_tunable(chosen, seconds)
    graph = load_model(source, shapes)
    name = label_of(source, graph)
    optimize(graph, keep=REGISTRY)
    make = maker(graph, name, chosen)
    search = Search(make, {})
    search.run(
        math.inf, lambda share: progress("time", round(100 * share), 100) if progress else None, seconds
    )
    default, best = search.race(2 * seconds)
    sizes = make({}, clocks=True).sizes
    found = [_choice(key, search.sites[key], result, sizes) for key, result in search.results.items()]
    found.sort(key=lambda c: -max((t.seconds or 0.0) for t in c.candidates if t.name == c.picked) * c.uses)
    return Candidates(name, chosen.name, dict(sizes), found, default, best)


def _choice(key: str, site: Site, result: Result, sizes: Mapping[str, int]) -> Choice:
    done = None if site.subject is None else work(site.subject, sizes)
    default = next(iter(site.candidates))
    nodes = () if site.subject is None else site.subject.nodes
    scale = max(site.candidates[default], 1e-9)
    timed = []
    for name, cost in site.candidates.items():
        spent = result.seconds.get(name)
        rate = None if done is None or spent is None else done.flops / spent / 1e9
        timed.append(Timed(name, spent, rate, cost / scale))
    return Choice(key, site.uses, nodes, default, timed)
