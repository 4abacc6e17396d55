"""The rule from evidence to advice: quality class, cost class, recommendation, and the caps on it.

A quality class comes from the interval of the effect and the region of practical equivalence (ROPE), a cost class from
the interval of the cost ratio. A matrix gives the recommendation, and caps with their reasons lower it. The rule is
conservative on purpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from evalbench.statistics.significance import failure_rates

COST_TOLERANCE = 0.10  # a ratio within 10 % of one is the same cost
FEWEST_DATASETS = 6  # the exact test over data sets cannot reach .05 with fewer
FAILURES = 0.10  # share of runs that may fail
FAILURES_P = 0.05  # of Fisher's test, for failures to decide; that they must be most of the pairs makes it rarer still


class Quality(StrEnum):
    """What the interval says about the effect."""

    SUPERIOR = "SUPERIOR"
    BETTER = "BETTER"
    EQUIVALENT = "EQUIVALENT"
    MIXED = "MIXED"
    NON_INFERIOR = "NON-INFERIOR"
    INCONCLUSIVE = "INCONCLUSIVE"
    WORSE = "WORSE"
    INFERIOR = "INFERIOR"

    @property
    def words(self) -> str:
        """Return the meaning, for a reader."""
        return {
            Quality.SUPERIOR: "better by more than the ROPE",
            Quality.BETTER: "better, by how much is uncertain",
            Quality.EQUIVALENT: "practically the same",
            Quality.MIXED: "it depends on the data",
            Quality.NON_INFERIOR: "not practically worse",
            Quality.INCONCLUSIVE: "not enough evidence",
            Quality.WORSE: "worse, by how much is uncertain",
            Quality.INFERIOR: "worse by more than the ROPE",
        }[self]


class CostClass(StrEnum):
    """What the interval of the cost ratio says."""

    CHEAPER = "CHEAPER"
    SAME = "SAME"
    UNCLEAR = "UNCLEAR"
    DEARER = "DEARER"


class Recommendation(StrEnum):
    """The advice. The last two are no recommendations: there is nothing to advise on."""

    ADOPT = "ADOPT"
    TRIAL = "TRIAL"
    ASSESS = "ASSESS"
    HOLD = "HOLD"
    INSUFFICIENT = "INSUFFICIENT EVIDENCE"
    INVALID = "INVALID"


QUALITIES = tuple(Quality)
_ORDER = {Recommendation.HOLD: 0, Recommendation.ASSESS: 1, Recommendation.TRIAL: 2, Recommendation.ADOPT: 3}
_CHEAPER, _SAME, _UNCLEAR, _DEARER = CostClass
MATRIX = {
    Quality.SUPERIOR: {
        _CHEAPER: Recommendation.ADOPT,
        _SAME: Recommendation.ADOPT,
        _UNCLEAR: Recommendation.TRIAL,
        _DEARER: Recommendation.TRIAL,
    },
    Quality.BETTER: {
        _CHEAPER: Recommendation.ADOPT,
        _SAME: Recommendation.TRIAL,
        _UNCLEAR: Recommendation.TRIAL,
        _DEARER: Recommendation.ASSESS,
    },
    Quality.EQUIVALENT: {
        _CHEAPER: Recommendation.ADOPT,
        _SAME: Recommendation.HOLD,
        _UNCLEAR: Recommendation.ASSESS,
        _DEARER: Recommendation.HOLD,
    },
    Quality.MIXED: dict.fromkeys(CostClass, Recommendation.ASSESS),
    Quality.NON_INFERIOR: {
        _CHEAPER: Recommendation.TRIAL,
        _SAME: Recommendation.ASSESS,
        _UNCLEAR: Recommendation.ASSESS,
        _DEARER: Recommendation.ASSESS,
    },
    Quality.INCONCLUSIVE: dict.fromkeys(CostClass, Recommendation.INSUFFICIENT),
    Quality.WORSE: {
        _CHEAPER: Recommendation.ASSESS,
        _SAME: Recommendation.HOLD,
        _UNCLEAR: Recommendation.HOLD,
        _DEARER: Recommendation.HOLD,
    },
    Quality.INFERIOR: dict.fromkeys(CostClass, Recommendation.HOLD),
}


def classify(
    low: Any, high: Any, low_tost: Any, high_tost: Any, rope: float, equivalence: Any = True
) -> npt.NDArray[np.intp]:
    """Return the quality classes, elementwise, as indices into `QUALITIES`.

    Args:
        low, high: the (1 - α/m) interval of challenger minus baseline, positive being better for the challenger; nan
            if there is none, which is INCONCLUSIVE.
        low_tost, high_tost: the (1 - 2α/m) interval of the two one-sided tests.
        rope: half the width of the region of practical equivalence.
        equivalence: whether EQUIVALENT may be given: not below the noise floor of the test set, and not if one side
            fails more often than the other.
    """
    tests = [
        (np.less(high, -rope), Quality.INFERIOR),
        (np.greater(low, rope), Quality.SUPERIOR),
        (np.greater(low_tost, -rope) & np.less(high_tost, rope) & equivalence, Quality.EQUIVALENT),
        (np.greater(low, 0), Quality.BETTER),
        (np.less(high, 0), Quality.WORSE),
        (np.greater(low, -rope), Quality.NON_INFERIOR),
    ]
    chosen = np.select(
        [test for test, _ in tests],
        [QUALITIES.index(name) for _, name in tests],
        default=QUALITIES.index(Quality.INCONCLUSIVE),
    )
    return np.asarray(chosen, dtype=np.intp)


def quality(
    low: float, high: float, low_tost: float, high_tost: float, rope: float, equivalence: bool = True
) -> Quality:
    """Return the quality class of one comparison; see `classify`."""
    return QUALITIES[int(classify(low, high, low_tost, high_tost, rope, equivalence))]


def decided_by_failures(
    failed: npt.ArrayLike, count: npt.ArrayLike, failed_baseline: npt.ArrayLike, count_baseline: npt.ArrayLike
) -> npt.NDArray[np.intp]:
    """Return -1 if the challenger loses by its failures alone, 1 if the baseline does, else 0, elementwise.

    A side loses so if it alone fails in more than half of the pairs, and more often than the other by Fisher's exact
    test. Both are needed: three failures in five runs may be chance.

    Args:
        failed, failed_baseline: pairs in which this side alone failed (unpaired: its runs that failed).
        count, count_baseline: all pairs (unpaired: the runs of this side).
    """

    def side(a: float, n: float, b: float, m: float) -> int:
        if not n or not m or abs(a / n - b / m) <= 0.5:
            return 0
        return (-1 if a / n > b / m else 1) * (failure_rates(round(a), round(n), round(b), round(m)) <= FAILURES_P)

    if not np.any(failed) and not np.any(failed_baseline):
        return np.zeros(np.broadcast_shapes(np.shape(failed), np.shape(count)), dtype=np.intp)
    return np.asarray(np.vectorize(side, otypes=[np.intp])(failed, count, failed_baseline, count_baseline))


def after_failures(
    codes: npt.ArrayLike,
    failed: npt.ArrayLike,
    count: npt.ArrayLike,
    failed_baseline: npt.ArrayLike,
    count_baseline: npt.ArrayLike,
) -> npt.NDArray[np.intp]:
    """Return the quality classes (indices into `QUALITIES`) after failures are counted, elementwise.

    A challenger that loses by its failures is INFERIOR. A challenger whose baseline does is SUPERIOR. Scores do not
    matter then. A challenger that fails more often, by a tenth of the runs or more, is not NON-INFERIOR. Arguments: see
    `decided_by_failures`.
    """
    side = decided_by_failures(failed, count, failed_baseline, count_baseline)
    more = np.divide(failed, np.maximum(count, 1)) - np.divide(failed_baseline, np.maximum(count_baseline, 1))
    often = (np.asarray(codes) == QUALITIES.index(Quality.NON_INFERIOR)) & (more > FAILURES - 1e-9)
    lost = [side < 0, side > 0, often]
    instead = [QUALITIES.index(name) for name in (Quality.INFERIOR, Quality.SUPERIOR, Quality.INCONCLUSIVE)]
    return np.asarray(np.select(lost, instead, default=codes), dtype=np.intp)


def cost_class(low: float, high: float, tolerance: float = COST_TOLERANCE) -> CostClass:
    """Return the cost class of an interval of the ratio challenger / baseline; UNCLEAR if there is none (nan)."""
    if high < 1 - tolerance:
        return CostClass.CHEAPER
    if low > 1 + tolerance:
        return CostClass.DEARER
    return CostClass.SAME if low >= 1 - tolerance and high <= 1 + tolerance else CostClass.UNCLEAR


@dataclass(frozen=True)
class Guards:
    """What besides the two classes decides on the recommendation; the defaults are those of a flawless evaluation."""

    leak: bool = False  # test rows were used for choosing
    complete: bool = True  # no cell is missing
    tuned: bool = True  # at least one side was tuned
    tuning_parity: bool = True  # both sides had the same tuning budget
    named_worse: bool = False  # on a workload, by evidence of its own
    methods_agree: bool = True  # the second method does not contradict
    failures_ok: bool = True
    few_datasets: int | None = None  # number of data sets, if the advice speaks of data sets like these, and it is low
    lodo_stable: bool = True  # the sign holds leaving one data set out; for advice on data sets like these


@dataclass(frozen=True)
class Cap:
    """A limit on the recommendation, and why."""

    recommendation: Recommendation
    reason: str


@dataclass(frozen=True)
class Advice:
    """A recommendation with what limited it: the reasons of the caps that bind, or why there is no recommendation."""

    recommendation: Recommendation
    uncapped: Recommendation
    caps: tuple[Cap, ...]  # all that apply and lie below the uncapped recommendation


def advise(quality: Quality, cost: CostClass, lacking: str = "", guards: Guards | None = None) -> Advice:
    """Return the recommendation of one comparison.

    Args:
        quality, cost: the two classes.
        lacking: why there are too few pairs for any verdict, such as `3 pairs are fewer than 5`; empty if there are
            enough.
        guards: everything that may cap the recommendation; None for a flawless evaluation.
    """
    g = guards or Guards()
    recommendation = MATRIX[quality][cost]
    for holds, reason in ((g.leak, "test rows were used for choosing"), (not g.complete, "cells are missing")):
        if holds:
            return Advice(Recommendation.INVALID, recommendation, (Cap(Recommendation.INVALID, reason),))
    if lacking:
        return Advice(Recommendation.INSUFFICIENT, recommendation, (Cap(Recommendation.INSUFFICIENT, lacking),))
    if recommendation in (Recommendation.INSUFFICIENT, Recommendation.HOLD):
        return Advice(recommendation, recommendation, ())
    binding = tuple(cap for cap in _caps(g) if _ORDER[cap.recommendation] < _ORDER[recommendation])
    lowest = min((cap.recommendation for cap in binding), key=_ORDER.__getitem__, default=recommendation)
    return Advice(lowest, recommendation, binding)


def _caps(guards: Guards) -> list[Cap]:
    few = guards.few_datasets
    sets = f"{few} {'data set' if few == 1 else 'data sets'}, fewer than {FEWEST_DATASETS}"
    sets = sets if few else "generated data alone"
    caps = [
        (not guards.tuning_parity, Recommendation.ASSESS, "the two sides were not tuned alike"),
        (
            not guards.failures_ok,
            Recommendation.ASSESS,
            "it fails in 10 % of runs or more, and more often than the baseline",
        ),
        (not guards.tuned, Recommendation.TRIAL, "at default settings"),
        (few is not None, Recommendation.TRIAL, sets),
        (guards.named_worse, Recommendation.TRIAL, "worse on a data set"),
        (not guards.lodo_stable, Recommendation.TRIAL, "the sign changes when one data set is left out"),
        (not guards.methods_agree, Recommendation.TRIAL, "the second method disagrees"),
    ]
    return [Cap(recommendation, reason) for holds, recommendation, reason in caps if holds]


def failures_are_ok(failed: float, count: int, failed_baseline: float, count_baseline: int) -> bool:
    """Return False if the challenger fails in at least 10 % of its runs, and more often than the baseline.

    This is no test: 3 of 10 against 0 of 10 is p = .21, and matters all the same.
    """
    if not count or not count_baseline:
        return True
    return failed / count < FAILURES or failed / count <= failed_baseline / count_baseline


def methods_agree(side: int, second_side: int, p_adjusted: float, attainable: float, alpha: float = 0.05) -> bool:
    """Return whether a second method bears out an interval that excludes zero.

    Args:
        side: of the deciding interval, 1 or -1; with 0 there is nothing to contradict.
        second_side: sign of the second method's estimate.
        p_adjusted: its p-value, adjusted for the family.
        attainable: the smallest adjusted p-value it could have given: one that cannot reach alpha is no witness.
        alpha: level of the family.
    """
    if side == 0 or attainable > alpha or math.isnan(p_adjusted):
        return True
    return second_side == side and p_adjusted <= alpha
