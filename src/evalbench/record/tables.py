"""Tables as files, and their checks: every refusal is one line that says what is wrong and where."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.names import from_cell, to_cell
from evalbench.record.schema import RESERVED

LARGEST_SEED = 2**53
"""From here on a number of a table may stand for several seeds."""
NO_NUMBER = ["", "nan", "NaN", "None", "null"]


def header_of(path: Path) -> list[str]:
    """Return the names of a CSV's columns, after checking each row: a wrong width moves values to other columns.

    Raises:
        TableError: it is not UTF-8 text, a column has no name or the name of another, or a row is not as wide as the
            header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)  # a quote that nobody closed would swallow rows
            header = [from_cell(name) for name in next(rows, [])]
            for row in rows:
                if row and len(row) != len(header):
                    raise TableError(
                        f"{path.name}: line {rows.line_num} has {len(row)} fields, and the header {len(header)}"
                    )
    except UnicodeDecodeError:
        raise TableError(f"{path.name} is not UTF-8 text: save it as that") from None
    except (OSError, csv.Error) as error:
        raise TableError(f"{path.name} cannot be read as CSV: {error}") from None
    for name in header:
        if not name.strip():
            raise TableError(f"{path.name} has a column without a name: name it or leave it out")
        if header.count(name) > 1:
            raise TableError(f"{path.name} has more than one column {name}: keep one of them")
    return header


def read_table(
    path: Path,
    texts: Sequence[str],
    numbers: Sequence[str],
    optional: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    coded: Sequence[str] = (),
) -> pd.DataFrame:
    """Read one CSV: names stay text (`none` and `1` are levels), and only numbers may be missing.

    Args:
        path: the file.
        texts, numbers: columns that it must have.
        optional: columns of numbers that it may have.
        renamed: columns of the file that are called otherwise here.
        coded: as in `typed`.

    Raises:
        TableError: the file is missing or unreadable, lacks a column, or has text where numbers belong.
    """
    try:
        header = [from_cell(name) for name in pd.read_csv(path, nrows=0).columns]
        header = [(renamed or {}).get(name, name) for name in header]
        words = [name for name in header if name not in numbers and name not in optional]
        table = pd.read_csv(
            path,
            header=0,
            names=header,
            dtype=dict.fromkeys(words, str),
            keep_default_na=False,
            na_values=dict.fromkeys((*numbers, *optional), NO_NUMBER),
        )
    except FileNotFoundError:
        raise TableError(f"{path} is missing: give the folder of an evaluation, such as reports/optimizers") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read as CSV: {error}") from None
    return typed(
        str(path), table.assign(**{name: _unescaped(table[name]) for name in words}), texts, numbers, optional, coded
    )


def _unescaped(column: pd.Series[str]) -> pd.Series[str]:
    """Return a column of text as `from_cell` reads it; each value is read once, however often it occurs."""
    return column.map({value: from_cell(value) for value in column.unique() if isinstance(value, str)})


def typed(
    name: str,
    table: pd.DataFrame,
    texts: Sequence[str],
    numbers: Sequence[str],
    optional: Sequence[str] = (),
    coded: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a table whose columns of numbers hold float64, and whose seeds hold int64; `name` is for messages.

    Columns that are `coded` may hold names, such as those of test items: they are numbered in alphabetical order.

    Raises:
        TableError: a column is missing, holds no numbers, or has seeds that are no whole numbers below 2^53.
    """
    table = table.copy()
    absent = [column for column in (*texts, *numbers) if column not in table.columns]
    if absent:
        raise TableError(f"{name} has no column {', '.join(absent)}: it has {', '.join(table.columns)}")
    for column in coded:
        if column in table.columns and not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = pd.factorize(table[column], sort=True)[0].astype(np.float64)
    for column in (*numbers, *(column for column in optional if column in table.columns)):
        try:
            table[column] = pd.to_numeric(table[column]).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TableError(f"{name}: column {column} holds numbers only: {error}") from None
    if "seed" in numbers:
        if table["seed"].isna().any() or (table["seed"] % 1 != 0).any():
            raise TableError(f"{name} has a row whose seed is not a whole number")
        if (table["seed"].abs() >= LARGEST_SEED).any():
            raise TableError(f"{name} has a row whose seed is not below 2^53: number the seeds from 0")
        table["seed"] = table["seed"].astype(np.int64)
    return table


def write_table(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write one CSV, in which a spreadsheet finds no formula; `read_table` gives the same texts back."""
    safe = table.copy()
    for name in table.select_dtypes(["object", "str"]):
        safe[name] = pd.Series([to_cell(value) for value in table[name]], table.index, object)
    safe = safe.rename(columns=to_cell)
    safe.to_csv(path, index=False, float_format=float_format, lineterminator="\n")


def only(name: str, table: pd.DataFrame, column: str, allowed: Iterable[str]) -> None:
    """Refuse a value of a column that is not one of those allowed."""
    unknown = sorted(set(table[column]) - set(allowed))
    if unknown:
        known = ", ".join(allowed)
        raise TableError(f"{name}: {column} must be one of {known}, not {', '.join(map(repr, unknown))}")


def no_column_of_ours(name: str, factors: Iterable[str]) -> None:
    """Refuse a factor with the name of a column that evalbench adds, also with the ending of one of two sides."""
    for factor in factors:
        if factor in RESERVED or (factor.endswith(("_a", "_b")) and factor[:-2] in RESERVED):
            raise TableError(f"{name}: a factor must not be called {factor!r}, as a column of ours is: rename it")


def once(name: str, table: pd.DataFrame, keys: list[str]) -> None:
    """Refuse a key that occurs more than once."""
    twice = table.loc[table.duplicated(keys), keys].sort_values(keys)
    if len(twice):
        raise TableError(f"{name} has more than one row for {words(twice)}: keep one of each")


def finite(
    name: str, table: pd.DataFrame, columns: list[str], keys: list[str], remedy: str = "", below: float = math.inf
) -> None:
    """Refuse a number that is not finite, or whose size is not below a limit, and name its row."""
    for column in columns:
        bad = table.loc[~(table[column].abs() < below), keys].sort_values(keys)
        if len(bad):
            limit = f" below {below:g}" if below < math.inf else ""
            raise TableError(f"{name}: {column} must be a finite number{limit} for {words(bad)}{remedy}")


def positive(
    name: str, table: pd.DataFrame, columns: list[str], keys: list[str], below: float, or_zero: bool = False
) -> None:
    """Refuse a number that is given and not between 0 and a limit, and name its row."""
    for column in columns:
        enough = table[column] >= 0 if or_zero else table[column] > 0
        bad = table.loc[table[column].notna() & ~(enough & (table[column] < below)), keys]
        if len(bad):
            needs = f"must be a number {'of 0 or more' if or_zero else 'above 0'} and below {below:g}, or empty,"
            raise TableError(f"{name}: {column} {needs} for {words(bad.sort_values(keys))}")


def words(keys: pd.DataFrame) -> str:
    """Return the first key in words, and the number of others."""
    first = ", ".join(f"{name} {value}" for name, value in keys.iloc[0].items())
    return first + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
