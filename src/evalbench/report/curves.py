"""Learning curves: the mean validation score of a technique along its training, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from evalbench.report.findings import TRIVIAL
from evalbench.report.folder import Folder

# `val_score` is on the scale of the workload's own score for these metrics only.
SAME_SCALE = ("accuracy", "r2")


def curve_table(folder: Folder, rho: Mapping[str, float]) -> pd.DataFrame:
    """One row per workload, technique and epoch: `step`, `mean`, `low`, `high`, `count` (seeds), `num_diverged`.

    A member that diverged counts as the trivial predictor from then on: to leave it out would show the survivors only.
    The interval is that of `t_interval`, at each epoch on its own.
    """
    evaluation = folder.evaluation
    parts = []
    for workload in evaluation.workloads.values():
        trivial = folder.references[
            (folder.references["workload"] == workload.name) & (folder.references["reference"] == TRIVIAL)
        ].set_index("seed")["score"]
        fill = trivial if workload.metric.rsplit("/", 1)[-1] in SAME_SCALE else trivial.iloc[:0]
        for technique in evaluation.techniques:
            part = _cell(folder, workload.name, technique, fill, rho.get(workload.name, 0.0))
            if part is not None:
                parts.append(part)
    columns = ["workload", "technique", "epoch", "step", "mean", "low", "high", "count", "num_diverged"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _cell(folder: Folder, workload: str, technique: str, trivial: pd.Series[float], rho: float) -> pd.DataFrame | None:
    keys = [*folder.evaluation.factors, "seed"]
    mine = [
        table[(table["workload"] == workload) & (table["technique"] == technique)]
        for table in (folder.curves, folder.results)
    ]
    curves = mine[0][np.isfinite(mine[0]["val_score"])]
    trials = mine[1][mine[1]["state"] != "FAILED"]
    if curves.empty or trials.empty:
        return None
    scores = curves.pivot(index=keys, columns="epoch", values="val_score")
    steps = curves.pivot(index=keys, columns="epoch", values="step").mean()
    states = trials.set_index(keys)["state"]
    scores = scores.reindex(states.index)
    diverged = states == "DIVERGED"
    gone = pd.DataFrame(diverged.to_numpy()[:, None] & scores.isna().to_numpy(), scores.index, scores.columns)
    instead = scores.index.get_level_values("seed").map(trivial.to_dict())
    filled = scores.mask(gone, pd.Series(np.asarray(instead, dtype=np.float64), scores.index), axis=0)
    seeds = filled.groupby(level="seed", sort=True).mean()
    mean, low, high, count = _bands(seeds.to_numpy(), folder.evaluation.confidence, rho)
    return pd.DataFrame(
        {
            "workload": workload,
            "technique": technique,
            "epoch": scores.columns.to_numpy(),
            "step": steps.to_numpy(),
            "mean": mean,
            "low": low,
            "high": high,
            "count": count,
            "num_diverged": gone.sum().to_numpy(),
        }
    )


def _bands(
    values: npt.NDArray[np.float64], confidence: float, rho: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mean, low, high and count per column of `values`, shape (seeds, epochs); nan entries are left out."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    known = np.where(there, values, 0.0)
    mean = np.divide(known.sum(axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)
    squares = np.where(there, (known - mean) ** 2, 0.0).sum(axis=0)
    sd = np.sqrt(np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1))
    half = np.full(count.shape, np.nan)
    many = count > 1
    half[many] = stats.t.ppf((1 + confidence) / 2, count[many] - 1) * sd[many] * np.sqrt(1 / count[many] + rho)
    return mean, mean - half, mean + half, count
