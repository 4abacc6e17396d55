"""Successive halving: which candidates of a cohort go on at a rung (Jamieson and Talwalkar, 2016)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalbench.config import Pruning


@dataclass(frozen=True)
class Halving:
    """Candidates that train together and are compared at rungs by the mean of their members."""

    pruning: Pruning
    candidates: Sequence[int]
    """The candidate that each member belongs to."""
    by_loss: bool = False
    """Compare validation losses, not validation scores."""

    def losers(self, standing: Sequence[float], pruned: Sequence[bool], validation: int) -> list[int]:
        """Return the members that end after a validation, counted from 1.

        `standing` is each member's value so far, larger is better; those pruned at an earlier rung do not compete.
        One candidate in `eta` goes on, at least one; of equals the earlier one.
        """
        if not self.pruning.is_rung(validation):
            return []
        values: dict[int, list[float]] = {}
        for candidate, value, gone in zip(self.candidates, standing, pruned, strict=True):
            if not gone:
                values.setdefault(candidate, []).append(value)
        means = {candidate: math.fsum(each) / len(each) for candidate, each in values.items()}
        ordered = sorted(means, key=lambda candidate: -means[candidate])  # stable
        lost = set(ordered[math.ceil(len(ordered) / self.pruning.eta) :])
        return [member for member, candidate in enumerate(self.candidates) if candidate in lost and not pruned[member]]
