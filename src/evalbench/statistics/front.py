"""Quality against cost: which techniques are on the Pareto front, and how surely."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def front_probability(
    scores: npt.ArrayLike,
    costs: npt.ArrayLike,
    generator: np.random.Generator,
    redraw_sets: bool = False,
    num_draws: int = 2000,
) -> Floats:
    """Return the share of resamples, of seeds and of cost rounds, in which each technique is on the front.

    Args:
        scores: shape (k, S, W): seeds are shared by the techniques and drawn for all of them at once, per data set.
        costs: shape (k, R): the cost in each interleaved round, rounds drawn for all techniques at once; R = 1 if
            the cost is known without error, such as counted FLOPs.
        generator: source of the draws.
        redraw_sets: draw the data sets anew too, for a statement on data sets like these.
        num_draws: resamples.

    Returns:
        Shape (k,), each between 0 and 1.
    """
    table, price = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    k, S, W = table.shape
    R = price.shape[1]
    hits = np.zeros(k)
    left = num_draws
    while left:
        part = min(left, max(1, 2_000_000 // table.size))
        picks = generator.integers(0, S, (part, S, W))
        sets = generator.integers(0, W, (part, 1, W)) if redraw_sets else np.arange(W)
        quality = table[:, picks, sets].mean(axis=(2, 3))
        cost = price[:, generator.integers(0, R, (part, R))].mean(axis=2)
        hits += on_front(quality.T, cost.T).sum(axis=0)
        left -= part
    return hits / num_draws
