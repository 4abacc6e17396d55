"""The price of an answer, in trials and in time on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from evalbench.record.folder import Folder, TunedFolder
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
    seconds = _seconds(folder)
    return {verdict.challenger: _bill(folder, judged, verdict, seconds) for verdict in judged.verdicts}


def _bill(folder: Folder, judged: Judgment, verdict: Verdict, seconds: Mapping[tuple[str, str], float]) -> Bill:
    sides = (verdict.challenger, judged.baseline)
    settings = math.prod(len(levels) for levels in folder.evaluation.factors.values())
    workloads = [list(folder.evaluation.workloads)[index] for index in used(judged.design)]
    runs = {effect.workload: effect.runs for effect in verdict.sets}
    each, once = _trials(folder)
    known = [seconds.get((side, workload), math.nan) for side in sides for workload in workloads]

    def seeds(needed: int | None) -> Price:
        more = {(side, w): max(0, (needed or 0) - runs[w][i]) for i, side in enumerate(sides) for w in workloads}
        time = sum(count * seconds.get(cell, math.nan) for cell, count in more.items())
        return Price(needed, settings * each * sum(more.values()), settings * each * time)

    def data_sets(needed: int | None) -> Price:
        more = max(0, (needed or 0) - verdict.num_datasets)
        trials = 2 * settings * more * (each * max(map(max, runs.values()), default=0) + once)
        return Price(needed, trials, trials * sum(known) / len(known) if known else math.nan)

    prices = verdict.prices
    return Bill(
        seeds(prices.seeds_for_sign),
        seeds(prices.seeds_for_rope),
        data_sets(prices.datasets_for_sign),
        data_sets(prices.datasets_for_rope),
    )


def _trials(folder: Folder) -> tuple[int, int]:
    """Return the trials of one side for one more repetition, and those that tune it on one more data set.

    After a search, the default setting is measured beside the best one. If the search was repeated, a repetition is a
    study, with its tuning and its seeds.
    """
    if not isinstance(folder, TunedFolder):
        return 1, 0
    study = ["technique", "workload", *folder.evaluation.factors, "study"]
    tuning = round(folder.studies.candidates.groupby(study)["trials"].sum().mean())
    if folder.evaluation.num_studies > 1:
        return tuning + 2 * folder.evaluation.num_seeds, 0
    return 2, tuning


def _seconds(folder: Folder) -> dict[tuple[str, str], float]:
    """Return the seconds of a trial by technique and workload, measured alone."""
    if folder.costs.empty:
        return {}
    times = folder.costs.assign(seconds=folder.costs["step_seconds"] * folder.costs["steps"])
    medians = times.groupby(["technique", "workload"], as_index=False)["seconds"].median()
    return {(str(row.technique), str(row.workload)): float(row.seconds) for row in medians.itertuples()}
