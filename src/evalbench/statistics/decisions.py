"""From means and spreads to quality classes, for any number of evaluations at once.

The report calls this with the candidates of one evaluation, the simulation with thousands of evaluations: what is
proven about the error rates of the one holds for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats, half_width
from evalbench.statistics.verdicts import QUALITIES, Quality, after_failures, classify, decided_by_failures, vote


@dataclass(frozen=True)
class Decisions:
    """Shapes: `...` evaluations, m candidates, W workloads; `sets_` per workload, the others over the data sets."""

    sets_low: Floats  # (..., m, W)
    sets_high: Floats
    sets_quality: npt.NDArray[np.intp]  # indices into QUALITIES, each at the level of the family
    mean: Floats  # (..., m)
    low: Floats
    high: Floats
    low_tost: Floats
    high_tost: Floats
    quality: npt.NDArray[np.intp]
    by_failures: npt.NDArray[np.intp]  # (..., m): -1 and 1 if the class comes from failures alone, else 0


def decide(
    means: Floats,
    sds: Floats,
    counts: Any,
    rope: float,
    *,
    rho: Any = 0.0,
    num_pilot: Any = None,
    floors: Any = np.nan,
    counted: npt.NDArray[np.bool_] | None = None,
    alpha: float = 0.05,
    num_candidates: int | None = None,
    lost: Any = 0.0,
    won: Any = 0.0,
) -> Decisions:
    """Classify m candidates on W workloads and over the data sets.

    With one data set its own interval decides; with more, the equal-weight mean of the data-set means with `t_{D-1}`,
    and if that is INCONCLUSIVE what at least half of the data sets say (`vote`), their claims corrected by Holm over
    all data sets and candidates.

    Args:
        means: shape (..., m, W), mean paired difference, positive being better for the candidate.
        sds: shape (..., m, W), their standard deviation over the seeds; 0 if they have no spread (no interval).
        counts: pairs, broadcast to that shape.
        rope: half the width of the region of practical equivalence, in the unit of the means.
        rho: shape (W,) or a number, see `t_interval`.
        num_pilot: pairs of the pilot if the seeds were extended once, else None; see `half_width`.
        floors: noise floor of the test set, broadcast to that shape; nan if not known. EQUIVALENT is not given
            if the ROPE lies below it.
        counted: shape (W,), which workloads are data sets and count in the overall effect; if none is, all are used.
        alpha: error rate of the family.
        num_candidates: how many candidates the family was declared with, if some cannot be judged; None: m.
        lost, won: pairs in which the candidate alone failed, and in which the baseline alone did, broadcast to that
            shape. They decide if they are many (`after_failures`), and if their numbers differ, EQUIVALENT is not
            given.
    """
    m, W = num_candidates or means.shape[-2], means.shape[-1]
    level = alpha / m
    counts, lost, won = (np.broadcast_to(np.asarray(n, dtype=np.float64), means.shape) for n in (counts, lost, won))
    floors = np.broadcast_to(np.asarray(floors, dtype=np.float64), means.shape)
    half, half_tost, n_known = _half_widths(means.shape, sds, counts, rho, num_pilot, level)
    fine = ~(rope < floors) & np.isclose(lost, won)
    plain = classify(means - half, means + half, means - half_tost, means + half_tost, rope, fine)
    plain = after_failures(plain, lost, counts, won, counts)
    use = np.ones(W, dtype=bool) if counted is None or not counted.any() else counted
    pairs, all_lost, all_won = (n[..., use].sum(axis=-1) for n in (counts, lost, won))
    if use.sum() == 1:
        index = int(np.flatnonzero(use)[0])
        mean, ends, ends_tost = means[..., index], half[..., index], half_tost[..., index]
        chosen = plain[..., index]
    else:
        mean, ends, ends_tost, interval = _over_sets(
            means[..., use], floors[..., use], np.isclose(lost, won)[..., use], rope, level
        )
        error = half / stats.t.ppf(1 - level / 2, n_known - 1)
        claims = _claims(means[..., use], error[..., use], n_known[..., use] - 1, plain[..., use], rope, alpha, m)
        chosen = after_failures(vote(interval, claims, plain[..., use]), all_lost, pairs, all_won, pairs)
    return Decisions(
        sets_low=means - half,
        sets_high=means + half,
        sets_quality=plain,
        mean=mean,
        low=mean - ends,
        high=mean + ends,
        low_tost=mean - ends_tost,
        high_tost=mean + ends_tost,
        quality=chosen,
        by_failures=decided_by_failures(all_lost, pairs, all_won, pairs),
    )


def _half_widths(
    shape: tuple[int, ...], sds: Floats, counts: Floats, rho: Any, num_pilot: Any, level: float
) -> tuple[Floats, Floats, Floats]:
    """Return half the interval and half that of equivalence on each workload, and the pairs that the spread is from."""
    many = (counts > 1) & (sds > 0)
    known = counts if num_pilot is None else np.broadcast_to(np.asarray(num_pilot, dtype=np.float64), shape)
    n, n_known = np.where(many, counts, 2.0), np.where(many & (known > 1), known, 2.0)
    spread = np.where(many, sds, np.nan)
    half, half_tost = (half_width(spread, n, confidence, rho, n_known) for confidence in (1 - level, 1 - 2 * level))
    return half, half_tost, n_known


def _over_sets(
    sets: Floats, floors: Floats, alike: npt.NDArray[np.bool_], rope: float, level: float
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.intp]]:
    """Return the mean over D data sets, half its two intervals, and the class of these; shapes (..., m, D) in.

    `alike`: whether both sides failed as often on a data set; EQUIVALENT is not given otherwise.
    """
    D = sets.shape[-1]
    mean, spread = sets.mean(axis=-1), sets.std(axis=-1, ddof=1)
    spread = np.where(spread > 1e-12 * np.abs(sets).max(axis=-1), spread, np.nan)
    ends, ends_tost = half_width(spread, D, 1 - level), half_width(spread, D, 1 - 2 * level)
    fine = ~(rope < np.sqrt((floors**2).sum(axis=-1)) / D) & alike.all(axis=-1)
    return mean, ends, ends_tost, classify(mean - ends, mean + ends, mean - ends_tost, mean + ends_tost, rope, fine)


def _claims(
    means: Floats, errors: Floats, freedom: Floats, plain: npt.NDArray[np.intp], rope: float, alpha: float, m: int
) -> npt.NDArray[np.intp]:
    """Return the classes of the data sets, INFERIOR and SUPERIOR only if they hold after Holm over all D·m claims."""
    p = 2 * stats.t.sf((np.abs(means) - rope) / errors, freedom)
    p = np.where(np.isnan(p), 1.0, p)
    flat = p.reshape(*p.shape[:-2], -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    weights = m * means.shape[-1] - np.arange(flat.shape[-1])
    steps = np.maximum.accumulate(np.take_along_axis(flat, order, -1) * weights, axis=-1)
    holds = np.empty(flat.shape, dtype=bool)
    np.put_along_axis(holds, order, steps <= alpha, axis=-1)
    holds = holds.reshape(p.shape)
    beyond = np.isin(plain, [QUALITIES.index(Quality.SUPERIOR), QUALITIES.index(Quality.INFERIOR)])
    # Holm's first steps are stricter than the level of the family, its last ones laxer: a claim needs both.
    return np.where(beyond & ~holds, QUALITIES.index(Quality.INCONCLUSIVE), plain)
