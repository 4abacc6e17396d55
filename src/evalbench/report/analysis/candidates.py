"""The candidates of all studies: their ranks, and where each of their values lies in its range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from evalbench.report.analysis.findings import TunedFindings
from evalbench.report.analysis.tuning import objective_of
from evalbench.report.render.units import number
from evalbench.space import position_of


def ranked(tuned: TunedFindings) -> pd.DataFrame:
    """Return every candidate with its rank in its study, from 0 (best) to 1, in the order that a study chooses by."""
    table = tuned.studies.candidates
    keys = ["technique", "workload", *tuned.evaluation.factors, "study"]
    parts = []
    for key, mine in table.groupby(keys, sort=False):
        name, direction = objective_of(tuned.studies, str(key[1]))
        there = mine[mine[name].notna()]
        order = there.sort_values([name, "val_loss", "candidate"], ascending=[direction == "minimize", True, True])
        parts.append(order.assign(rank=np.arange(len(order)) / max(1, len(order) - 1)))
    return pd.concat(parts, ignore_index=True)


def spaces(tuned: TunedFindings) -> dict[str, Mapping[str, Any]]:
    """Return the search space of each technique that has one: path -> range or choices."""
    space = tuned.search["space"]
    return {name: space[name] for name in tuned.evaluation.techniques if name in space}


def heights(values: pd.Series[Any], spec: Mapping[str, Any]) -> Any:
    """Return where values lie in their range, from 0 to 1."""
    if "choices" in spec:
        return np.array([choice_index(value, spec) / max(1, len(spec["choices"]) - 1) for value in values])
    return np.array([position_of(spec, value) for value in pd.to_numeric(values, errors="coerce")])


def choice_index(value: object, spec: Mapping[str, Any]) -> float:
    """Return a choice's index in its list; nan if a candidate's own space does not have it."""
    texts = [str(choice) for choice in spec["choices"]]
    if str(value) in texts:
        return texts.index(str(value))
    read = pd.to_numeric(str(value), errors="coerce")  # 16 is read as 16.0
    return next((index for index, choice in enumerate(spec["choices"]) if choice == read), math.nan)


def marks(spec: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return the heights and texts that label a range: its ends, or its choices."""
    if "choices" in spec:
        last = max(1, len(spec["choices"]) - 1)
        return [(index / last, number(choice)) for index, choice in enumerate(spec["choices"])]
    return [(0.0, number(spec["low"])), (1.0, number(spec["high"]))]
