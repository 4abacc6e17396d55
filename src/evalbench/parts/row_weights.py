"""The weights of rows in the training loss.

Shapes: `C` members, `S` steps in a block, `B` rows, `N` rows of the data set.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from evalbench.errors import ConfigError
from evalbench.parts.hooks import BatchHook
from evalbench.workloads import Dataset, Split, weight_scale


class RowWeights(nn.Module):
    """Attach to the targets of a row its weight, which is 1 on average over the member's training rows."""

    weights: Tensor  # (N,)
    scale: Tensor  # (C,)

    def __init__(self, dataset: Dataset, splits: Sequence[Split], dtype: torch.dtype) -> None:
        super().__init__()
        self._ndim = dataset.targets.ndim + 2
        scale = [weight_scale(dataset, split.train) for split in splits]
        self.register_buffer("weights", torch.tensor(dataset.weights, dtype=dtype), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=dtype), persistent=False)

    def forward(self, targets: Tensor, rows: Tensor, members: Tensor) -> Tensor:
        """Return targets and weights `(S, C, B, 2)` of rows `(S, C, B)`; weights of classes are multiplied."""
        has_pairs = targets.ndim > self._ndim
        weights = self.weights[rows] * self.scale[members][:, None]
        values, others = targets.unbind(-1) if has_pairs else (targets, torch.ones_like(targets))
        weights = weights.view(*weights.shape, *[1] * (values.ndim - weights.ndim)) * others
        return torch.stack([values.to(weights.dtype), weights], dim=-1)


def weigh_rows(
    dataset: Dataset, splits: Sequence[Split], hooks: Mapping[str, BatchHook], dtype: torch.dtype
) -> RowWeights | None:
    """Return the weights of rows, None if they have none; raise `ConfigError` for hooks that mix rows."""
    if dataset.weights is None:
        return None
    if not dataset.kind.takes_weights:
        rule = f"must be left out for the task {dataset.kind.name}, whose loss need not be a mean over rows"
        raise ConfigError("dataset.weight", rule, remedy="weigh the rows in the task's own loss")
    for group, hook in hooks.items():
        if hook.mixes_rows:
            rule = f"must keep rows apart on {dataset.name}, whose rows have weights"
            raise ConfigError(group, rule, type(hook).__name__, f"choose {group}=none, or leave dataset.weight out")
    return RowWeights(dataset, splits, dtype)
