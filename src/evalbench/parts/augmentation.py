"""Augmentation: random changes of the rows that a trial trains on, drawn anew in every step.

They act on scaled inputs, in which 0 is the mean of the training rows, and never on validation or test rows. All
numbers come from the trial's own stream. `parts.images` has those that move pixels.
Shapes: `C` members, `S` steps in a block, `B` rows, `D` features.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from evalbench import draws
from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.parts.hooks import BatchHook
from evalbench.parts.own_augmentation import OwnAugmentation
from evalbench.workloads import Dataset, Split

QUANTILES = 4096
"""The shares of a mixture are drawn from as many quantiles of its distribution, computed once on the CPU."""


def augment(
    chosen: Component | None, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype
) -> BatchHook | None:
    """Return the chosen augmentation, None for none; raise `ConfigError` if it does not fit the data set."""
    if chosen is None:
        return None
    target = chosen.locate()
    built: Any = partial(target, **chosen.arguments)
    if isinstance(target, type):
        takes_dataset = "dataset" in inspect.signature(target).parameters
        built = chosen.build(**({"dataset": dataset} if takes_dataset else {}))
    hook = built if isinstance(built, BatchHook) else OwnAugmentation(chosen.target, built, dataset)
    return hook.to(dtype)


class Noise(BatchHook):
    """Add normal noise to every number; indicators of categories stay as they are."""

    is_numeric: Tensor  # (D,)

    def __init__(self, dataset: Dataset, std: float = 0.1) -> None:
        """Take the standard deviation of the noise, in standard deviations of a column."""
        super().__init__()
        if dataset.vocabulary is not None:
            raise refused(dataset, "needs numbers", "choose augmentation=token_dropout or none")
        self.std = checked("std", std, above=0.0)
        self.register_buffer("is_numeric", torch.as_tensor(dataset.numeric), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return noisy inputs `(S, C, B, D)`, and the targets."""
        noise = self.std * draws.normal(keys, inputs.shape[2:]).to(inputs.dtype)
        return inputs + noise * self.is_numeric, targets


class TokenDropout(BatchHook):
    """Replace tokens by drawn ones, each with the same probability; targets stay as they are, and so does padding."""

    def __init__(self, dataset: Dataset, probability: float = 0.1, token: int | None = None) -> None:
        """Take the token that replaces others; None: one of the vocabulary, drawn for each place."""
        super().__init__()
        if dataset.vocabulary is None:
            raise refused(dataset, "needs tokens", "choose augmentation=noise or none")
        self.vocabulary, self.token, self.padding = dataset.vocabulary, token, dataset.kind.padding
        self.probability = checked("probability", probability, most=1.0)
        least = 1 if self.padding == 0 else 0
        fits = isinstance(token, int) and least <= token < self.vocabulary and token != self.padding
        if token is not None and not fits:
            but = f", not that of padding, {self.padding}" if self.padding else ""
            rule = f"must be null or a token from {least} to {self.vocabulary - 1}{but}"
            raise ConfigError(
                "augmentation.token", rule, token, f"for example augmentation.token={self.vocabulary - 1}"
            )

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens `(S, C, B, D)`, and the targets."""
        shape = inputs.shape[2:]
        dropped = draws.uniform(keys, 1, shape) < self.probability
        others = draws.integers(keys, 2, shape, self.vocabulary) if self.token is None else self.token
        if self.padding is not None:
            dropped = dropped & (inputs != self.padding) & (others != self.padding)
        return torch.where(dropped, others, inputs), targets


class Mixup(BatchHook):
    """Replace each row and its target by a mean of it and a row that is drawn from its batch (Zhang et al. 2018).

    The share of the row itself is drawn from a Beta(alpha, alpha) distribution, for each row anew.
    """

    shares: Tensor
    mixes_rows = True

    def __init__(self, dataset: Dataset, alpha: float = 0.2, probability: float = 1.0) -> None:
        """Take the distribution's parameter, and the probability that a row is mixed."""
        super().__init__()
        self.weighs_targets = check_mixes(dataset)
        self.probability = checked("probability", probability, most=1.0)
        self.register_buffer("shares", torch.as_tensor(beta_quantiles(alpha)), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed inputs `(S, C, B, D)` and targets, see `mixed`."""
        partner, drawn, is_mixed = draw_mixture(keys, inputs.shape[2], self.probability)
        share = torch.where(is_mixed, self.shares[drawn], 1.0)
        mixture = share[..., None] * inputs + (1 - share[..., None]) * rows_of(inputs, partner)
        return mixture, mixed(targets, partner, share, self.weighs_targets)


def draw_mixture(keys: Tensor, rows: int, probability: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's partner in its batch, the number of its quantile, and whether it is mixed: `(S, C, B)` each."""
    partner = draws.integers(keys, 1, [rows], rows)
    return partner, draws.integers(keys, 2, [rows], QUANTILES), draws.uniform(keys, 3, [rows]) < probability


def beta_quantiles(alpha: float) -> np.ndarray:
    """Return equally likely quantiles of a Beta(alpha, alpha) distribution, in float64."""
    alpha = checked("alpha", alpha, above=0.0)
    quantiles: np.ndarray = stats.beta.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, alpha, alpha)
    return quantiles


def rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Return the rows `(S, C, B)` of values `(S, C, B, ...)`."""
    index = rows.view(*rows.shape, *[1] * (values.ndim - rows.ndim))
    return values.gather(2, index.expand_as(values))


def mixed(targets: Tensor, partner: Tensor, share: Tensor, weighs: bool) -> Tensor:
    """Return the targets of mixtures: means of numbers, or both classes with their shares `(S, C, B, 4)`."""
    others = rows_of(targets, partner)
    if weighs:
        return torch.stack([targets.to(share.dtype), share, others.to(share.dtype), 1 - share], -1)
    share = share.view(*share.shape, *[1] * (targets.ndim - share.ndim))
    return share * targets + (1 - share) * others


def check_mixes(dataset: Dataset) -> bool:
    """Return whether mixed targets are classes with weights, unlike numbers; raise `ConfigError` for other targets."""
    if dataset.vocabulary is not None:
        raise refused(dataset, "needs numbers, as tokens have no mean", "choose augmentation=token_dropout or none")
    is_class = dataset.kind.is_classification
    is_odd = is_class and (not dataset.kind.has_row_classes or dataset.targets.ndim != 1)
    if is_odd or not dataset.kind.takes_weights:
        raise refused(dataset, "needs one class or numbers as the target of a row", "choose augmentation=none")
    return is_class


def checked(name: str, value: Any, above: float | None = None, least: float = 0.0, most: float | None = None) -> float:
    """Return a setting that is a number in a range; raise `ConfigError`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (value > above if above is not None else value >= least) and (most is None or value <= most):
        return float(value)
    bounds = f"above {above:g}" if above is not None else f"of at least {least:g}"
    rule = f"must be a number {bounds}" + (f" and at most {most:g}" if most is not None else "")
    raise ConfigError(f"augmentation.{name}", rule, value, f"for example augmentation.{name}=0.2")


def refused(dataset: Dataset, need: str, remedy: str) -> ConfigError:
    """Return the error of an augmentation that does not fit a data set."""
    return ConfigError("augmentation", f"{need}, which {dataset.name} does not have", remedy=remedy)
