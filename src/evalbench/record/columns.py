"""Rows and columns of a table chosen by the user: `--where NAME=VALUE` and `--map COLUMN=NAME`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from evalbench.errors import TableError

CONSTANT = "const:"
MOST_NAMED = 40


def pairs_of(texts: Sequence[str]) -> dict[str, str]:
    """Parse texts such as `technique=method`.

    Raises:
        TableError: a text has another form.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (column, equals, name) in zip(texts, pairs, strict=True):
        if not (column and equals and name):
            raise TableError(f"--map takes COLUMN=NAME, such as technique=method, not {text!r}")
    return {column: name for column, _, name in pairs}


def selected(source: str, table: pd.DataFrame, texts: Sequence[str]) -> pd.DataFrame:
    """Return the rows that have all the values, such as `group=mine`.

    Raises:
        TableError: no row has a value, or the table has no such column.
    """
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise TableError(f"--where takes NAME=VALUE, such as group=mine, not {text!r}")
        if name not in table.columns:
            raise TableError(f"{source} has no column {name!r}, which --where names: it has {_listed(table.columns)}")
        cells = table[name].astype(str)
        if not (cells == value).any():
            raise TableError(f"no row of {source} has {text}: the values of {name} are {_listed(sorted(set(cells)))}")
        table = table[cells == value].reset_index(drop=True)
    return table


def mapped(source: str, table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with the columns renamed; `const:TEXT` is a column of this text, all others keep their names.

    Raises:
        TableError: the table has no column of a name.
    """
    parts = {}
    for column, name in columns.items():
        if name.startswith(CONSTANT):
            parts[column] = pd.Series(name.removeprefix(CONSTANT), table.index)
        elif name in table.columns:
            parts[column] = table[name]
        else:
            raise TableError(
                f"no column has the name {name!r}, which --map gives for {column}: {source} has"
                f" {_listed(table.columns)}"
            )
    kept = [name for name in table.columns if name not in columns and name not in columns.values()]
    return pd.DataFrame({**parts, **{str(name): table[name] for name in kept}}, index=table.index) if parts else table


def _listed(names: Sequence[str] | pd.Index[str]) -> str:
    return ", ".join(map(str, names[:MOST_NAMED])) + (", …" if len(names) > MOST_NAMED else "")
