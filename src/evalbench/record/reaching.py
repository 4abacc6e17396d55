"""From curves to times: when each run first reached the target, or when it was stopped without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.tables import once, words

TIME = ("time", "seconds", "step", "epoch")
"""Columns that may tell the time of an evaluation; the first that is there counts."""
EVERY = ""
"""The key of a target for all workloads."""
KEYS = ["technique", "workload", "seed"]


@dataclass(frozen=True)
class Reached:
    """The times of all runs: a row per run in `runs`.

    runs: technique, workload, seed, time (of the target, or of the last evaluation), reached, failed.
    horizons: by workload, the time up to which runs are compared: the budget, or the longest time that all techniques
        were watched for.
    clock: the column that tells the time.
    """

    runs: pd.DataFrame
    horizons: Mapping[str, float]
    clock: str

    @property
    def techniques(self) -> tuple[str, ...]:
        """Return the techniques, in the order of the table."""
        return tuple(dict.fromkeys(self.runs["technique"]))

    @property
    def workloads(self) -> tuple[str, ...]:
        """Return the workloads, in the order of the table."""
        return tuple(dict.fromkeys(self.runs["workload"]))

    @property
    def unsolved(self) -> tuple[str, ...]:
        """Return the workloads on which no run reached the target within the horizon."""
        solved = self.runs.loc[self.within, "workload"]
        return tuple(name for name in self.workloads if name not in set(solved))

    @property
    def within(self) -> pd.Series[bool]:
        """Return whether each run reached the target within the horizon of its workload."""
        return self.runs["reached"] & (self.runs["time"] <= self.runs["workload"].map(self.horizons))

    @property
    def stopped_early(self) -> int:
        """Return the number of runs that stopped before the horizon without the target, and did not fail."""
        early = self.runs["time"] < self.runs["workload"].map(self.horizons)
        return int((early & ~self.runs["reached"] & ~self.runs["failed"]).sum())


def reached(
    source: str, curves: pd.DataFrame, targets: Mapping[str, float], direction: str | None, budget: float | None
) -> Reached:
    """Return when each run first reached its target.

    A run that diverged or failed has reached nothing, whatever it scored on the way. Several trials of one run (column
    `trial`) are a search: the first of them that reaches the target counts.

    Args:
        source: the name of the table in messages.
        curves: technique, workload, seed, a time, and score; optionally direction, target, state and trial. Without a
            score each row is a run, and its time is empty or infinite if it missed the target.
        targets: by workload; that of `EVERY` is for all others. A column `target` counts if none is given.
        direction: of the score; None: that of the column `direction`, else larger is better.
        budget: the time at which runs are cut; None: the longest time that all techniques were watched for.

    Raises:
        TableError: there is no time, no target, or a time that is not above zero.
    """
    clock = next((name for name in TIME if name in curves.columns), None)
    if clock is None:
        raise TableError(f"{source} has no time of an evaluation: it needs a column {', '.join(TIME[:-1])} or epoch")
    if budget is not None and not budget > 0:
        raise TableError(f"the budget must be above 0, not {budget:g}: give it in the unit of the column {clock}")
    table = curves.assign(time=curves[clock].astype(float))
    failed = table["state"].ne("COMPLETE") if "state" in table.columns else pd.Series(False, table.index)
    table = table.assign(failed=failed)
    if "score" in table.columns:
        runs = _runs(source, _with_targets(source, table, targets), direction)
    else:
        once(source, table, KEYS)
        runs = table.assign(reached=np.isfinite(table["time"]) & ~failed)[[*KEYS, "time", "reached", "failed"]]
    if (runs["time"] <= 0).any():
        raise TableError(f"{source}: times must be above 0, and {words(runs.loc[runs['time'] <= 0, KEYS])} has none")
    horizons = _horizons(runs, budget)
    missed = ~runs["reached"] & (runs["failed"] | ~np.isfinite(runs["time"]))
    runs = runs.assign(time=runs["time"].where(~missed, runs["workload"].map(horizons)))
    return Reached(runs.reset_index(drop=True), horizons, clock)


def _with_targets(source: str, table: pd.DataFrame, targets: Mapping[str, float]) -> pd.DataFrame:
    unknown = [name for name in targets if name != EVERY and name not in set(table["workload"])]
    if unknown:
        known = ", ".join(dict.fromkeys(table["workload"]))
        raise TableError(f"{source} has no workload {unknown[0]!r}, whose target is given: it has {known}")
    given = table["workload"].map(targets).fillna(targets.get(EVERY, math.nan))
    if "target" in table.columns:
        given = given.fillna(table["target"].astype(float))
    lacking = table.loc[given.isna(), "workload"]
    if len(lacking):
        raise TableError(f"{source}: workload {lacking.iloc[0]} has no target: give it (--target VALUE)")
    return table.assign(target=given)


def _runs(source: str, table: pd.DataFrame, direction: str | None) -> pd.DataFrame:
    """Return a row per run of a table of curves."""
    trials = [*KEYS, "trial"] if "trial" in table.columns else KEYS
    once(source, table, [*trials, "time"])
    sign = _directions(table, direction).map({"maximize": 1.0, "minimize": -1.0}).astype(float)
    hit = (sign * (table["score"] - table["target"]) >= -1e-12) & ~table["failed"]
    first = table["time"].where(hit).groupby([table[key] for key in KEYS], sort=False).min()
    last = table["time"].groupby([table[key] for key in KEYS], sort=False).max()
    failed = table["failed"].groupby([table[key] for key in KEYS], sort=False).any()
    runs = pd.DataFrame({"time": first.fillna(last), "reached": first.notna(), "failed": failed})
    return runs.reset_index()


def _directions(table: pd.DataFrame, direction: str | None) -> pd.Series[str]:
    if direction is not None:
        return pd.Series(direction, table.index)
    if "direction" in table.columns:
        return table["direction"].astype(str)
    return pd.Series("maximize", table.index)


def _horizons(runs: pd.DataFrame, budget: float | None) -> dict[str, float]:
    """Return the horizon of each workload: up to it, every technique was watched by at least one run."""
    if budget is not None:
        return dict.fromkeys(map(str, dict.fromkeys(runs["workload"])), float(budget))
    finite = runs[np.isfinite(runs["time"])]
    longest = finite.groupby(["workload", "technique"])["time"].max()
    stopped = finite[~finite["reached"] & ~finite["failed"]].groupby(["workload", "technique"]).size()
    horizons = {}
    for name in map(str, dict.fromkeys(runs["workload"])):
        mine = longest[name] if name in longest.index.get_level_values(0) else pd.Series([1.0])
        watched = [mine[technique] for workload, technique in stopped.index if workload == name]
        horizons[name] = float(min(watched, default=mine.max()))
    return horizons
