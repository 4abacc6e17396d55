"""A table in a text file with a header line: cells separated by commas, semicolons, tabs or |.

No row is lost: all that is wrong with the file is collected, and told with the faults of its columns (`encoding`).
"""

import csv
import io
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.errors import ConfigError, DataError
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.encoding import encode
from evalbench.workloads.table import RawTable, listed, refuse
from evalbench.workloads.written import decimal_marks, written

DELIMITERS = ",;\t|"
BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u180e\u200b\u200c\u200d\u2060\ufeff"
"""White space, and the characters that nobody sees."""


def load(
    path: str, name: str | None = None, delimiter: str | None = None, decimal: str | None = None, **settings: Any
) -> Dataset:
    """Read a CSV file with a header line; `settings` are those of every table, see `Choices`.

    The delimiter is the one that the header line has most of, unless it is given. The decimal mark is the one that the
    file's numbers show, unless it is given (`point` or `comma`). Raises `DataError` if the file cannot be used, with
    all its faults.
    """
    choices, marks = Choices(name, **settings), decimal_marks(decimal)
    if not isinstance(path, str):
        raise ConfigError("dataset.path", "must be text", path, "for example dataset.path=my.csv")
    label = Path(path).stem if name is None else name
    choices.dropped(label)
    wrong: list[str] = []
    table = read(Path(path), delimiter, wrong, choices.long_texts, choices.least_columns)
    return encode(table, label, choices, wrong, marks)


def checked_delimiter(given: Any, key: str = "dataset.delimiter") -> str | None:
    """Return a given delimiter, a tab also as `\\t`; raise `ConfigError`, which names `key`, for a wrong one."""
    if given == "\\t":
        return "\t"
    if given is not None and not (isinstance(given, str) and len(given) == 1 and given not in '\r\n"'):
        remedy = "leave it out: evalbench detects comma, semicolon, tab and |"
        raise ConfigError(key, "must be one character", given, remedy)
    return given


def read(
    path: Path,
    delimiter: str | None,
    wrong: list[str],
    texts: Collection[str] = (),
    least: int = 2,
    usual: str | None = None,
) -> RawTable:
    """Return the table of a file without the rows of faulty lines, whose faults are added to `wrong`.

    Without a `delimiter` it is the `usual` one, if the header line has it, or the one that the line has most of. A cell
    of one of the columns `texts` may have any lines. The table must have `least` columns.
    """
    delimiter = checked_delimiter(delimiter)
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
    delimiter = delimiter or _detected(lines[start], usual)
    rows, line_numbers = _rows(path, lines, start, delimiter, texts)
    names = [" ".join(name.strip(BLANK).split()) or f"Unnamed: {index}" for index, name in enumerate(rows[0])]
    _check_names(path, names)
    rows, line_numbers = _of_one_width(path, rows, line_numbers, wrong)
    if len(names) < least:
        raise DataError(
            f"{path}: only one column ({names[0]!r}): it needs inputs and a target; is dataset.delimiter right?"
        )
    columns = {
        name: written(np.array([value.strip(BLANK) for value in values], dtype=object))
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    empty = [name for name in columns if name.startswith("Unnamed: ") and not any(columns[name].values)]
    for name in empty:  # every line ends with a delimiter
        del columns[name]
    return RawTable(str(path), columns, np.array(line_numbers, dtype=np.int64), "line", delimiter == ",")


def _detected(header: str, usual: str | None) -> str:
    """Return the delimiter of a header line: the usual one if the line has it, or the one that it has most of."""
    header = re.sub('"[^"]*"?', "", header)
    return usual if usual and usual in header else max(DELIMITERS, key=header.count)


def _first(lines: list[str], start: int) -> int:
    """Return the index of the first line from `start` on that is not blank."""
    return next((index for index in range(start, len(lines)) if lines[index].strip(BLANK)), len(lines))


def _rows(
    path: Path, lines: list[str], start: int, delimiter: str, texts: Collection[str]
) -> tuple[list[list[str]], list[int]]:
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
        told = rows and _only_texts_have_lines(rows[0], row, texts)
        if rows and len(spanned) > 1 and not told and _swallowed(spanned, delimiter, len(rows[0])):
            raise DataError(
                f"{path}: a quote that opens in line {line} swallows the rows up to line {start + reader.line_num}:"
                " close it, write it twice where it belongs to the text, or name columns of texts with such lines by"
                " dataset.text=[COLUMN]"
            )
        rows.append(row)
        line_numbers.append(line)


def _only_texts_have_lines(header: list[str], row: list[str], texts: Collection[str]) -> bool:
    """Return whether a row is as wide as the header, and only cells of the columns `texts` have several lines."""
    others = [cell for name, cell in zip(header, row, strict=False) if name.strip(BLANK) not in texts]
    return len(row) == len(header) and len("".join(others).splitlines()) < 2


def _swallowed(spanned: list[str], delimiter: str, width: int) -> bool:
    """Return whether most lines of one row are rows of their own: then a forgotten quote joins them."""
    inner = [len(next(csv.reader([line], delimiter=delimiter))) for line in spanned[1:-1]]
    widths = [spanned[0].count(delimiter) + 1, *inner, spanned[-1].count(delimiter) + 1]
    return width > 1 and 2 * widths.count(width) > len(widths)


def _check_names(path: Path, names: list[str]) -> None:
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce").dropna()
    if len(numbers) > len(names) / 2 and (numbers % 1 != 0).any():  # whole numbers may be years
        raise DataError(
            f"{path}: the first line has data instead of names ({listed(map(repr, names), 8)}): add a header line"
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        wrong = f"two columns are called {listed(map(repr, twice))}: the first line must name each column once"
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
        which = listed(f"{count} in line {line}" for line, count in off)
        wrong.append(
            f"a row must have {width} values, as the header has, not {which}: quote a value with a delimiter in it"
        )
    if len(off) == len(rows):
        refuse(str(path), wrong)
    kept = [index for index, row in enumerate(rows) if len(row) == width]
    return [rows[index] for index in kept], [line_numbers[index] for index in kept]
