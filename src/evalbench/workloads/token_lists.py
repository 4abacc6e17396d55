"""Columns whose cells are lists, such as the tokens of a sentence, or a tag for each of them.

Files of Arrow and frames have lists. A cell of text is a list as JSON or Python writes it, or text that is split at
white space: which of them is what the first cell of the column is.
"""

import ast
import json
from typing import Any

import numpy as np

from evalbench.workloads.table import RawTable, TableColumn

SPLIT = "split at white space"


def are_lists(values: Any) -> bool:
    """Return whether some values are lists, and the others are missing."""
    given = [isinstance(value, list | tuple | np.ndarray) for value in values]
    missing = [value is None or isinstance(value, float) for value in values]
    return any(given) and all(map(max, given, missing))


def list_column(values: Any) -> TableColumn:
    """Return a column of lists; a value that is none, and a list without elements, are missing."""
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = tuple(value) if isinstance(value, list | tuple | np.ndarray) else ()
    return TableColumn("list", cells, np.array([len(cell) > 0 for cell in cells], dtype=bool))


def as_lists(table: RawTable, name: str, wrong: list[str], remarks: list[str]) -> TableColumn:
    """Return a column of tuples of texts; cells that are no lists of texts or whole numbers are added to `wrong`."""
    column = table.columns[name]
    if column.form != "list":
        texts = [str(value) if known else "" for value, known in zip(column.values, column.known, strict=True)]
        is_written = _written(next(filter(None, texts), "")) is not None
        if not is_written:
            remarks.append(f"{name}: {SPLIT}")
        lists = [_written(text) if is_written and text else text.split() for text in texts]
        odd = np.array([cells is None for cells in lists])
        if odd.any():
            wrong.append(
                f'column {name!r} must have lists, such as ["a", "b"], not {table.listed_values(name, odd)}: write'
                " each of them as JSON"
            )
        column = list_column([cells or () for cells in lists])
    odd = np.array([not all(map(_is_text, cells)) for cells in column.values])
    if odd.any():
        wrong.append(
            f"column {name!r} must have lists of texts or whole numbers, not {table.listed_values(name, odd)}: correct"
            " the elements"
        )
    return list_column([tuple(map(str, cells)) for cells in column.values])


def _written(text: str) -> list[Any] | None:
    """Return the list that a text writes; None if it writes none."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list | tuple):
            return list(value)
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | np.integer) and not isinstance(value, bool) and value != ""
