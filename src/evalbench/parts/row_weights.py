"""The weights of rows, and of the tokens of rows, in the training loss.

Shapes: `C` members, `S` steps in a block, `B` rows, `T` tokens of a row, `N` rows of the data set.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from evalbench.errors import ConfigError
from evalbench.parts.hooks import BatchHook
from evalbench.tasks.task import NO_TARGET
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
        values, others = _unpaired(targets, self._ndim)
        weights = self.weights[rows] * self.scale[members][:, None]
        weights = weights.view(*weights.shape, *[1] * (values.ndim - weights.ndim)) * others
        return torch.stack([values.to(weights.dtype), weights], dim=-1)


class TokenWeights(nn.Module):
    """Attach to the targets of tokens weights by which the mean over all places is that over the tokens of a batch.

    Padding has the weight 0, and a tag that the loss can read. So every token of a batch counts the same, also if the
    batch is computed in parts.
    """

    def __init__(self, row_weights: RowWeights | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.row_weights, self._dtype = row_weights, dtype

    def forward(self, targets: Tensor, rows: Tensor, members: Tensor) -> Tensor:
        """Return targets and weights `(S, C, B, T, 2)` of rows `(S, C, B)`; weights of tags and rows are multiplied."""
        if self.row_weights is not None:
            targets = self.row_weights(targets, rows, members)
        values, others = _unpaired(targets, 4)
        is_token = values != NO_TARGET
        share = is_token.to(self._dtype).mean((-2, -1), keepdim=True)
        return torch.stack([values.clamp(min=0).to(self._dtype), others * is_token / share], dim=-1)


class AnswerWeights(nn.Module):
    """Attach to the tokens of a row that are foretold a weight that is proportional to their number.

    So the mean over the rows of a batch of their means is the mean over all tokens, also if it is computed in parts.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, targets: Tensor, rows: Tensor, members: Tensor) -> Tensor:
        """Return targets and weights `(S, C, B, A, 2)` of rows `(S, C, B)`."""
        counts = (targets != NO_TARGET).sum(-1, keepdim=True).to(self._dtype)
        weights = (counts / counts.mean(-2, keepdim=True)).expand(targets.shape)
        return torch.stack([targets.to(self._dtype), weights], dim=-1)


def _unpaired(targets: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
    """Return targets of `ndim` axes and their weights, which are 1 if the targets have none yet."""
    values, weights = targets.unbind(-1) if targets.ndim > ndim else (targets, torch.ones_like(targets))
    return values, weights


def weigh_rows(
    dataset: Dataset, splits: Sequence[Split], hooks: Mapping[str, BatchHook], dtype: torch.dtype
) -> RowWeights | TokenWeights | AnswerWeights | None:
    """Return the weights of rows and tokens, None if all are equal; raise `ConfigError` for hooks that mix rows."""
    row_weights = _row_weights(dataset, splits, hooks, dtype)
    if dataset.kind.answers:
        return AnswerWeights(dtype)
    return row_weights if dataset.kind.padding is None else TokenWeights(row_weights, dtype)


def _row_weights(
    dataset: Dataset, splits: Sequence[Split], hooks: Mapping[str, BatchHook], dtype: torch.dtype
) -> RowWeights | None:
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
