"""Learning curves: the mean validation score of a technique along its training, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from evalbench.record.folder import Folder
from evalbench.record.schema import TRIVIAL


def curve_table(folder: Folder, rho: Mapping[str, float]) -> pd.DataFrame:
    """Return one row per workload, technique and epoch: `step`, `mean`, `low`, `high`, `count` (seeds), `num_diverged`.

    A member that diverged counts as the trivial predictor from then on: to leave it out would show the survivors only.
    The band around a candidate's mean is half the interval of its paired difference from the baseline, at each epoch
    on its own: where it leaves the baseline's line out, the difference is resolved. The baseline has no band. Where
    nothing is compared, the band is the interval of the mean.
    """
    evaluation = folder.evaluation
    columns = ["workload", "technique", "epoch", "step", "mean", "low", "high", "count", "num_diverged"]
    parts: list[pd.DataFrame] = []
    if folder.curves.empty:
        return pd.DataFrame(columns=columns)
    for workload in evaluation.workloads.values():
        trivial = folder.references[
            (folder.references["workload"] == workload.name) & (folder.references["reference"] == TRIVIAL)
        ].set_index("seed")["score"]
        fill = trivial if workload.on_curve else trivial.iloc[:0]
        cells = {name: _cell(folder, workload.name, name, fill) for name in evaluation.techniques}
        base = cells.get(str(evaluation.baseline))
        for technique, cell in cells.items():
            if cell is not None:
                own = evaluation.baseline is None
                against = None if own or technique == evaluation.baseline or base is None else base.scores
                rho_here = rho.get(workload.name, 0.0)
                parts.append(_rows(workload.name, technique, cell, own, against, evaluation.confidence, rho_here))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


@dataclass(frozen=True)
class _Cell:
    scores: pd.DataFrame  # a row per seed, a column per epoch
    steps: pd.Series[float]  # mean optimizer step of each epoch
    gone: pd.Series[int]  # trials that had diverged by each epoch


def _cell(folder: Folder, workload: str, technique: str, trivial: pd.Series[float]) -> _Cell | None:
    keys = [*folder.evaluation.factors, "seed"]
    here = (folder.curves["workload"] == workload) & (folder.curves["technique"] == technique)
    curves, trials = folder.curves[here & np.isfinite(folder.curves["val_score"])], folder.cell(workload, technique)
    trials = trials[trials["score"].notna()]
    if curves.empty or trials.empty:
        return None
    scores = curves.pivot(index=keys, columns="epoch", values="val_score")
    steps = curves.pivot(index=keys, columns="epoch", values="step").mean()
    failed = trials.set_index(keys)["failed"] == 1
    scores = scores.reindex(failed.index)
    gone = pd.DataFrame(failed.to_numpy()[:, None] & scores.isna().to_numpy(), scores.index, scores.columns)
    instead = scores.index.get_level_values("seed").map(trivial.to_dict())
    filled = scores.mask(gone, pd.Series(np.asarray(instead, dtype=np.float64), scores.index), axis=0)
    return _Cell(filled.groupby(level="seed", sort=True).mean(), steps, gone.sum())


def _rows(
    workload: str,
    technique: str,
    cell: _Cell,
    own: bool,
    against: pd.DataFrame | None,
    confidence: float,
    rho: float,
) -> pd.DataFrame:
    mean, low, high, count = _bands(cell.scores.to_numpy(), confidence, rho)
    if against is not None:
        seeds = cell.scores.index.intersection(against.index)
        other = against.reindex(index=seeds, columns=cell.scores.columns)
        middle, lower, _, _ = _bands((cell.scores.loc[seeds] - other).to_numpy(), confidence, rho)
        low, high = mean - (middle - lower), mean + (middle - lower)
    elif not own:
        low, high = np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    return pd.DataFrame(
        {
            "workload": workload,
            "technique": technique,
            "epoch": cell.scores.columns.to_numpy(),
            "step": cell.steps.to_numpy(),
            "mean": mean,
            "low": low,
            "high": high,
            "count": count,
            "num_diverged": cell.gone.to_numpy(),
        }
    )


def _bands(
    values: npt.NDArray[np.float64], confidence: float, rho: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the mean, low, high and count per column of `values`, shape (seeds, epochs); nan entries are left out."""
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
