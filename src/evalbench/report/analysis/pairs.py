"""The pairs of a comparison, and the scale on which workloads with different metrics are compared."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import TRIVIAL
from evalbench.record.skill import skill_scales
from evalbench.statistics.paired import Pairs, pair


@dataclass(frozen=True)
class Contrast:
    """The pairs of one comparison, a row per workload, setting and seed; `common` is the difference in that unit."""

    candidate: str
    comparator: str
    table: pd.DataFrame
    left_out: pd.DataFrame


def contrasts(folder: Folder, comparisons: tuple[tuple[str, str], ...], in_skill: bool) -> list[Contrast]:
    """Return the pairs of each comparison, with their difference in the common unit.

    Raises:
        TableError: a pair is missing or repeated, or skill is asked for without a trivial predictor.
    """
    trials = with_references(folder)
    scales = skill_scales(folder) if in_skill else None
    compared = []
    for candidate, comparator in comparisons:
        pairs = matched_trials(folder, trials, candidate, comparator)
        table = pairs.table.assign(common=pairs.table["difference"])
        if scales is not None:
            table = table.merge(scales, on=["workload", "seed"], how="left", sort=False)
            table["common"] = table["difference"] / table["scale"]
        compared.append(Contrast(candidate, comparator, table, pairs.left_out))
    return compared


def matched_trials(folder: Folder, trials: pd.DataFrame, candidate: str, comparator: str) -> Pairs:
    """Return the pairs of two techniques; a candidate that was stopped has none at the seeds of later looks.

    Raises:
        TableError: a pair is missing or repeated.
    """
    evaluation = folder.evaluation
    if len(evaluation.looks) > 1:
        trials = trials[trials["seed"] < folder.num_seeds(candidate)]
    keys = ["workload", "seed", *evaluation.factors]
    return pair(trials, candidate, comparator, keys, complete=not evaluation.foreign)


def with_references(folder: Folder) -> pd.DataFrame:
    """Return trials, and references as if they were techniques: the same score at every setting of other factors."""
    factors = list(folder.evaluation.factors)
    settings = folder.results[["workload", *factors, "seed"]].drop_duplicates()
    references = settings.merge(
        folder.references.rename(columns={"reference": "technique"}), on=["workload", "seed"], how="inner", sort=False
    ).assign(state="COMPLETE", failed=0.0)
    columns = ["technique", "workload", *factors, "seed", "state", "direction", "score", "failed"]
    return pd.concat([folder.results[columns], references[columns]], ignore_index=True)


def common_scores(folder: Folder, in_skill: bool) -> pd.DataFrame:
    """Return the trials that have a score, with their score in the common unit, as `common`, larger being better."""
    measured = folder.results[folder.results["score"].notna()].copy()
    sign = measured["direction"].map({"maximize": 1.0, "minimize": -1.0})
    measured["common"] = measured["score"] * sign
    if in_skill:
        trivial = folder.references[folder.references["reference"] == TRIVIAL]
        trivial = trivial[["workload", "seed", "score"]].rename(columns={"score": "trivial"})
        scales = skill_scales(folder).merge(trivial, on=["workload", "seed"], how="left", sort=False)
        measured = measured.merge(scales, on=["workload", "seed"], how="left", sort=False)
        sign = measured["direction"].map({"maximize": 1.0, "minimize": -1.0})
        measured["common"] = sign * (measured["score"] - measured["trivial"]) / measured["scale"]
    return measured
