"""Gather rows of the data set by index, and scale them on the device with each member's own statistics.

Shapes: `C` members, `S` steps in a chunk, `B` rows in a batch, `D` features, `N` rows of the data set. Targets of
tokens `(N, D)` and of columns `(N, L)` keep their last axis behind those of the rows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from evalbench.engine.rows import HeldRows, HostRows
from evalbench.tasks.token_classification import UNKNOWN
from evalbench.workloads import Dataset, Split, fit_scaling
from evalbench.workloads.target_encoding import TargetMeans

Indices = Sequence[int] | Tensor
"""Member indices; a tensor `(C,)` on the device can be used without a wait."""


class Data(nn.Module):
    """Hold one copy of the data set, with each member's split and scaling.

    `inputs[rows]` are inputs `(…, D)` as the data set has them, once these rows are staged, see `engine.rows`.
    """

    targets: Tensor  # (N,), (N, D) for tokens, or (N, L)
    mean: Tensor  # (C, D)
    std: Tensor  # (C, D)
    target_mean: Tensor  # (C,), or (C, L)
    target_std: Tensor  # (C,), or (C, L)
    validation_rows: Tensor  # (C, rows)
    test_rows: Tensor  # (C, rows)
    encoded: Tensor  # (T,), and the next three: only with target-encoded columns
    codes: Tensor  # (N, T)
    means: Tensor  # (C, folds, categories)
    folds: Tensor  # (C, N)
    known: Tensor  # (C, tokens of the vocabulary): only if not all tokens are known

    def __init__(self, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype, on_host: bool = False) -> None:
        """Fit a scaling to each split; gather numbers in `dtype`. With `on_host` the inputs stay on the host."""
        super().__init__()
        scalings = [fit_scaling(dataset, split.train) for split in splits]
        self.has_tokens = dataset.vocabulary is not None
        self._scales_targets = dataset.kind.scales_targets
        self._has_missing = dataset.has_missing
        self.num_columns = dataset.inputs.shape[1]
        self.inputs = HostRows(dataset.inputs) if on_host else HeldRows(dataset.inputs)
        for name in ("mean", "std", "target_mean", "target_std"):
            self._hold(name, torch.tensor(np.stack([getattr(scaling, name) for scaling in scalings]), dtype=dtype))
        self._hold("targets", torch.tensor(dataset.targets))
        self._has_unknown = dataset.min_count is not None
        if self._has_unknown:
            known = [scaling.known for scaling in scalings if scaling.known is not None]
            self._hold("known", torch.as_tensor(np.stack(known)))
        self._hold_target_means(dataset, [scaling.target_means for scaling in scalings], dtype)
        for part in ("validation", "test"):
            rows = np.stack([getattr(split, part) for split in splits])
            self._hold(f"{part}_rows", torch.as_tensor(rows))

    def _hold_target_means(self, dataset: Dataset, fitted: Sequence[TargetMeans | None], dtype: torch.dtype) -> None:
        """Hold the categories `(N, T)` of target-encoded columns, and each member's means and folds."""
        fits = [means for means in fitted if means is not None]
        self._has_encoded = bool(fits)
        if fits:
            self._hold("encoded", torch.tensor([one.column for one in dataset.encoded]))
            self._hold("codes", torch.as_tensor(dataset.codes))
            self._hold("means", torch.tensor(np.stack([fit.means for fit in fits]), dtype=dtype))
            self._hold("folds", torch.as_tensor(np.stack([fit.folds for fit in fits])))

    def _hold(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def gather(self, rows: Tensor, member_indices: Indices) -> tuple[Tensor, Tensor]:
        """Return the scaled inputs `(S, C, B, D)` and targets `(S, C, B)` of rows `(S, C, B)` of C members.

        Tokens are not scaled; those that a member's training rows have too seldom are `UNKNOWN`.
        """
        inputs = self.inputs[rows]
        if self.has_tokens:
            return self._known_tokens(inputs.long(), member_indices), self.targets_of(rows, member_indices)
        inputs = inputs.to(self.mean.dtype)  # a large copy, scaled in place
        inputs.sub_(pick(self.mean, member_indices)[:, None]).div_(pick(self.std, member_indices)[:, None])
        if self._has_missing:
            inputs.nan_to_num_(nan=0.0)
        if self._has_encoded:
            inputs.index_copy_(-1, self.encoded, self._target_means(rows, member_indices))
        return inputs, self.targets_of(rows, member_indices)

    def _known_tokens(self, tokens: Tensor, member_indices: Indices) -> Tensor:
        """Return tokens `(S, C, B, D)` that the members know."""
        if not self._has_unknown:
            return tokens
        known = pick(self.known, member_indices)
        members = torch.arange(len(known), device=tokens.device)[:, None, None]  # (C, 1, 1)
        return torch.where(known[members, tokens], tokens, UNKNOWN)

    def _target_means(self, rows: Tensor, member_indices: Indices) -> Tensor:
        """Return the scaled inputs `(S, C, B, T)` of target-encoded columns."""
        means, folds = pick(self.means, member_indices), pick(self.folds, member_indices)
        members = torch.arange(len(means), device=rows.device)[:, None]  # (C, 1)
        return means[members[..., None], folds[members, rows].long()[..., None], self.codes[rows]]

    def targets_of(self, rows: Tensor, member_indices: Indices) -> Tensor:
        """Return the targets, scaled if they are numbers, in the shape of `rows`, whose last axes are `(C, B)`."""
        targets = self.targets[rows]
        if self._scales_targets:
            mean, std = self._target_scale(member_indices, targets.ndim - rows.ndim + 2)
            return (targets - mean) / std
        return targets

    def unscaled(self, predictions: Tensor, member_indices: Sequence[int]) -> Tensor:
        """Return predictions `(C, ...)` of C members with numbers in the target's own unit."""
        if not self._scales_targets:
            return predictions
        mean, std = self._target_scale(member_indices, predictions.ndim)
        return predictions * std + mean

    def _target_scale(self, member_indices: Indices, ndim: int) -> tuple[Tensor, Tensor]:
        """Return shift and scale `(C, 1, ...)` of C members for values of `ndim` axes, members and rows first."""
        mean, std = (pick(values, member_indices)[:, None] for values in (self.target_mean, self.target_std))
        shape = (*mean.shape, *[1] * (ndim - mean.ndim))
        return mean.view(shape), std.view(shape)


def pick(values: Tensor, member_indices: Indices) -> Tensor:
    """Return the rows of some members from a tensor with a row per member."""
    if len(member_indices) == len(values):
        return values
    return values[member_indices if isinstance(member_indices, Tensor) else list(member_indices)]
