"""A table of the user's own: numbers and categories, missing values, a target of classes or numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from evalbench.errors import ConfigError, DataError
from evalbench.workloads.dataset import Dataset, Kind

MAX_CATEGORIES = 100


def load(
    path: str,
    name: str | None = None,
    target: str | int | None = None,
    kind: str = "classification",
    drop: Sequence[str] = (),
    delimiter: str = ",",
) -> Dataset:
    """Read a CSV file with a header line.

    The target is a column's name, or the last column. A text column becomes one 0/1 indicator per category of the whole
    file (so that every split has the same columns), a missing category being one of its own; missing numbers are filled
    with the mean of the training rows. Raises `DataError` where the file cannot be used.
    """
    if kind not in ("classification", "regression"):
        raise ConfigError("dataset.kind", "must be classification or regression", kind, "choose one of them")
    table = _read(Path(path), delimiter)
    column = str(table.columns[-1] if target is None else target)
    for wanted in (column, *drop):
        if wanted not in table.columns:
            raise DataError(f"{path}: no column {wanted!r}: its columns are {_listed(list(table.columns))}")
    labels = table[column]
    if labels.isna().any():
        line = int(np.flatnonzero(labels.isna())[0]) + 2
        raise DataError(f"{path}: the target {column!r} is missing in line {line}: fill it in or remove the row")
    inputs, features, numeric = _inputs(table.drop(columns=[column, *drop]), path)
    chosen = name or Path(path).stem
    if kind == "regression":
        if not is_numeric_dtype(labels) or is_bool_dtype(labels):
            value = labels[pd.to_numeric(labels, errors="coerce").isna()].iloc[0] if len(labels) else ""
            raise DataError(
                f"{path}: a regression target must be a number, not {value!r} in {column!r}: "
                "choose another dataset.target, or dataset.kind=classification"
            )
        return Dataset(chosen, Kind.REGRESSION, inputs, labels.to_numpy(np.float32), features, numeric)
    values = sorted(labels.unique(), key=lambda value: (isinstance(value, str), value))
    codes = labels.map({value: code for code, value in enumerate(values)}).to_numpy(np.int64)
    classes = tuple(str(value) for value in values)
    return Dataset(
        chosen, Kind.BINARY if len(classes) == 2 else Kind.MULTICLASS, inputs, codes, features, numeric, classes
    )


def _read(path: Path, delimiter: str) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file: set dataset.path to a CSV file")
    try:
        table = pd.read_csv(path, sep=delimiter, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty: it needs a header line and rows") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as CSV: {str(error).strip().splitlines()[-1]}") from error
    table.columns = [str(column).strip() for column in table.columns]
    if len(table) == 0:
        raise DataError(f"{path}: the file has a header line but no rows: give it data")
    if len(table.columns) < 2:
        remedy = "it needs inputs and a target; is dataset.delimiter right?"
        raise DataError(f"{path}: only one column ({table.columns[0]!r}): {remedy}")
    return table


def _inputs(table: pd.DataFrame, path: str) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    blocks: list[np.ndarray] = []
    features: list[str] = []
    numeric: list[bool] = []
    for column in table.columns:
        values = table[column]
        if is_numeric_dtype(values) and not is_bool_dtype(values):
            numbers = values.to_numpy(np.float64, na_value=np.nan)
            if np.isinf(numbers).any():
                raise DataError(f"{path}: column {column!r} has an infinite value: replace it or leave it empty")
            blocks.append(numbers[:, None])
            features.append(column)
            numeric.append(True)
            continue
        texts = values.astype("string").fillna("(missing)")
        categories = sorted(texts.unique())
        if len(categories) > MAX_CATEGORIES:
            raise DataError(
                f"{path}: text column {column!r} has {len(categories)} different values, more than {MAX_CATEGORIES}: "
                f"leave it out with dataset.drop=[{column}]"
            )
        blocks.append((texts.to_numpy()[:, None] == np.array(categories, dtype=object)[None, :]).astype(np.float64))
        features.extend(f"{column}={category}" for category in categories)
        numeric.extend([False] * len(categories))
    inputs = np.concatenate(blocks, axis=1) if blocks else np.empty((len(table), 0))
    return inputs.astype(np.float32), tuple(features), np.array(numeric, dtype=bool)


def _listed(columns: Sequence[str]) -> str:
    names = [repr(str(column)) for column in columns]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
