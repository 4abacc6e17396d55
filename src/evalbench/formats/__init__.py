"""Tables and logs that other programs write, recognized by their content; one file per program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats import optuna
from evalbench.formats.algoperf import ALGOPERF
from evalbench.formats.amlb import AMLB
from evalbench.formats.benchopt import BENCHOPT
from evalbench.formats.lm_eval import LM_EVAL
from evalbench.formats.peft import PEFT
from evalbench.formats.reading import Document, Format, Imported, documents, together
from evalbench.formats.sklearn import SKLEARN
from evalbench.formats.tabarena import TABARENA

__all__ = ["FORMATS", "NAMES", "Document", "Format", "Imported", "files", "read"]

FORMATS = {one.name: one for one in (PEFT, ALGOPERF, LM_EVAL, BENCHOPT, AMLB, TABARENA, SKLEARN)}
NAMES = ("table", *FORMATS, "optuna")
"""What `--format` takes; `table` is no program's: its columns are used as they are."""
INSIDE = ("**/eval_measurements.csv", "**/samples_*.jsonl", "**/*.json", "**/*.parquet", "**/*.csv")
"""What is read of a folder: the first of these patterns that matches."""


def files(locations: Sequence[str]) -> list[Path]:
    """Return the files that names, globs and folders stand for, in the order of their names.

    Raises:
        TableError: a location stands for no file.
    """
    paths: list[Path] = []
    for location in locations:
        path = Path(location)
        if path.is_dir():
            matches = next((m for pattern in INSIDE if (m := sorted(path.glob(pattern)))), [])
        elif path.is_file():
            matches = [path]
        else:
            matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise TableError(f"{location} is no file, and matches none: give a table, a folder of them, or a pattern")
        paths += matches
    return list(dict.fromkeys(paths))


def has_tables(folder: Path) -> bool:
    """Return whether a folder holds tables that `files` would read."""
    return any(next(folder.glob(pattern), None) is not None for pattern in INSIDE)


def read(locations: Sequence[str], name: str | None = None) -> Imported:
    """Read tables by the format of that name, or by the one that recognizes all files; say which.

    Raises:
        TableError: the files cannot be read, or are not of the format.
    """
    if name == "optuna" or (name is None and any(map(optuna.is_storage, locations))):
        reading = optuna.read(locations[0])
        return replace(reading, said=(f"read as a storage of Optuna: {reading.said[0]}",))
    docs = list(documents(files(locations)))
    chosen = FORMATS.get(name or "") or (None if name == "table" else _recognized(docs))
    if chosen is None:
        return Imported(_plain(docs), (f"{len(docs)} files, read as one table",) if len(docs) > 1 else ())
    strangers = [doc.path for doc in docs if not chosen.recognizes(doc)]
    if strangers:
        raise TableError(f"{strangers[0]} is not of {chosen.program}: leave it out, or give another --format")
    reading = chosen.read(docs)
    first, *more = reading.said
    return replace(reading, said=(f"read as {chosen.program} (--format {chosen.name}): {first}", *more))


def _recognized(docs: Sequence[Document]) -> Format | None:
    """Return the format of the first file, if it recognizes that file alone or all others too."""
    return next((one for one in FORMATS.values() if one.recognizes(docs[0])), None)


def _plain(docs: Sequence[Document]) -> pd.DataFrame:
    return docs[0].frame if len(docs) == 1 else together(docs)
