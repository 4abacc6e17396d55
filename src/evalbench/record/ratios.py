"""Scores whose ratios are judged, as natural logarithms: their differences are what is averaged, never raw scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.failed_as import failed_as_number
from evalbench.record.options import Options
from evalbench.record.tables import words
from evalbench.tasks.metric import base_name

DEFAULT_ROPE = 0.02
"""A change by less than 2 % does not matter, if nobody declared another share."""


def as_ratios(
    source: str, results: pd.DataFrame, curves: pd.DataFrame, options: Options
) -> tuple[pd.DataFrame, pd.DataFrame, Options]:
    """Return results, curves and options with scores and targets as natural logarithms.

    Metrics of different workloads may differ, if they have one direction: ratios have no unit.

    Raises:
        TableError: a score or a target is not above zero, or metrics have both directions.
    """
    keys = ["technique", "workload", "seed"]
    bad = results.loc[(results["state"] == "COMPLETE") & ~(results["score"] > 0), keys]
    if len(bad):
        raise TableError(
            f"{source}: ratios need scores above 0, and {words(bad.sort_values(keys))} has none: leave"
            f" {options.said('effect', 'ratio')} out, or score it by a quantity that is above 0"
        )
    metrics = sorted(set(results["metric"].map(base_name)))
    if len(metrics) > 1:
        if results["direction"].nunique() > 1:
            raise TableError(
                f"{source}: ratios of metrics of both directions ({', '.join(metrics)}) cannot be averaged: judge one"
                f" at a time{options.in_command(' (--where metric=NAME)')}"
            )
        results = results.assign(metric="score", unit="")
    for workload, target in options.targets.items():
        if not target > 0:
            raise TableError(f"ratios need targets above 0, and that of {workload} is {target:g}: leave it out")
    if (value := failed_as_number(options.failed_as or "worst")) is not None:
        if not value > 0:
            raise TableError(
                f"ratios need scores above 0, and {options.said('failed_as')} is {value:g}: give another score"
            )
        options = replace(options, failed_as=repr(math.log(value)))
    logs = {workload: math.log(target) for workload, target in options.targets.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        results = results.assign(score=np.log(results["score"]))
        curves = curves.assign(val_score=np.log(curves["val_score"]))
    return results, curves[curves["val_score"].notna()], replace(options, targets=logs)


def rope_of_ratios(share: float | None) -> float:
    """Return the ROPE of logarithms: `ln 1.02` for 2 %, a factor of 1.02 either way."""
    return math.log1p(DEFAULT_ROPE if share is None else share)
