"""Tables as Markdown, and names in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evalbench.names import code
from evalbench.record.schema import REFERENCES


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table whose first `left` columns hold text and whose other columns hold numbers, set to the right."""
    marks = [":--" if index < left else "--:" for index in range(len(headers))]
    lines = [headers, marks, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def named(name: str) -> str:
    """Return a technique as code, a reference in plain words."""
    return name if name in REFERENCES.values() else code(name)
