"""Paired differences of the items of one test set, which may come in clusters, such as the questions of a document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evalbench.statistics.intervals import Floats
from evalbench.statistics.matrices import Matrix


@dataclass(frozen=True)
class Items:
    """The differences of two techniques on S items of W workloads, and the cluster of each item.

    The mean is that over the items. Clusters are independent, items of one cluster need not be: the spread is that of
    `values`, one number per cluster, whose mean is the mean over the items. Of single items that score 0 or 1, two more
    items on each side count in the spread, since a few tell little of how rare the others are: one, as Bonett and Price
    (2012) add, makes EQUIVALENT err in 6 % (docs/validity.md).

    each: shape (S, W).
    clusters: shape (S, W), numbers from 0; None: each item is alone.
    """

    each: Matrix
    clusters: Matrix | None = None

    @property
    def workloads(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return self.each.workloads

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the numbers of the items."""
        return self.each.seeds

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of items of each workload."""
        return self.each.counts

    @property
    def runs(self) -> tuple[Floats, Floats]:
        """Return the number of items of either side, shapes (W,)."""
        return self.each.runs

    @property
    def means(self) -> Floats:
        """Return the mean over the items of each workload, shape (W,)."""
        return self.each.means

    @cached_property
    def sizes(self) -> Floats:
        """Return the number of items of each cluster, shape (G, W); nan beyond the last one."""
        if self.clusters is None:
            return np.where(np.isfinite(self.each.values), 1.0, np.nan)
        return _padded([np.bincount(codes).astype(np.float64) for codes, _ in self._columns()])

    @cached_property
    def values(self) -> Floats:
        """Return `mean + G / N (sum of a cluster - mean · its size)` of each cluster, shape (G, W); nan beyond.

        Their mean is the mean over the items, and their `sd / sqrt(G)` its cluster-robust error.

        Source: Liang and Zeger, Biometrika 73 (1986); Miller, Adding error bars to evals (2024).
        """
        if self.clusters is None:
            return self.each.values
        columns = []
        for (codes, values), mean in zip(self._columns(), self.means, strict=True):
            sums, sizes = np.bincount(codes, values), np.bincount(codes)
            columns.append(mean + sizes.size / max(1, values.size) * (sums - mean * sizes))
        return _padded(columns)

    def _columns(self) -> list[tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Floats]]:
        """Return, for each workload, the items that are there: their clusters from 0, and their differences."""
        assert self.clusters is not None, "there are clusters"
        columns = []
        for w in range(len(self.workloads)):
            values = self.each.values[:, w]
            there = np.isfinite(values)
            codes = np.unique(self.clusters.values[there, w], return_inverse=True)[1]
            columns.append((codes, values[there]))
        return columns

    @property
    def worth(self) -> Floats:
        """Return the number of clusters, shape (W,)."""
        worth: Floats = np.isfinite(self.sizes).sum(axis=0).astype(np.float64)
        return worth

    @property
    def freedom(self) -> Floats:
        """Return one less than the number of clusters of equal size that would tell as much: `N² / Σ size² - 1`."""
        total, squares = np.nansum(self.sizes, axis=0), np.nansum(self.sizes**2, axis=0)
        freedom: Floats = np.divide(total**2, squares, out=np.zeros(total.shape), where=squares > 0) - 1
        return freedom

    @property
    def sds(self) -> Floats:
        """Return the standard deviation of `values` on each workload, shape (W,); see the class."""
        sds = Matrix(self.values, tuple(range(len(self.values))), self.workloads).sds
        if self.clusters is not None or not np.isin(self.values[np.isfinite(self.values)], (-1.0, 0.0, 1.0)).all():
            return sds
        n, differ = self.worth, np.nansum(np.abs(self.values), axis=0)
        return np.where(sds > 0, np.sqrt((differ + 4) / (n + 4) - self.means**2), sds)

    def first(self, num_items: int) -> Items:
        """Return the items whose numbers are below a number."""
        clusters = None if self.clusters is None else self.clusters.first(num_items)
        return Items(self.each.first(num_items), clusters)

    def column(self, workload: str) -> Floats:
        """Return the values of the clusters of one workload."""
        column = self.values[:, self.workloads.index(workload)]
        return column[np.isfinite(column)]


def _padded(columns: list[Floats]) -> Floats:
    longest = max(column.size for column in columns)
    return np.stack([np.pad(c, (0, longest - c.size), constant_values=np.nan) for c in columns], axis=1)
