"""Load the runs of any tracker and map their columns to the columns of a table of results."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.imports import mlflow, tensorboard, wandb, wandb_offline
from evalbench.imports.rows import FINISHED, Row, name_of
from evalbench.names import short, to_cell
from evalbench.trial import LARGEST_SCORE

SOURCES: Mapping[str, Callable[[str], Sequence[Row]]] = {
    "wandb": wandb.read,
    "wandb-offline": wandb_offline.read,
    "mlflow": mlflow.read,
    "tensorboard": tensorboard.read,
}
DEFAULT_MAP = {
    "technique": "config.technique",
    "workload": "config.dataset",
    "seed": "config.seed",
    "score": "summary.score",
}
"""The names that evalbench itself logs."""
STATE = "summary.state"
"""The name under which evalbench logs the state of a trial; the tracker's own state may be finished."""
CONSTANT = "const:"
MOST_NAMED = 40


def load(source: str, location: str) -> Sequence[Row]:
    """Return the runs of a source; raise `TableError` if it has none, `ConfigError` if a library is missing.

    A row has `id`, `started`, `name`, `group`, `job_type`, `project`, `state`, `config.…` and `summary.…`, if
    the source has them.
    """
    rows = SOURCES[source](location)
    if not rows:
        raise TableError(f"{location} has no run of {source}")
    return rows


def latest(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the copy of every run that began last; a run may have been resumed, retried or copied."""
    copies: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        copies.setdefault((row.get("project"), row["id"]), []).append(row)
    return [max(rows, key=lambda row: (row["started"], row.get("state") == FINISHED)) for rows in copies.values()]


def parse_map(texts: Sequence[str], default: Mapping[str, str] = DEFAULT_MAP) -> dict[str, str]:
    """Parse texts such as `technique=config.optimizer`; other columns get the names that evalbench logs."""
    pairs = [text.partition("=") for text in texts]
    for text, (column, equals, name) in zip(texts, pairs, strict=True):
        if not (column and equals and name):
            raise TableError(f"--map takes COLUMN=NAME, such as technique=config.optimizer, not {text!r}")
    return {**default, **{column: name for column, _, name in pairs}}


def select(rows: Sequence[Row], texts: Sequence[str]) -> Sequence[Row]:
    """Return the runs that have all the values, such as `group=mine`; raise `TableError` if no run has them."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise TableError(f"--where takes NAME=VALUE, such as group=mine, not {text!r}")
        values = {name_of(row[name]) for row in rows if name in row}
        if not values:
            raise TableError(f"no run has {name!r}, which --where names: the runs have {_listed(_names(rows))}")
        if value not in values:
            raise TableError(f"no run has {text}: the values of {name} are {_listed(sorted(values))}")
        rows = [row for row in rows if name in row and name_of(row[name]) == value]
    return rows


def write_table(
    rows: Sequence[Row], columns: Mapping[str, str], path: Path, may_lack: Collection[str] = ("score",)
) -> Sequence[str]:
    """Write the runs as a table of results; return the names of the runs that lack a key and are left out.

    A run has FAILED if its source knows that it did not finish, or if it has no score. It has DIVERGED if its score is
    infinite, not a number, or a number that stands for infinity. Columns of `may_lack` are not keys.

    Raises:
        TableError: no run has a name of `columns`, several runs have one technique, workload and seed, or a score is
            not a number.
    """
    constants = {name: name.removeprefix(CONSTANT) for name in columns.values() if name.startswith(CONSTANT)}
    rows = [{**row, **constants} for row in rows]
    names = _names(rows)
    for column, name in columns.items():
        if name not in names:
            raise TableError(f"no run has {name!r}, which --map gives for {column}: the runs have {_listed(names)}")
    keys = {column: name for column, name in columns.items() if column not in may_lack}
    whole, left_out = [], []
    for row in rows:
        if all(name in row for name in keys.values()) and row[keys["seed"]] is not None:
            whole.append(_result(row, columns))
        else:
            left_out.append(_called(row))
    if not whole:
        raise TableError(f"no run has all of {', '.join(keys.values())}: give other names with --map")
    most, count = Counter(tuple(row[key] for key in keys) for row in whole).most_common(1)[0]
    if count > 1:
        these = ", ".join(f"{key} {value}" for key, value in zip(keys, most, strict=True))
        raise TableError(f"{count} runs have {these}: choose some with --where NAME=VALUE, such as group=mine")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([to_cell(column) for column in whole[0]])
        writer.writerows([to_cell(value) for value in each.values()] for each in whole)
    return left_out


def _result(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a run as a row of the table: the mapped columns, its state, and the reason if it is not COMPLETE."""
    state, message = _ending(row, columns)
    return {
        **{column: short(name_of(row[name])) if name in row else "" for column, name in columns.items()},
        "score": "" if state == "FAILED" else _finite(row, columns["score"]),
        "state": state,
        "finished": {None: "not known", FINISHED: "yes"}.get(row.get("state"), "no"),
        "message": message,
    }


def _ending(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """Return the state of a run, and the reason if it is not COMPLETE."""
    stated, ended = name_of(row.get(columns.get("state", STATE)) or "COMPLETE"), row.get("state")
    if stated in ("DIVERGED", "FAILED") or (stated != "COMPLETE" and "state" in columns):
        return stated, f"run {_called(row)} logged this state"
    if ended not in (None, FINISHED):
        return "FAILED", f"run {_called(row)} did not finish: its state is {ended}"
    score = _number(row, columns["score"])
    if score is None:
        return "FAILED", f"run {_called(row)} has no {columns['score']}"
    if not abs(score) < LARGEST_SCORE:
        return "DIVERGED", f"run {_called(row)} has no finite {columns['score']}"
    return "COMPLETE", ""


def _finite(row: Row, name: str) -> float | str:
    """Return the score of a run that ended, also of one that diverged; empty if it is no finite number."""
    score = _number(row, name)
    return score if score is not None and abs(score) < LARGEST_SCORE else ""


def _number(row: Row, name: str) -> float | None:
    """Return a number, also if it is a text; W&B's server writes `Infinity` and `NaN` as texts."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        text = name_of(value)
        raise TableError(f"{name} of run {_called(row)} is {text}, not a number: map score to another name") from None


def _called(row: Row) -> str:
    return str(row.get("name") or row["id"])


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
