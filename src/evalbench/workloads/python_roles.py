"""Real tagged text that every Python carries: what each word and sign in a statement of its standard library is.

A row is a statement that is one logical line, in tokens of Python, of which `ast` tells the roles of the names. A
statement that occurs twice is kept once, so no row is in two parts of a split. Another version of Python has other
statements and is another workload.
"""

import ast
import io
import keyword
import platform
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evalbench.errors import ConfigError
from evalbench.workloads.dataset import MIN_ROWS, Dataset
from evalbench.workloads.frames import table
from evalbench.workloads.text import MODULES, source_of

LENGTHS = range(4, 33)
"""The numbers of tokens of a statement that is a row."""
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING)
KINDS = {tokenize.NUMBER: "number", tokenize.STRING: "string", tokenize.OP: "sign"}
Tagged = tuple[tuple[str, str], ...]
"""Tokens, each with its role."""


def load(
    name: str,
    num_rows: int | None = 2000,
    min_count: int = 2,
    tokenizer: str | None = None,
    text_length: int = 64,
) -> Dataset:
    """Return statements with the roles of their tokens: `num_rows` of them, spread evenly; None: all.

    With a `tokenizer` each token of Python is one or more tokens of a pretrained model, at most `text_length` in a row.
    Raises `DataError` if the library is installed without its source.
    """
    every = list(dict.fromkeys(row for module in MODULES[::3] for row in statements(source_of(module))))
    if num_rows is not None and (
        isinstance(num_rows, bool) or not isinstance(num_rows, int) or not MIN_ROWS <= num_rows <= len(every)
    ):
        rule = f"must be a whole number from {MIN_ROWS} to {len(every):,}"
        raise ConfigError("dataset.num_rows", rule, num_rows, "for example dataset.num_rows=2000")
    chosen = np.linspace(0, len(every) - 1, num_rows or len(every)).round().astype(np.int64)
    pairs = [tuple(zip(*every[row], strict=True)) for row in chosen]
    frame = pd.DataFrame({"tokens": [tokens for tokens, _ in pairs], "roles": [roles for _, roles in pairs]})
    asked = {"tokens": "tokens", "target": "roles", "min_count": min_count, "tokenizer": tokenizer}
    made = table(frame, name, **asked, text_length=text_length)
    described = f"roles of tokens in statements of Python {platform.python_version()}'s standard library"
    return replace(made, description=f"{described}; {made.description}")


def statements(source: str) -> Iterator[Tagged]:
    """Yield the logical lines of a source whose number of tokens is in `LENGTHS`; characters must be of ASCII."""
    roles = _roles(ast.parse(source))
    row: list[tuple[str, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            if len(row) in LENGTHS and "".join(text for text, _ in row).isascii():
                yield tuple(row)
            row = []
        elif token.type not in SKIPPED:
            row.append((token.string, _role(token, roles, [text for text, _ in row[-1:]])))


def _role(token: tokenize.TokenInfo, roles: dict[tuple[int, int], str], before: Sequence[str]) -> str:
    if token.type != tokenize.NAME:
        return KINDS.get(token.type, "sign")
    if keyword.iskeyword(token.string):
        return "keyword"
    if before and before[0] in ("def", "class"):
        return "definition"
    return roles.get(token.start, "name")


def _roles(tree: ast.Module) -> dict[tuple[int, int], str]:
    """Return the roles of names by line and column."""
    roles: dict[tuple[int, int], str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            roles.setdefault(_start(node), "variable" if isinstance(node.ctx, ast.Load) else "assigned variable")
        elif isinstance(node, ast.Attribute):
            roles.setdefault(_end(node), "attribute")
        elif isinstance(node, ast.arg):
            roles[_start(node)] = "parameter"
        elif isinstance(node, ast.keyword) and node.arg is not None:
            roles[_start(node)] = "keyword argument"
        elif isinstance(node, ast.Call):  # before the parts of the node
            called = node.func
            if isinstance(called, ast.Name):
                roles[_start(called)] = "called function"
            elif isinstance(called, ast.Attribute):
                roles[_end(called)] = "called method"
    return roles


def _start(node: ast.Name | ast.arg | ast.keyword) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.Attribute) -> tuple[int, int]:
    """Return where the name of an attribute begins."""
    return node.end_lineno or 0, (node.end_col_offset or 0) - len(node.attr)
