"""What the tables of a folder say: every number of the report, as data, before a word is written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from evalbench.record.declared import Declaration, Workload
from evalbench.record.folder import Folder, TunedFolder
from evalbench.record.schema import REFERENCES
from evalbench.report.analysis.assumptions import Check, checks
from evalbench.report.analysis.collapsed import Collapse, collapses
from evalbench.report.analysis.cost import FrontPoint, Matched, cost_ratios, front, matched, typical_seconds
from evalbench.report.analysis.curves import curve_table
from evalbench.report.analysis.differences import Difference, LevelEffect, Overall, differences, levels, overall
from evalbench.report.analysis.interactions import Interaction, interactions
from evalbench.report.analysis.pairs import Contrast, contrasts
from evalbench.report.analysis.pool import PoolScore, pool_scores
from evalbench.report.analysis.prices import Bill, bills
from evalbench.report.analysis.robustness import Robustness, robustness
from evalbench.report.analysis.scaling import Law, laws
from evalbench.report.analysis.scope import Scope, scope_of
from evalbench.report.analysis.scores import Cost, LinearAhead, Score, costs, linear_ahead, scores
from evalbench.report.analysis.targets import Milestones, milestones
from evalbench.report.analysis.tuning import Tuned, tuned
from evalbench.report.analysis.verdicts import Judgment, judgment
from evalbench.report.render.units import SKILL, Unit, ratio_unit, unit_of
from evalbench.statistics.intervals import family_confidence


@dataclass(frozen=True)
class Findings:
    """The numbers that every report has."""

    folder: Folder
    units: Mapping[str, Unit]  # of each workload
    common: Unit  # in which workloads are averaged and drawn side by side
    scope: Scope  # the rows that the intervals speak of, and what is added to 1/n
    family: float  # level of each paired interval, so that all of them hold together
    comparisons: tuple[tuple[str, str], ...]  # (candidate, comparator)
    data_sets: tuple[str, ...]  # workloads that count as data sets: those that were not generated
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    overall: tuple[Overall, ...]
    levels: tuple[LevelEffect, ...]
    costs: tuple[Cost, ...]
    seconds: Mapping[str, float]  # of a trial alone by technique; see `typical_seconds`
    linear_ahead: tuple[LinearAhead, ...] | None  # None if there is no linear model to compare with
    left_out: pd.DataFrame  # candidate, comparator, workload, reason, count of pairs
    milestones: Milestones  # without a row if no target was declared
    tuned: Tuned | None  # None if evalbench tuned nothing

    @property
    def evaluation(self) -> Declaration:
        """Return the declared part of the evaluation."""
        return self.folder.evaluation

    @property
    def rho(self) -> Mapping[str, float]:
        """Return the term that is added to 1/n, by workload."""
        return self.scope.rho

    @property
    def one_score(self) -> bool:
        """Return whether there is one score per technique and data set, so that data sets are the pairs."""
        return False

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Return the learning curves; see `curve_table`."""
        return curve_table(self.folder, self.rho)

    @cached_property
    def laws(self) -> tuple[Law, ...]:
        """Return the power laws of the loss; see `laws`."""
        return laws(self.folder)


@dataclass(frozen=True)
class JudgedFindings(Findings):
    """The numbers of a report with a baseline, which the other techniques are judged against."""

    judged: Judgment
    matched: tuple[Matched, ...]
    front: tuple[FrontPoint, ...]
    robustness: Robustness
    checks: tuple[Check, ...]
    collapses: tuple[Collapse, ...] | None  # None if the trivial predictor's scores are not known
    bills: Mapping[str, Bill]  # the price of an answer about each candidate
    interactions: tuple[Interaction, ...]  # without an element if nothing else varies

    @property
    def one_score(self) -> bool:
        """Return whether there is one score per technique and data set, so that data sets are the pairs."""
        return self.judged.design.one_score

    @property
    def level(self) -> float:
        """Return the level of the intervals that decide."""
        return next((verdict.effect.confidence for verdict in self.judged.verdicts), self.family)

    @cached_property
    def pool(self) -> tuple[PoolScore, ...]:
        """Return the scores that depend on the pool of techniques; see `pool_scores`."""
        return pool_scores(self.folder, self.judged, self.common)


@dataclass(frozen=True)
class TunedFindings(Tuned):
    """The numbers of the studies, of a report whose techniques evalbench tuned, beside all others."""

    findings: Findings

    @property
    def evaluation(self) -> Declaration:
        """Return the declared part of the evaluation."""
        return self.findings.evaluation

    @property
    def search(self) -> Mapping[str, Any]:
        """Return the settings that all studies share: sampler, number of candidates, objectives, spaces."""
        return self.studies.search


def judged(findings: Findings) -> JudgedFindings | None:
    """Return the findings if they have verdicts."""
    return findings if isinstance(findings, JudgedFindings) else None


def searched(findings: Findings) -> TunedFindings | None:
    """Return the findings with those of the studies, if evalbench tuned."""
    return None if findings.tuned is None else TunedFindings(**vars(findings.tuned), findings=findings)


