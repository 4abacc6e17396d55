"""The scale on which workloads with different metrics are compared."""

from __future__ import annotations

import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import Workload
from evalbench.record.folder import Folder
from evalbench.record.schema import TRIVIAL
from evalbench.tasks.metric import METRICS


def best_possible(workload: Workload) -> float:
    """Return the unbeatable score of a workload's metric.

    Raises:
        TableError: nobody has said what the best possible score of this metric is.
    """
    best = workload.described.best
    if best is None:
        names = ", ".join(sorted(name for name, one in METRICS.items() if one.best is not None))
        raise TableError(
            f"metric {workload.metric!r} has no best possible score, so it has no skill: declare it (task.metric.best),"
            f" or use one of {names}"
        )
    return best


def skill_scales(folder: Folder) -> pd.DataFrame:
    """Return columns workload, seed and scale: the distance from the trivial to a perfect predictor on that split."""
    trivial = folder.references[folder.references["reference"] == TRIVIAL]
    workloads = folder.evaluation.workloads
    names = sorted(set(trivial["workload"]))
    best = trivial["workload"].map({name: best_possible(workloads[name]) for name in names}).astype(float)
    scales = trivial[["workload", "seed"]].assign(scale=(best - trivial["score"]).abs())
    wanted = folder.results[["workload", "seed"]].drop_duplicates()
    if not folder.evaluation.paired:
        scales = wanted.merge(scales.groupby("workload", as_index=False)["scale"].mean(), on="workload", how="left")
        return _usable(scales)
    scales = wanted.merge(scales, on=["workload", "seed"], how="left", sort=False)
    return _usable(scales)


def _usable(scales: pd.DataFrame) -> pd.DataFrame:
    lacking = scales[~(scales["scale"] > 1e-12)]
    if len(lacking):
        first = lacking.sort_values(["workload", "seed"]).iloc[0]
        raise TableError(
            "skill needs a trivial predictor that is not perfect for every split:"
            f" references.csv has none for workload {first['workload']}, seed {first['seed']}"
        )
    return scales
