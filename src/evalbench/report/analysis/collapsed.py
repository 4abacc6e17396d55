"""Runs that ended no better than the trivial predictor: rare ones, on one side alone, mislead an interval."""

from __future__ import annotations

from dataclasses import dataclass

from evalbench.record.folder import Folder
from evalbench.record.schema import TRIVIAL


@dataclass(frozen=True)
class Collapse:
    """The runs of a technique on a workload that are at or below the trivial predictor on the same split."""

    technique: str
    workload: str
    collapsed: int  # diverged runs, which count with that score, are among them
    diverged: int
    num_runs: int


def collapses(folder: Folder) -> tuple[Collapse, ...] | None:
    """Return the techniques and workloads with such runs; None if the trivial predictor's scores are not known."""
    trivial = folder.references[folder.references["reference"] == TRIVIAL]
    if trivial.empty:
        return None
    # Without pairs, the trivial predictor of a run's own number is that of another run.
    keys = ["workload", "seed"] if folder.evaluation.paired else ["workload"]
    trivial = trivial.groupby(keys)["score"].mean().rename("trivial").reset_index()
    runs = folder.results[folder.results["score"].notna()].merge(trivial, on=keys, how="inner")
    sign = runs["direction"].map({"maximize": 1.0, "minimize": -1.0}).astype(float)
    runs = runs.assign(collapsed=sign * runs["score"] <= sign * runs["trivial"], diverged=runs["state"] == "DIVERGED")
    counts = runs.groupby(["technique", "workload"], sort=False, as_index=False).agg(
        collapsed=("collapsed", "sum"), diverged=("diverged", "sum"), num_runs=("collapsed", "size")
    )
    rows = counts[counts["collapsed"] > 0].itertuples(index=False)
    return tuple(Collapse(str(technique), str(workload), *map(int, numbers)) for technique, workload, *numbers in rows)
