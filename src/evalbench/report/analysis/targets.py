"""Time to target: when each technique reaches the score that was declared as solved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.report.analysis.cost import step_seconds
from evalbench.statistics.intervals import Floats
from evalbench.statistics.targets import SpeedUp, algoperf_score, relative_times, speed_up

MEASURES = {"seconds": "isolated seconds", "flops": "FLOPs", "steps": "optimizer updates"}


@dataclass(frozen=True)
class Milestone:
    """One technique on one workload: medians over all its trials, a miss being infinite."""

    workload: str
    technique: str
    target: float  # in the unit of the workload's metric
    reached: int
    count: int
    steps: float  # nan if it is fitted at once
    flops: float  # nan if they could not be counted
    seconds: float  # isolated; nan if nothing was measured


@dataclass(frozen=True)
class Milestones:
    """All of them, and what they say over the workloads."""

    rows: tuple[Milestone, ...]
    measured_by: str  # what the profile and the ratios are in: the first of `MEASURES` that is known of all
    relative: Floats  # shape (k, W): times over the fastest, infinite if missed
    speed_ups: dict[str, SpeedUp]  # of each candidate against the baseline
    algoperf: tuple[float, ...] | None


NO_MILESTONES = Milestones((), "", np.empty((0, 0)), {}, None)


def milestones(folder: Folder) -> Milestones:
    """Return times to target on each workload that declares one, if its curves are on the scale of its metric."""
    evaluation = folder.evaluation
    targets = {
        name: float(workload.target)
        for name, workload in evaluation.workloads.items()
        if workload.target is not None and workload.curve_sign
    }
    if not targets or folder.curves.empty:
        return NO_MILESTONES
    seconds = step_seconds(folder)
    first = _first_steps(folder, targets)
    rows = []
    for workload, technique in product(targets, evaluation.techniques):
        mine = first[(first["workload"] == workload) & (first["technique"] == technique)]
        if mine.empty:
            continue
        steps = _median(mine["first"])
        # A miss is a miss, whatever a step takes; if that is not known, nothing in it is.
        missed = math.isinf(steps)
        flops = (
            math.inf
            if missed
            else _median((mine["first"] * mine["flops"] / mine["steps"]).mask(np.isinf(mine["first"]), np.inf))
        )
        per_step = seconds.get((technique, workload), math.nan)
        reached = int(np.isfinite(mine["first"]).sum())
        spent = math.inf if missed else steps * per_step
        updates = steps if missed or mine["steps"].notna().all() else math.nan
        rows.append(Milestone(workload, technique, targets[workload], reached, len(mine), updates, flops, spent))
    known = (name for name in MEASURES if not any(math.isnan(getattr(row, name)) for row in rows))
    by = next(known, None)
    if by is None:
        return NO_MILESTONES  # one technique is fitted at once, without steps, and nothing was timed
    cells = {(row.technique, row.workload): float(getattr(row, by)) for row in rows}
    times = np.array([[cells.get((t, w), math.inf) for w in targets] for t in evaluation.techniques])
    base = evaluation.techniques.index(evaluation.baseline) if evaluation.baseline else 0
    speed_ups = {
        name: speed_up(times[index], times[base])
        for index, name in enumerate(evaluation.techniques)
        if evaluation.baseline is not None and index != base
    }
    score = algoperf_score(times)
    return Milestones(
        tuple(rows), MEASURES[by], relative_times(times), speed_ups, None if score is None else tuple(map(float, score))
    )


def _first_steps(folder: Folder, targets: dict[str, float]) -> pd.DataFrame:
    """Return a row per trial that has a score: the first step at which it reached the target, or infinity."""
    keys = ["technique", "workload", *folder.evaluation.factors, "seed"]
    trials = folder.results[folder.results["score"].notna() & folder.results["workload"].isin(list(targets))]
    curves = folder.curves[folder.curves["workload"].isin(list(targets))]
    signs = (
        curves["workload"].map({name: folder.evaluation.workloads[name].curve_sign for name in targets}).astype(float)
    )
    reached = curves[signs * (curves["val_score"] - curves["workload"].map(targets)) >= -1e-12]
    first = reached.groupby(keys)["step"].min().rename("first").reset_index()
    table = trials[[*keys, "failed", "steps", "flops"]].merge(first, on=keys, how="left", sort=False)
    # A run that failed later has not solved anything, whatever it scored on the way.
    missed = table["first"].isna() | (table["failed"] == 1)
    table["first"] = table["first"].mask(missed, np.inf)
    return table


def _median(values: pd.Series[float]) -> float:
    """Return the median of times, a miss being infinite: infinite as soon as half the trials miss."""
    ordered = np.sort(values.to_numpy(dtype=np.float64))
    n = ordered.size
    if np.isnan(ordered).any():
        return math.nan
    return float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2
