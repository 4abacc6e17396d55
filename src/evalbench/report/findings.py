"""What the tables of a folder say: every number of the report, as data, before a word is written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import COSTS, LINEAR, REFERENCES
from evalbench.report.appendix import Appendix, Check, appendix, checks
from evalbench.report.contrasts import Contrast, with_references
from evalbench.report.contrasts import contrasts as make_contrasts
from evalbench.report.judgement import Judgement, judgement
from evalbench.report.milestones import Milestones, milestones
from evalbench.report.spending import FrontPlace, Matched, cost_ratios, front, matched
from evalbench.report.tuned import Tuned, tuned
from evalbench.report.units import SKILL, Unit, unit_of
from evalbench.statistics.intervals import Interval, family_confidence, t_interval
from evalbench.statistics.overall import overall_effect
from evalbench.statistics.paired import PairedEffect, pair, paired_effect
from evalbench.statistics.settings import average_settings


@dataclass(frozen=True)
class Score:
    """How one technique, or one reference, scored on one workload; scores as stored, not oriented."""

    workload: str
    name: str
    reference: bool
    interval: Interval
    num_trials: int  # planned
    num_diverged: int  # counted with the score of the trivial predictor
    num_failed: int  # left out, or in a foreign table counted as a loss
    num_left_out: int  # trials without a score
    best: bool  # better than every other technique, each by a paired interval that excludes zero


@dataclass(frozen=True)
class Difference:
    """A candidate against its comparator on one workload; positive is better for the candidate."""

    workload: str
    candidate: str
    comparator: str
    effect: PairedEffect  # in the unit of the workload's metric
    common: Interval  # in the unit that all workloads share
    num_left_out: int  # pairs without two scores


@dataclass(frozen=True)
class Overall:
    """A candidate against its comparator over the data sets, in the unit that all workloads share."""

    candidate: str
    comparator: str
    interval: Interval | None  # None for fewer than two data sets
    workloads: tuple[str, ...]  # the data sets that were averaged


@dataclass(frozen=True)
class LevelEffect:
    """A difference at one level of one other factor; `workload` is None for the mean over the data sets."""

    factor: str
    level: str
    workload: str | None
    candidate: str
    comparator: str
    interval: Interval  # at the plain level: exploratory


@dataclass(frozen=True)
class Cost:
    """What one completed trial of a technique spent on one workload, on average."""

    workload: str
    technique: str
    num_trials: int  # completed ones: a diverged trial stops early
    steps: float
    examples: float
    flops: float
    parameters: float


@dataclass(frozen=True)
class LinearAhead:
    """A workload on which the linear model has a better mean than every technique, on the same splits."""

    workload: str
    supported: bool  # every one of the paired intervals lies below zero


@dataclass(frozen=True)
class Findings:
    """All the numbers of one report."""

    folder: Folder
    units: Mapping[str, Unit]  # of each workload
    common: Unit  # in which workloads are averaged and drawn side by side
    rho: Mapping[str, float]  # num_test / num_train of each workload
    family: float  # level of each paired interval, so that all of them hold together
    num_comparisons: int
    comparisons: tuple[tuple[str, str], ...]  # (candidate, comparator)
    data_sets: tuple[str, ...]  # workloads that count as data sets: those that were not generated
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    overall: tuple[Overall, ...]
    levels: tuple[LevelEffect, ...]
    costs: tuple[Cost, ...]
    linear_ahead: tuple[LinearAhead, ...] | None  # None where there is no linear model to compare with
    left_out: pd.DataFrame  # candidate, comparator, workload, reason, count of pairs
    judged: Judgement | None  # None where there is no baseline to judge against
    matched: tuple[Matched, ...]
    front: tuple[FrontPlace, ...]
    milestones: Milestones | None
    appendix: Appendix | None
    checks: tuple[Check, ...]
    tuned: Tuned | None = None  # None where evalbench tuned nothing


def find(folder: Folder) -> Findings:
    """Compute every number of the report.

    Raises:
        TableError: pairs are missing or repeated, or a reference is missing.
    """
    evaluation = folder.evaluation
    results = folder.results
    measured = results[results["score"].notna()]
    units = {
        name: unit_of(workload.metric, workload.unit, _typical(measured, name), workload.direction)
        for name, workload in evaluation.workloads.items()
    }
    rho = _rho(measured)
    comparisons = _comparisons(folder)
    family = family_confidence(evaluation.confidence, max(1, len(comparisons)))
    data_sets = tuple(name for name, workload in evaluation.workloads.items() if not workload.generated)
    common = _common_unit(units, folder)
    contrasts = make_contrasts(folder, comparisons, common is SKILL)
    differences, left_out = _differences(contrasts, folder, rho, family)
    judged = None
    if evaluation.baseline is not None:
        judged = judgement(folder, contrasts, common, rho, left_out, cost_ratios(folder))
    return Findings(
        folder=folder,
        units=units,
        common=common,
        rho=rho,
        family=family,
        num_comparisons=len(comparisons),
        comparisons=comparisons,
        data_sets=data_sets,
        scores=_scores(folder, rho),
        differences=differences,
        overall=_overall(differences, comparisons, data_sets, family),
        levels=_levels(contrasts, folder, rho, data_sets),
        costs=_costs(folder),
        linear_ahead=_linear_ahead(folder, rho),
        left_out=left_out,
        judged=judged,
        matched=matched(folder, common, rho, family),
        front=front(folder, judged) if judged else (),
        milestones=milestones(folder),
        appendix=appendix(folder, judged, common) if judged else None,
        checks=checks(folder, judged) if judged else (),
        tuned=_tuned(folder, common, rho, comparisons),
    )


def _tuned(
    folder: Folder, common: Unit, rho: dict[str, float], comparisons: tuple[tuple[str, str], ...]
) -> Tuned | None:
    """What the studies did, and the verdicts that the default settings would have got on the same splits."""
    if folder.studies is None or folder.defaults is None:
        return None
    before = None
    if folder.evaluation.baseline is not None:
        plain = folder.defaults
        contrasts = make_contrasts(plain, comparisons, common is SKILL)
        _, left_out = _differences(contrasts, plain, rho, folder.evaluation.confidence)
        before = judgement(plain, contrasts, common, rho, left_out, cost_ratios(plain))
    return tuned(folder, common is SKILL, folder.evaluation.confidence, rho, before)


def _typical(measured: pd.DataFrame, workload: str) -> float:
    scores = measured.loc[measured["workload"] == workload, "score"]
    return float(scores.abs().median()) if len(scores) else math.nan


def _rho(measured: pd.DataFrame) -> dict[str, float]:
    shares = (measured["num_test"] / measured["num_train"]).groupby(measured["workload"]).mean()
    shares = shares.fillna(0.0)  # a foreign table that does not say: its test data are taken as fixed or fresh
    return {str(name): float(share) for name, share in shares.items()}


def _comparisons(folder: Folder) -> tuple[tuple[str, str], ...]:
    """Every technique against the baseline; without a baseline, every technique against the references."""
    evaluation = folder.evaluation
    if evaluation.baseline is not None:
        return tuple((name, evaluation.baseline) for name in evaluation.techniques if name != evaluation.baseline)
    present = set(folder.references["reference"])
    references = [name for name in REFERENCES.values() if name in present]
    return tuple(itertools.product(evaluation.techniques, references))


def _common_unit(units: Mapping[str, Unit], folder: Folder) -> Unit:
    """The unit in which workloads are averaged: accuracy points where all have them, otherwise skill.

    A metric that all workloads share keeps its own unit where the ROPE is declared in it, or where nobody knows the
    trivial predictor's scores.
    """
    metrics = {workload.measure for workload in folder.evaluation.workloads.values()}
    if len(metrics) == 1:
        metric = next(iter(metrics))
        if metric == "accuracy" or metric in folder.evaluation.rope or folder.references.empty:
            return next(iter(units.values()))
    return SKILL


def _differences(
    contrasts: list[Contrast], folder: Folder, rho: Mapping[str, float], family: float
) -> tuple[tuple[Difference, ...], pd.DataFrame]:
    factors = list(folder.evaluation.factors)
    values = ["candidate", "baseline", "common", "decided"]
    found, notices = [], []
    for workload in folder.evaluation.workloads:
        for contrast in contrasts:
            table = contrast.table[contrast.table["workload"] == workload]
            lost = contrast.left_out[contrast.left_out["workload"] == workload]
            seeds, unbalanced = average_settings(table, factors, values)
            names = {"workload": workload, "candidate": contrast.candidate, "comparator": contrast.comparator}
            pilot = None if folder.num_pilot is None else int((seeds["seed"] < folder.num_pilot).sum())
            effect = paired_effect(
                seeds["candidate"], seeds["baseline"], family, rho.get(workload, 0.0), pilot, seeds["decided"]
            )
            common = t_interval(seeds["common"].to_numpy(), family, rho.get(workload, 0.0), pilot)
            found.append(Difference(**names, effect=effect, common=common, num_left_out=len(lost)))
            for reason, count in lost["reason"].value_counts().sort_index().items():
                notices.append({**names, "reason": str(reason), "count": int(count)})
            for seed in unbalanced["seed"]:
                notices.append({**names, "reason": f"seed {seed} lacks a setting of the other factors", "count": 1})
    columns = ["workload", "candidate", "comparator", "reason", "count"]
    return tuple(found), pd.DataFrame(notices, columns=columns)


def _overall(
    differences: tuple[Difference, ...],
    comparisons: tuple[tuple[str, str], ...],
    data_sets: tuple[str, ...],
    family: float,
) -> tuple[Overall, ...]:
    overall = []
    for comparison in comparisons:
        counted = [
            difference
            for difference in differences
            if (difference.candidate, difference.comparator) == comparison
            and difference.workload in data_sets
            and difference.effect.count
        ]
        interval = overall_effect([difference.common.mean for difference in counted], family)
        overall.append(Overall(*comparison, interval, tuple(difference.workload for difference in counted)))
    return tuple(overall)


def _levels(
    contrasts: list[Contrast], folder: Folder, rho: Mapping[str, float], data_sets: tuple[str, ...]
) -> tuple[LevelEffect, ...]:
    evaluation = folder.evaluation
    effects = []
    for factor, levels in evaluation.factors.items():
        others = [name for name in evaluation.factors if name != factor]
        for contrast, level in itertools.product(contrasts, levels):
            names = {"factor": factor, "level": level}
            sides = {"candidate": contrast.candidate, "comparator": contrast.comparator}
            means = []
            for workload in evaluation.workloads:
                at = (contrast.table["workload"] == workload) & (contrast.table[factor] == level)
                seeds, _ = average_settings(contrast.table[at], others, ["common"])
                interval = t_interval(seeds["common"].to_numpy(), evaluation.confidence, rho.get(workload, 0.0))
                effects.append(LevelEffect(**names, workload=workload, **sides, interval=interval))
                if workload in data_sets and interval.count:
                    means.append(interval.mean)
            overall = overall_effect(means, evaluation.confidence)
            if overall is not None:
                effects.append(LevelEffect(**names, workload=None, **sides, interval=overall))
    return tuple(effects)


def _scores(folder: Folder, rho: Mapping[str, float]) -> tuple[Score, ...]:
    evaluation = folder.evaluation
    factors = list(evaluation.factors)
    cells = dict(tuple(folder.results.groupby(["workload", "technique"], sort=False)))
    scores = []
    for workload in evaluation.workloads:
        rho_here = rho.get(workload, 0.0)
        seeds: dict[str, pd.DataFrame] = {}
        for technique in evaluation.techniques:
            trials = cells.get((workload, technique), folder.results.iloc[:0])
            mine, _ = average_settings(trials[trials["score"].notna()], factors, ["score", "failed"])
            seeds[technique] = mine.set_index("seed")
        best = _best(seeds, evaluation.workloads[workload].direction, evaluation.confidence, rho_here)
        for technique in evaluation.techniques:
            trials = cells.get((workload, technique), folder.results.iloc[:0])
            states = trials["state"]
            scores.append(
                Score(
                    workload=workload,
                    name=technique,
                    reference=False,
                    interval=t_interval(seeds[technique]["score"].tolist(), evaluation.confidence, rho_here),
                    num_trials=len(states),
                    num_diverged=int((states == "DIVERGED").sum()),
                    num_failed=int((states == "FAILED").sum()),
                    num_left_out=int(trials["score"].isna().sum()),
                    best=technique == best,
                )
            )
        references = folder.references[folder.references["workload"] == workload]
        for name, group in references.groupby("reference", sort=False):
            interval = t_interval(group["score"].to_numpy(), evaluation.confidence, rho_here)
            scores.append(Score(workload, str(name), True, interval, len(group), 0, 0, 0, False))
    return tuple(scores)


def _best(seeds: Mapping[str, pd.DataFrame], direction: str, confidence: float, rho: float) -> str | None:
    """The technique that beats every other one on a workload, each by its paired interval; None where none does.

    The best one is chosen after looking, so the level allows for all pairs: `1 - α / (k (k - 1) / 2)`.
    """
    if len(seeds) < 2:
        return None
    level = family_confidence(confidence, len(seeds) * (len(seeds) - 1) // 2)
    sign = 1 if direction == "maximize" else -1
    means = {name: sign * float(table["score"].mean()) if len(table) else -math.inf for name, table in seeds.items()}
    ordered = sorted(seeds, key=lambda name: -means[name])
    first = ordered[0]  # nobody else can beat the one with the best mean
    for other in ordered[1:]:
        a, b = seeds[first].align(seeds[other], join="inner", axis=0)
        decided = b["failed"] - a["failed"]
        if (
            not len(a)
            or paired_effect(sign * a["score"], sign * b["score"], level, rho, decided=decided).interval.side <= 0
        ):
            return None
    return first


def _linear_ahead(folder: Folder, rho: Mapping[str, float]) -> tuple[LinearAhead, ...] | None:
    evaluation = folder.evaluation
    if LINEAR not in set(folder.references["reference"]):
        return None
    keys = ["workload", "seed", *evaluation.factors]
    level = family_confidence(evaluation.confidence, len(evaluation.techniques))
    trials = with_references(folder)
    complete = not evaluation.foreign
    tables = [pair(trials, technique, LINEAR, keys, complete).table for technique in evaluation.techniques]
    ahead = []
    for workload in evaluation.workloads:
        intervals = []
        for table in tables:
            mine = table[table["workload"] == workload]
            seeds, _ = average_settings(mine, list(evaluation.factors), ["candidate", "baseline"])
            effect = paired_effect(seeds["candidate"], seeds["baseline"], level, rho.get(workload, 0.0))
            intervals.append(effect.interval)
        if all(interval.mean < 0 for interval in intervals):  # nan where a technique has no pair: no claim
            ahead.append(LinearAhead(workload, all(interval.side < 0 for interval in intervals)))
    return tuple(ahead)


def _costs(folder: Folder) -> tuple[Cost, ...]:
    complete = folder.results[folder.results["state"] == "COMPLETE"]
    found = []
    for workload, technique in itertools.product(folder.evaluation.workloads, folder.evaluation.techniques):
        trials = complete[(complete["workload"] == workload) & (complete["technique"] == technique)]
        means = {name: float(trials[name].mean()) if trials[name].notna().any() else np.nan for name in COSTS}
        found.append(Cost(workload, technique, len(trials), **means))
    return tuple(found)
