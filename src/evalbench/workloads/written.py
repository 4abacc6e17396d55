"""Columns of a text file as numbers, dates or texts: nothing is guessed in silence."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.errors import ConfigError
from evalbench.workloads.numerals import MARKS, Reading, readings
from evalbench.workloads.table import RawTable, TableColumn, listed, mapped

MAX_CATEGORIES = 100
FEW_NUMBERS = 20
"""Most different numbers beside text that may be codes of categories. More are numbers with a mistake in them."""
MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
TRUTH = {text: text.capitalize() for word in ("true", "false") for text in (word, word.capitalize(), word.upper())}
ISO = re.compile(r"\d{4}([-/])\d\d\1\d\d([ T]\d\d:\d\d(:\d\d([.]\d+)?)?)?(Z|[+-]\d\d:?\d\d)?")


def written(texts: NDArray[np.object_]) -> TableColumn:
    """Return a column of a text file; texts have no white space at their ends."""
    return TableColumn("written", texts, np.array([text not in MISSING for text in texts], dtype=bool))


def decimal_marks(given: Any) -> str:
    """Return the decimal marks that a setting allows; raise `ConfigError` for a wrong one."""
    if given is not None and given not in MARKS:
        raise ConfigError("dataset.decimal", "must be point or comma", given, "leave it out: evalbench detects it")
    return ".," if given is None else MARKS[given]


def read_numbers(
    table: RawTable, names: Sequence[str], must: Sequence[str], codes: Sequence[str], marks: str, wrong: list[str]
) -> tuple[RawTable, list[str]]:
    """Return the table with the written columns of some names as numbers or texts, and remarks on how they were read.

    The columns of `must` become numbers, NaN where they are none. Those of `codes` may mix numbers and other codes.
    """
    names = [name for name in names if table.columns[name].form == "written"]
    marks_of, numbers = _chosen(table, names, marks, wrong)
    columns = dict(table.columns)
    for name, reading in numbers.items():
        column = columns[name]
        if name in must or not reading.odd.any():
            columns[name] = as_number(column, reading, marks_of[name])
        else:
            if name not in codes and _looks_numeric(column, reading):
                wrong.append(
                    f"column {name!r} holds numbers, but {table.listed_values(name, reading.odd)}: write plain"
                    " numbers, all in the same way, or nothing where they are missing; or say that they are codes by"
                    f" dataset.categories=[{name}]"
                )
                column = TableColumn("number", np.where(column.known, 0.0, np.nan), column.known)  # said once
                columns[name] = column
                continue
            columns[name] = as_text(column)
    examples = listed(_examples(table, numbers))
    return replace(table, columns=columns), [f"numbers read: {examples}"] if examples else []


def as_number(column: TableColumn, reading: Reading, mark: str) -> TableColumn:
    """Return a written column as the numbers that were read."""
    return TableColumn("number", reading.values, column.known, column.values, mark, reading.unit)


def are_numbers(texts: Sequence[str] | NDArray[np.object_]) -> bool:
    """Return whether there are texts, all of which are numbers."""
    values = np.array(texts, dtype=object)
    read = readings(values, np.ones(len(values), bool)).values()
    return len(values) > 0 and any(not reading.odd.any() for reading in read)


def as_text(column: TableColumn, truth: bool | None = None) -> TableColumn:
    """Return a written column as texts: runs of white space are one space.

    All spellings of true and false are one word, if the column has `truth` values; None: if it has no other texts.
    """
    truth = all(text in TRUTH for text in set(column.values[column.known])) if truth is None else truth

    def plain(text: str) -> str:
        return TRUTH[text] if truth and text in TRUTH else " ".join(text.split())

    return TableColumn("text", mapped(np.where(column.known, column.values, ""), plain), column.known)


def as_date(column: TableColumn) -> TableColumn | None:
    """Return texts that are all dates of ISO 8601 as dates, in UTC if they name a zone; None for other texts."""
    distinct = pd.unique(column.values[column.known])
    if not len(distinct) or not all(map(ISO.fullmatch, distinct)):
        return None
    values = pd.to_datetime(pd.Series(distinct).str.replace("/", "-"), format="ISO8601", utc=True, errors="coerce")
    if values.isna().any():
        return None
    by_text = dict(zip(distinct, values.dt.tz_localize(None).to_numpy(), strict=True))
    dates = [by_text.get(text, np.datetime64("NaT")) for text in np.where(column.known, column.values, "")]
    return TableColumn("date", np.array(dates, dtype="datetime64[us]"), column.known, column.values)


def as_date_like(table: RawTable, name: str, pattern: str, wrong: list[str]) -> TableColumn:
    """Return a column of dates in a format, in UTC if they name a zone; texts that are none are added to `wrong`."""
    column = table.columns[name]
    if column.form == "date":
        return column
    texts = [f"{value:.0f}" if isinstance(value, float) else str(value) for value in column.values]
    given = pd.Series([text if known else None for text, known in zip(texts, column.known, strict=True)], dtype=object)
    try:
        dates = pd.to_datetime(given, format=pattern, utc=True, errors="coerce").dt.tz_localize(None)
    except ValueError as error:
        wrong.append(f"dataset.dates of {name!r} must be a format of dates, not {pattern!r} ({error}): correct it")
        return TableColumn("number", np.zeros(len(texts)), column.known)
    odd = column.known & dates.isna().to_numpy()
    if odd.any():
        wrong.append(
            f"column {name!r} must have dates like {pattern!r}, not {table.listed_values(name, odd)}: correct one of"
            " them"
        )
    return TableColumn("date", dates.to_numpy().astype("datetime64[us]"), column.known & ~odd, column.values)


def _chosen(
    table: RawTable, names: Sequence[str], marks: str, wrong: list[str]
) -> tuple[dict[str, str], dict[str, Reading]]:
    """Return each column's decimal mark and its numbers, as it, or else the other columns, must be read."""
    columns = {name: table.columns[name] for name in names}
    tried = {name: readings(column.values, column.known, marks) for name, column in columns.items()}
    fits = {name: [mark for mark in by_mark if not by_mark[mark].odd.any()] for name, by_mark in tried.items()}
    shown = {fits[name][0] for name in names if len(fits[name]) == 1}
    chosen = {}
    for name, by_mark in tried.items():
        best = min(by_mark, key=lambda mark: int(by_mark[mark].odd.sum()))
        if len(fits[name]) == 2 and len(shown) == 1:
            best = next(iter(shown))
        elif len(fits[name]) == 2 and not np.array_equal(by_mark["."].values, by_mark[","].values, equal_nan=True):
            if shown or (not table.comma and any("," in text for text in columns[name].values)):
                wrong.append(_ambiguous(table, name, by_mark))
            else:
                best = "."
        chosen[name] = best
    return chosen, {name: tried[name][best] for name, best in chosen.items()}


