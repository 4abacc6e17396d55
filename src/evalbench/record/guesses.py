"""What a table does not say and its names tell: columns, metric, direction, unit, folds. Every guess is said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
from pandas.api.types import is_string_dtype

from evalbench.errors import TableError
from evalbench.record.options import Options
from evalbench.record.schema import COSTS
from evalbench.tasks.metric import (
    ALIASES,
    FRACTION,
    METRICS,
    base_name,
    canonical,
    find,
    guessed_direction,
)

SHARES = tuple(name for name, metric in METRICS.items() if metric.unit == FRACTION)
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "technique": ("method", "framework", "model", "solver", "solver_name", "submission", "algorithm", "estimator"),
    "workload": ("task", "dataset", "data_set", "data_name", "problem", "benchmark"),
    "score": (
        "accuracy",
        "loss",
        "error",
        "reward",
        "bleu",
        "wer",
        "result",
        "value",
        "metric_error",
        *sorted({*METRICS, *ALIASES} - {"accuracy"}),
    ),
}
"""Columns of other programs that can only mean one thing, by the column of the schema."""


def columns_of(source: str, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return which columns stand for those of the schema that the table lacks, and say so.

    Raises:
        TableError: two columns could stand for one of the schema.
    """
    there, chosen = list(names), {}
    for column, others in COLUMNS.items():
        if column in there:
            continue
        matches = [name for name in there if name.lower() in others]
        if len(matches) > 1:
            raise TableError(
                f"{source} has no column {column}, and {' or '.join(matches)} could be it: say which"
                f" (--map {column}={matches[0]})"
            )
        if matches:
            chosen[column] = matches[0]
    return chosen, [f"the column `{name}` was taken for the {column}" for column, name in chosen.items()]


def completed(table: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Fill in the columns that a table may leave out, and say what was guessed.

    White space around a name makes no other name.

    Raises:
        TableError: the direction contradicts a registered metric.
    """
    texts = [str(name) for name in table.columns if is_string_dtype(table[name])]
    table = table.assign(**{name: table[name].astype("str").str.strip() for name in texts})
    said: list[str] = []
    if "state" not in table.columns:
        table["state"] = "COMPLETE"
    if "metric" not in table.columns:
        table["metric"] = options.metric
    table["metric"] = _renamed(table["metric"], said)
    if "direction" not in table.columns:
        table["direction"] = table["metric"].map(_directions(set(table["metric"]), options, said))
    if "unit" not in table.columns:
        share = table["metric"].map(base_name).isin(SHARES) & _within_one(table)
        table["unit"] = options.score_unit or share.map({True: FRACTION, False: ""})
    for name in ("num_train", "num_test", *COSTS):
        if name not in table.columns:
            table[name] = math.nan
    if options.test_size is not None:
        table["num_test"] = table["num_test"].fillna(float(options.test_size))
    if "cost_flops" in table.columns:
        table["flops"] = table["flops"].fillna(table["cost_flops"])
    return table, tuple(said)


def _renamed(metrics: pd.Series[str], said: list[str]) -> pd.Series[str]:
    """Return the names of metrics as they are registered."""
    names = {name: canonical(name) for name in dict.fromkeys(metrics)}
    said += [f"the metric `{name}` was read as {base_name(known)}" for name, known in names.items() if name != known]
    return metrics.map(names)


def _directions(metrics: set[str], options: Options, said: list[str]) -> dict[str, str]:
    """Return the direction of each metric: declared, or told by its name; larger is better if nothing is known."""
    directions, declared = {}, options.direction
    for name in sorted(metrics):
        known, guess = find(name), guessed_direction(name)
        if declared is not None and known is not None and declared != known.direction:
            raise TableError(
                f"the direction of {base_name(name)} is {known.direction}, not {declared}: leave"
                f" {options.said('direction')} out, or give the metric another name (neg_log_loss for a loss with its"
                " sign turned)"
            )
        directions[name] = declared or guess or "maximize"
        if declared is None and base_name(name) != "score":
            why = "as registered" if known else "as its name tells" if guess else "as nothing says otherwise"
            better = "lower" if directions[name] == "minimize" else "larger"
            said.append(f"{better} {base_name(name)} was taken as better, {why}")
        elif declared is None:
            said.append(f"a larger score was taken as better, as nothing says otherwise ({options.said('direction')})")
    return directions


def _within_one(table: pd.DataFrame) -> bool:
    return bool(table["score"].dropna().between(0, 1).all())
