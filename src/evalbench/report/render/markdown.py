"""Tables as Markdown, and names in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evalbench.names import code
from evalbench.record.schema import REFERENCES

MOST_ROWS, MOST_COLUMNS = 300, 32
"""A page has no larger table: the CSV beside it has every row and column."""


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table whose first `left` columns hold text and whose other columns hold numbers, set to the right.

    A larger table than a page can show is cut, and a line below it says so.
    """
    kept, every = len(headers[:MOST_COLUMNS]), list(rows)
    marks = [":--" if index < left else "--:" for index in range(len(headers))]
    lines = [headers, marks, *every[:MOST_ROWS]]
    table = "\n".join("| " + " | ".join(line[:kept]) + " |" for line in lines)
    cut = [
        f"{shown:,} of {count:,} {noun}"
        for shown, count, noun in ((MOST_ROWS, len(every), "rows"), (MOST_COLUMNS, len(headers), "columns"))
        if count > shown
    ]
    return f"{table}\n\n*The table shows {' and '.join(cut)}.*" if cut else table


def named(name: str) -> str:
    """Return a technique as code, a reference in plain words."""
    return name if name in REFERENCES.values() else code(name)
