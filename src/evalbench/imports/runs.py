"""Runs as flat rows, whatever tracker they come from, and a map from their columns to those of a table of results."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.imports import mlflow, tensorboard, wandb, wandb_offline

Row = Mapping[str, Any]
SOURCES: Mapping[str, Callable[[str], Sequence[Row]]] = {
    "wandb": wandb.read,
    "wandb-offline": wandb_offline.read,
    "mlflow": mlflow.read,
    "tensorboard": tensorboard.read,
}
REQUIRED = ("technique", "workload", "seed", "score")
DEFAULT_MAP = {
    "technique": "config.technique",
    "workload": "config.dataset",
    "seed": "config.seed",
    "score": "summary.score",
}
"""What evalbench itself logs."""
CONSTANT = "const:"
MOST_NAMED = 40


def load(source: str, where: str) -> Sequence[Row]:
    """Return the runs of a source; raise `TableError` where there are none, `ConfigError` where a library is missing.

    A row has `id`, `name`, `group`, `job_type`, `config.…` and `summary.…`, as far as the source has them.
    """
    rows = SOURCES[source](where)
    if not rows:
        raise TableError(f"{where} has no run of {source}")
    return rows


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """Read `technique=config.optimizer workload=const:digits`; what is not named is what evalbench logs."""
    pairs = [text.partition("=") for text in texts]
    for text, (column, equals, of) in zip(texts, pairs, strict=True):
        if not (column and equals and of):
            raise TableError(f"--map takes COLUMN=NAME, such as technique=config.optimizer, not {text!r}")
    return {**DEFAULT_MAP, **{column: of for column, _, of in pairs}}


def select(rows: Sequence[Row], texts: Sequence[str]) -> Sequence[Row]:
    """Return the runs that have all of some values, such as `group=mine`; raise `TableError` where there is none."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise TableError(f"--where takes NAME=VALUE, such as group=mine, not {text!r}")
        values = {str(row[name]) for row in rows if name in row}
        if not values:
            raise TableError(f"no run has {name!r}, which --where asks for: there are {_listed(_names(rows))}")
        if value not in values:
            raise TableError(f"no run has {text}: of {name} there are {_listed(sorted(values))}")
        rows = [row for row in rows if str(row.get(name)) == value]
    return rows


def write_table(rows: Sequence[Row], columns: Mapping[str, str], path: Path) -> int:
    """Write the runs as a table of results; return how many were left out because they lack a key of the table.

    A run without a finite score has failed, which is a result too. Raises `TableError` for a name that no run has, and
    for several runs of one technique, workload and seed.
    """
    names = _names(rows)
    for column, of in columns.items():
        if of not in names and not of.startswith(CONSTANT):
            raise TableError(f"no run has {of!r}, which --map takes for {column}: there are {_listed(names)}")
    table = [
        {c: of.removeprefix(CONSTANT) if of.startswith(CONSTANT) else row.get(of) for c, of in columns.items()}
        for row in rows
    ]
    keys = [column for column in columns if column != "score"]
    whole = [row for row in table if all(row[key] is not None for key in keys)]
    if not whole:
        raise TableError(f"no run has all of {', '.join(columns[key] for key in keys)}: give others with --map")
    most, count = Counter(tuple(row[key] for key in keys) for row in whole).most_common(1)[0]
    if count > 1:
        these = ", ".join(f"{key} {value}" for key, value in zip(keys, most, strict=True))
        raise TableError(f"{count} runs have {these}: choose some with --where NAME=VALUE, such as group=mine")
    for row in whole:
        failed = not _is_finite(row["score"])
        row.setdefault("state", "FAILED" if failed else "COMPLETE")
        row["score"] = "" if failed else row["score"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*columns, *(["state"] if "state" not in columns else [])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
    return len(table) - len(whole)


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
