"""Quality against cost: which techniques are on the Pareto front, and how surely."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evalbench.statistics.aggregates import slices
from evalbench.statistics.intervals import Floats


def on_front(quality: npt.ArrayLike, cost: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether no other technique is at least as good and at least as cheap, and strictly one of the two.

    Args:
        quality: shape (..., k), larger is better.
        cost: shape (..., k), smaller is better.

    Returns:
        Shape (..., k).
    """
    q, c = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    better, cheaper = q[..., None, :] >= q[..., :, None], c[..., None, :] <= c[..., :, None]
    strictly = (q[..., None, :] > q[..., :, None]) | (c[..., None, :] < c[..., :, None])
    return np.asarray(~(better & cheaper & strictly).any(axis=-1), dtype=np.bool_)


def front_probability(means: Floats, costs: npt.ArrayLike, generator: np.random.Generator) -> Floats:
    """Return the share of resamples, of seeds and of cost rounds, in which each technique is on the front.

    Args:
        means: shape (k, draws), the resampled quality of each technique: `aggregates.redrawn`.
        costs: shape (k, R): the cost in each interleaved round, rounds drawn for all techniques at once; R = 1 if
            the cost is known without error, such as counted FLOPs.
        generator: source of the draws.

    Returns:
        Shape (k,), each between 0 and 1.
    """
    price = np.asarray(costs, dtype=np.float64)
    R, draws = price.shape[1], means.shape[1]
    cost = np.concatenate(
        [price[:, generator.integers(0, R, (part, R))].mean(axis=2) for part in slices(R, draws)], axis=1
    )
    shares: Floats = on_front(means[:, : cost.shape[1]].T, cost.T).mean(axis=0)
    return shares
