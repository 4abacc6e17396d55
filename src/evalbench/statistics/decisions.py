"""From means and spreads to quality classes, for any number of evaluations at once.

The report calls this with the challengers of one evaluation, the simulation with thousands of evaluations: what is
proven about the error rates of the one holds for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats
from evalbench.statistics.verdicts import QUALITIES, Quality, after_failures, classify, decided_by_failures

Codes = npt.NDArray[np.intp]

FOR_THE_MEAN = 0.8
"""Share of the error rate for the mean over the workloads; the rest is for naming workloads."""
FEWEST_PAIRS = 5
"""Fewest pairs on a single data set; with several, two on each."""
FEWEST_RUNS = 3
"""Fewest runs of each side on a single data set, if runs are not paired; with several, two on each."""
FEWEST_FREEDOM = 4.0
"""Fewest degrees of freedom of the interval that decides: five pairs on a single data set."""


@dataclass(frozen=True)
class Evidence:
    """Differences of m challengers on W workloads; all but the first two are broadcast to (..., m, W).

    Without pairs, `sds` is the root of the two variances' sum, and `counts` the number with which `sds² / counts` is
    the variance of the difference: the formulas of pairs then hold, with Welch's `freedom`.
    """

    means: Floats  # (..., m, W), positive being better for the challenger
    sds: Floats  # (..., m, W), over the seeds; 0 if the differences have no spread (no interval)
    counts: Any  # pairs, or what is worth as much
    rho: Any = 0.0  # see `t_interval`
    floors: Any = np.nan  # noise floors of the test sets; nan if not known
    lost: Any = 0.0  # pairs in which the challenger alone failed; its failed runs, if runs are not paired
    won: Any = 0.0  # the same of the baseline
    freedom: Any = None  # degrees of freedom on each workload; None: one less than the pairs
    runs: Any = None  # of the challenger; None: the pairs
    runs_baseline: Any = None

    def broadcast(self, name: str) -> Floats:
        """Return an array in the shape of the means."""
        values = getattr(self, name)
        if values is None:
            values = np.asarray(self.counts, dtype=np.float64) - (name == "freedom")
        return np.broadcast_to(np.asarray(values, dtype=np.float64), self.means.shape)

    def on(self, use: npt.NDArray[np.bool_]) -> Evidence:
        """Return the evidence on some of the workloads."""
        return Evidence(*(self.broadcast(one.name)[..., use] for one in fields(Evidence)))

    @property
    def fewest(self) -> Floats:
        """Return the runs of the side that has fewer."""
        return np.minimum(self.broadcast("runs"), self.broadcast("runs_baseline"))

    @property
    def errors(self) -> Floats:
        """Return the standard error on each workload, `s sqrt(1/n + rho)`; 0 without spread, nan below two pairs."""
        counts = self.broadcast("counts")
        return np.where(counts > 1, self.sds * np.sqrt(1 / np.maximum(counts, 1) + self.broadcast("rho")), np.nan)


@dataclass(frozen=True)
class Rule:
    """What was declared before the results.

    rope: half the width of the region of practical equivalence, in the unit of the means.
    alpha: error rate of everything that the first verdict says.
    num_challengers: m, of the declared family; None: those that are given.
    num_looks: L, the number of declared looks at the seeds; each has a share `alpha / L`.
    by_set: the data sets are the pairs, since each has one score per technique.
    paired: the runs of the two sides are pairs.
    """

    rope: float
    alpha: float = 0.05
    num_challengers: int | None = None
    num_looks: int = 1
    by_set: bool = False
    paired: bool = True

    def fewest(self, num_workloads: int) -> int:
        """Return the fewest pairs, or runs of each side, on each workload; by set: the fewest workloads."""
        if self.by_set:
            return FEWEST_PAIRS
        alone = FEWEST_PAIRS if self.paired else FEWEST_RUNS
        return alone if num_workloads == 1 else 2

    def for_the_mean(self, num_workloads: int) -> float:
        """Return the error rate of the mean at one look, over all challengers."""
        alone = num_workloads == 1 or self.by_set
        return self.alpha * (1.0 if alone else FOR_THE_MEAN) / self.num_looks

    def for_naming(self, num_workloads: int) -> float:
        """Return the error rate of naming workloads at one look, over all challengers."""
        return self.alpha / self.num_looks - self.for_the_mean(num_workloads)


@dataclass(frozen=True)
class Decisions:
    """Shapes: `...` evaluations, m challengers, W workloads that count."""

    mean: Floats  # (..., m)
    low: Floats
    high: Floats
    low_tost: Floats
    high_tost: Floats
    freedom: Floats  # degrees of freedom of the interval
    quality: Codes  # indices into QUALITIES
    by_failures: Codes  # -1 and 1 if the class comes from failures alone, else 0
    futile: npt.NDArray[np.bool_]  # more seeds cannot decide
    limit: Floats  # half the interval that infinitely many seeds would have
    p_where: Floats = field(default_factory=lambda: np.empty(0))  # (..., m, W): after Holm; nan without an interval
    named: Codes = field(default_factory=lambda: np.empty(0, dtype=np.intp))  # (..., m, W): 1 better there, -1 worse


def decide(evidence: Evidence, rule: Rule, named: Codes | None = None) -> Decisions:
    """Judge the mean over W workloads, and name the workloads that differ.

    The mean of the workloads' means has the standard error `sqrt(Σ v_w) / W`, `v_w = s_w² (1/n_w + rho_w)`, and the
    degrees of freedom `ν = (Σ v_w)² / Σ (v_w² / (n_w - 1))`. Its intervals have the level `1 - a/m`, `a` being 0.8
    alpha (alpha itself on a single workload); it needs two pairs on each workload and ν ≥ 4. Workloads are named by
    Holm over all m·W at 0.2 alpha. One named better and another named worse is MIXED. EQUIVALENT is not given below
    the noise floor, nor if one side failed more often; it is NON-INFERIOR if a workload is named beyond the ROPE. Many
    failures decide alone (`after_failures`).

    Args:
        evidence: on the workloads that count.
        rule: what was declared.
        named: shape (..., m, W), the workloads that an earlier look has named; they stay named.

    Source: Cochran, Sampling Techniques (1977), chapter 5; Satterthwaite (1946); Welch (1947); Nadeau and Bengio
    (2003); Holm (1979).
    """
    given, W = evidence.means.shape[-2:]
    level = rule.for_the_mean(W) / (m := max(rule.num_challengers or 0, given))
    mean = evidence.means.mean(axis=-1)
    error, freedom = _over_sets(evidence.means) if rule.by_set else over_seeds(evidence)
    half, half_tost = (stats.t.ppf(1 - tail, freedom) * error for tail in (level / 2, level))
    enough = _enough(evidence, freedom, rule)
    p_where, named_now = _where(evidence, m, rule.for_naming(W))
    known = np.zeros_like(named_now) if named is None else named
    named = np.where(known != 0, known, named_now * enough[..., None])
    beyond = (_where(evidence, m, rule.for_naming(W), rule.rope)[1] != 0).any(axis=-1)
    lost, won, runs, runs_baseline = (evidence.broadcast(name) for name in ("lost", "won", "runs", "runs_baseline"))
    floor = np.sqrt(np.nansum(evidence.broadcast("floors") ** 2, axis=-1)) / W  # at least; some may not be known
    fine = ~(rule.rope < floor) & np.isclose(lost * runs_baseline, won * runs).all(axis=-1) & ~beyond
    quality = classify(mean - half, mean + half, mean - half_tost, mean + half_tost, rule.rope, fine)
    quality = np.where(_both_ways(named), QUALITIES.index(Quality.MIXED), quality)
    failures = (lost.sum(axis=-1), runs.sum(axis=-1), won.sum(axis=-1), runs_baseline.sum(axis=-1))
    quality = np.where(enough, after_failures(quality, *failures), QUALITIES.index(Quality.INCONCLUSIVE))
    limit, futile = _futility(evidence, mean, quality, freedom, rule.rope, level)
    return Decisions(
        mean=mean,
        low=mean - half,
        high=mean + half,
        low_tost=mean - half_tost,
        high_tost=mean + half_tost,
        freedom=freedom,
        quality=quality,
        by_failures=np.where(enough, decided_by_failures(*failures), 0),
        futile=futile & (not rule.by_set),
        limit=limit,
        p_where=p_where,
        named=named,
    )


def _both_ways(named: Codes) -> npt.NDArray[np.bool_]:
    """Return whether one workload is named better and another worse."""
    return np.asarray((named > 0).any(axis=-1) & (named < 0).any(axis=-1), dtype=bool)


def _enough(evidence: Evidence, freedom: Floats, rule: Rule) -> npt.NDArray[np.bool_]:
    """Return whether there are enough pairs for any claim, also one by failures; without spread, ν is not known."""
    W, fewest = evidence.means.shape[-1], evidence.fewest.min(axis=-1)
    pairs = np.full(fewest.shape, W) if rule.by_set else fewest
    return np.asarray((pairs >= rule.fewest(W)) & ~(freedom < FEWEST_FREEDOM - 1e-9), dtype=bool)


def per_set(evidence: Evidence, confidence: float) -> tuple[Floats, Floats]:
    """Return the ends of the t interval on each workload by itself, shapes (..., m, W); nan if there is none."""
    many = (evidence.broadcast("counts") > 1) & (evidence.sds > 0)
    freedom = np.where(many, evidence.broadcast("freedom"), 1.0)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * np.where(many, evidence.errors, np.nan)
    return evidence.means - half, evidence.means + half


def over_seeds(evidence: Evidence) -> tuple[Floats, Floats]:
    """Return the standard error of the mean over fixed workloads, and its degrees of freedom; nan if too few pairs."""
    v, of_one = evidence.errors**2, evidence.broadcast("freedom")
    total = v.sum(axis=-1)
    shares = np.divide(v, total[..., None], out=np.full(v.shape, np.nan), where=total[..., None] > 0)
    freedom = 1 / (shares**2 / np.maximum(of_one, 1)).sum(axis=-1)
    enough = freedom >= FEWEST_FREEDOM - 1e-9
    error = np.where(enough, np.sqrt(total) / v.shape[-1], np.nan)
    return error, freedom


def _over_sets(means: Floats) -> tuple[Floats, Floats]:
    """Return the standard error of the mean over data sets that stand for others, and its degrees of freedom."""
    D = means.shape[-1]
    if D < 2:
        nothing = np.full(means.shape[:-1], np.nan)
        return nothing, nothing
    spread = means.std(axis=-1, ddof=1)
    spread = np.where(spread > 1e-12 * np.abs(means).max(axis=-1), spread, np.nan)
    freedom = np.full(spread.shape, float(D - 1))
    return np.where(freedom >= FEWEST_FREEDOM, spread / np.sqrt(D), np.nan), freedom


def _where(evidence: Evidence, m: int, level: float, rope: float = 0.0) -> tuple[Floats, Codes]:
    """Return p after Holm over all m·W claims that a difference exceeds `rope`, and the sign of those that hold."""
    errors, freedom = evidence.errors, evidence.broadcast("freedom")
    usable = errors > 0
    t = (np.abs(evidence.means) - rope) / np.where(usable, errors, 1.0)
    p = np.where(usable, np.minimum(1.0, 2 * stats.t.sf(t, np.maximum(freedom, 1))), 1.0)
    flat = p.reshape(*p.shape[:-2], -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    weights = m * p.shape[-1] - np.arange(flat.shape[-1])
    steps = np.maximum.accumulate(np.take_along_axis(flat, order, -1) * weights, axis=-1)
    adjusted = np.empty_like(flat)
    np.put_along_axis(adjusted, order, np.minimum(1.0, steps), axis=-1)
    adjusted = adjusted.reshape(p.shape)
    named = np.where((adjusted <= level) & (level > 0), np.sign(evidence.means), 0).astype(np.intp)
    return np.where(usable, adjusted, np.nan), named


def _futility(
    evidence: Evidence, mean: Floats, quality: Codes, freedom: Floats, rope: float, level: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return half the interval that infinitely many seeds would have, and whether no class is left to be had.

    More seeds narrow the interval to `± f`, around a centre that moves by at most about `δ`, half the interval with
    rho = 0. Nothing is left if there can be no sign (`|M| + δ < f`), no equivalence (`f ≥ r`), and non-inferiority is
    either had or out of reach (`M + δ - f ≤ -r`).
    """
    W, n = evidence.means.shape[-1], np.maximum(evidence.broadcast("counts"), 1)
    shared = (evidence.sds**2 * evidence.broadcast("rho")).sum(axis=-1)
    limit = stats.norm.ppf(1 - level / 2) * np.sqrt(shared) / W
    moves = stats.t.ppf(1 - level / 2, freedom) * np.sqrt((evidence.sds**2 / n).sum(axis=-1)) / W
    had = quality == QUALITIES.index(Quality.NON_INFERIOR)
    futile = (np.abs(mean) + moves < limit) & (limit >= rope) & (had | (mean + moves - limit <= -rope))
    return limit, futile
