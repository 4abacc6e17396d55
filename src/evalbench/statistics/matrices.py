"""Scores and differences as matrices with names on the axes: S seeds by W workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.statistics.intervals import Floats


@dataclass(frozen=True)
class Matrix:
    """One number per seed and workload, oriented so that larger is better.

    values: shape (S, W); nan if a seed has none.
    """

    values: Floats
    seeds: tuple[int, ...]
    workloads: tuple[str, ...]

    def column(self, workload: str) -> Floats:
        """Return the numbers of one workload that are there, in order of the seeds."""
        column = self.values[:, self.workloads.index(workload)]
        return column[np.isfinite(column)]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Return the number of seeds of each workload."""
        return tuple(int(count) for count in np.isfinite(self.values).sum(axis=0))

    def on(self, workload: str) -> Matrix:
        """Return one column."""
        index = self.workloads.index(workload)
        return Matrix(self.values[:, index : index + 1], self.seeds, (workload,))

    @property
    def runs(self) -> tuple[Floats, Floats]:
        """Return the number of values of either side, shapes (W,): of pairs, both have the same."""
        return self.worth, self.worth

    @property
    def worth(self) -> Floats:
        """Return the number n of which `sds² / n` is the variance of a mean, shape (W,)."""
        return np.array(self.counts, dtype=np.float64)

    @property
    def freedom(self) -> Floats:
        """Return the degrees of freedom of `sds`, shape (W,)."""
        freedom: Floats = self.worth - 1
        return freedom

    @cached_property
    def means(self) -> Floats:
        """Return the mean over the seeds of each workload, shape (W,); nan if there is none."""
        counts = np.isfinite(self.values).sum(axis=0)
        sums = np.nansum(self.values, axis=0)
        means = np.full(counts.shape, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    def first(self, num_seeds: int) -> Matrix:
        """Return the rows of the seeds below a number."""
        rows = [index for index, seed in enumerate(self.seeds) if seed < num_seeds]
        return Matrix(self.values[rows], tuple(self.seeds[index] for index in rows), self.workloads)

    @cached_property
    def sds(self) -> Floats:
        """Return the standard deviation over the seeds of each workload, shape (W,).

        nan for fewer than two seeds; exactly 0 if the spread is rounding.
        """
        values = self.values
        there = np.isfinite(values)
        counts = there.sum(axis=0)
        known = np.where(there, values, 0.0)
        mean = np.divide(known.sum(axis=0), counts, out=np.zeros(counts.shape), where=counts > 0)
        squares = np.where(there, (known - mean) ** 2, 0.0).sum(axis=0)
        sd = np.sqrt(np.divide(squares, counts - 1, out=np.full(counts.shape, np.nan), where=counts > 1))
        largest = np.abs(known).max(axis=0, initial=0.0)
        return np.where(sd <= 1e-12 * largest, 0.0, sd)


def matrix(table: pd.DataFrame, value: str, workloads: Sequence[str]) -> Matrix:
    """Return a table with columns `workload`, `seed` and `value` as a matrix, whatever the order of its rows.

    Raises:
        TableError: a seed occurs twice on a workload.
    """
    if table.duplicated(["workload", "seed"]).any():
        raise TableError("a matrix needs one row per workload and seed")
    wide = table.pivot(index="seed", columns="workload", values=value).sort_index()
    wide = wide.reindex(columns=list(workloads))
    return Matrix(wide.to_numpy(dtype=np.float64), tuple(int(seed) for seed in wide.index), tuple(workloads))
