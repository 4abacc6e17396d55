"""Paired differences on each workload, over the data sets, and at each level of the other factors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from evalbench.record.folder import Folder
from evalbench.report.analysis.pairs import Contrast, items_of
from evalbench.statistics.design import interval_of, unpaired_effect
from evalbench.statistics.intervals import Interval, t_interval
from evalbench.statistics.overall import overall_effect
from evalbench.statistics.paired import PairedEffect, never_gained, paired_effect
from evalbench.statistics.settings import average_settings
from evalbench.statistics.unpaired import TwoSamples


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


def differences(
    contrasts: list[Contrast], folder: Folder, rho: Mapping[str, float], family: float
) -> tuple[tuple[Difference, ...], pd.DataFrame]:
    """Return the differences of each comparison on each workload, and the pairs that are left out, with reasons."""
    effects, notices = [], []
    each = [_parts(contrast, folder) for contrast in contrasts]
    for workload in folder.evaluation.workloads:
        for contrast, parts in zip(contrasts, each, strict=True):
            effect, common = _effect(contrast, parts, folder, workload, rho.get(workload, 0.0), family)
            names = {"workload": workload, "candidate": contrast.candidate, "comparator": contrast.comparator}
            lost = parts.lost.get(workload, contrast.left_out.iloc[:0])
            effects.append(Difference(**names, effect=effect, common=common, num_left_out=len(lost)))
            if not contrast.paired:
                continue
            for reason, count in lost["reason"].value_counts().sort_index().items():
                notices.append({**names, "reason": str(reason), "count": int(count)})
            for seed in parts.unbalanced.loc[parts.unbalanced["workload"] == workload, "seed"]:
                notices.append({**names, "reason": f"seed {seed} lacks a setting of the other factors", "count": 1})
    columns = ["workload", "candidate", "comparator", "reason", "count"]
    return tuple(effects), pd.DataFrame(notices, columns=columns)


@dataclass(frozen=True)
class _Parts:
    """A contrast by workload: its rows, averaged over the settings of a seed, and what is left out.

    samples: without pairs, the runs in the unit of their metrics, and in the common unit.
    """

    samples: tuple[TwoSamples, TwoSamples] | None
    tables: Mapping[str, pd.DataFrame]
    lost: Mapping[str, pd.DataFrame]
    unbalanced: pd.DataFrame


def _parts(contrast: Contrast, folder: Folder) -> _Parts:
    samples = None
    if not contrast.paired:
        workloads = folder.evaluation.workloads
        sign = contrast.table["workload"].map({name: float(one.described.sign) for name, one in workloads.items()})
        own = replace(contrast, table=contrast.table.assign(own=sign * contrast.table["score"]))
        samples = own.samples(list(workloads), "own"), own.samples(list(workloads))
    table, unbalanced = contrast.table, contrast.table.loc[[], ["workload", "seed"]]
    if contrast.paired and not folder.evaluation.parts_of_one_test:
        values = ["candidate", "baseline", "common", "decided"]
        table, unbalanced = average_settings(table, list(folder.evaluation.factors), values)
    tables, lost = (
        {str(name): rows for name, rows in part.groupby("workload", sort=False)} for part in (table, contrast.left_out)
    )
    return _Parts(samples, tables, lost, unbalanced)


def _effect(
    contrast: Contrast, parts: _Parts, folder: Folder, workload: str, rho: float, family: float
) -> tuple[PairedEffect, Interval]:
    """Return the effect on one workload, in the unit of its metric and in the common unit."""
    if parts.samples is not None:
        own, common_unit = (samples.on(workload) for samples in parts.samples)
        return unpaired_effect(own, family, rho), interval_of(common_unit, family, rho)
    table = parts.tables.get(workload, contrast.table.iloc[:0])
    challenger, baseline, decided = (table[name].to_numpy() for name in ("candidate", "baseline", "decided"))
    effect = paired_effect(challenger, baseline, family, rho, decided)
    if folder.evaluation.parts_of_one_test:
        own_table = table.assign(own=never_gained(table["difference"], table["decided"]))
        alone, common = (interval_of(items_of(own_table, [workload], value), family) for value in ("own", "common"))
        return replace(effect, interval=alone, rows_only=alone), common
    return effect, t_interval(table["common"].to_numpy(), family, rho)


def overall(
    differences: tuple[Difference, ...],
    comparisons: tuple[tuple[str, str], ...],
    data_sets: tuple[str, ...],
    family: float,
) -> tuple[Overall, ...]:
    """Return the mean difference of each comparison over the data sets."""
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


def levels(
    contrasts: list[Contrast], folder: Folder, rho: Mapping[str, float], data_sets: tuple[str, ...]
) -> tuple[LevelEffect, ...]:
    """Return the differences at each level of each other factor."""
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