def _ambiguous(table: RawTable, name: str, by_mark: dict[str, Reading]) -> str:
    point, comma = (by_mark[mark].values for mark in ".,")
    row = int(np.flatnonzero(np.isfinite(point) & (point != comma))[0])
    return (
        f"column {name!r}: {table.columns[name].values[row]!r} in {table.unit} {table.numbers[row]} may be"
        f" {point[row]:.12g} or {comma[row]:.12g}: say dataset.decimal=point or dataset.decimal=comma"
    )


def _looks_numeric(column: TableColumn, reading: Reading) -> bool:
    """Return whether a column of texts is one of numbers with mistakes in it."""
    if not reading.looks_numeric:
        return False
    different = len(np.unique(reading.values[np.isfinite(reading.values)]))
    return different > FEW_NUMBERS or is_many(len(set(as_text(column).values)), len(column.values))


def is_many(categories: int, rows: int) -> bool:
    """Return whether a column has too many categories for an indicator of each."""
    return categories > min(MAX_CATEGORIES, rows / 2)


def _examples(table: RawTable, numbers: dict[str, Reading]) -> list[str]:
    """Name the numbers that were not written plainly, with an example of each column."""
    examples = []
    for name, reading in numbers.items():
        if reading.dressed and not reading.odd.any():
            texts, known = table.columns[name].values, np.flatnonzero(np.isfinite(reading.values))
            plain = pd.to_numeric(pd.Series(texts[known], dtype=object), errors="coerce").to_numpy()
            other = known[plain != reading.values[known]]
            if len(other):
                examples.append(f"{name}: {texts[other[0]]} as {reading.values[other[0]]:.12g}")
    return examples
