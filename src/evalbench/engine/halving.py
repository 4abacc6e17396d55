"""Successive halving: which candidates go on at a rung (Jamieson and Talwalkar, 2016).

Candidates that are asked for together compete, however they are trained. Where one cohort holds them all, it drops the
losers itself (`Halving`). `race` applies the same rule to results: its answer depends on the candidates alone, not on
cohorts, nor on how much further a candidate was trained for another reason.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evalbench.config import Pruning
from evalbench.trial import State, TrialResult, best_point


@dataclass(frozen=True)
class Halving:
    """Candidates that train together and are compared at rungs by the mean of their members."""

    pruning: Pruning
    candidates: Sequence[int]
    """The candidate that each member belongs to."""
    by_loss: bool = False
    """Compare validation losses, not validation scores."""
    sign: int = 1
    """-1 if lower scores are better."""
    stop: int | None = None
    """The validation after which all members end, because they compete with others elsewhere; None: they compete here.
    """

    def losers(self, standing: Sequence[float], ended: Sequence[bool], validation: int) -> list[int]:
        """Return the members that end after a validation, counted from 1.

        Only candidates that still train compete, and one in `eta` of them goes on, at least one; of equals the earlier
        one. A candidate with a member that diverged takes no place: it goes on only where every other has one too.

        Args:
            standing: each member's value so far, larger is better; not finite where it diverged.
            ended: whether each member takes no further step, because it diverged, lost, or ran out of patience.
            validation: the number of validations so far.
        """
        training = [member for member, over in enumerate(ended) if not over]
        if self.stop is not None:
            return training if validation == self.stop else []
        if not self.pruning.is_rung(validation):
            return []
        values: dict[int, list[float]] = {self.candidates[member]: [] for member in training}
        for candidate, value in zip(self.candidates, standing, strict=True):
            if candidate in values:
                values[candidate].append(value)
        sound = {candidate: [value for value in each if math.isfinite(value)] for candidate, each in values.items()}
        rivals = [candidate for candidate in values if sound[candidate] == values[candidate]] or list(values)
        rivals.sort(key=lambda one: (-len(sound[one]), -fmean(sound[one] or [0.0]), one))
        go_on = rivals[: math.ceil(len(rivals) / self.pruning.eta)]
        return [member for member in training if self.candidates[member] not in go_on]


def race(
    company: Sequence[Sequence[TrialResult | None]],
    pruning: Pruning,
    validations: int,
    by_loss: bool = False,
    sign: int = 1,
) -> tuple[dict[int, int], int]:
    """Return after which validation each loser ends, by its place, and how many validations all others must reach next.

    Args:
        company: the results of each candidate's trials, one per seed; None where there is none yet. A candidate with a
            failed trial does not compete.
        pruning: the rungs, and how many go on.
        validations: those of a trial that goes on to the end.
        by_loss: compare validation losses, not validation scores.
        sign: -1 if lower scores are better.
    """
    lost: dict[int, int] = {}
    for rung in pruning.rungs(validations):
        going = [place for place, results in enumerate(company) if place not in lost and not _has_failed(results)]
        members = [(place, result) for place in going for result in company[place]]
        if not all(reaches(result, rung) for _, result in members):
            return lost, rung
        trained = [(place, result) for place, result in members if result is not None]
        halving = Halving(pruning, [place for place, _ in trained])
        standing = [_standing(result, rung, by_loss, sign) for _, result in trained]
        losers = halving.losers(standing, [not trains_after(result, rung) for _, result in trained], rung)
        lost |= {trained[member][0]: rung for member in losers}
    return lost, validations


def reaches(result: TrialResult | None, validation: int) -> bool:
    """Return whether a trial's fate up to a validation is known: it got there, or ended by itself before."""
    return result is not None and (result.state in (State.COMPLETE, State.DIVERGED) or len(result.curve) >= validation)


def trains_after(result: TrialResult, validation: int) -> bool:
    """Return whether a trial that reaches a validation would go on from there: it has not run out of patience."""
    length = len(result.curve)
    return length > validation or (length == validation and result.state is not State.COMPLETE)


def _standing(result: TrialResult, validation: int, by_loss: bool, sign: int) -> float:
    """Return the value at the best validation so far, larger is better."""
    if result.state is State.DIVERGED and len(result.curve) < validation:
        return -math.inf
    best = best_point(result.curve[:validation])
    return -best.val_loss if by_loss else sign * best.val_score


def _has_failed(results: Sequence[TrialResult | None]) -> bool:
    return any(result is not None and result.state is State.FAILED for result in results)
