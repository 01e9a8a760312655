"""What may be built in more than one way: the candidates of each choice, and which of them to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ingot.ir.program import Operation

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """One way to build something. name: unique among its choice's. cost: estimated time, in a unit of the choice."""

    name: str
    cost: float
    value: T


METHODS, LAYOUTS, KERNELS = range(3)
"""What a choice decides: which operations compute something, where all tensors lie, how a kernel is built. Each decides
what choices there are after it."""


@dataclass
class Site:
    """A choice that a program has. candidates: name -> estimated cost, the default first. picked: the one in use.
    subject: what is to be computed, None for the whole program. stage: what it decides. operations: those that compute it.
    uses: how often the program has this choice.
    """

    candidates: dict[str, float]
    picked: str
    subject: Operation | None
    stage: int
    operations: list[Operation] = field(default_factory=list)
    uses: int = 0


class Choices:
    """Answers each choice with its pick, or with its default where there is none, and remembers which there were.

    picks: the choice's key -> the candidate's name; None where nobody asks, so that no key need be made. A name that is
    no candidate counts as none. sites: by key, in the order of the program.
    """

    def __init__(self, picks: Mapping[str, str] | None = None) -> None:
        self.wanted = picks is not None
        self.picks = dict(picks or {})
        self.sites: dict[str, Site] = {}

    def pick(
        self,
        key: str,
        candidates: Sequence[Candidate[T]],
        subject: Operation | None,
        *,
        stage: int = KERNELS,
    ) -> Candidate[T]:
        """The candidate to take; the first is the default."""
        named = {c.name: c for c in candidates}
        chosen = named.get(self.picks.get(key, ""), candidates[0])
        if len(named) > 1 and key not in self.sites:
            self.sites[key] = Site({n: c.cost for n, c in named.items()}, chosen.name, subject, stage)
        return chosen

    def decided(self, key: str, operations: Sequence[Operation]) -> None:
        """Tell which operations a choice made."""
        if key in self.sites:
            self.sites[key].operations += operations
            self.sites[key].uses += 1

    @property
    def changed(self) -> dict[str, str]:
        """The picks that are no defaults, by key."""
        return {
            key: s.picked for key, s in sorted(self.sites.items()) if s.picked != next(iter(s.candidates))
        }
