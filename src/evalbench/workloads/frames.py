"""Tables with typed columns: frames of pandas, Polars and Arrow, and the files that hold them.

Types are used as they are: categories, texts and truth values are categories, numbers are numbers, dates are dates.
A column of texts that are all dates of ISO 8601 is a column of dates too. A column in which a spreadsheet mixes numbers
and texts is read like one of a text file.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError, InputError
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.encoding import encode
from evalbench.workloads.table import RawTable, TableColumn, listed, refuse
from evalbench.workloads.token_lists import are_lists, list_column
from evalbench.workloads.written import written

Read = Callable[[Path], Any]
NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
DATES = ("date", "datetime", "datetime64")
SPREADSHEET_HEADER = 2
"""The row of a spreadsheet in which the data begin."""


def _parquet(file: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file)


def _arrow(file: Path) -> Any:
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        try:
            return pyarrow.ipc.open_file(source).read_all()
        except pyarrow.ArrowInvalid:
            source.seek(0)
            return pyarrow.ipc.open_stream(source).read_all()


def _feather(file: Path) -> Any:
    import pyarrow.feather

    return pyarrow.feather.read_table(file)


def _excel(file: Path, sheet: Any = 0) -> Any:
    import openpyxl  # noqa: F401

    with pd.ExcelFile(file, engine="openpyxl") as book:
        if sheet not in book.sheet_names and str(sheet).isdecimal():
            sheet = dict(enumerate(book.sheet_names)).get(int(sheet), sheet)
        if sheet not in book.sheet_names:
            raise DataError(f"{file}: no sheet {sheet!r}: there are {listed(map(repr, book.sheet_names), 8)}: name one")
        frame = pd.read_excel(book, sheet_name=sheet)
    return frame.loc[:, [not (str(name).startswith("Unnamed: ") and frame[name].isna().all()) for name in frame]]


@dataclass(frozen=True)
class TableFormat:
    """A kind of file that holds a table."""

    read: Read
    words: str
    package: str
    """That reads it."""
    first: int = 0
    """The number of the first row, as people find it."""

    def opened(self, path: Path) -> Any:
        """Return the frame of a file; raise `DataError` if it cannot be read."""
        if not path.exists():
            raise DataError(f"{path}: no such file: set dataset.path to {self.words}")
        try:
            return self.read(path)
        except ImportError as error:
            needs = f"{self.words} needs {self.package}, which is not installed"
            raise DataError(f"{path}: {needs}: pip install {self.package}") from error
        except DataError:
            raise
        except Exception as error:  # of each library its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: cannot be read as {self.words} ({reason}): set dataset.path to one") from error


EXCEL = TableFormat(_excel, "an Excel file", "openpyxl", SPREADSHEET_HEADER)
FORMATS = {
    ".parquet": TableFormat(_parquet, "a Parquet file", "pyarrow"),
    ".arrow": TableFormat(_arrow, "an Arrow file", "pyarrow"),
    ".feather": TableFormat(_feather, "a Feather file", "pyarrow"),
    ".xlsx": EXCEL,
}
"""By the end of the file's name."""


def parquet(path: str, name: str | None = None, **settings: Any) -> Dataset:
    """Read a Parquet file, or a folder of them; `settings` are those of every table, see `Choices`."""
    return _load(path, name, settings, FORMATS[".parquet"])


def arrow(path: str, name: str | None = None, **settings: Any) -> Dataset:
    """Read an Arrow IPC file or stream; `settings` are those of every table, see `Choices`."""
    return _load(path, name, settings, FORMATS[".arrow"])


def feather(path: str, name: str | None = None, **settings: Any) -> Dataset:
    """Read a Feather file; `settings` are those of every table, see `Choices`."""
    return _load(path, name, settings, FORMATS[".feather"])


def excel(path: str, name: str | None = None, sheet: str | int = 0, **settings: Any) -> Dataset:
    """Read a sheet of an Excel file by its name or number; `settings` are those of every table, see `Choices`."""
    return _load(path, name, settings, excel_sheet(sheet))


def excel_sheet(sheet: str | int) -> TableFormat:
    """Return the format of a sheet of an Excel file, by its name or number."""
    return replace(EXCEL, read=partial(_excel, sheet=sheet))


def table(frame: Any, name: str, **settings: Any) -> Dataset:
    """Return the data set of a frame of pandas or Polars, or of an Arrow table; its index is no input.

    Args:
        frame: columns with names. The target is the last one, unless `target` names another.
        name: of the workload in the report.
        **settings: those of every table, see `Choices`: `target="y", kind="regression", drop=["id"]`.

    Raises:
        DataError: the frame cannot be used; all its faults.
    """
    return _encoded(frame, name, name, Choices(name, **settings), 0)


def is_frame(thing: Any) -> bool:
    """Return whether an object is a frame that `table` takes, without imports."""
    kind = type(thing)
    return kind.__name__ in ("DataFrame", "LazyFrame", "Table") and kind.__module__.partition(".")[0] in (
        "pandas",
        "polars",
        "pyarrow",
    )


def _load(path: str, name: str | None, settings: dict[str, Any], kind: TableFormat) -> Dataset:
    choices = Choices(name, **settings)
    if not isinstance(path, str):
        raise ConfigError("dataset.path", "must be text", path, "give the path of the file")
    label = Path(path).stem if name is None else name
    choices.dropped(label)
    return _encoded(kind.opened(Path(path)), path, label, choices, kind.first)


