"""Columns that say something about the rows: group, time, weight, and part of the split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.workloads.choices import Choices
from evalbench.workloads.inputs import as_category
from evalbench.workloads.table import RawTable
from evalbench.workloads.written import as_date, as_date_like

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The part of a split by the word in a column."""


def about_rows(table: RawTable, choices: Choices, wrong: list[str]) -> Mapping[str, Any]:
    """Return `groups`, `times` and `weights` of a data set, each `(N,)`, as far as the settings name their columns.

    Also `held_out` and `declared_validation`, numbers of rows, if a column says which rows are for what.

    Groups are numbered in the order of their names. Times are numbers, of dates the seconds since 1970. Faults are
    added to `wrong`.
    """
    values: dict[str, Any] = {}
    for key, name, read in (
        ("groups", choices.group, _groups),
        ("times", choices.time, _times),
        ("weights", choices.weight, _weights),
    ):
        if name is None or str(name) not in table.columns:
            continue
        absent = ~table.columns[str(name)].known
        if absent.any():
            wrong.append(f"dataset.{key[:-1]}={name} is missing in {table.listed_rows(absent)}: fill it in")
        else:
            values[key] = read(table, str(name), choices, wrong)
    if choices.split_column is not None and str(choices.split_column) in table.columns:
        values |= _parts(table, str(choices.split_column), wrong)
    return values


def given_rows(
    given: Mapping[str, NDArray[np.int64] | None], rows: NDArray[np.int64], choices: Choices, wrong: list[str]
) -> dict[str, Any]:
    """Return the numbers of given rows by field as they are after rows were left out; `rows` has the old numbers."""
    numbers = {field: old for field, old in given.items() if old is not None and len(old)}
    if numbers and choices.split_column is not None:
        wrong.append("dataset.split_column must be left out, because the data set has parts of its own: leave it out")
    return {field: np.flatnonzero(np.isin(rows, old)) for field, old in numbers.items()}


def _parts(table: RawTable, name: str, wrong: list[str]) -> dict[str, Any]:
    """Return the numbers of the rows for the test and for validation, as far as a column has any."""
    column = table.columns[name]
    words = [str(word).strip().lower() for word in as_category(column).values]
    parts = np.array([PARTS.get(word, "") for word in words])
    if (odd := ~column.known | (parts == "")).any():
        shown = table.listed_values(name, odd)
        wrong.append(f"dataset.split_column={name} must say train, validation or test, not {shown}: correct it")
    elif not (parts == "train").any() or (parts == "train").all():
        remedy = "give rows for training and rows for validation or the test"
        wrong.append(f"dataset.split_column={name} says {parts[0]} in every row: {remedy}")
    rows = {"held_out": np.flatnonzero(parts == "test"), "declared_validation": np.flatnonzero(parts == "validation")}
    return {field: numbers for field, numbers in rows.items() if len(numbers)}


def _groups(table: RawTable, name: str, choices: Choices, wrong: list[str]) -> Any:
    return pd.factorize(as_category(table.columns[name]).values, sort=True)[0].astype(np.int64)


def _times(table: RawTable, name: str, choices: Choices, wrong: list[str]) -> Any:
    column = table.columns[name]
    if name in choices.formats:
        column = as_date_like(table, name, choices.formats[name], wrong)
    if column.form == "text":
        column = as_date(column) or column
    if column.form == "date":
        return column.values.astype("datetime64[us]").astype(np.int64) / 1e6
    if column.form != "number" or not np.isfinite(column.values).all():
        wrong.append(
            f"dataset.time={name} must have numbers, or dates like 2026-01-31: say their format with dataset.dates, or"
            " choose another column"
        )
    return column.values


def _weights(table: RawTable, name: str, choices: Choices, wrong: list[str]) -> Any:
    column = table.columns[name]
    numbers = column.form == "number"
    odd = ~(np.isfinite(column.values) & (column.values >= 0)) if numbers else np.ones(len(column.values), bool)
    if odd.any():
        shown = table.listed_values(name, odd)
        wrong.append(f"dataset.weight={name} must have numbers of at least 0, not {shown}: correct them")
    elif not column.values.any():
        wrong.append(f"dataset.weight={name} must be above 0 in some rows, not 0 in all: choose another column")
    return column.values.astype(np.float32) if numbers else None
