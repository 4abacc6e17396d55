"""Make foreign names and texts safe for their output: a line, Markdown, a file name, a CSV.

The names of techniques, data sets, columns, units and levels may contain any characters. Every name that is shown
passes through here once. Names that are compared or stored stay unchanged.
"""

from __future__ import annotations

import hashlib
import json
import re

LONGEST_FILE_NAME = 100
LONGEST_SHOWN = 80
"""The maximal number of characters of a name in a figure, or in the table of imported runs."""
_MARKUP = re.compile(r"[\\|<>*`\[\]#&~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""The start of a cell that a spreadsheet takes for a formula; the last four are the wide forms of the first four."""


def one_line(text: object) -> str:
    """Return a text on one line, with invisible characters as escapes."""
    return _visible(" ".join(str(text).split()))


def short(name: str, most: int = LONGEST_SHOWN) -> str:
    """Return a name of at most `most` characters; a hash replaces the end of a longer text."""
    if len(name) <= most:
        return name
    return f"{name[: most - 10]}… {hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def in_figure(text: str) -> str:
    """Return a text for a figure, with long lines shortened and invisible characters as escapes."""
    return "\n".join(short(_visible(line)) for line in text.split("\n"))


def plain(text: object) -> str:
    """Return a text that Markdown shows literally: no markup, no HTML, no link, no other cell of a table."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def code(text: object) -> str:
    """Return a name or a value as code for Markdown, or as plain text if it contains a backtick or a `|`."""
    line = one_line(text)
    return plain(line) if "`" in line or "|" in line else f"`{line}`"


def fenced(text: str, language: str = "") -> str:
    """Return a text as a block of code for Markdown, with a fence that is longer than any in the text."""
    text = _visible(text, but="\n\t")
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def file_name(*parts: str) -> str:
    """Join names to the name of a file or folder: letters, digits, `-`, `_` and `.`, at most 100 characters.

    Append a hash of all parts if this changes a name, so that different names stay different. Append it also if a part
    from the third to the last but one contains a `-`, so that (a, b, c-d, e) and (a, b-c, d, e) stay different.
    """
    name = "-".join(re.sub(r"[^A-Za-z0-9_.-]", "-", part) for part in parts)
    whole = all(map(_FILE_NAME.fullmatch, parts)) and "-" not in "".join(parts[2:-1])
    if whole and len(name) <= LONGEST_FILE_NAME and name[0] not in ".-":
        return name
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    return f"{name[: LONGEST_FILE_NAME - 13]}-{digest}".lstrip(".-")


def to_cell(value: object) -> object:
    """Return a value for a CSV, with an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value) else value


def from_cell(text: str) -> str:
    """Undo `to_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _visible(text: str, but: str = "") -> str:
    return "".join(c if c.isprintable() or c in but else repr(c)[1:-1] for c in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
