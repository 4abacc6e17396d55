"""A table of times to target: a row per technique, workload and study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.tables import header_of, once, only, read_table
from evalbench.statistics.algoperf import Scored, scored, study_time
from evalbench.statistics.intervals import Floats

SECONDS, STUDY = ("seconds", "score"), ("study", "seed")
"""Names of the columns, the first one that is there counts."""


@dataclass(frozen=True)
class Times:
    """The times of k techniques on W fixed workloads, medians over their studies; arrays of shape (k, W)."""

    techniques: tuple[str, ...]
    workloads: tuple[str, ...]
    held_out: Mapping[str, str]  # held-out workload -> the fixed workload that it is a variant of
    studies: tuple[int, ...]  # the different numbers of studies per technique and workload
    medians: Floats  # infinite if half of the studies missed the target
    held_out_medians: Floats  # nan where there is no held-out workload
    scored: tuple[tuple[Scored, ...], ...]

    @property
    def counted(self) -> Floats:
        """Return the times that count, the others infinite."""
        counts = np.array([[one is Scored.COUNTS for one in row] for row in self.scored])
        return np.where(counts, self.medians, np.inf)


def read_times(path: Path, held_out: Mapping[str, str]) -> Times:
    """Read a CSV with the columns technique, workload, study (or seed) and seconds (or score; empty or inf: missed).

    Raises:
        TableError: the table cannot be scored; the message is one line.
    """
    header = header_of(path)
    seconds, study = (next((name for name in names if name in header), names[0]) for names in (SECONDS, STUDY))
    table = read_table(path, ("technique", "workload", study), (seconds,))
    return times_of(path.name, table.rename(columns={seconds: "seconds", study: "study"}), held_out)


def times_of(name: str, table: pd.DataFrame, held_out: Mapping[str, str]) -> Times:
    """Return the medians of a table with the columns technique, workload, study and seconds, and which of them count.

    Raises:
        TableError: the table cannot be scored; the message is one line.
    """
    keys = ["technique", "workload", "study"]
    once(name, table, keys)
    if "state" in table:
        only(name, table, "state", ("COMPLETE", "DIVERGED", "FAILED"))
        table = table.assign(seconds=table["seconds"].where(table["state"] == "COMPLETE"))
    if (table["seconds"] <= 0).any():
        raise TableError(f"{name}: seconds must be above 0, or empty if the target was missed")
    techniques, every = (tuple(dict.fromkeys(table[column])) for column in ("technique", "workload"))
    if len(techniques) < 2:
        raise TableError(f"{name} has one technique or none: a score relative to the fastest needs at least two")
    for variant, fixed in held_out.items():
        if variant not in every or fixed not in every or fixed in held_out or [*held_out.values()].count(fixed) > 1:
            raise TableError(
                f"{name}: --held-out {variant}={fixed} must name a held-out workload, and a fixed one that has no"
                f" other, of the table, which has {', '.join(every)}"
            )
    workloads = tuple(workload for workload in every if workload not in held_out)
    groups = table.fillna({"seconds": np.inf}).groupby(["technique", "workload"])["seconds"]
    medians = groups.agg(lambda seconds: study_time(seconds.to_numpy())).unstack("workload")
    lacking = [(t, w) for t in techniques for w in every if not medians.notna().at[t, w]]
    if lacking:
        raise TableError(
            f"{name}: {lacking[0][0]} has no row for workload {lacking[0][1]}: a missed target is a row without seconds"
        )
    variants = {fixed: variant for variant, fixed in held_out.items()}
    fixed_medians = medians.loc[list(techniques), list(workloads)].to_numpy()
    other = np.full(fixed_medians.shape, np.nan)
    for index, workload in enumerate(workloads):
        if workload in variants:
            other[:, index] = medians.loc[list(techniques), variants[workload]]
    return Times(
        techniques, workloads, held_out, tuple(sorted(set(groups.size()))), fixed_medians, other,
        tuple(map(tuple, scored(fixed_medians, other))),
    )  # fmt: skip
