"""What one file holds, what a program's files say as a table, and how one file per program reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import ConfigError, TableError

TABLES = {".csv": ",", ".tsv": "\t", ".txt": ","}
NO_NUMBER = ("", "nan", "NaN", "None", "null")


@dataclass(frozen=True)
class Document:
    """One file: a table as a data frame, or the value of its JSON."""

    path: Path
    content: Any

    @property
    def columns(self) -> frozenset[str]:
        """Return the names of a table's columns, or the keys of an object; of a list, those of its first object."""
        if isinstance(self.content, pd.DataFrame):
            return frozenset(map(str, self.content.columns))
        first = self.content[0] if isinstance(self.content, list) and self.content else self.content
        return frozenset(first) if isinstance(first, Mapping) else frozenset()

    @property
    def frame(self) -> pd.DataFrame:
        """Return the content as a table; nested objects become columns with dotted names.

        Raises:
            TableError: the JSON is neither a list of objects nor an object of lists.
        """
        content = self.content
        if isinstance(content, pd.DataFrame):
            return content
        if isinstance(content, list) and content and all(isinstance(row, Mapping) for row in content):
            return pd.json_normalize(content)
        if isinstance(content, Mapping) and {type(values) for values in content.values()} == {list}:
            try:
                return pd.DataFrame(dict(content))
            except ValueError:
                raise TableError(f"{self.path.name} has columns of different lengths: make them equal") from None
        raise TableError(
            f"{self.path.name} must hold a list of objects, one per run, or an object of equally long lists: it holds"
            f" {type(content).__name__}"
        )


@dataclass(frozen=True)
class Imported:
    """A table of results, or of curves, with columns of the schema.

    frame: for results `technique, workload, seed, score` and what else is known; curves have `time` or `step` too.
    said: what was guessed or chosen, in sentences.
    declared: options that the files decide, such as `metric`, `direction` and `unit`.
    """

    frame: pd.DataFrame
    said: tuple[str, ...] = ()
    declared: Mapping[str, Any] = field(default_factory=dict)
    curves: bool = False


@dataclass(frozen=True)
class Format:
    """The files of one program: how they are recognized, and how they are read."""

    name: str  # as `--format` takes it
    program: str  # for people
    recognizes: Callable[[Document], bool]
    read: Callable[[Sequence[Document]], Imported]


def documents(paths: Sequence[Path]) -> Iterator[Document]:
    """Read files by their endings: `.csv`, `.tsv`, `.parquet`, `.json`, `.jsonl`.

    Raises:
        TableError: a file cannot be read; the message is one line.
        ConfigError: a Parquet file needs a library that is not installed.
    """
    for path in paths:
        yield Document(path, _content(path))


def _content(path: Path) -> Any:
    ending = path.suffix.lower()
    try:
        if ending in (".parquet", ".pq"):
            return _parquet(path)
        if ending == ".json":
            return json.loads(path.read_text(encoding="utf-8-sig"))
        if ending in (".jsonl", ".ndjson"):
            return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if ending in TABLES:
            text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
            return pd.read_csv(path, sep=TABLES[ending], **text)  # type: ignore[call-overload]
    except UnicodeDecodeError:
        raise TableError(f"{path.name} is not UTF-8 text: save it as that") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path.name} cannot be read as {ending[1:].upper()}: {error}") from None
    known = ", ".join([*TABLES, ".parquet", ".json", ".jsonl"])
    raise TableError(f"{path.name}: the ending of a table must be one of {known}, not {ending or 'none'!r}: rename it")


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise ConfigError(path.name, "needs pyarrow to be read", remedy="pip install 'evalbench-dl[parquet]'") from None


def numeric(source: str, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table with numbers in some columns, missing where a cell is empty.

    Raises:
        TableError: a cell holds other text.
    """
    changed = {}
    for name in columns:
        if name in table.columns:
            cells = table[name].mask(table[name].astype(str).isin(NO_NUMBER))
            try:
                changed[name] = pd.to_numeric(cells).astype(float)
            except (TypeError, ValueError) as error:
                raise TableError(f"{source}: column {name} holds numbers only: {error}") from None
    return table.assign(**changed)


def needs(source: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that lacks a column."""
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise TableError(f"{source} has no column {', '.join(absent)}: it has {', '.join(map(str, table.columns))}")


def together(docs: Sequence[Document]) -> pd.DataFrame:
    """Return the tables of all files under each other, with the name of the file in the column `file`."""
    return pd.concat([doc.frame.assign(file=doc.path.stem) for doc in docs], ignore_index=True)


def base_task(name: str) -> str:
    """Return a workload's name without the library that ran it: `wmt` of `wmt_jax`."""
    return re.sub(r"_(jax|pytorch)$", "", name)
