"""What techniques spend: counted work, measured seconds, and how they compare at equal work."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import TRIVIAL
from evalbench.record.skill import best_possible
from evalbench.report.analysis.verdicts import Judgment
from evalbench.report.render.units import Unit
from evalbench.statistics.aggregates import redrawn, redrawn_without_pairs
from evalbench.statistics.costs import UNKNOWN, Ratio, cost_ratio, cost_ratio_without_pairs
from evalbench.statistics.design import used
from evalbench.statistics.front import front_probability, on_front
from evalbench.statistics.intervals import Floats, Interval, t_interval
from evalbench.statistics.matrices import Matrix, matrix
from evalbench.statistics.settings import average_settings

FRONT_SEED = 20_260_102


@dataclass(frozen=True)
class Matched:
    """A candidate against the baseline at equal work: the last validation scores that both have within it."""

    candidate: str
    by: str  # updates or FLOPs
    workloads: tuple[str, ...]  # where the two curves overlap
    missing: tuple[str, ...]  # where they do not
    effect: Interval | None  # in the common unit, of validation scores; None if nothing overlaps


@dataclass(frozen=True)
class FrontPoint:
    """Quality and cost of a technique, both relative to the baseline."""

    technique: str
    effect: tuple[float, float, float]  # mean, low, high in the common unit; zero for the baseline
    cost: tuple[float, float, float]  # ratio, low, high; one for the baseline; nan ends for counted FLOPs
    front: bool
    probability: float  # of being on the front


def cost_ratios(folder: Folder) -> dict[str, Ratio]:
    """Return the ratio of isolated seconds to the baseline's, per candidate; nothing if nothing was measured."""
    evaluation = folder.evaluation
    if folder.costs.empty or evaluation.baseline is None:
        return {}
    table = _seconds(folder)
    ratios = {}
    for candidate in evaluation.techniques:
        if candidate == evaluation.baseline or candidate not in table or evaluation.baseline not in table:
            continue
        if not evaluation.paired:
            ratios[candidate] = cost_ratio_without_pairs(
                *_logs(table[candidate], table[evaluation.baseline]), evaluation.confidence
            )
            continue
        a, b = _both_timed(table[candidate], table[evaluation.baseline])
        if a.empty:
            ratios[candidate] = UNKNOWN
            continue
        # One round of a foreign table: the data sets are then what repeats.
        sides = (a.T, b.T) if len(a) == 1 else (a, b)
        ratios[candidate] = cost_ratio(sides[0].to_numpy(), sides[1].to_numpy(), evaluation.confidence)
    return ratios


def _logs(a: pd.DataFrame, b: pd.DataFrame) -> tuple[list[Floats], list[Floats]]:
    """Return the sorted logarithms of the seconds of both sides on each cell that both have."""
    cells = [cell for cell in a.columns if cell in b.columns]
    first, second = ([np.sort(np.log(side[cell].dropna().to_numpy())) for cell in cells] for side in (a, b))
    return first, second


