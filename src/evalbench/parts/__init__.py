"""Parts of a technique that act on a cohort: one file each, through the hooks of `parts.hooks`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from evalbench.config import Config
from evalbench.parts import augmentation, loss, resampling
from evalbench.parts.hooks import BatchHook, EpochRows
from evalbench.workloads import Dataset, Split

Hooks = Callable[[Any, Dataset, Sequence[Split], torch.dtype], BatchHook | None]
"""Takes the chosen value of a part, the data set, each member's split and the precision; returns None for no change."""

ON_BATCH: Mapping[str, Hooks] = {
    "augmentation": augmentation.augment,
    "loss": loss.class_weights,  # the last: it weighs the targets
}
"""The parts of `config.PARTS` that change batches, in the order in which they act; a new one is a line here."""


def batch_hooks(config: Config, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype) -> dict[str, BatchHook]:
    """Build the changes of batches by config group; raise `ConfigError` for one that does not fit the data set."""
    chosen = {group: config.parts[group] for group in ON_BATCH if config.parts[group] is not None}
    hooks = {group: ON_BATCH[group](part, dataset, splits, dtype) for group, part in chosen.items()}
    return {group: hook for group, hook in hooks.items() if hook is not None}


def epoch_rows(config: Config, dataset: Dataset, num_train: int) -> EpochRows | None:
    """Build the choice of the rows of an epoch from `num_train` training rows; None for each row once.

    Raises `ConfigError` for one that does not fit the data set.
    """
    return resampling.resample(config.parts["resampling"], dataset, num_train)


def rows_of_epoch(config: Config, dataset: Dataset, num_train: int) -> int:
    """Return the number of rows of an epoch."""
    chosen = epoch_rows(config, dataset, num_train)
    return num_train if chosen is None else chosen.num_rows


def weighs_targets(hooks: Mapping[str, BatchHook]) -> bool:
    """Return whether the targets that leave the hooks have weights, see `BatchHook.weighs_targets`."""
    return any(hook.weighs_targets for hook in hooks.values())
