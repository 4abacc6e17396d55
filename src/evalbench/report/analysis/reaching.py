"""Times to target as findings: success rates, restricted means, and who is faster than whom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from evalbench.record.reaching import Reached
from evalbench.statistics.algoperf import study_time, trapezoid_scores
from evalbench.statistics.censored import Restricted, TimeRatio, from_logs, ratio_of_means, restricted_mean
from evalbench.statistics.decisions import FEWEST_FREEDOM
from evalbench.statistics.intervals import Floats, clopper_pearson
from evalbench.statistics.targets import profile_area, relative_times
from evalbench.statistics.verdicts import Quality, quality


@dataclass(frozen=True)
class Success:
    """How many of a technique's runs reached the target within the horizon."""

    technique: str
    workload: str
    reached: int
    count: int
    low: float
    high: float
    median: float  # infinite if half of the runs missed
    mean: Restricted


@dataclass(frozen=True)
class Faster:
    """One technique against another: below 1 it needs less time."""

    a: str
    b: str
    ratio: TimeRatio
    quality: Quality  # of a against b
    over_runs: bool  # the interval is over runs, else over workloads that have one time each


@dataclass(frozen=True)
class Race:
    """All of them."""

    reached: Reached
    successes: tuple[Success, ...]
    against: tuple[Faster, ...]  # each technique against the baseline; empty without one
    pairs: tuple[Faster, ...]  # all pairs, at a level that allows for all
    relative: Floats  # (k, W): median times over the fastest, infinite if missed
    scores: Floats  # AlgoPerf's score of each technique
    areas: Floats
    confidence: float


def race(reached: Reached, baseline: str | None, rope: float, confidence: float = 0.95) -> Race:
    """Return what the times say; `rope` is a logarithm: `ln 1.02` for 2 %."""
    successes = {(t, w): _success(reached, t, w, confidence) for t in reached.techniques for w in reached.workloads}
    medians = np.array([[successes[t, w].median for w in reached.workloads] for t in reached.techniques])
    solved = [w for w in reached.workloads if w not in reached.unsolved]
    alpha, rivals = 1 - confidence, [t for t in reached.techniques if t != baseline]

    def compared(a: str, b: str, family: int) -> Faster:
        sides = [[successes[name, w].mean for w in solved] for name in (a, b)]
        return _faster(a, b, sides[0], sides[1], alpha / family, rope)

    pairs = list(combinations(reached.techniques, 2))
    return Race(
        reached=reached,
        successes=tuple(successes.values()),
        against=tuple(compared(name, baseline, len(rivals)) for name in rivals) if baseline is not None else (),
        pairs=tuple(compared(a, b, len(pairs)) for a, b in pairs),
        relative=relative_times(medians),
        scores=trapezoid_scores(medians),
        areas=profile_area(medians),
        confidence=confidence,
    )


def _success(reached: Reached, technique: str, workload: str, confidence: float) -> Success:
    runs = reached.runs
    mine = (runs["technique"] == technique) & (runs["workload"] == workload)
    hits, times, horizon = reached.within[mine].to_numpy(), runs["time"][mine].to_numpy(), reached.horizons[workload]
    low, high = clopper_pearson(int(hits.sum()), len(hits), confidence)
    return Success(
        technique, workload, int(hits.sum()), len(hits), low, high,
        study_time(np.where(hits, times, np.inf)) if len(hits) else math.inf,
        restricted_mean(times, runs["reached"][mine].to_numpy(), horizon),
    )  # fmt: skip


def _faster(a: str, b: str, mine: list[Restricted], theirs: list[Restricted], alpha: float, rope: float) -> Faster:
    if not mine:
        return Faster(a, b, from_logs(math.nan, math.nan, math.nan, math.nan), Quality.INCONCLUSIVE, True)
    over_runs = any(side.count > 1 for side in (*mine, *theirs))
    ratio = ratio_of_means(mine, theirs, alpha) if over_runs else _over_workloads(mine, theirs, alpha)
    if not ratio.freedom >= FEWEST_FREEDOM - 1e-9:
        without = from_logs(math.log(ratio.ratio), math.nan, math.nan, math.nan)
        return Faster(a, b, without, Quality.INCONCLUSIVE, over_runs)
    low, high, low_tost, high_tost = (
        -math.log(end) for end in (ratio.high, ratio.low, ratio.high_tost, ratio.low_tost)
    )
    return Faster(a, b, ratio, quality(low, high, low_tost, high_tost, rope), over_runs)


def _over_workloads(mine: list[Restricted], theirs: list[Restricted], alpha: float) -> TimeRatio:
    """Return the geometric mean ratio with the t interval over workloads, which then stand for others."""
    logs = np.log([x.mean / y.mean for x, y in zip(mine, theirs, strict=True)])
    mean, freedom = float(logs.mean()), float(logs.size - 1)
    error = float(logs.std(ddof=1)) / math.sqrt(logs.size) if logs.size > 1 else math.nan
    if not error > 0:
        return from_logs(mean, math.nan, math.nan, math.nan)
    half, narrow = (float(stats.t.ppf(1 - tail, freedom)) * error for tail in (alpha / 2, alpha))
    return from_logs(mean, half, narrow, freedom)
