"""How well rows are ranked within their groups: normalized discounted cumulative gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def ndcg(predictions: Tensor, targets: Tensor, most: int = 10) -> Tensor:
    """Return the mean over groups of the normalized discounted cumulative gain of their first `most` rows.

    The gain of a row is its relevance, its discount `1 / log2(1 + rank)` (Järvelin and Kekäläinen 2002). Rows with
    equal predictions share the mean of their gains, as in scikit-learn. Groups whose rows are all equally relevant
    cannot be ranked, and are left out. NaN if there is no other group.

    `predictions` is `(..., N)`, `targets` `(..., N, 2)`: relevance and group.
    """
    import torch

    if predictions.dim() > 1:
        return torch.stack([ndcg(*member, most) for member in zip(predictions, targets, strict=True)])
    relevance, groups = targets.double().cpu().unbind(-1)
    group = torch.unique(groups, return_inverse=True)[1]
    gains, ideal = (_cumulated(by.double().cpu(), relevance, group, most) for by in (predictions, relevance))
    spread = (_extreme(relevance, group, "amax"), _extreme(relevance, group, "amin"))
    return (gains / ideal)[spread[0] > spread[1]].mean()


def _extreme(relevance: Tensor, group: Tensor, which: str) -> Tensor:
    return relevance.new_zeros(int(group.max()) + 1).scatter_reduce(0, group, relevance, which, include_self=False)


def _cumulated(predictions: Tensor, relevance: Tensor, group: Tensor, most: int) -> Tensor:
    """Return the discounted cumulative gain of each group, with mean gains of equal predictions."""
    import torch

    order = predictions.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    predictions, relevance, group = predictions[order], relevance[order], group[order]
    sizes = group.bincount()
    rank = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group]
    discount = torch.where(rank < most, 1 / torch.log2(rank + 2.0), 0.0)
    differs = (predictions[1:] != predictions[:-1]) | (group[1:] != group[:-1])
    tie = torch.cat([torch.zeros(1, dtype=torch.int64), differs.long().cumsum(0)])
    gain = tie.bincount(relevance) / tie.bincount()
    return group.bincount(gain[tie] * discount)
