"""The evidence on a family of challengers against one baseline, and what they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalbench.statistics.costs import UNKNOWN, Ratio
from evalbench.statistics.intervals import Floats
from evalbench.statistics.matrices import Matrix


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


@dataclass(frozen=True)
class Challenger:
    """The evidence on one challenger against the baseline."""

    name: str
    differences: Matrix  # in the common unit
    cost: Ratio = UNKNOWN
    complete: bool = True
    failures_ok: bool = True
    decided: Matrix | None = None  # below zero if a pair is lost, above if it is won, whatever its scores


def failures(decided: Matrix, side: int) -> Floats:
    """Return, per workload, the number of pairs in which one side alone failed: 1 the baseline, -1 the challenger."""
    alone: Floats = np.nansum(np.maximum(side * decided.values, 0.0), axis=0)
    return alone


def used(design: Design) -> list[int]:
    """Return the workloads that the first verdict is about: the data sets, or all if it was declared or none is one."""
    every = design.generated_too or not any(design.counted)
    return [index for index, counts in enumerate(design.counted) if counts or every]