def find(folder: Folder) -> Findings:
    """Compute every number of the report.

    Raises:
        TableError: pairs are missing or repeated, or a reference is missing.
    """
    evaluation = folder.evaluation
    measured = folder.results[folder.results["score"].notna()]
    ratio = any(workload.ratio for workload in evaluation.workloads.values())  # logarithms keep their sign
    sizes = measured["score"] if ratio else measured["score"].abs()
    typical = sizes.groupby(measured["workload"]).median()
    units = {
        name: _unit(workload, float(typical.get(name, math.nan))) for name, workload in evaluation.workloads.items()
    }
    rho = (scope := scope_of(evaluation, measured)).rho
    comparisons = _comparisons(folder)
    family = family_confidence(evaluation.confidence, max(1, len(comparisons)))
    data_sets = tuple(name for name, workload in evaluation.workloads.items() if not workload.generated)
    common = _common_unit(units, folder)
    paired = contrasts(folder, comparisons, common.is_skill)
    effects, left_out = differences(paired, folder, rho, family)
    findings = Findings(
        folder=folder,
        units=units,
        common=common,
        scope=scope,
        family=family,
        comparisons=comparisons,
        data_sets=data_sets,
        scores=scores(folder, rho),
        differences=effects,
        overall=overall(effects, comparisons, data_sets, family),
        levels=levels(paired, folder, rho, data_sets),
        costs=costs(folder),
        seconds=typical_seconds(folder),
        linear_ahead=linear_ahead(folder, rho),
        left_out=left_out,
        milestones=milestones(folder),
        tuned=_tuned(folder, common, rho, comparisons),
    )
    return findings if evaluation.baseline is None else _judged(findings, paired)


def _judged(findings: Findings, paired: list[Contrast]) -> JudgedFindings:
    """Add what is said of each technique against the baseline."""
    folder, common, rho = findings.folder, findings.common, findings.rho
    judgments = judgment(folder, paired, common, rho, findings.left_out, cost_ratios(folder))
    return JudgedFindings(
        **{**vars(findings), **_with_digits(findings, judgments)},
        judged=judgments,
        matched=matched(folder, common, rho, findings.family),
        front=front(folder, judgments),
        robustness=robustness(folder, judgments, common),
        checks=checks(folder, judgments),
        collapses=collapses(folder),
        bills=bills(folder, judgments),
        interactions=interactions(folder, paired, judgments.design),
    )


def _with_digits(findings: Findings, judgments: Judgment) -> dict[str, Any]:
    """Return the units with the digits that the ROPE and the narrowest interval need."""
    halves = [(verdict.effect.high - verdict.effect.low) / 2 for verdict in judgments.verdicts]
    common = findings.common.with_digits(judgments.design.rope, halves)
    more = common.finer - findings.common.finer
    same = not findings.common.is_skill
    units = {
        name: replace(unit, finer=unit.finer + more, decimals=unit.decimals + more) if same else unit
        for name, unit in findings.units.items()
    }
    return {"common": common, "units": units}


def _tuned(
    folder: Folder, common: Unit, rho: Mapping[str, float], comparisons: tuple[tuple[str, str], ...]
) -> Tuned | None:
    """Summarize the studies, with the verdicts that the default settings would have got on the same splits."""
    if not isinstance(folder, TunedFolder):
        return None
    before = None
    if folder.evaluation.baseline is not None:
        plain = folder.defaults
        paired = contrasts(plain, comparisons, common.is_skill)
        _, left_out = differences(paired, plain, rho, folder.evaluation.confidence)
        before = judgment(plain, paired, common, rho, left_out, cost_ratios(plain))
    return tuned(folder, common.is_skill, folder.evaluation.confidence, rho, before)


def _unit(workload: Workload, typical: float) -> Unit:
    if workload.ratio:
        return ratio_unit(workload.metric, workload.unit, typical, workload.direction)
    span = workload.described.span
    return unit_of(workload.metric, workload.unit, typical, workload.direction, workload.words, span)


def _comparisons(folder: Folder) -> tuple[tuple[str, str], ...]:
    """Return every technique against the baseline; without a baseline, every technique against the references."""
    evaluation = folder.evaluation
    if evaluation.baseline is not None:
        return tuple((name, evaluation.baseline) for name in evaluation.techniques if name != evaluation.baseline)
    present = set(folder.references["reference"])
    references = [name for name in REFERENCES.values() if name in present]
    return tuple(itertools.product(evaluation.techniques, references))


def _common_unit(units: Mapping[str, Unit], folder: Folder) -> Unit:
    """Return the unit in which workloads are averaged: accuracy points if all have them, otherwise skill.

    A metric that all workloads share keeps its own unit if the ROPE is declared in it, or if nobody knows the
    trivial predictor's scores.
    """
    workloads = {workload.measure: workload for workload in folder.evaluation.workloads.values()}
    if len(workloads) == 1:
        metric, workload = next(iter(workloads.items()))
        if not workload.described.as_skill or metric in folder.evaluation.rope or folder.references.empty:
            return next(iter(units.values()))
    return SKILL
