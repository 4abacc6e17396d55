"""Decide which candidates go on at a rung by successive halving (Jamieson and Talwalkar, 2016).

Candidates that are asked for together compete, whichever cohorts train them. If one cohort holds them all, it drops the
losers itself (`Halving`). `race` applies the same rule to results. Its answer depends on the candidates alone: neither
on cohorts, nor on how much further a candidate was trained for another reason.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evalbench.config import Pruning
from evalbench.trial import State, TrialResult, best_point


@dataclass(frozen=True)
class Halving:
    """Compare candidates that train together at rungs, by the mean of their members."""

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

    def losers(self, scores: Sequence[float], ended: Sequence[bool], validation: int) -> list[int]:
        """Return the member indices that end after a validation, counted from 1.

        Only candidates that still train compete. One in `eta` of them goes on, but at least one; ties go to the earlier
        candidate. Candidates with a diverged member go on only if every competing candidate has one.

        Args:
            scores: each member's pruning score so far (higher is better); not finite if it diverged.
            ended: whether each member takes no further step, because it diverged, lost, or ran out of patience.
            validation: the number of validations so far.
        """
        training = [member_index for member_index, has_ended in enumerate(ended) if not has_ended]
        if self.stop is not None:
            return training if validation == self.stop else []
        if not self.pruning.is_rung(validation):
            return []
        values: dict[int, list[float]] = {self.candidates[member_index]: [] for member_index in training}
        for candidate, score in zip(self.candidates, scores, strict=True):
            if candidate in values:
                values[candidate].append(score)
        finite = {candidate: [score for score in each if math.isfinite(score)] for candidate, each in values.items()}
        rivals = [candidate for candidate in values if finite[candidate] == values[candidate]] or list(values)
        rivals.sort(key=lambda rival: (-len(finite[rival]), -fmean(finite[rival] or [0.0]), rival))
        winners = rivals[: math.ceil(len(rivals) / self.pruning.eta)]
        return [member_index for member_index in training if self.candidates[member_index] not in winners]


def race(
    company: Sequence[Sequence[TrialResult | None]],
    pruning: Pruning,
    validations: int,
    by_loss: bool = False,
    sign: int = 1,
) -> tuple[dict[int, int], int]:
    """Return each loser's last validation by its index, and the validation that all other candidates must reach next.

    Args:
        company: the results of each candidate's trials, one per seed; None if there is no result yet. A candidate with
            a failed trial does not compete.
        pruning: the rungs, and the share of candidates that goes on.
        validations: the number of validations of a trial that is not pruned.
        by_loss: compare validation losses, not validation scores.
        sign: -1 if lower scores are better.
    """
    lost: dict[int, int] = {}
    for rung in pruning.rungs(validations):
        rivals = [index for index, results in enumerate(company) if index not in lost and not _has_failed(results)]
        trials = [(index, result) for index in rivals for result in company[index]]
        if not all(reaches(result, rung) for _, result in trials):
            return lost, rung
        trained = [(index, result) for index, result in trials if result is not None]
        halving = Halving(pruning, [index for index, _ in trained])
        scores = [_pruning_score(result, rung, by_loss, sign) for _, result in trained]
        losers = halving.losers(scores, [not trains_after(result, rung) for _, result in trained], rung)
        lost |= {trained[member_index][0]: rung for member_index in losers}
    return lost, validations


def reaches(result: TrialResult | None, validation: int) -> bool:
    """Return whether a trial's fate up to a validation is known: it reached it, or ended by itself before."""
    return result is not None and (result.state in (State.COMPLETE, State.DIVERGED) or len(result.curve) >= validation)


def trains_after(result: TrialResult, validation: int) -> bool:
    """Return whether a trial that reaches a validation would go on from there: it has not run out of patience."""
    length = len(result.curve)
    return length > validation or (length == validation and result.state is not State.COMPLETE)


def _pruning_score(result: TrialResult, validation: int, by_loss: bool, sign: int) -> float:
    """Return the pruning score (higher is better) at the best validation so far."""
    if result.state is State.DIVERGED and len(result.curve) < validation:
        return -math.inf
    best = best_point(result.curve[:validation])
    return -best.val_loss if by_loss else sign * best.val_score


def _has_failed(results: Sequence[TrialResult | None]) -> bool:
    return any(result is not None and result.state is State.FAILED for result in results)
