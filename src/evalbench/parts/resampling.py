"""Resampling: how many rows of each class an epoch has, in training only.

Every epoch draws its rows anew, from the trial's own stream. A class that needs more rows than it has repeats all of
them equally, and draws the rest without repetition. A class that needs fewer rows draws them without repetition.
Estimators, which are fitted at once, take the rows of one epoch.
Shapes: `N` training rows, `K` classes, `E` rows of an epoch.
"""

import inspect
from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray

from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.parts.hooks import EpochRows
from evalbench.workloads import Dataset

Rows = NDArray[np.int64]


def resample(chosen: Component | None, dataset: Dataset, num_train: int) -> EpochRows | None:
    """Return the chosen resampling, None for none; raise `ConfigError` if it does not fit the data set."""
    if chosen is None:
        return None
    target, known = chosen.locate(), {"dataset": dataset, "num_train": num_train}
    if not (isinstance(target, type) and issubclass(target, EpochRows)):
        rule = "must be a class that is derived from evalbench.parts.hooks.EpochRows"
        raise ConfigError("resampling._target_", rule, chosen.target, "choose oversample, undersample or balanced")
    taken = inspect.signature(target).parameters
    built: EpochRows = chosen.build(**{name: value for name, value in known.items() if name in taken})
    return built


class ByClass(EpochRows):
    """Give each class a number of rows in every epoch.

    The numbers follow from the shares of the classes in the whole table, so they are the same for every split. If the
    training rows of a split lack a class, rows of any class take its place.
    """

    def __init__(self, dataset: Dataset, num_train: int, strength: float = 1.0) -> None:
        """Take the training rows of a split, and the strength: 0 keeps the shares of the classes, 1 makes them equal.

        In between, the logarithms of the shares move that part of the way. Raises `ConfigError`.
        """
        if not dataset.kind.has_row_classes:
            rule = f"needs one class per row, which {dataset.name} does not have"
            raise ConfigError("resampling", rule, remedy="choose resampling=none")
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
            rule = "must be a number from 0 to 1"
            raise ConfigError("resampling.strength", rule, strength, "for example resampling.strength=0.5")
        self._targets = dataset.targets.astype(np.int64)
        apart = [rows for rows in (dataset.held_out, dataset.declared_validation) if rows is not None]
        known = np.delete(self._targets, np.concatenate([np.array([], dtype=np.int64), *apart]))
        counts = np.bincount(known, minlength=len(dataset.classes))
        expected = counts * num_train / counts.sum()
        self._wanted = np.round(self.wanted(expected, strength)).astype(np.int64)
        self.num_rows = int(self._wanted.sum())

    @staticmethod
    @abstractmethod
    def wanted(counts: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """Return the rows of each class in an epoch `(K,)`, given those among the training rows."""

    def __call__(self, rows: Rows, generator: torch.Generator) -> Rows:
        """Return the rows `(E,)` of an epoch."""
        of_row = self._targets[rows]
        classes = [rows[of_row == number] for number in range(len(self._wanted))]
        chosen = [_drawn(own, int(count), generator) for own, count in zip(classes, self._wanted, strict=True)]
        lacking = self.num_rows - sum(map(len, chosen))
        return np.concatenate([*chosen, _drawn(rows, lacking, generator)])


class Oversample(ByClass):
    """Repeat rows of the rarer classes until each class has the rows of the largest one."""

    @staticmethod
    def wanted(counts: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """Return the rows of the largest class at strength 1."""
        return _moved(counts, counts.max(), strength)


class Undersample(ByClass):
    """Leave out rows of the larger classes until each class has the rows of the rarest one."""

    @staticmethod
    def wanted(counts: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """Return the rows of the rarest class at strength 1."""
        return _moved(counts, counts[counts > 0].min(), strength)


class Balanced(ByClass):
    """Repeat rows of the rarer classes and leave out rows of the larger ones: an epoch has about as many as before."""

    @staticmethod
    def wanted(counts: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """Return an equal part of all rows at strength 1."""
        moved = _moved(counts, 1.0, strength)
        scale = float(counts.sum() / moved.sum())
        return moved * scale


def _moved(counts: NDArray[np.float64], goal: float, strength: float) -> NDArray[np.float64]:
    """Return counts moved towards the same goal; a class without rows stays without."""
    moved: NDArray[np.float64] = goal * (counts / goal) ** (1 - strength)
    return np.where(counts > 0, moved, 0)


def _drawn(rows: Rows, count: int, generator: torch.Generator) -> Rows:
    """Return `count` of some rows: each as often as the others, and a part of them once more."""
    if not len(rows) or not count:
        return rows[:0]
    repeats, more = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, repeats), rows[torch.randperm(len(rows), generator=generator).numpy()[:more]]])
