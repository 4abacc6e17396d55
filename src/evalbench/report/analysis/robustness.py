"""The numbers that prove: omnibus tests, pooled effects, profiles, variance shares, and every assumption's check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evalbench.record.folder import Folder
from evalbench.report.analysis.cost import complete_scores
from evalbench.report.analysis.pairs import common_scores
from evalbench.report.analysis.verdicts import Judgment
from evalbench.report.render.units import SKILL, Unit
from evalbench.statistics.aggregates import (
    Bootstrapped,
    iqm_interval,
    paired_improvement,
    probability_best,
    score_profile,
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
    full = complete_scores(judged.scores, indices) if judged.scores else None
    names = tuple(judged.scores)
    best: dict[str, tuple[float, float]] = {}
    iqm: dict[str, Bootstrapped] = {}
    thresholds, profiles = np.empty(0), {}
    if full is not None and evaluation.baseline is not None:
        these, like = (probability_best(full, np.random.default_rng(SEED), redraw) for redraw in (False, True))
        best = {name: (float(a), float(b)) for name, a, b in zip(names, these, like, strict=True)}
        iqm = {
            name: iqm_interval(full[i], np.random.default_rng(SEED), evaluation.confidence)
            for i, name in enumerate(names)
        }
        thresholds = np.linspace(float(full.min()), float(full.max()), 101)
        profiles = {name: score_profile(full[i], thresholds) for i, name in enumerate(names)}
    proofs = tuple(_proof(judged, v) for v in judged.verdicts if _has_seeds(judged, v.challenger, indices))
    return Robustness(
        proofs, _omnibus(judged, 1 - evaluation.confidence), best, iqm, thresholds, profiles, _shares(folder, common)
    )


def _has_seeds(judged: Judgment, candidate: str, indices: list[int]) -> bool:
    """Return whether both sides have a seed with all settings on every workload that counts."""
    d = judged.difference(candidate, judged.baseline)
    return bool(d.seeds) and all(d.counts[index] for index in indices)


def _proof(judged: Judgment, verdict: Verdict) -> Proof:
    design, indices = judged.design, used(judged.design)
    d = judged.difference(verdict.challenger, judged.baseline)
    one = len(indices) == 1
    rho = float(design.rho[indices[0]]) if one else 0.0
    values = d.column(d.workloads[indices[0]]) if one else d.means[indices]
    sets = [verdict.sets[index].interval for index in indices]
    variances = [i.sd**2 * (1 / i.count + float(design.rho[p])) for i, p in zip(sets, indices, strict=True)]
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


def _omnibus(judged: Judgment, alpha: float) -> Omnibus | None:
    indices = used(judged.design)
    names = tuple(judged.scores)
    if len(indices) < 2 or len(names) < 2 or not judged.verdicts:
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
    trials = common_scores(folder, common is SKILL).rename(columns={"technique": evaluation.factor})
    try:
        return variance_shares(trials, [evaluation.factor, *evaluation.factors], "common", "workload")
    except ValueError:
        return ()
