"""`variance.csv`: the variance design, a row per technique, workload, setting and combination of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import Declaration
from evalbench.record.schema import STATES
from evalbench.record.tables import finite, once, only, read_table, write_table
from evalbench.seeds import SOURCES

FILE = "variance.csv"
SEEDS = tuple(f"{source}_seed" for source in SOURCES)
"""Columns with the seed index of each source."""


def write_variance(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table; none if there is no row."""
    if rows:
        write_table(pd.DataFrame(list(rows)), folder / FILE)
    else:
        (folder / FILE).unlink(missing_ok=True)


def read_variance(folder: Path, evaluation: Declaration) -> pd.DataFrame:
    """Return the table with its rows in declared order; without a row if there is no file.

    Raises:
        TableError: it lacks a column, repeats a trial, names something that the evaluation does not declare, or a trial
            that did not fail has no score.
    """
    factors = list(evaluation.factors)
    texts, numbers = ["technique", "workload", *factors, "state"], [*SEEDS, "score"]
    path = folder / FILE
    if not path.is_file():
        return pd.DataFrame(columns=[*texts, *numbers])
    table = read_table(path, texts, numbers)
    for seed in SEEDS:
        if (table[seed] % 1 != 0).any():
            raise TableError(f"{FILE} has a row whose {seed} is not a whole number")
    table = table.astype(dict.fromkeys(SEEDS, np.int64))
    declared = {"technique": evaluation.techniques, "workload": tuple(evaluation.workloads), **evaluation.factors}
    for column, allowed in {**declared, "state": STATES}.items():
        only(FILE, table, column, allowed)
    keys = [*declared, *SEEDS]
    once(FILE, table, keys)
    finite(FILE, table[table["state"] != "FAILED"], ["score"], keys)
    for column, allowed in declared.items():
        table[column] = pd.Categorical(table[column], allowed)
    ordered = table.sort_values(["workload", "technique", *factors, *SEEDS], ignore_index=True)
    return ordered.astype(dict.fromkeys(declared, object))
