"""How techniques and references scored on each workload, and what a trial spent there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import COSTS, LINEAR
from evalbench.report.analysis.pairs import matched_trials, with_references
from evalbench.statistics.design import interval_of
from evalbench.statistics.intervals import Interval, family_confidence, t_interval
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.paired import never_gained, paired_effect
from evalbench.statistics.settings import average_settings
from evalbench.statistics.unpaired import TwoSamples


@dataclass(frozen=True)
class Score:
    """How one technique, or one reference, scored on one workload; scores as stored, not oriented."""

    workload: str
    name: str
    reference: bool
    interval: Interval
    num_trials: int  # planned
    num_diverged: int  # counted with the score of the trivial predictor
    num_failed: int  # left out, or in a foreign table counted as a loss
    num_left_out: int  # trials without a score
    best: bool  # better than every other technique, each by a paired interval that excludes zero


@dataclass(frozen=True)
class LinearAhead:
    """A workload on which the linear model has a better mean than every technique, on the same splits."""

    workload: str
    supported: bool  # every one of the paired intervals lies below zero


@dataclass(frozen=True)
class Cost:
    """What one completed trial of a technique spent on one workload, on average."""

    workload: str
    technique: str
    num_trials: int  # completed ones: a diverged trial stops early
    steps: float
    examples: float
    flops: float
    parameters: float


def scores(folder: Folder, rho: Mapping[str, float]) -> tuple[Score, ...]:
    """Return the mean score of each technique and reference on each workload."""
    evaluation = folder.evaluation
    factors = list(evaluation.factors)
    references = dict(tuple(folder.references.groupby("workload", sort=False)))
    by_technique = folder.results[folder.results["score"].notna()].groupby("technique", sort=False)
    averaged = {
        (str(workload), str(technique)): rows.set_index("seed")
        for technique, trials in by_technique
        for workload, rows in average_settings(trials, factors, ["score", "failed"])[0].groupby("workload", sort=False)
    }
    nothing = pd.DataFrame({"score": [], "failed": []}, dtype=float)
    scores = []
    for workload in evaluation.workloads:
        rho_here = rho.get(workload, 0.0)
        seeds = {technique: averaged.get((workload, technique), nothing) for technique in evaluation.techniques}
        sign = evaluation.workloads[workload].described.sign
        ahead = _ahead_in_pairs if evaluation.paired else _ahead
        best = _best(seeds, sign, evaluation.confidence, rho_here, ahead)
        for technique in evaluation.techniques:
            trials = folder.cell(workload, technique)
            states = trials["state"].to_numpy()
            scores.append(
                Score(
                    workload=workload,
                    name=technique,
                    reference=False,
                    interval=t_interval(seeds[technique]["score"].to_numpy(), evaluation.confidence, rho_here),
                    num_trials=len(states),
                    num_diverged=int((states == "DIVERGED").sum()),
                    num_failed=int(((states != "COMPLETE") & (states != "DIVERGED")).sum()),
                    num_left_out=int(trials["score"].isna().sum()),
                    best=technique == best,
                )
            )
        for name, group in references.get(workload, folder.references.iloc[:0]).groupby("reference", sort=False):
            interval = t_interval(group["score"].to_numpy(), evaluation.confidence, rho_here)
            scores.append(Score(workload, str(name), True, interval, len(group), 0, 0, 0, False))
    return tuple(scores)


def _best(
    seeds: Mapping[str, pd.DataFrame],
    sign: int,
    confidence: float,
    rho: float,
    ahead: Callable[[pd.DataFrame, pd.DataFrame, int, float, float], bool],
) -> str | None:
    """Return the technique that beats every other one on a workload, each by its interval; None if none does.

    The best one is chosen after looking, so the level allows for all pairs: `1 - α / (k (k - 1) / 2)`.
    """
    if len(seeds) < 2:
        return None
    level = family_confidence(confidence, len(seeds) * (len(seeds) - 1) // 2)
    means = {name: sign * float(table["score"].mean()) if len(table) else -math.inf for name, table in seeds.items()}
    ordered = sorted(seeds, key=lambda name: -means[name])
    first = ordered[0]  # nobody else can beat the one with the best mean
    return first if all(ahead(seeds[first], seeds[other], sign, level, rho) for other in ordered[1:]) else None


def _ahead_in_pairs(first: pd.DataFrame, other: pd.DataFrame, sign: int, level: float, rho: float) -> bool:
    a, b = first.align(other, join="inner", axis=0)
    if not len(a):
        return False
    decided = never_gained(sign * (a["score"] - b["score"]), b["failed"] - a["failed"])
    return t_interval(decided, level, rho).side > 0


def _ahead(first: pd.DataFrame, other: pd.DataFrame, sign: int, level: float, rho: float) -> bool:
    sides = (np.sort(sign * table["score"].to_numpy()) for table in (first, other))
    columns = (Matrix(values[:, None], tuple(range(values.size)), ("",)) for values in sides)
    return interval_of(TwoSamples(*columns), level, rho).side > 0


def linear_ahead(folder: Folder, rho: Mapping[str, float]) -> tuple[LinearAhead, ...] | None:
    """Return the workloads on which the linear model is ahead of all techniques; None without a linear model."""
    evaluation = folder.evaluation
    if LINEAR not in set(folder.references["reference"]) or not evaluation.paired:
        return None
    level = family_confidence(evaluation.confidence, len(evaluation.techniques))
    trials = with_references(folder)
    tables = [matched_trials(folder, trials, technique, LINEAR).table for technique in evaluation.techniques]
    ahead = []
    for workload in evaluation.workloads:
        intervals = []
        for table in tables:
            mine = table[table["workload"] == workload]
            seeds, _ = average_settings(mine, list(evaluation.factors), ["candidate", "baseline"])
            effect = paired_effect(seeds["candidate"], seeds["baseline"], level, rho.get(workload, 0.0))
            intervals.append(effect.interval)
        if all(interval.mean < 0 for interval in intervals):  # nan if a technique has no pair: no claim
            ahead.append(LinearAhead(workload, all(interval.side < 0 for interval in intervals)))
    return tuple(ahead)


def costs(folder: Folder) -> tuple[Cost, ...]:
    """Return the mean cost of a completed trial of each technique on each workload."""
    complete = folder.results[folder.results["state"] == "COMPLETE"]
    cells = list(itertools.product(folder.evaluation.workloads, folder.evaluation.techniques))
    groups = complete.groupby(["workload", "technique"], sort=False)
    counts, means = groups.size().to_dict(), groups[list(COSTS)].mean().to_dict("index")
    known = {key: [float(value) for value in row.values()] for key, row in means.items()}
    nothing = [math.nan] * len(COSTS)
    return tuple(Cost(*cell, counts.get(cell, 0), *known.get(cell, nothing)) for cell in cells)
