"""The price of an answer, in trials and in time on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evalbench.record.folder import Folder
from evalbench.report.analysis.verdicts import Judgment
from evalbench.statistics.design import used
from evalbench.statistics.judging import Verdict


@dataclass(frozen=True)
class Price:
    """What it takes in all, and what is still to be run for it."""

    needed: int | None  # seeds per workload, or data sets, in all; None if it cannot be had
    trials: int  # still to be run, of both sides
    seconds: float  # for these trials, one after the other, by the measured cost; nan if it is not known

    @property
    def had(self) -> bool:
        """Return whether nothing more has to be run."""
        return self.needed is not None and self.trials == 0


@dataclass(frozen=True)
class Bill:
    """The four prices of an answer about one challenger; see `statistics.power.Prices`."""

    seeds_for_sign: Price
    seeds_for_rope: Price
    datasets_for_sign: Price
    datasets_for_rope: Price


def bills(folder: Folder, judged: Judgment) -> dict[str, Bill]:
    """Return the prices for each challenger."""
    return {verdict.challenger: _bill(folder, judged, verdict) for verdict in judged.verdicts}


def _bill(folder: Folder, judged: Judgment, verdict: Verdict) -> Bill:
    sides = (verdict.challenger, judged.baseline)
    settings = math.prod(len(levels) for levels in folder.evaluation.factors.values())
    workloads = [list(folder.evaluation.workloads)[index] for index in used(judged.design)]
    pairs = {effect.workload: effect.interval.count for effect in verdict.sets}
    seconds = _seconds(folder)
    known = [seconds.get((side, workload), math.nan) for side in sides for workload in workloads]

    def seeds(needed: int | None) -> Price:
        more = {workload: max(0, (needed or 0) - pairs[workload]) for workload in workloads}
        time = sum(more[w] * seconds.get((side, w), math.nan) for side in sides for w in workloads)
        return Price(needed, 2 * settings * sum(more.values()), settings * time)

    def data_sets(needed: int | None) -> Price:
        trials = 2 * settings * max(0, (needed or 0) - verdict.num_datasets) * max(pairs.values(), default=0)
        return Price(needed, trials, trials * sum(known) / len(known) if known else math.nan)

    prices = verdict.prices
    return Bill(
        seeds(prices.seeds_for_sign),
        seeds(prices.seeds_for_rope),
        data_sets(prices.datasets_for_sign),
        data_sets(prices.datasets_for_rope),
    )


def _seconds(folder: Folder) -> dict[tuple[str, str], float]:
    """Return the seconds of a trial by technique and workload, measured alone."""
    if folder.costs.empty:
        return {}
    times = folder.costs.assign(seconds=folder.costs["step_seconds"] * folder.costs["steps"])
    medians = times.groupby(["technique", "workload"], as_index=False)["seconds"].median()
    return {(str(row.technique), str(row.workload)): float(row.seconds) for row in medians.itertuples()}