def _encoded(frame: Any, source: str, label: str, choices: Choices, first: int) -> Dataset:
    wrong: list[str] = []
    raw = raw_table(
        frame, source, wrong, first, choices.unread(label), choices.least_columns, lists=choices.tokens is not None
    )
    return encode(raw, label, choices, wrong)


def raw_table(
    frame: Any,
    source: str,
    wrong: list[str],
    first: int = 0,
    dropped: list[str] | None = None,
    least: int = 2,
    lists: bool = False,
) -> RawTable:
    """Return the columns of a frame; columns that cannot be used are added to `wrong` unless they are left out.

    `first` is the number of the first row, `least` that of the columns which it must have. Cells may be `lists`.
    """
    frame = _as_pandas(frame, source)
    names = [str(name) for name in frame.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise DataError(f"{source}: two columns are called {listed(map(repr, twice))}: give each a name of its own")
    if len(names) < least:
        raise DataError(f"{source}: must have at least two columns, inputs and a target, not {len(names)}: give more")
    if frame.empty:
        raise DataError(f"{source}: the table has no rows: give it data")
    columns: dict[str, TableColumn] = {}
    for number, name in enumerate(names):
        if name in (dropped or ()):
            columns[name] = TableColumn("category", np.full(len(frame), "", object), np.zeros(len(frame), bool))
            continue
        try:
            series = frame.iloc[:, number]
            columns[name] = list_column(series) if lists and are_lists(series) else column_of(series)
        except TypeError as error:
            wrong.append(f"column {name!r} holds {error}: convert it or leave it out with dataset.drop=[{name}]")
            columns[name] = TableColumn("number", np.full(len(frame), 0.0), np.ones(len(frame), bool))
    refuse(source, wrong)
    return RawTable(source, columns, np.arange(first, first + len(frame)))


def _as_pandas(frame: Any, source: str) -> pd.DataFrame:
    if isinstance(frame, pd.DataFrame):
        return frame
    try:
        if type(frame).__name__ == "LazyFrame":
            frame = frame.collect()
        arrow_table = frame.to_arrow() if hasattr(frame, "to_arrow") else frame
        converted: pd.DataFrame = arrow_table.to_pandas(date_as_object=False, ignore_metadata=True)
        return converted
    except ImportError as error:
        raise InputError(f"{source}: a Polars frame needs pyarrow: pip install pyarrow") from error


def column_of(series: "pd.Series[Any]") -> TableColumn:
    """Return a typed column; raise `TypeError` with the type for one that is no column of a table."""
    dtype, known = series.dtype, series.notna().to_numpy(bool)
    api = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype):
        order = tuple(map(str, dtype.categories)) if dtype.ordered else ()
        return TableColumn("category", _texts(series.cat.codes.to_numpy(), dtype.categories), known, order=order)
    if api.is_bool_dtype(dtype):
        return TableColumn("category", _texts(*pd.factorize(series)), known)
    if api.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return _dates(series.dt.to_timestamp() if isinstance(dtype, pd.PeriodDtype) else series, known)
    if api.is_timedelta64_dtype(dtype):
        return TableColumn("number", series.to_numpy() / np.timedelta64(1, "D"), known)
    if api.is_complex_dtype(dtype):
        raise TypeError("complex numbers")
    if api.is_numeric_dtype(dtype):
        return _numbers(series, known)
    kind = api.infer_dtype(series, skipna=True)
    if kind == "string" or isinstance(dtype, pd.StringDtype):
        return TableColumn("text", _texts(*pd.factorize(series)), known)
    if kind in NUMBERS or kind == "empty":
        return _numbers(pd.to_numeric(series.where(known, np.nan).astype(float)), known)
    if kind in DATES:
        return _dates(pd.to_datetime(series.where(known, None)), known)
    if kind == "boolean":
        return TableColumn("category", _texts(*pd.factorize(series)), known)
    if all(isinstance(value, str | int | float | datetime.date) for value in series[known]):
        texts = [" ".join(str(value).split()) if given else "" for value, given in zip(series, known, strict=True)]
        return written(np.array(texts, dtype=object))
    raise TypeError(_odd_values(series[known]))


def _odd_values(values: "pd.Series[Any]") -> str:
    """Return words for values that no column of a table has."""
    if are_lists(values):
        return "lists, as only the columns of dataset.tokens and of its dataset.target may"
    odd = next(value for value in values if not isinstance(value, str | int | float))
    return f"values of the type {type(odd).__name__}"


def _numbers(series: "pd.Series[Any]", known: Any) -> TableColumn:
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return TableColumn("number", values, known & ~np.isnan(values))


def _dates(series: "pd.Series[Any]", known: Any) -> TableColumn:
    if getattr(series.dt, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return TableColumn("date", series.to_numpy().astype("datetime64[us]"), known)


def _texts(codes: NDArray[Any], distinct: Any) -> NDArray[np.object_]:
    """Return the text of each row's value among the distinct ones, whose texts the rows share; of -1 none."""
    texts: NDArray[np.object_] = np.array([*map(str, distinct), ""], dtype=object)
    rows: NDArray[np.object_] = texts[codes]
    return rows