def _both_timed(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rounds and cells that both sides were timed in, without a gap; a cell that failed was not timed."""
    a, b = a.align(b, join="inner")
    there = a.notna() & b.notna()
    there = there.loc[:, there.any()]
    full = there.index[there.all(axis=1)]
    if len(full) > 1:
        return a.loc[full, there.columns], b.loc[full, there.columns]
    cells = there.columns[there.all()]
    return a[cells], b[cells]


def untimed(folder: Folder) -> dict[str, list[str]]:
    """Return, per candidate whose cost ratio is known, the data sets that the ratio leaves out, whole or in part."""
    evaluation = folder.evaluation
    if folder.costs.empty or evaluation.baseline not in (table := _seconds(folder)):
        return {}
    counted = _counted(folder)
    settings = math.prod(map(len, evaluation.factors.values()))
    left_out = {}
    for candidate in evaluation.techniques:
        if candidate in table and candidate != evaluation.baseline:
            cells = _both_timed(table[candidate], table[evaluation.baseline])[0].columns.get_level_values(0)
            lacking = [name for name in counted if (cells == name).sum() < settings]
            if lacking and len(cells):
                left_out[candidate] = lacking
    return left_out


def _counted(folder: Folder) -> list[str]:
    workloads = folder.evaluation.workloads
    return [name for name, workload in workloads.items() if not workload.generated] or list(workloads)


def _seconds(folder: Folder) -> dict[str, pd.DataFrame]:
    """Return the seconds of a trial per technique: a row per round, a column per data set and setting.

    Generated workloads count if there is nothing else, as in the effect.
    """
    keys = ["workload", *folder.evaluation.factors]
    costs = folder.costs[folder.costs["workload"].isin(_counted(folder))]
    return {
        str(technique): group.pivot(index="round", columns=keys, values="cost_seconds")
        for technique, group in costs.groupby("technique", sort=False)
    }


def typical_seconds(folder: Folder) -> dict[str, float]:
    """Return the seconds of a trial alone per technique: the geometric mean over data sets, settings and rounds.

    The ratio of two of them is the cost ratio, if both were timed in the same rounds.
    """
    if folder.costs.empty:
        return {}
    return {technique: float(np.exp(np.log(table).mean().mean())) for technique, table in _seconds(folder).items()}


def step_seconds(folder: Folder) -> dict[tuple[str, str], float]:
    """Return the median isolated seconds per optimizer step of each technique on each workload."""
    if folder.costs.empty:
        return {}
    medians = folder.costs.groupby(["technique", "workload"], sort=False)["step_seconds"].median()
    return {(str(key[0]), str(key[1])): float(value) for key, value in zip(medians.index, medians, strict=True)}


def matched(folder: Folder, common: Unit, rho: Mapping[str, float], level: float) -> tuple[Matched, ...]:
    """Return each candidate at equal updates and at equal FLOPs, unless the budget makes them equal."""
    evaluation = folder.evaluation
    if evaluation.baseline is None or folder.curves.empty or not evaluation.paired:
        return ()
    curves = _curves(folder, common.is_skill)
    if curves.empty:
        return ()
    matches = []
    for candidate in evaluation.techniques:
        if candidate == evaluation.baseline:
            continue
        for by, column in (("updates", "step"), ("FLOPs", "spent")):
            if _unequal(folder, candidate, "steps" if by == "updates" else "flops"):
                matches.append(_matched(folder, curves, candidate, by, column, rho, level))
    return tuple(matches)


def _unequal(folder: Folder, candidate: str, column: str) -> bool:
    complete = folder.results[folder.results["state"] == "COMPLETE"]
    means = complete.groupby(["workload", "technique"])[column].mean().unstack("technique")
    if candidate not in means or folder.evaluation.baseline not in means:
        return False
    ratio = (means[candidate] / means[str(folder.evaluation.baseline)]).dropna()
    return bool(((ratio - 1).abs() > 0.01).any())


def _curves(folder: Folder, in_skill: bool) -> pd.DataFrame:
    """Return the validation scores in the common unit with the steps and FLOPs spent until then."""
    evaluation = folder.evaluation
    keys = ["technique", "workload", *evaluation.factors, "seed"]
    comparable = [
        name for name, w in evaluation.workloads.items() if w.on_curve
    ]  # fmt: skip
    there = folder.curves[folder.curves["workload"].isin(comparable) & np.isfinite(folder.curves["val_score"])]
    trials = folder.results[folder.results["state"] == "COMPLETE"][[*keys, "steps", "flops"]]
    curves: pd.DataFrame = pd.merge(there, trials, on=keys, how="inner", sort=False)
    curves["spent"] = curves["flops"] / curves["steps"] * curves["step"]
    curves["common"] = curves["val_score"]
    if in_skill:
        trivial = folder.references[folder.references["reference"] == TRIVIAL][["workload", "seed", "score"]]
        curves = pd.merge(curves, trivial.rename(columns={"score": "trivial"}), on=["workload", "seed"], how="left")
        best = curves["workload"].map({name: best_possible(evaluation.workloads[name]) for name in comparable})
        best = best.astype(float)  # no rows keep the type of a name
        curves["common"] = (curves["val_score"] - curves["trivial"]) / (best - curves["trivial"]).abs()
    return curves


def _matched(
    folder: Folder,
    curves: pd.DataFrame,
    candidate: str,
    by: str,
    column: str,
    rho: Mapping[str, float],
    level: float,
) -> Matched:
    evaluation = folder.evaluation
    keys = ["workload", *evaluation.factors, "seed"]
    sides = [curves[curves["technique"] == name] for name in (candidate, str(evaluation.baseline))]
    ends = [side.groupby(keys)[column].max() for side in sides]
    limit = pd.concat(ends, axis=1, join="inner").min(axis=1).rename("limit").reset_index()
    reached = []
    for side in sides:
        within = side.merge(limit, on=keys, how="inner")
        within = within[within[column] <= within["limit"] * (1 + 1e-9)].sort_values(column, kind="stable")
        reached.append(within.groupby(keys)["common"].last())
    a, b = reached[0].align(reached[1], join="inner")
    table = (a - b).rename("common").reset_index()
    wanted = _counted(folder)
    seeds, _ = average_settings(table, list(evaluation.factors), ["common"])
    d = matrix(seeds, "common", wanted)
    overlap = tuple(name for name, count in zip(wanted, d.counts, strict=True) if count) if d.seeds else ()
    effect = None
    if len(overlap) == 1:
        effect = t_interval(d.column(overlap[0]), level, rho.get(overlap[0], 0.0))
    elif overlap:
        effect = t_interval([float(d.column(name).mean()) for name in overlap], level)
    return Matched(candidate, by, overlap, tuple(name for name in wanted if name not in overlap), effect)


def front(folder: Folder, judged: Judgment) -> tuple[FrontPoint, ...]:
    """Return quality and cost of each technique: measured seconds if there are any, counted FLOPs otherwise."""
    evaluation = folder.evaluation
    if evaluation.baseline is None or not judged.verdicts:
        return ()
    names = [evaluation.baseline, *(verdict.challenger for verdict in judged.verdicts)]
    rounds = _round_costs(folder, names)
    if rounds is None:
        return ()
    indices, generator = used(judged.design), np.random.default_rng(FRONT_SEED)
    scores = {name: judged.scores[name] for name in names}
    if judged.design.paired:
        if (table := complete_scores(scores, indices)) is None:
            return ()
        drawn, means = redrawn(table, generator, redraw_sets=len(indices) > 1), table.mean(axis=(1, 2))
    else:
        columns = [columns_of(one, indices) for one in scores.values()]
        drawn = redrawn_without_pairs(columns, generator, redraw_sets=len(indices) > 1)
        means = np.array([np.mean([column.mean() for column in mine]) for mine in columns])
    chance = front_probability(drawn, rounds, generator)
    fronts = on_front(means, rounds.mean(axis=1))
    ratios = rounds / rounds[0]
    points = []
    for index, name in enumerate(names):
        effect = (0.0, 0.0, 0.0)
        cost = (1.0, 1.0, 1.0)
        if index:
            verdict = judged.verdict(name)
            effect = (verdict.effect.mean, verdict.effect.low, verdict.effect.high)
            known = math.isfinite(verdict.cost.value)
            cost = (
                (verdict.cost.value, verdict.cost.low, verdict.cost.high) if known else (float(ratios[index, 0]),) * 3
            )
        points.append(FrontPoint(name, effect, cost, bool(fronts[index]), float(chance[index])))
    return tuple(points)


def _round_costs(folder: Folder, names: list[str]) -> Floats | None:
    """Return the geometric mean cost over the workloads, shape (k, R), measured if all were, else counted; None if
    neither is known for all."""
    if not folder.costs.empty:
        seconds = _seconds(folder)
        if all(name in seconds for name in names):
            logs = [np.log(seconds[name].to_numpy(dtype=float)) for name in names]
            if len({log.shape for log in logs}) == 1 and np.isfinite(logs).all():
                return np.asarray(np.exp(np.stack([log.mean(axis=1) for log in logs])), dtype=np.float64)
    complete = folder.results[folder.results["state"] == "COMPLETE"]
    means = complete.groupby(["technique", "workload"])["flops"].mean().unstack("workload").reindex(names)
    if means.empty or means.isna().any(axis=None) or not (means > 0).all(axis=None):
        return None
    return np.asarray(np.exp(np.log(means.to_numpy()).mean(axis=1, keepdims=True)), dtype=np.float64)


def columns_of(scores: Matrix, indices: list[int]) -> list[Floats]:
    """Return the scores of a technique on some workloads, an array each."""
    return [scores.column(scores.workloads[index]) for index in indices]


def complete_scores(scores: Mapping[str, Matrix], indices: list[int]) -> Floats | None:
    """Return scores of the seeds that all techniques have on all these workloads, shape (k, S, W); None for no seed."""
    common = functools.reduce(np.intersect1d, (np.array(m.seeds) for m in scores.values()))
    rows = [m.values[np.isin(m.seeds, common)][:, indices] for m in scores.values()]  # in order of the seeds
    table = np.stack(rows)
    table = table[:, np.isfinite(table).all(axis=(0, 2))]
    return table if table.shape[1] else None
