"""The evidence on a family of challengers against one baseline, and what they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evalbench.statistics.costs import UNKNOWN, Ratio
from evalbench.statistics.decisions import Evidence
from evalbench.statistics.intervals import Floats, Interval
from evalbench.statistics.items import Items
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.paired import PairedEffect
from evalbench.statistics.unpaired import TwoSamples, superiority

Differences = Matrix | TwoSamples | Items
"""Of two techniques on W workloads: pairs, runs that are not paired, or items."""


@dataclass(frozen=True)
class Design:
    """The values that all challengers of an evaluation share; arrays have the shape (W,), a value per workload."""

    rope: float  # in the common unit, declared before the results
    rho: Floats  # num_test / num_train, 0 if test data are fresh
    counted: tuple[bool, ...]  # whether a workload is a data set: it was not generated
    floors: Floats  # noise floor of the test set in the common unit, nan if not known
    alpha: float = 0.05
    looks: tuple[int, ...] = ()  # numbers of seeds at which the evaluation is judged; empty: once, on all seeds
    generated_too: bool = False  # it was declared that generated workloads count in the first verdict
    one_score: bool = False  # every data set has one score per technique: the data sets are the pairs
    tuned: bool = False
    tuning_parity: bool = True
    num_challengers: int | None = None  # of the declared family, if some of it cannot be judged; None: all given
    paired: bool = True  # the runs of two techniques are pairs
    fixed_sets: bool = False  # the workloads are the parts of one test set: they stand for no others


@dataclass(frozen=True)
class Challenger:
    """The evidence on one challenger against the baseline."""

    name: str
    differences: Differences  # in the common unit
    cost: Ratio = UNKNOWN
    complete: bool = True
    failures_ok: bool = True
    decided: Differences | None = None  # see `failures`


def failures(decided: Differences, side: int) -> Floats:
    """Return, per workload, the number of pairs in which one side alone failed: 1 the baseline, -1 the challenger.

    Args:
        decided: below zero if a pair is lost, above zero if it is won, whatever its scores; of runs that are not
            paired: 1 if a run failed. Of them it is the number of runs that failed.
        side: 1 or -1.
    """
    if isinstance(decided, Items):
        decided = decided.each
    if isinstance(decided, TwoSamples):
        values = (decided.baseline if side > 0 else decided.challenger).values
    else:
        values = side * decided.values
    alone: Floats = np.nansum(np.maximum(values, 0.0), axis=0)
    return alone


def evidence_of(compared: Sequence[tuple[Differences, Differences | None]], rho: Any, floors: Any) -> Evidence:
    """Return the evidence of differences and their `failures`, a row each, on all workloads."""
    none = np.zeros(len(compared[0][0].workloads))
    lost, won = (
        np.stack([none if decided is None else failures(decided, side) for _, decided in compared]) for side in (-1, 1)
    )
    every = [differences for differences, _ in compared]
    return Evidence(
        np.stack([d.means for d in every]),
        np.nan_to_num(np.stack([d.sds for d in every])),
        np.stack([d.worth for d in every]),
        rho=rho,
        floors=floors,
        lost=lost,
        won=won,
        freedom=np.stack([d.freedom for d in every]),
        runs=np.stack([d.runs[0] for d in every]),
        runs_baseline=np.stack([d.runs[1] for d in every]),
    )


def used(design: Design) -> list[int]:
    """Return the workloads that the first verdict is about: the data sets, or all if it was declared or none is one."""
    every = design.generated_too or not any(design.counted)
    return [index for index, counts in enumerate(design.counted) if counts or every]


def interval_of(differences: Differences, confidence: float, rho: float = 0.0) -> Interval:
    """Return the mean on the first workload with its t interval: Welch's without pairs, over clusters of items.

    nan ends as in `t_interval`, which it equals for pairs. `rho` widens it as there.
    """
    mean, sd, count = float(differences.means[0]), float(differences.sds[0]), differences.counts[0]
    if count < 2 or not sd > 0:
        return Interval(mean, math.nan, math.nan, 0.0 if count > 1 else math.nan, count, confidence)
    error = sd * math.sqrt(1 / float(differences.worth[0]) + rho)
    half = float(stats.t.ppf((1 + confidence) / 2, float(differences.freedom[0]))) * error
    return Interval(mean, mean - half, mean + half, sd, count, confidence)


def unpaired_effect(samples: TwoSamples, confidence: float, rho: float = 0.0) -> PairedEffect:
    """Return the effect of a challenger over the runs of one workload that are not paired; wins are of all pairs."""
    a, b = samples.sides([0])[0]
    better = superiority(a, b)
    return PairedEffect(
        interval_of(samples, confidence, rho),
        interval_of(samples, confidence),
        *samples.compared([0]),
        win_probability=better.value,
        win_interval=better.interval(confidence),
        correlation=math.nan,
    )
