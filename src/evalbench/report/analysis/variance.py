"""Where the noise comes from: the variance design of each technique on each workload, and of each paired difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.variance import SEEDS
from evalbench.seeds import SOURCES
from evalbench.statistics.variance import VarianceComponent, decompose

SURE = 0.95
"""Confidence with which a part is named as the largest."""


@dataclass(frozen=True)
class NoiseBudget:
    """The variance of one technique's score on one workload at one setting, or of its difference from the baseline."""

    workload: str
    technique: str
    baseline: str | None  # None: of the score itself
    setting: Mapping[str, str]
    levels: Mapping[str, int]  # of each source
    num_trials: int = 0  # of both sides, if it is a difference
    num_diverged: int = 0
    sd: float = math.nan  # of one trial or pair, in the unit of the metric: the root of all parts together
    components: tuple[VarianceComponent, ...] = ()  # without an element if it cannot be decomposed
    why_not: str = ""

    @property
    def main(self) -> VarianceComponent | None:
        """Return the part that is the largest with 95 % confidence; None if no part is."""
        return next((part for part in self.components if part.largest >= SURE), None)


def noise_budgets(folder: Folder) -> tuple[NoiseBudget, ...]:
    """Return the budget of each cell of the variance design, followed by that of its difference from the baseline."""
    return () if folder.variance is None else tuple(_budgets(folder, folder.variance))


def _budgets(folder: Folder, table: pd.DataFrame) -> Iterator[NoiseBudget]:
    cell = ["workload", "technique", *folder.evaluation.factors]
    levels = [np.unique(table[seed]) for seed in SEEDS]
    combinations = pd.MultiIndex.from_product(levels, names=SEEDS)
    cells: dict[tuple[str, ...], pd.DataFrame] = {
        tuple(map(str, key)): rows.set_index(list(SEEDS)).reindex(combinations)[["state", "score"]]
        for key, rows in table.groupby(cell, sort=False)
    }
    sizes, baseline = dict(zip(SOURCES, map(len, levels), strict=True)), str(folder.evaluation.baseline)
    for (workload, technique, *setting), trials in cells.items():
        at = dict(zip(cell[2:], setting, strict=True))
        yield _budget(NoiseBudget(workload, technique, None, at, sizes), [trials])
        base = cells.get((workload, baseline, *setting))
        if base is not None and technique != baseline:
            yield _budget(NoiseBudget(workload, technique, baseline, at, sizes), [trials, base])


def _budget(names: NoiseBudget, sides: list[pd.DataFrame]) -> NoiseBudget:
    """Decompose the scores of one side, or the differences of the first side from the second one."""
    scores = sides[0]["score"] - sides[1]["score"] if len(sides) > 1 else sides[0]["score"]
    diverged = sum(int((side["state"] == "DIVERGED").sum()) for side in sides)
    budget = replace(names, num_trials=len(scores) * len(sides), num_diverged=diverged)
    missing = sum(int(side["score"].isna().sum()) for side in sides)
    if missing:
        why = f"{missing} of {budget.num_trials} trials failed or are missing, and only a complete design is decomposed"
        return replace(budget, why_not=why)
    if min(names.levels.values()) < 2:
        return replace(budget, why_not="a source has one level only")
    values = scores.to_numpy(dtype=np.float64).reshape(tuple(names.levels.values()))
    parts = decompose(values, tuple(names.levels))
    if parts is None:
        return replace(budget, sd=0.0, why_not="all values are the same")
    return replace(budget, sd=math.sqrt(sum(max(0.0, part.variance) for part in parts)), components=parts)
