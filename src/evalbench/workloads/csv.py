"""A table of the user's own: numbers and categories, missing values, a target of classes or numbers.

No row is lost and nothing is guessed in silence: plain numbers are read as numbers (`numerals`), everything else
that is wrong with a table is collected and refused at once, by line of the file and column.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.tasks import Kind, kind_of
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.numerals import MARKS, Reading, readings

MAX_CATEGORIES = 100
FEW_NUMBERS = 20
"""Most different numbers beside text that may be codes of categories. More are numbers with a mistake in them."""
DELIMITERS = ",;\t|"
BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u180e\u200b\u200c\u200d\u2060\ufeff"
"""White space, and the characters that nobody sees."""
MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
TRUTH = {text: text.capitalize() for word in ("true", "false") for text in (word, word.capitalize(), word.upper())}
MOST = 5
"""So many lines, values or names are listed of each thing that is wrong."""


@dataclass(frozen=True)
class _Table:
    """The text of a file; `N` rows."""

    columns: dict[str, NDArray[np.object_]]  # name -> (N,) str without white space at the ends
    lines: NDArray[np.int64]  # (N,): the line of the file in which each row begins
    comma: bool  # whether commas separate the values


def load(
    path: str,
    name: str | None = None,
    target: str | int | None = None,
    kind: str = "classification",
    drop: str | Sequence[str | int] | Mapping[str, str | Sequence[str | int]] | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
) -> Dataset:
    """Read a CSV file with a header line.

    The target is a column's name, or the last column. A text column becomes one 0/1 indicator per category of the whole
    file (so that every split has the same columns), a missing category being one of its own; missing numbers are filled
    with the mean of the training rows. The delimiter is the one that the header line has most of, unless it is given.
    The decimal mark is the one that the file's numbers show, unless it is given (`point` or `comma`). Columns to
    `drop` are listed, for several tables by their names. Raises `DataError` if the file cannot be used, with all
    its faults.
    """
    if kind not in ("classification", "regression"):
        raise ConfigError("dataset.kind", "must be classification or regression", kind, "choose one of them")
    if not isinstance(path, str):
        raise ConfigError("dataset.path", "must be text", path, "for example dataset.path=my.csv")
    label = Path(path).stem if name is None else name
    dropped = _dropped(drop, str(label))
    marks = _marks(decimal)
    wrong: list[str] = []
    table = _read(Path(path), _delimiter(delimiter), wrong)
    column = str(next(reversed(table.columns)) if target is None else target)
    absent = [wanted for wanted in (column, *dropped) if wanted not in table.columns]
    wrong += [f"no column {wanted!r}: its columns are {_listed(map(repr, table.columns), 8)}" for wanted in absent]
    used = [name for name in table.columns if name not in dropped and name != column]
    asked = [*used, column] if kind == "regression" and column in table.columns else used
    numbers = _numbers(table, asked, marks, wrong)
    inputs, features, numeric = _inputs(table, used, numbers, wrong)
    if column not in table.columns:
        _refuse(path, wrong)
    targets, classes = _targets(table, column, numbers.get(column), wrong)
    _refuse(path, wrong)
    task = Kind.REGRESSION if kind == "regression" else kind_of(len(classes))
    described = _described(table, numbers)
    return Dataset(label, task, inputs, targets, features, numeric, classes, description=described)


def _delimiter(given: Any) -> str | None:
    if given == "\\t":
        return "\t"
    if given is not None and not (isinstance(given, str) and len(given) == 1 and given not in '\r\n"'):
        remedy = "leave it out: evalbench detects comma, semicolon, tab and |"
        raise ConfigError("dataset.delimiter", "must be one character", given, remedy)
    return given


def _dropped(given: Any, label: str) -> list[str]:
    """Return the columns that are left out of the table called so: a map names them table by table."""
    if isinstance(given, Mapping):
        if label not in given:
            remedy = f"add {label}: []"
            raise ConfigError("dataset.drop", f"must have columns for the table {label} too", dict(given), remedy)
        given = given[label]
    if isinstance(given, str):
        return [given]
    if given is not None and not isinstance(given, Sequence):
        raise ConfigError("dataset.drop", "must be a list of columns", given, "for example dataset.drop=[id,notes]")
    return [str(column) for column in given or ()]


def _marks(given: Any) -> str:
    if given is not None and given not in MARKS:
        raise ConfigError("dataset.decimal", "must be point or comma", given, "leave it out: evalbench detects it")
    return ".," if given is None else MARKS[given]


def _refuse(path: str | Path, wrong: Sequence[str]) -> None:
    if len(wrong) == 1:
        raise DataError(f"{path}: {wrong[0]}")
    if wrong:
        told = [f"({number}) {text}" for number, text in enumerate(wrong[: 2 * MOST], 1)]
        more = f"; and {len(wrong) - len(told)} more" if len(wrong) > len(told) else ""
        raise DataError(f"{path}: {len(wrong)} things are wrong: {'; '.join(told)}{more}")


def _read(path: Path, delimiter: str | None, wrong: list[str]) -> _Table:
    """Return the table without the rows of faulty lines, whose faults are added to `wrong`."""
    if not path.is_file():
        raise DataError(f"{path}: no such file: set dataset.path to a CSV file")
    try:
        text = unicodedata.normalize("NFC", path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): set dataset.path to a CSV file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 (byte {error.start}): convert it") from None
    lines = list(io.StringIO(text, newline=""))  # they end with \n, \r\n or \r
    zero = next((number for number, line in enumerate(lines, 1) if "\0" in line), None)
    if zero is not None:
        raise DataError(f"{path}: line {zero} has a zero byte, which no text has: save the table as CSV in UTF-8")
    start = _first(lines, 0)
    told = re.fullmatch(r'"?sep=(.)"?', lines[start].rstrip("\r\n"), re.IGNORECASE) if start < len(lines) else None
    if told:  # Excel's way to name the delimiter
        delimiter, start = delimiter or told[1], _first(lines, start + 1)
    if start == len(lines):
        raise DataError(f"{path}: the file is empty: it needs a header line and rows")
    header = re.sub('"[^"]*"?', "", lines[start])
    delimiter = delimiter or max(DELIMITERS, key=header.count)
    rows, line_numbers = _rows(path, lines, start, delimiter)
    names = [" ".join(name.strip(BLANK).split()) or f"Unnamed: {index}" for index, name in enumerate(rows[0])]
    _check_names(path, names)
    rows, line_numbers = _of_one_width(path, rows, line_numbers, wrong)
    if len(names) < 2:
        raise DataError(
            f"{path}: only one column ({names[0]!r}): it needs inputs and a target; is dataset.delimiter right?"
        )
    columns = {
        name: np.array([value.strip(BLANK) for value in values], dtype=object)
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    empty = [name for name in columns if name.startswith("Unnamed: ") and not any(columns[name])]
    for name in empty:  # every line ends with a delimiter
        del columns[name]
    return _Table(columns, np.array(line_numbers, dtype=np.int64), delimiter == ",")


def _first(lines: list[str], start: int) -> int:
    """Return the index of the first line from `start` on that is not blank."""
    return next((index for index in range(start, len(lines)) if lines[index].strip(BLANK)), len(lines))


def _rows(path: Path, lines: list[str], start: int, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the header and the rows, and the line in which each begins."""
    reader = csv.reader(lines[start:], delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    line_numbers: list[int] = []
    while True:
        line = start + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return rows, line_numbers
        except csv.Error as error:
            raise DataError(
                f"{path}: the quotes of the row in line {line} do not match (line {start + reader.line_num}: {error}):"
                " close the quote, or write it twice where it belongs to the text"
            ) from None
        if len(row) < 2 and not "".join(row).strip(BLANK):
            continue  # a blank line
        spanned = lines[line - 1 : start + reader.line_num]
        if rows and len(spanned) > 1 and _swallowed(spanned, delimiter, len(rows[0])):
            raise DataError(
                f"{path}: a quote that opens in line {line} swallows the rows up to line {start + reader.line_num}:"
                " close it, or write it twice where it belongs to the text"
            )
        rows.append(row)
        line_numbers.append(line)


def _swallowed(spanned: list[str], delimiter: str, width: int) -> bool:
    """Return whether most lines of one row are rows of their own: then a forgotten quote joins them."""
    inner = [len(next(csv.reader([line], delimiter=delimiter))) for line in spanned[1:-1]]
    widths = [spanned[0].count(delimiter) + 1, *inner, spanned[-1].count(delimiter) + 1]
    return width > 1 and 2 * widths.count(width) > len(widths)


def _check_names(path: Path, names: list[str]) -> None:
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce").dropna()
    if len(numbers) > len(names) / 2 and (numbers % 1 != 0).any():  # whole numbers may be years
        raise DataError(
            f"{path}: the first line has data instead of names ({_listed(map(repr, names), 8)}): add a header line"
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        wrong = f"two columns are called {_listed(map(repr, twice))}: the first line must name each column once"
        raise DataError(f"{path}: {wrong}")


def _of_one_width(
    path: Path, rows: list[list[str]], line_numbers: list[int], wrong: list[str]
) -> tuple[list[list[str]], list[int]]:
    """Return the rows, without the header, that have as many values as it has names."""
    width, rows, line_numbers = len(rows[0]), rows[1:], line_numbers[1:]
    if not rows:
        raise DataError(f"{path}: the file has a header line but no rows: give it data")
    off = [(line, len(row)) for line, row in zip(line_numbers, rows, strict=True) if len(row) != width]
    if len(off) == len(rows) and min(count for _, count in off) > width:
        raise DataError(f"{path}: rows have more values than the header line has names: give every column a name")
    if off:
        which = _listed(f"{count} in line {line}" for line, count in off)
        wrong.append(
            f"a row must have {width} values, as the header has, not {which}: quote a value with a delimiter in it"
        )
    if len(off) == len(rows):
        _refuse(path, wrong)
    kept = [index for index, row in enumerate(rows) if len(row) == width]
    return [rows[index] for index in kept], [line_numbers[index] for index in kept]


def _numbers(table: _Table, names: Sequence[str], marks: str, wrong: list[str]) -> dict[str, Reading]:
    """Return each column as numbers, read under the convention that it, or else the other columns, must have."""
    tried = {name: readings(table.columns[name], _known(table.columns[name]), marks) for name in names}
    fits = {name: [mark for mark in by_mark if not by_mark[mark].odd.any()] for name, by_mark in tried.items()}
    shown = {fits[name][0] for name in names if len(fits[name]) == 1}
    chosen = {}
    for name, by_mark in tried.items():
        best = min(by_mark, key=lambda mark: int(by_mark[mark].odd.sum()))
        if len(fits[name]) == 2 and not np.array_equal(by_mark["."].values, by_mark[","].values, equal_nan=True):
            if len(shown) == 1:
                best = next(iter(shown))
            elif shown or (not table.comma and any("," in text for text in table.columns[name])):
                wrong.append(_ambiguous(table, name, by_mark))
            else:
                best = "."
        chosen[name] = by_mark[best]
    return chosen


def _ambiguous(table: _Table, name: str, by_mark: dict[str, Reading]) -> str:
    point, comma = (by_mark[mark].values for mark in ".,")
    row = int(np.flatnonzero(np.isfinite(point) & (point != comma))[0])
    return (
        f"column {name!r}: {table.columns[name][row]!r} in line {table.lines[row]} may be {point[row]:.12g} or"
        f" {comma[row]:.12g}: say dataset.decimal=point or dataset.decimal=comma"
    )


def _known(texts: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.array([text not in MISSING for text in texts], dtype=bool)


def _inputs(
    table: _Table, names: Sequence[str], numbers: dict[str, Reading], wrong: list[str]
) -> tuple[NDArray[np.float32], tuple[str, ...], NDArray[np.bool_]]:
    blocks: list[NDArray[np.float32]] = [np.empty((len(table.lines), 0), np.float32)]
    features: list[str] = []
    numeric: list[bool] = []
    for name in names:
        reading = numbers[name]
        if not reading.odd.any():
            blocks.append(_single(reading.values, name, table, wrong)[:, None])
            features.append(name)
            numeric.append(True)
            continue
        texts = _words(table.columns[name], "(missing)")
        categories = sorted(set(texts))
        many = len(categories) > min(MAX_CATEGORIES, len(texts) / 2)
        different = len(np.unique(reading.values[np.isfinite(reading.values)]))
        if reading.looks_numeric and (many or different > FEW_NUMBERS):
            wrong.append(
                f"column {name!r} holds numbers, but {_values(table, name, reading.odd)}: write plain numbers, all in"
                " the same way, or nothing where they are missing"
            )
            continue
        first = np.arange(len(texts)) == int(np.argmax(_known(table.columns[name])))
        if many:
            wrong.append(
                f"text column {name!r} has {len(categories)} different values in {len(texts)} rows, more than"
                f" {MAX_CATEGORIES} or than half of them, such as {_values(table, name, first)}: leave it out with"
                f" dataset.drop=[{name}]"
            )
            continue
        blocks.append((texts[:, None] == np.array(categories, dtype=object)[None, :]).astype(np.float32))
        features.extend(f"{name}={category}" for category in categories)
        numeric.extend([False] * len(categories))
    return np.concatenate(blocks, axis=1), tuple(features), np.array(numeric, dtype=bool)


def _words(texts: NDArray[np.object_], missing: str) -> NDArray[np.object_]:
    """Return a column of words: runs of white space are one space, all spellings of true and false one word each."""
    codes, distinct = pd.factorize(texts)
    truth = all(text in TRUTH or text in MISSING for text in distinct)
    words = [missing if text in MISSING else TRUTH[text] if truth else " ".join(text.split()) for text in distinct]
    return np.array(words, dtype=object)[codes]


def _targets(
    table: _Table, column: str, reading: Reading | None, wrong: list[str]
) -> tuple[NDArray[np.int64] | NDArray[np.float32], tuple[str, ...]]:
    texts = table.columns[column]
    absent = ~_known(texts)
    if absent.any():
        wrong.append(
            f"the target {column!r} is missing in {_lines(table, absent)} (so reads an empty field, NA, null or None):"
            " fill it in or remove the row"
        )
    if reading is not None:
        if reading.odd.any():
            wrong.append(
                f"a regression target must be a number, not {_values(table, column, reading.odd)}, as {column!r} has:"
                " choose another dataset.target, or dataset.kind=classification"
            )
        return _single(reading.values, column, table, wrong), ()
    plain = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    labels = plain.to_numpy() if plain[~absent].notna().all() else _words(texts, "")
    values = sorted(set(labels[~absent].tolist()))
    codes = pd.Series(labels).map({value: code for code, value in enumerate(values)}).fillna(-1)
    return codes.to_numpy(np.int64), tuple(map(str, values))


def _single(numbers: NDArray[np.float64], column: str, table: _Table, wrong: list[str]) -> NDArray[np.float32]:
    """Return numbers in 32 bits, which must keep different numbers apart."""
    infinite = np.isinf(numbers)
    known = numbers[np.isfinite(numbers)]
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    if infinite.any():
        wrong.append(
            f"column {column!r} has an infinite value, {_values(table, column, infinite)}: replace it or leave it empty"
        )
    elif np.isinf(single).any():
        which = _values(table, column, np.isinf(single))
        wrong.append(f"column {column!r} has numbers too large for 32 bits, {which}: divide them")
    elif len(known) and np.ptp(known) > 0:
        error = np.nanmax(np.abs(single - numbers))
        if error > 0.01 * known.std() and known.std() > 1e-14 * np.abs(known).max():
            wrong.append(
                f"column {column!r} has numbers near {known[0]:g} whose differences 32 bits cannot tell: subtract an"
                " offset"
            )
    return single


def _described(table: _Table, numbers: dict[str, Reading]) -> str:
    """Name the numbers that were not written plainly, with an example of each column."""
    examples = []
    for name, reading in numbers.items():
        if reading.dressed and not reading.odd.any():
            known = np.flatnonzero(np.isfinite(reading.values))
            plain = pd.to_numeric(pd.Series(table.columns[name][known], dtype=object), errors="coerce").to_numpy()
            other = known[plain != reading.values[known]]
            if len(other):
                text, value = table.columns[name][other[0]], reading.values[other[0]]
                examples.append(f"{name}: {text} as {value:.12g}")
    return f"numbers read: {_listed(examples)}" if examples else ""


def _values(table: _Table, column: str, rows: NDArray[np.bool_]) -> str:
    """List values with their lines."""
    positions = np.flatnonzero(rows)
    texts = (f"{_short(table.columns[column][row])!r} in line {table.lines[row]}" for row in positions[:MOST])
    return _listed(texts, MOST, len(positions))


def _lines(table: _Table, rows: NDArray[np.bool_]) -> str:
    lines = table.lines[rows]
    return ("line " if len(lines) == 1 else "lines ") + _listed(map(str, lines[:MOST]), MOST, len(lines))


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _listed(texts: Iterable[str], most: int = MOST, total: int | None = None) -> str:
    """Join the first texts, and say how many more there are."""
    every = list(texts)
    more = (len(every) if total is None else total) - len(every[:most])
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
