"""A table of the user's own: numbers and categories, missing values, a target of classes or numbers."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from evalbench.errors import ConfigError, DataError
from evalbench.workloads.dataset import Dataset, Kind

MAX_CATEGORIES = 100
FEW_NUMBERS = 20
"""So many different numbers beside text may be codes of categories; more are numbers with a mistake among them."""
DELIMITERS = ",;\t|"


def load(
    path: str,
    name: str | None = None,
    target: str | int | None = None,
    kind: str = "classification",
    drop: str | Sequence[str | int] | None = None,
    delimiter: str | None = None,
) -> Dataset:
    """Read a CSV file with a header line.

    The target is a column's name, or the last column. A text column becomes one 0/1 indicator per category of the whole
    file (so that every split has the same columns), a missing category being one of its own; missing numbers are filled
    with the mean of the training rows. The delimiter is the one that the header line has most of, unless it is given;
    where it is not the comma, commas in numbers are decimal ones. Raises `DataError` where the file cannot be used.
    """
    if kind not in ("classification", "regression"):
        raise ConfigError("dataset.kind", "must be classification or regression", kind, "choose one of them")
    if not isinstance(path, str):
        raise ConfigError("dataset.path", "must be text", path, "for example dataset.path=my.csv")
    dropped = [drop] if isinstance(drop, str) else [str(column) for column in drop or ()]
    table, comma = _read(Path(path), _checked(delimiter))
    column = str(table.columns[-1] if target is None else target)
    for wanted in (column, *dropped):
        if wanted not in table.columns:
            raise DataError(f"{path}: no column {wanted!r}: its columns are {_listed(list(table.columns))}")
    labels = table[column]
    if labels.isna().any():
        line = int(np.flatnonzero(labels.isna())[0]) + 2
        raise DataError(
            f"{path}: the target {column!r} is missing in line {line} (so reads an empty field, NA, null or None): "
            "fill it in or remove the row"
        )
    inputs, features, numeric = _inputs(table.drop(columns=[column, *dropped]), path, comma)
    chosen = name or Path(path).stem
    if kind == "regression":
        numbers, wrong = _numbers(labels, comma)
        if wrong.any() or is_bool_dtype(labels):
            value = labels[wrong].iloc[0] if wrong.any() else labels.iloc[0]
            raise DataError(
                f"{path}: a regression target must be a number, not {str(value)!r} in {column!r}: "
                "choose another dataset.target, or dataset.kind=classification"
            )
        return Dataset(chosen, Kind.REGRESSION, inputs, _single(numbers, column, path), features, numeric)
    values = sorted(labels.unique(), key=lambda value: (isinstance(value, str), value))
    codes = labels.map({value: code for code, value in enumerate(values)}).to_numpy(np.int64)
    classes = tuple(str(value) for value in values)
    return Dataset(
        chosen, Kind.BINARY if len(classes) == 2 else Kind.MULTICLASS, inputs, codes, features, numeric, classes
    )


def _checked(delimiter: Any) -> str | None:
    if delimiter == "\\t":
        return "\t"
    if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1):
        remedy = "leave it out: comma, semicolon, tab and | are found"
        raise ConfigError("dataset.delimiter", "must be one character", delimiter, remedy)
    return delimiter


def _read(path: Path, delimiter: str | None) -> tuple[pd.DataFrame, bool]:
    """Return the table, and whether a comma in a number is a decimal one."""
    if not path.is_file():
        raise DataError(f"{path}: no such file: set dataset.path to a CSV file")
    try:
        whole = pd.read_csv(path, sep="\1", header=None, nrows=1, dtype=str, quoting=csv.QUOTE_NONE)  # as one field
        header = str(whole.iloc[0, 0])
        delimiter = delimiter or max(DELIMITERS, key=header.count)
        _check_header(path, header, delimiter)
        table = pd.read_csv(path, sep=delimiter, skipinitialspace=True, low_memory=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty: it needs a header line and rows") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 (byte {error.start}): convert it") from None
    except (pd.errors.ParserError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {str(error).strip().splitlines()[-1]}") from error
    table.columns = [str(column).strip() for column in table.columns]
    if len(table) == 0:
        raise DataError(f"{path}: the file has a header line but no rows: give it data")
    if not isinstance(table.index, pd.RangeIndex):  # pandas has taken the first values for names of rows
        raise DataError(f"{path}: rows have more values than the header line has names: give every column a name")
    if len(table.columns) < 2:
        remedy = "it needs inputs and a target; is dataset.delimiter right?"
        raise DataError(f"{path}: only one column ({table.columns[0]!r}): {remedy}")
    return table, delimiter != ","


def _check_header(path: Path, header: str, delimiter: str) -> None:
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))]
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce").dropna()
    if len(numbers) > len(names) / 2 and (numbers % 1 != 0).any():  # whole numbers may be years
        raise DataError(f"{path}: the first line has data instead of names ({_listed(names)}): add a header line")
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{path}: two columns are called {name!r}: the first line must name each column once")


def _inputs(table: pd.DataFrame, path: str, comma: bool) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    blocks: list[np.ndarray] = []
    features: list[str] = []
    numeric: list[bool] = []
    for column in table.columns:
        values = table[column]
        numbers, wrong = _numbers(values, comma)
        if not wrong.any() and not is_bool_dtype(values):
            blocks.append(_single(numbers, column, path)[:, None])
            features.append(column)
            numeric.append(True)
            continue
        if np.mean(wrong) < 0.5 and len(np.unique(numbers[~np.isnan(numbers)])) > FEW_NUMBERS:
            line, value = int(np.flatnonzero(wrong)[0]) + 2, values[wrong].iloc[0]
            raise DataError(
                f"{path}: column {column!r} holds numbers, but {value!r} in line {line}: "
                "write a plain number, or nothing where it is missing"
            )
        texts = values.astype("string").fillna("(missing)")
        categories = sorted(texts.unique())
        if len(categories) > MAX_CATEGORIES:
            raise DataError(
                f"{path}: text column {column!r} has {len(categories)} different values, more than {MAX_CATEGORIES}: "
                f"leave it out with dataset.drop=[{column}]"
            )
        blocks.append((texts.to_numpy()[:, None] == np.array(categories, dtype=object)[None, :]).astype(np.float32))
        features.extend(f"{column}={category}" for category in categories)
        numeric.extend([False] * len(categories))
    inputs = np.concatenate(blocks, axis=1) if blocks else np.empty((len(table), 0), np.float32)
    return inputs, tuple(features), np.array(numeric, dtype=bool)


def _numbers(values: "pd.Series[Any]", comma: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a column as numbers, NaN where it has none, and which of its values are text instead."""
    if is_numeric_dtype(values):
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        return numbers, np.zeros(len(values), dtype=bool)
    texts = values.astype("string")
    plain = texts.str.replace(",", ".") if comma else texts
    numbers = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers, texts.notna().to_numpy(dtype=bool) & np.isnan(numbers)


def _single(numbers: NDArray[np.float64], column: str, path: str) -> NDArray[np.float32]:
    """Return numbers in 32 bits, which must not blur what tells them apart."""
    known = numbers[~np.isnan(numbers)]
    if np.isinf(known).any():
        raise DataError(f"{path}: column {column!r} has an infinite value: replace it or leave it empty")
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    if np.isinf(single).any():
        raise DataError(f"{path}: column {column!r} has numbers too large for 32 bits: divide them")
    if len(known) and np.ptp(known) > 0:
        error = np.nanmax(np.abs(single - numbers))
        if error > 0.01 * known.std() and known.std() > 1e-14 * np.abs(known).max():
            raise DataError(
                f"{path}: column {column!r} has numbers near {known[0]:g} whose differences 32 bits cannot tell: "
                "subtract an offset"
            )
    return single


def _listed(columns: Sequence[str]) -> str:
    names = [repr(str(column)) for column in columns]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
