"""From means and spreads to quality classes, for any number of evaluations at once.

The report calls this with the challengers of one evaluation, the simulation with thousands of evaluations: what is
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
    """Shapes: `...` evaluations, m challengers, W workloads; `sets_` per workload, the others over the data sets."""

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


@dataclass(frozen=True)
class Evidence:
    """Paired differences of m challengers on W workloads; all but the first two are broadcast to (..., m, W)."""

    means: Floats  # (..., m, W), positive being better for the challenger
    sds: Floats  # (..., m, W), over the seeds; 0 if the differences have no spread (no interval)
    counts: Any  # pairs
    rho: Any = 0.0  # see `t_interval`
    num_pilot: Any = None  # pairs of the pilot if the seeds were extended once, else None; see `half_width`
    floors: Any = np.nan  # noise floors of the test sets; nan if not known
    lost: Any = 0.0  # pairs in which the challenger alone failed
    won: Any = 0.0  # pairs in which the baseline alone failed

    def broadcast(self, name: str) -> Floats:
        """Return counts, floors, lost or won in the shape of the means."""
        return np.broadcast_to(np.asarray(getattr(self, name), dtype=np.float64), self.means.shape)


def decide(
    evidence: Evidence,
    rope: float,
    *,
    counted: npt.NDArray[np.bool_] | None = None,
    alpha: float = 0.05,
    num_challengers: int | None = None,
) -> Decisions:
    """Classify m challengers on W workloads and over the data sets.

    With one data set its own interval decides. With more, the equal-weight mean of the data-set means with `t_{D-1}`
    decides, and if that is INCONCLUSIVE at least half of the data sets (`vote`), their claims corrected by Holm over
    all data sets and challengers. EQUIVALENT is not given if the ROPE lies below the noise floor, or if one side failed
    more often. Many failures decide alone (`after_failures`).

    Args:
        evidence: the paired differences.
        rope: half the width of the region of practical equivalence, in the unit of the means.
        counted: shape (W,), which workloads are data sets and count in the overall effect; if none is, all are used.
        alpha: error rate of the family.
        num_challengers: size of the declared family, if some of it cannot be judged; None: m.
    """
    means, m = evidence.means, num_challengers or evidence.means.shape[-2]
    level = alpha / m
    sets = _per_set(evidence, rope, level)
    counts, lost, won = (evidence.broadcast(name) for name in ("counts", "lost", "won"))
    use = np.ones(means.shape[-1], dtype=bool) if counted is None or not counted.any() else counted
    pairs, all_lost, all_won = (n[..., use].sum(axis=-1) for n in (counts, lost, won))
    if use.sum() == 1:
        index = int(np.flatnonzero(use)[0])
        mean, ends, ends_tost = means[..., index], sets.half[..., index], sets.half_tost[..., index]
        chosen = sets.quality[..., index]
    else:
        floors, alike = evidence.broadcast("floors")[..., use], np.isclose(lost, won)[..., use]
        mean, ends, ends_tost, interval = _over_sets(means[..., use], floors, alike, rope, level)
        plain, half, freedom = sets.quality[..., use], sets.half[..., use], sets.num_known[..., use] - 1
        claims = _claims(means[..., use], half / stats.t.ppf(1 - level / 2, freedom), freedom, plain, rope, alpha, m)
        chosen = after_failures(vote(interval, claims, plain), all_lost, pairs, all_won, pairs)
    return Decisions(
        sets_low=means - sets.half,
        sets_high=means + sets.half,
        sets_quality=sets.quality,
        mean=mean,
        low=mean - ends,
        high=mean + ends,
        low_tost=mean - ends_tost,
        high_tost=mean + ends_tost,
        quality=chosen,
        by_failures=decided_by_failures(all_lost, pairs, all_won, pairs),
    )


@dataclass(frozen=True)
class _PerSet:
    half: Floats  # of the interval on each workload
    half_tost: Floats
    num_known: Floats  # pairs that the spread is from
    quality: npt.NDArray[np.intp]


def _per_set(evidence: Evidence, rope: float, level: float) -> _PerSet:
    """Classify each challenger on each workload."""
    means, sds = evidence.means, evidence.sds
    counts, floors, lost, won = (evidence.broadcast(name) for name in ("counts", "floors", "lost", "won"))
    many = (counts > 1) & (sds > 0)
    known = counts if evidence.num_pilot is None else evidence.broadcast("num_pilot")
    n, num_known = np.where(many, counts, 2.0), np.where(many & (known > 1), known, 2.0)
    spread = np.where(many, sds, np.nan)
    half, half_tost = (
        half_width(spread, n, confidence, evidence.rho, num_known) for confidence in (1 - level, 1 - 2 * level)
    )
    fine = ~(rope < floors) & np.isclose(lost, won)
    quality = classify(means - half, means + half, means - half_tost, means + half_tost, rope, fine)
    return _PerSet(half, half_tost, num_known, after_failures(quality, lost, counts, won, counts))


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
