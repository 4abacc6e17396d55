"""What tuning did: equal chances, what it bought, what it chose, and how much more trials would have found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import TunedFolder
from evalbench.record.studies import RecordedStudy, Studies
from evalbench.report.analysis.pairs import common_scores
from evalbench.report.analysis.verdicts import Judgment
from evalbench.space import bound_of
from evalbench.statistics.intervals import Interval, t_interval
from evalbench.statistics.overall import overall_effect
from evalbench.statistics.settings import average_settings
from evalbench.statistics.tuning import expected_best, full_candidates


@dataclass(frozen=True)
class Spent:
    """What the search for one technique took, over all its studies."""

    technique: str
    studies: int
    candidates: int
    finished: int  # trained to the end of the budget, or of patience
    pruned: int
    diverged: int
    failed: int
    trials: int
    steps: float  # nan, as for FLOPs, if those of a candidate are not known
    flops: float
    seconds: float


@dataclass(frozen=True)
class Gain:
    """The tuned setting minus the default one; positive is better. `workload` is None for the mean over data sets."""

    technique: str
    workload: str | None
    default: float  # mean score
    tuned: float
    interval: Interval  # of the paired difference, in the unit of the workload's metric; in the common one over all
    common: float  # the mean difference in the common unit


@dataclass(frozen=True)
class Choice:
    """What one study chose for one hyperparameter."""

    technique: str
    workload: str
    factors: str
    study: int
    path: str
    default: object
    chosen: object
    bound: str | None  # low or high if the value lies within 5 % of that end of its range


@dataclass(frozen=True)
class Tuned:
    """All that a report tells of its studies."""

    studies: Studies
    spent: tuple[Spent, ...]
    finalists: dict[str, tuple[int, int]]  # technique -> fewest and most candidates of a study that finished
    evenly_pruned: bool  # as many finished for every technique, in each study
    gains: tuple[Gain, ...]
    choices: tuple[Choice, ...]
    best_scores: pd.DataFrame  # technique, workload, objective, n, full_candidates, mean, sd, studies
    independent: bool  # candidates were drawn one by one: `best_scores` is the expected best of n
    importance: pd.DataFrame  # technique, workload, path, share (mean over the studies) and its standard error
    front: pd.DataFrame  # technique, workload, study, candidate, the objectives, on_front; empty for one objective
    defaults: Judgment | None  # the verdicts if nobody had tuned


def tuned(
    folder: TunedFolder, in_skill: bool, level: float, rho: Mapping[str, float], defaults: Judgment | None
) -> Tuned:
    """Summarize the studies; `level` is that of each interval, `rho` widens the intervals of single workloads."""
    studies = folder.studies
    independent = str(folder.studies.search["sampler"]).endswith("RandomSampler")
    finished = _finished(folder)
    return Tuned(
        studies=studies,
        spent=tuple(_spent(folder, technique) for technique in folder.evaluation.techniques),
        finalists={str(name): (int(row.min()), int(row.max())) for name, row in finished.iterrows()},
        evenly_pruned=folder.studies.search["pruning"] is None or bool((finished.nunique() == 1).all()),
        gains=tuple(_gains(folder, in_skill, level, rho)),
        choices=tuple(choice for study in studies.studies for choice in _choices(study)),
        best_scores=_best_scores(folder, independent),
        independent=independent,
        importance=_importance(studies),
        front=_front(folder),
        defaults=defaults,
    )


def _spent(folder: TunedFolder, technique: str) -> Spent:
    rows = folder.studies.candidates
    mine = rows[rows["technique"] == technique]
    states = mine["state"].value_counts()
    return Spent(
        technique=technique,
        studies=len(folder.studies.of(technique)),
        candidates=len(mine),
        finished=int(states.get("COMPLETE", 0)),
        pruned=int(states.get("PRUNED", 0)),
        diverged=int(states.get("DIVERGED", 0)),
        failed=int(states.get("FAILED", 0)),
        trials=int(mine["trials"].sum()),
        steps=float(mine["steps"].sum(skipna=False)),
        flops=float(mine["flops"].sum(skipna=False)),
        seconds=float(mine["seconds"].sum()),
    )


def _finished(folder: TunedFolder) -> pd.DataFrame:
    """Return the number of candidates that were not cut short: a row per technique, a column per workload and study."""
    table = folder.studies.candidates
    keys = ["workload", *folder.evaluation.factors, "study"]
    complete = (table["state"] == "COMPLETE").groupby([table[key] for key in ["technique", *keys]], sort=False).sum()
    finished: pd.DataFrame = complete.unstack(keys)
    return finished.reindex(list(folder.evaluation.techniques)).fillna(0)


def _gains(folder: TunedFolder, in_skill: bool, level: float, rho: Mapping[str, float]) -> list[Gain]:
    evaluation = folder.evaluation
    keys = ["technique", "workload", *evaluation.factors, "seed"]
    sides = [
        common_scores(side, in_skill)[[*keys, "score", "common", "direction"]] for side in (folder, folder.defaults)
    ]
    if evaluation.num_studies > 1:  # a study meets the default's mean over the same seeds
        default = sides[1].assign(seed=sides[1]["seed"] % evaluation.num_studies)
        sides[1] = default.groupby([*keys, "direction"], sort=False)[["score", "common"]].mean().reset_index()
    both = sides[0].merge(sides[1].drop(columns="direction"), on=keys, suffixes=("", "_default"))
    sign = both["direction"].map({"maximize": 1.0, "minimize": -1.0}).astype(float)
    both["own"] = sign * (both["score"] - both["score_default"])
    both["gain"] = both["common"] - both["common_default"]
    gains = []
    for technique in evaluation.techniques:
        means = []
        for workload, declared in evaluation.workloads.items():
            mine = both[(both["technique"] == technique) & (both["workload"] == workload)]
            values = ["own", "gain", "score", "score_default"]
            seeds, _ = average_settings(mine, list(evaluation.factors), values)
            if seeds.empty:
                continue
            interval = t_interval(seeds["own"].to_numpy(), level, rho.get(workload, 0.0))
            average = seeds[values].mean()
            numbers = (float(average["score_default"]), float(average["score"]), interval, float(average["gain"]))
            gains.append(Gain(technique, workload, *numbers))
            if not declared.generated:
                means.append(float(average["gain"]))
        overall = overall_effect(means, level)
        if overall is not None:
            gains.append(Gain(technique, None, math.nan, math.nan, overall, overall.mean))
    return gains


def _choices(study: RecordedStudy) -> list[Choice]:
    factors = ", ".join(f"{name}={level}" for name, level in study.factors.items())
    return [
        Choice(
            study.technique,
            study.workload,
            factors,
            study.number,
            path,
            study.default.get(path),
            value,
            bound_of(study.space[path], value),
        )
        for path, value in study.chosen.items()
    ]


def objective_of(studies: Studies, workload: str) -> tuple[str, str]:
    """Return the first objective on a workload, and its direction."""
    name = str(studies.search["objectives"][workload][0])
    return name, str(studies.search["directions"][name])


def _best_scores(folder: TunedFolder, independent: bool) -> pd.DataFrame:
    """Return the first objective of the best of n candidates.

    Expected, from all candidates, if each was drawn by itself; over the studies' own order otherwise. A pruned
    candidate counts with the value that it had, and in `full_candidates` by the epochs that it used.
    """
    rows = []
    table = folder.studies.candidates.assign(used=_used(folder.studies.candidates))
    keys = [*folder.evaluation.factors, "study"]
    for (technique, workload), mine in table.groupby(["technique", "workload"], sort=False):
        name, direction = objective_of(folder.studies, str(workload))
        sign = 1.0 if direction == "maximize" else -1.0
        curves, spreads, spent = [], [], []
        for _, one in mine[mine[name].notna()].sort_values("candidate").groupby(keys, sort=False):
            values = sign * one[name].to_numpy()
            spent.append(full_candidates(one["used"].to_numpy(), in_order=not independent))
            if independent:
                best = expected_best(values)
                curves.append(best.without_replacement)
                spreads.append(best.sd)
            else:
                curves.append(np.maximum.accumulate(values))
        if not curves:
            continue
        length = min(map(len, curves))
        together, took = (np.stack([curve[:length] for curve in some]) for some in (curves, spent))
        if independent:
            sd = np.stack([spread[:length] for spread in spreads]).mean(axis=0)
        else:
            sd = together.std(axis=0, ddof=1) if len(together) > 1 else np.full(length, np.nan)
        for n in range(length):
            mean = sign * float(together[:, n].mean())
            rows.append((technique, workload, name, n + 1, float(took[:, n].mean()), mean, float(sd[n]), len(together)))
    columns = ["technique", "workload", "objective", "n", "full_candidates", "mean", "sd", "studies"]
    return pd.DataFrame(rows, columns=columns)


def _used(candidates: pd.DataFrame) -> pd.Series[float]:
    """Return the share of its epochs that each candidate used: 1 unless it was pruned and its epochs are recorded."""
    if "epochs" not in candidates:
        return pd.Series(1.0, candidates.index)
    per_trial = candidates["epochs"] / candidates["trials"]
    cells = [candidates["technique"], candidates["workload"]]
    longest = per_trial.groupby(cells).transform("max")
    return (per_trial / longest).where(candidates["state"] == "PRUNED", 1.0).fillna(1.0)


def _importance(studies: Studies) -> pd.DataFrame:
    rows = [
        (s.technique, s.workload, path, share, s.importance_error.get(path, math.nan))
        for s in studies.studies
        for path, share in s.importance.items()
    ]
    table = pd.DataFrame(rows, columns=["technique", "workload", "path", "share", "error"])
    groups = table.groupby(["technique", "workload", "path"], sort=False)
    return groups.agg(share=("share", "mean"), error=("error", error_of_mean)).reset_index()


def error_of_mean(errors: pd.Series[float]) -> float:
    """Return the standard error of a mean of independent values, from that of each; nan if one is not known."""
    known = pd.to_numeric(errors, errors="coerce").to_numpy()
    return float(np.sqrt((known**2).sum()) / len(errors))


def _front(folder: TunedFolder) -> pd.DataFrame:
    """Return the candidates by their objectives, with a mark for those that no other beats in all."""
    names = {name for names in folder.studies.search["objectives"].values() for name in names[1:]}
    if not names:
        return pd.DataFrame()
    parts = []
    keys = ["technique", "workload", *folder.evaluation.factors, "study"]
    for key, mine in folder.studies.candidates.groupby(keys, sort=False):
        objectives = folder.studies.search["objectives"][key[1]]
        there = mine[np.isfinite(mine[objectives].to_numpy(dtype=float)).all(axis=1)]  # what is not known is infinite
        part = there[[*keys, "candidate", *objectives]].copy()
        ended = (there["state"] == "COMPLETE").to_numpy()  # what diverged early was cheap, and is no solution
        best = iter(_not_dominated(there[ended], objectives, folder.studies.search["directions"]))
        part["on_front"] = [bool(one) and next(best) for one in ended]
        parts.append(part)
    front: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return front.astype({"on_front": bool})  # a part without a row has no type


def _not_dominated(table: pd.DataFrame, names: list[str], directions: dict[str, str]) -> list[bool]:
    signs = np.array([1.0 if directions[name] == "minimize" else -1.0 for name in names])
    values = table[names].to_numpy() * signs
    return [not any(bool((other <= mine).all() and (other < mine).any()) for other in values) for mine in values]
