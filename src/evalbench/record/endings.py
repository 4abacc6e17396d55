"""How the runs of a foreign table ended, and the score that stands for a run that failed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import ROPE
from evalbench.record.failed_as import failed_as_number
from evalbench.record.folder import Folder
from evalbench.record.options import Options
from evalbench.record.schema import STATES, TRIVIAL
from evalbench.record.skill import skill_scales
from evalbench.trial import LARGEST_SCORE

ENDINGS = {"FAILED": "failed", "DIVERGED": "diverged", "TIMED_OUT": "timed out", "INFINITE": "infinite"}
ENDINGS |= {"MISSING": "without a score"}
FOREIGN_STATES = (*STATES, *(state for state in ENDINGS if state not in STATES))


def with_states(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without a state of their own that have no score as MISSING, and infinite scores as INFINITE."""
    complete = table["state"] == "COMPLETE"
    state = table["state"].mask(complete & table["score"].isna(), "MISSING")
    return table.assign(state=state.mask(complete & np.isinf(table["score"]), "INFINITE"))


def with_failed(source: str, folder: Folder, options: Options) -> pd.DataFrame:
    """Return the results with a score for each run that failed, and `failed`, which is 1 for it and else 0.

    By default (`worst`) the score is one ROPE worse than the worst run of its data set, so that a run that failed is
    never as good as one that works. A run that diverged keeps its own score if that is worse still, and counts as the
    worst of these without one. `trivial` is the score of the trivial predictor on its split, a number is that score,
    and `censored` leaves the run out.

    Raises:
        TableError: there is nothing to derive such a score from.
    """
    results, failed_as = folder.results, options.failed_as or "worst"
    failed = results["state"] != "COMPLETE"
    if not failed.any():
        return results.assign(failed=0.0)
    if (value := failed_as_number(failed_as)) is not None:
        scores = pd.Series(value, results.index)
    elif failed_as == "trivial":
        scores = _trivial(source, folder, failed)
    elif failed_as == "censored":
        _anything_left(source, results[~failed], results)
        scores = pd.Series(math.nan, results.index)
    else:
        scores = _worst(source, folder, failed, options)
    return results.assign(score=results["score"].where(~failed, scores), failed=failed.astype(float))


def _worst(source: str, folder: Folder, failed: pd.Series[bool], options: Options) -> pd.Series[float]:
    results = folder.results
    sign = results["direction"].map({"maximize": 1.0, "minimize": -1.0}).astype(float)
    oriented = sign * results["score"]
    worst = results["workload"].map(oriented[~failed].groupby(results["workload"]).min())
    if worst.isna().any():
        name = results.loc[worst.isna(), "workload"].iloc[0]
        raise TableError(
            f"{source}: on workload {name} every run failed: there is nothing to compare, leave it out, or say what a"
            f" failed run counts as ({options.said('failed_as', 'trivial')} or a score)"
        )
    instead = worst - _margins(folder)
    diverged = results["state"] == "DIVERGED"
    own = oriented.where(diverged & (oriented.abs() < LARGEST_SCORE))
    own = own.fillna(results["workload"].map(own.groupby(results["workload"]).min()).where(diverged)).fillna(np.inf)
    return sign * np.minimum(instead, own)


def _trivial(source: str, folder: Folder, failed: pd.Series[bool]) -> pd.Series[float]:
    references = folder.references[folder.references["reference"] == TRIVIAL]
    keys = ["workload", "seed"] if folder.evaluation.paired else ["workload"]
    means = references.groupby(keys)["score"].mean()
    rows = [tuple(row) if len(keys) > 1 else row[0] for row in folder.results[keys].itertuples(index=False)]
    scores = means.reindex(rows).set_axis(folder.results.index)
    if scores[failed].isna().any():
        name = folder.results.loc[failed & scores.isna(), "workload"].iloc[0]
        raise TableError(
            f"{source}: failed-as trivial needs rows of the technique {TRIVIAL!r}, and workload {name} lacks them: add"
            " them, or give a score instead"
        )
    return scores


def _anything_left(source: str, complete: pd.DataFrame, results: pd.DataFrame) -> None:
    """Refuse a technique whose runs on a workload failed without exception: leaving them out leaves nothing."""
    cells = set(zip(complete["technique"], complete["workload"], strict=True))
    for technique, workload in dict.fromkeys(zip(results["technique"], results["workload"], strict=True)):
        if (technique, workload) not in cells:
            raise TableError(
                f"{source}: every run of {technique} on workload {workload} failed, so that failed-as censored leaves"
                " nothing to compare: use worst, trivial or a score"
            )


def _margins(folder: Folder) -> pd.Series[float]:
    """Return the ROPE of each row, in the unit of its score."""
    declared, results = {**ROPE, **folder.evaluation.rope}, folder.results
    measures = {workload.measure for workload in folder.evaluation.workloads.values()}
    if len(measures) == 1 and measures <= set(declared):
        return pd.Series(declared[measures.pop()], results.index)
    scales = skill_scales(folder).set_index(["workload", "seed"])["scale"]
    return declared["skill"] * pd.Series(
        [scales[key] for key in zip(results["workload"], results["seed"], strict=True)]
    )
