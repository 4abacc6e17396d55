"""How long an evaluation will still train: from what each cell should cost, and from how long cells took so far.

A forecast sees the trials that ended and no clock: whoever notes progress says when it was. Cells differ in size, so
each has a *weight*: roughly the seconds that it takes. How wrong weights are is learned while cells train: one factor
for all, and one for each *label* of a cell, such as its technique or its workload. So a technique that takes twice as
long as its weight says is expected to do so on workloads that it has not met.
"""

import heapq
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

LEAST_SHARE = 0.02
"""The share of the work below which nothing is forecast."""
PRIOR_CELLS = 0.3
"""How many cells of average size must contradict a weight before half of that is believed of a label."""
ROUNDS = 4
"""The passes over all labels, each of which corrects the factors that the others left over."""


@dataclass(frozen=True)
class Chore:
    """A cell as a piece of work."""

    labels: tuple[Hashable, ...]
    """What it shares with other cells; the last one is its own."""
    weight: float
    """The seconds that it takes alone, roughly."""


@dataclass
class _Spent:
    """The seconds that a cell took for a part of its weight."""

    labels: tuple[Hashable, ...]
    weight: float = 0.0
    seconds: float = 0.0


@dataclass
class Forecast:
    """The work of an evaluation in stages (its looks), what is done of it, and how long the rest will take."""

    num_workers: int = 1
    """The most cells that were seen to train at once."""
    _chores: Sequence[Chore] = ()
    _later: Sequence[Chore] = ()
    _spent: list[_Spent] = field(default_factory=list)
    _shares: list[float] = field(default_factory=list)
    _running: list[bool] = field(default_factory=list)
    _seconds: float = 0.0

    def begin(self, chores: Sequence[Chore], seconds: float, later: Sequence[Chore] = ()) -> None:
        """Begin a stage at a time, of which nothing is done; `later` is the work of later stages."""
        self._chores, self._later, self._seconds = chores, later, seconds
        self._shares, self._running = [0.0] * len(chores), [False] * len(chores)
        self._spent += [_Spent(chore.labels) for chore in chores]

    def note(self, seconds: float, shares: Sequence[float], running: Sequence[bool]) -> None:
        """Note the share of each chore that is done at a time, and which chores are being worked on.

        The time until anything is done at all is left out: it starts processes, which happens once.
        """
        spent, passed = self._spent[len(self._spent) - len(self._chores) :], max(0.0, seconds - self._seconds)
        advance = [max(0.0, now - before) for now, before in zip(shares, self._shares, strict=True)]
        self.num_workers = max(self.num_workers, sum(running))
        if self.share > 0:
            for entry, chore, part in zip(spent, self._chores, advance, strict=True):
                entry.weight += chore.weight * part
            for entry, took in zip(spent, self._took(passed, advance, running), strict=True):
                entry.seconds += took
        self._shares = [max(pair) for pair in zip(self._shares, shares, strict=True)]
        self._running, self._seconds = list(running), seconds

    def _took(self, passed: float, advance: Sequence[float], running: Sequence[bool]) -> list[float]:
        """Return the seconds of some that passed in which each chore was worked on.

        Chores that began or ended meanwhile share the time of the workers that the others left free.
        """
        whole = [before and now for before, now in zip(self._running, running, strict=True)]
        active = [moved or before or now for moved, before, now in zip(advance, self._running, running, strict=True)]
        brief = [i for i, is_active in enumerate(active) if is_active and not whole[i]]
        parts = {i: self._chores[i].weight * advance[i] for i in brief}
        total, free = sum(parts.values()), passed * max(1, self.num_workers - sum(whole))
        took = [passed * is_whole for is_whole in whole]
        for i, part in parts.items():
            took[i] = min(passed, free * (part / total if total else 1 / len(brief)))
        return took

    @property
    def share(self) -> float:
        """The share of this stage's work that is done."""
        total = sum(chore.weight for chore in self._chores)
        done = sum(chore.weight * share for chore, share in zip(self._chores, self._shares, strict=True))
        return done / total if total else 0.0

    def seconds_left(self) -> float | None:
        """Return the seconds until this stage ends; None if too little is done to tell."""
        factors = self._factors()
        if factors is None or (
            self.share < LEAST_SHARE and not any(e.weight for e in self._spent[: -len(self._chores)])
        ):
            return None
        order = sorted(range(len(self._chores)), key=lambda i: not self._running[i])
        return _schedule(
            ((1 - self._shares[i]) * _expected(self._chores[i], factors) for i in order if self._shares[i] < 1),
            self.num_workers,
        )

    def seconds_later(self) -> float | None:
        """Return the seconds that all later stages take if each of their chores is worked on; None as above."""
        factors = self._factors()
        if factors is None:
            return None
        return _schedule((_expected(chore, factors) for chore in self._later), self.num_workers)

    def _factors(self) -> dict[Hashable, float] | None:
        """Return the factor of each label, and under None that of all cells; None if nothing is known."""
        known = [entry for entry in self._spent if entry.weight]  # what has not moved yet may be about to
        weight = sum(entry.weight for entry in known)
        if not weight:
            return None
        factors: dict[Hashable, float] = {None: sum(entry.seconds for entry in known) / weight}
        prior = PRIOR_CELLS * sum(chore.weight for chore in self._chores) / max(1, len(self._chores))
        for _ in range(ROUNDS):
            for index in range(max(len(entry.labels) for entry in known)):
                sums: dict[Hashable, list[float]] = {}
                for entry in known:
                    others = math.prod(factors.get(label, 1.0) for i, label in enumerate(entry.labels) if i != index)
                    total = sums.setdefault(entry.labels[index], [0.0, 0.0])
                    total[0] += entry.seconds
                    total[1] += entry.weight * factors[None] * others
                scale = prior * factors[None]
                factors |= {label: (took + scale) / (due + scale) for label, (took, due) in sums.items()}
        return factors


def _expected(chore: Chore, factors: dict[Hashable, float]) -> float:
    """Return the seconds that a whole chore is expected to take."""
    return chore.weight * factors[None] * math.prod(factors.get(label, 1.0) for label in chore.labels)


def _schedule(seconds: Iterable[float], num_workers: int) -> float:
    """Return when the last chore ends if each worker takes the next one as soon as it is free."""
    workers = [0.0] * num_workers
    for each in seconds:
        heapq.heappush(workers, heapq.heappop(workers) + each)
    return max(workers)
