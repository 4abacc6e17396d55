"""The pairs of a comparison, and the scale on which workloads with different metrics are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.rows import CLUSTER
from evalbench.record.schema import TRIVIAL
from evalbench.record.skill import skill_scales
from evalbench.record.tables import once
from evalbench.statistics.items import Items
from evalbench.statistics.matrices import Matrix, matrix
from evalbench.statistics.paired import Pairs, pair
from evalbench.statistics.unpaired import TwoSamples


@dataclass(frozen=True)
class Contrast:
    """One comparison.

    table: a row per pair, with its workload, setting and seed; `common` is the difference in the common unit. Without
        pairs: a row per run of either side, whose `technique` says which; `common` is the score.
    left_out: the pairs that lack a score, or the runs.
    """

    candidate: str
    comparator: str
    table: pd.DataFrame
    left_out: pd.DataFrame
    paired: bool = True

    def samples(self, workloads: Sequence[str], value: str = "common") -> TwoSamples:
        """Return a column of the runs of both sides, which are not paired."""
        sides = (self.table[self.table["technique"] == name] for name in (self.candidate, self.comparator))
        return TwoSamples(*(sorted_matrix(side, value, workloads) for side in sides))


def sorted_matrix(runs: pd.DataFrame, value: str, workloads: Sequence[str]) -> Matrix:
    """Return a column of runs as a matrix, sorted on each workload, so that nothing depends on the numbers of runs."""
    codes = pd.Categorical(runs["workload"], categories=list(workloads)).codes.astype(np.intp)
    there = codes >= 0
    codes, values = codes[there], runs[value].to_numpy(dtype=np.float64)[there]
    order = np.lexsort((values, codes))
    counts = np.bincount(codes, minlength=len(workloads))
    longest = int(counts.max(initial=0))
    columns = np.full((len(workloads), longest), np.nan)
    columns[np.arange(longest) < counts[:, None]] = values[order]
    return Matrix(columns.T, tuple(range(longest)), tuple(workloads))


def clusters_of(folder: Folder) -> pd.DataFrame:
    """Return a number of the cluster of each item: columns workload, seed and `CLUSTER`.

    Raises:
        TableError: an item is in several clusters.
    """
    items = folder.results[["workload", "seed", CLUSTER]].drop_duplicates()
    once("the table", items, ["workload", "seed"])
    return items.assign(**{CLUSTER: pd.factorize(items[CLUSTER])[0].astype(float)})


def items_of(table: pd.DataFrame, workloads: Sequence[str], value: str) -> Items:
    """Return a column of the pairs of items, with the clusters that their table names."""
    clusters = matrix(table, CLUSTER, workloads) if CLUSTER in table.columns else None
    return Items(matrix(table, value, workloads), clusters)


def contrasts(folder: Folder, comparisons: tuple[tuple[str, str], ...], in_skill: bool) -> list[Contrast]:
    """Return the pairs of each comparison, with their difference in the common unit.

    Raises:
        TableError: a pair is missing or repeated, or skill is asked for without a trivial predictor.
    """
    if not folder.evaluation.paired:
        return _without_pairs(folder, comparisons, in_skill)
    trials = with_references(folder)
    scales = skill_scales(folder) if in_skill else None
    compared = []
    for candidate, comparator in comparisons:
        pairs = matched_trials(folder, trials, candidate, comparator)
        table = pairs.table.assign(common=pairs.table["difference"])
        if folder.evaluation.clusters is not None:
            table = table.merge(clusters_of(folder), on=["workload", "seed"], how="left", sort=False)
        if scales is not None:
            table = table.merge(scales, on=["workload", "seed"], how="left", sort=False)
            table["common"] = table["difference"] / table["scale"]
        compared.append(Contrast(candidate, comparator, table, pairs.left_out))
    return compared


def _without_pairs(folder: Folder, comparisons: tuple[tuple[str, str], ...], in_skill: bool) -> list[Contrast]:
    runs, lacking = common_scores(folder, in_skill), folder.results[folder.results["score"].isna()]
    compared = []
    for sides in comparisons:
        gone = lacking[lacking["technique"].isin(sides)]
        reasons = gone["technique"] + " " + gone["state"]
        left_out = gone[["workload", "seed"]].assign(reason=reasons)
        compared.append(Contrast(*sides, runs[runs["technique"].isin(sides)], left_out, paired=False))
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
    sign = measured["direction"].map({"maximize": 1.0, "minimize": -1.0}).astype(float)
    measured["common"] = measured["score"] * sign
    if in_skill:
        trivial = folder.references[folder.references["reference"] == TRIVIAL]
        trivial = trivial[["workload", "seed", "score"]].rename(columns={"score": "trivial"})
        scales = skill_scales(folder).merge(trivial, on=["workload", "seed"], how="left", sort=False)
        keys = ["workload", "seed"]
        if not folder.evaluation.paired:  # the trivial predictor of a run's own number is that of another run
            keys, scales = ["workload"], scales.groupby("workload", as_index=False)[["scale", "trivial"]].mean()
        measured = measured.merge(scales, on=keys, how="left", sort=False)
        sign = measured["direction"].map({"maximize": 1.0, "minimize": -1.0}).astype(float)
        measured["common"] = sign * (measured["score"] - measured["trivial"]) / measured["scale"]
    return measured
