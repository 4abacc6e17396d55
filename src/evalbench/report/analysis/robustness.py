"""The numbers that prove: omnibus tests, pooled effects, profiles, variance shares, and every assumption's check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evalbench.record.folder import Folder
from evalbench.report.analysis.cost import columns_of, complete_scores
from evalbench.report.analysis.pairs import common_scores
from evalbench.report.analysis.verdicts import Judgment
from evalbench.report.render.units import Unit
from evalbench.statistics.aggregates import (
    Bootstrapped,
    iqm_interval,
    iqm_without_pairs,
    paired_improvement,
    redrawn,
    redrawn_without_pairs,
    score_profile,
    share_best,
)
from evalbench.statistics.all_pairs import PairTest, pair_tests
from evalbench.statistics.design import used
from evalbench.statistics.effects import (
    Posterior,
    Standardized,
    hodges_lehmann,
    posterior_signed_rank,
    posterior_t,
    standardized,
)
from evalbench.statistics.intervals import Floats
from evalbench.statistics.judging import Verdict
from evalbench.statistics.pooling import RandomEffects, random_effects
from evalbench.statistics.power import Resolution, resolution
from evalbench.statistics.ranks import RankTest, critical_difference, iman_davenport, rank_rows
from evalbench.statistics.shares import Share, variance_shares
from evalbench.statistics.significance import equivalence, paired_t
from evalbench.statistics.unpaired import (
    TwoSamples,
    difference_size,
    hodges_lehmann_shift,
    superiority,
    welch_p,
)
from evalbench.statistics.verdicts import FEWEST_DATASETS

SEED = 20_260_103


@dataclass(frozen=True)
class Proof:
    """What else is known of one candidate against the baseline, in the common unit."""

    candidate: str
    test: str  # which exact test
    p_t: float  # t test over what repeats: data sets, or the seeds of the only one
    p_exact: float
    p_holm: float  # the exact test's, over the family
    p_equivalence: float
    hodges_lehmann: float
    size: Standardized
    posterior: Posterior
    posterior_by: str
    pooled: RandomEffects | None
    improvement: float  # mean share of pairs won
    resolution: Resolution | None  # with one data set only


@dataclass(frozen=True)
class Omnibus:
    """All techniques over the data sets."""

    test: RankTest
    techniques: tuple[str, ...]
    ranks: Floats  # shape (D, k)
    workloads: tuple[str, ...]
    critical_difference: float  # Nemenyi's, at the level of the evaluation
    pair_p: Mapping[tuple[str, str], PairTest]


@dataclass(frozen=True)
class Robustness:
    """Everything behind the page that decides."""

    proofs: tuple[Proof, ...]
    omnibus: Omnibus | None  # with at least two data sets
    best: Mapping[str, tuple[float, float]]  # how often each ranks first: on these data sets, and on sets like these
    iqm: Mapping[str, Bootstrapped]
    thresholds: Floats  # of the score profile
    profiles: Mapping[str, Floats]
    shares: tuple[Share, ...]  # of the variance; empty if the table is not balanced


def robustness(folder: Folder, judged: Judgment, common: Unit) -> Robustness:
    """Compute everything behind the verdicts; every draw comes from a generator with a fixed seed."""
    evaluation = folder.evaluation
    indices = used(judged.design)
    best, iqm, thresholds, profiles = _aggregates(judged, indices, evaluation.confidence)
    proofs = tuple(_proof(judged, v) for v in judged.verdicts if _has_seeds(judged, v.challenger, indices))
    return Robustness(
        proofs, _omnibus(judged, 1 - evaluation.confidence), best, iqm, thresholds, profiles, _shares(folder, common)
    )


def _aggregates(
    judged: Judgment, indices: list[int], confidence: float
) -> tuple[dict[str, tuple[float, float]], dict[str, Bootstrapped], Floats, dict[str, Floats]]:
    """Return how often each technique is best, its interquartile mean, and the thresholds and shares of its profile."""
    full = complete_scores(judged.scores, indices) if judged.scores and judged.design.paired else None
    columns = {name: columns_of(scores, indices) for name, scores in judged.scores.items()}
    if (full is None) is judged.design.paired or not all(c.size for mine in columns.values() for c in mine):
        return {}, {}, np.empty(0), {}
    flat = {name: np.concatenate(mine) for name, mine in columns.items()}
    if full is not None:
        drawn = [redrawn(full, np.random.default_rng(SEED), redraw) for redraw in (False, True)]
        flat = {name: full[i].ravel() for i, name in enumerate(columns)}
        iqm = {name: iqm_interval(full[i], np.random.default_rng(SEED), confidence) for i, name in enumerate(columns)}
    else:
        every = list(columns.values())
        drawn = [redrawn_without_pairs(every, np.random.default_rng(SEED), redraw) for redraw in (False, True)]
        iqm = {name: iqm_without_pairs(c, np.random.default_rng(SEED), confidence) for name, c in columns.items()}
    these, like = map(share_best, drawn)
    best = {name: (float(a), float(b)) for name, a, b in zip(columns, these, like, strict=True)}
    ends = [end(float(end(values)) for values in flat.values()) for end in (min, max)]
    thresholds = np.linspace(ends[0], ends[1], 101)
    return best, iqm, thresholds, {name: score_profile(values, thresholds) for name, values in flat.items()}


def _has_seeds(judged: Judgment, candidate: str, indices: list[int]) -> bool:
    """Return whether both sides have a seed with all settings on every workload that counts."""
    d = judged.difference(candidate, judged.baseline)
    return bool(d.seeds) and all(d.counts[index] for index in indices)


def _proof(judged: Judgment, verdict: Verdict) -> Proof:
    design, indices = judged.design, used(judged.design)
    d = judged.difference(verdict.challenger, judged.baseline)
    if isinstance(d, TwoSamples):
        return _proof_without_pairs(judged, verdict, d)
    one = len(indices) == 1
    rho = float(design.rho[indices[0]]) if one else 0.0
    values = d.column(d.workloads[indices[0]]) if one else d.means[indices]
    sets = [verdict.sets[index].interval for index in indices]
    variances = d.sds[indices] ** 2 * (1 / d.worth[indices] + design.rho[indices])
    if one:
        sd = float(sets[0].sd)
        posterior = posterior_t(float(values.mean()), sd, values.size, design.rope, rho)
        by = "t posterior over seeds"
    elif len(indices) >= FEWEST_DATASETS - 1:
        posterior = posterior_signed_rank(values, design.rope, np.random.default_rng(SEED))
        by = "Bayesian signed rank over data sets"
    else:
        posterior = posterior_t(float(values.mean()), float(values.std(ddof=1)), values.size, design.rope)
        by = "t posterior over data sets"
    level = judged.design.alpha / (judged.design.num_challengers or 1)
    return Proof(
        candidate=verdict.challenger,
        test=verdict.second.name,
        p_t=paired_t(values),
        p_exact=verdict.second.p,
        p_holm=verdict.second.p_holm,
        p_equivalence=equivalence(values, design.rope, rho),
        hodges_lehmann=hodges_lehmann(values),
        size=standardized(values),
        posterior=posterior,
        posterior_by=by,
        pooled=None if one else random_effects(d.means[indices], variances, 1 - level),
        improvement=paired_improvement(d.values[:, indices]),
        resolution=resolution(float(sets[0].sd), sets[0].count, level, rho) if one else None,
    )


def _proof_without_pairs(judged: Judgment, verdict: Verdict, d: TwoSamples) -> Proof:
    """Return the second line of evidence on runs that are not paired."""
    design, indices = judged.design, used(judged.design)
    above, below = welch_p(d, indices, design.rho)
    against = (welch_p(d, indices, design.rho, side * design.rope) for side in (-1, 1))
    (worse, _), (_, better) = against
    sides = d.sides(indices)
    sizes = np.array([difference_size(a, b) for a, b in sides]).mean(axis=0)
    errors = d.sds[indices] ** 2 * (1 / d.worth[indices] + design.rho[indices])
    level = design.alpha / (design.num_challengers or 1)
    one = len(indices) == 1
    return Proof(
        candidate=verdict.challenger,
        test=verdict.second.name,
        p_t=min(1.0, 2 * min(above, below)) if np.isfinite(above) else math.nan,
        p_exact=verdict.second.p,
        p_holm=verdict.second.p_holm,
        p_equivalence=max(worse, better) if np.isfinite(worse) else math.nan,
        hodges_lehmann=hodges_lehmann_shift(*sides[0]) if one else hodges_lehmann(d.means[indices]),
        size=Standardized(float(sizes[0]), float(sizes[1])),
        posterior=Posterior(worse, 1 - worse - better, better),
        posterior_by="Welch posterior over runs",
        pooled=None if one else random_effects(d.means[indices], errors, 1 - level),
        improvement=float(np.mean([superiority(a, b).value for a, b in sides])),
        resolution=None,
    )


def _omnibus(judged: Judgment, alpha: float) -> Omnibus | None:
    indices = used(judged.design)
    names = tuple(judged.scores)
    if len(indices) < 2 or len(names) < 2 or not judged.verdicts or judged.design.fixed_sets:
        return None
    means = np.stack([judged.scores[name].means[indices] for name in names], axis=1)
    if not np.isfinite(means).all():
        return None
    ranks = rank_rows(means)
    workloads = judged.scores[names[0]].workloads
    return Omnibus(
        iman_davenport(ranks),
        names,
        ranks,
        tuple(workloads[index] for index in indices),
        critical_difference(len(names), len(indices), alpha),
        {(names[i], names[j]): test for (i, j), test in pair_tests(means).items()},
    )


def _shares(folder: Folder, common: Unit) -> tuple[Share, ...]:
    evaluation = folder.evaluation
    if evaluation.factor is None:
        return ()
    trials = common_scores(folder, common.is_skill).rename(columns={"technique": evaluation.factor})
    try:
        return variance_shares(trials, [evaluation.factor, *evaluation.factors], "common", "workload")
    except ValueError:
        return ()
