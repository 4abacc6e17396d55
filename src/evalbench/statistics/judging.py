"""From the paired differences of a family of challengers to their verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from evalbench.statistics.costs import Ratio
from evalbench.statistics.decisions import Decisions, Evidence, decide
from evalbench.statistics.design import Challenger, Design, count_pairs, failures, used
from evalbench.statistics.intervals import ROUNDING, Floats, Interval
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.pooling import between_variance, prediction_interval, sign_is_stable
from evalbench.statistics.power import more_datasets, more_seeds, more_seeds_each
from evalbench.statistics.significance import holm, sign_flip, smallest_attainable, wilcoxon
from evalbench.statistics.verdicts import (
    FAILURES,
    FEWEST_DATASETS,
    FEWEST_PAIRS,
    QUALITIES,
    Advice,
    CostClass,
    Guards,
    Quality,
    Recommendation,
    advise,
    cost_class,
    methods_agree,
)

MOST_SEEDS = 1000  # more than this on one data set is no advice
MOST_DATASETS = 100


@dataclass(frozen=True)
class SetEffect:
    """One challenger on one workload, in the common unit."""

    workload: str
    interval: Interval
    quality: Quality
    counted: bool


@dataclass(frozen=True)
class Second:
    """The second method: signed ranks over at least six data sets, sign flips over fewer or over the seeds of one."""

    name: str
    p: float
    p_holm: float
    attainable: float  # smallest p that it can give, after Holm
    agrees: bool


@dataclass(frozen=True)
class NextStep:
    """What would settle an open question: `what` is seeds, datasets, rows, spread, failures, stop, or nothing."""

    what: str
    count: int = 0  # how many more; of stop: the most that would be advised, 0 if the one extension is spent


@dataclass(frozen=True)
class Failures:
    """How often a side alone failed, over the workloads that count; with other factors, a mean over their settings."""

    challenger: float  # pairs
    baseline: float
    num_pairs: int
    side: int  # -1 if the challenger loses by them alone, 1 if the baseline does, else 0

    @property
    def often(self) -> bool:
        """Return whether the challenger fails more often, by a tenth of the pairs or more."""
        return self.challenger - self.baseline > (FAILURES - 1e-9) * self.num_pairs


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one challenger, in the common unit; positive is better than the baseline."""

    challenger: str
    effect: Interval  # at the level of the family: this one decides
    equivalence: tuple[float, float]  # the interval of the two one-sided tests
    prediction: tuple[float, float]  # the mean effect on one more data set; nan below three data sets
    sets: tuple[SetEffect, ...]
    wins: int  # pairs, over the workloads that count
    ties: int
    losses: int
    failures: Failures
    quality: Quality
    cost: Ratio
    cost_class: CostClass
    advice: Advice
    num_datasets: int
    num_pairs: int  # on the workload with fewest
    guards: Guards
    second: Second
    next_step: NextStep
    half_rope: Recommendation  # the recommendation if the ROPE were half as wide
    double_rope: Recommendation
    floor: float  # noise floor of the test sets for the overall effect; nan if not known
    finest: float  # half the interval with infinitely many seeds on these rows and data sets
    leave_one_out: Mapping[str, float] = field(default_factory=dict)  # overall mean without each data set

    @property
    def recommendation(self) -> Recommendation:
        """Return the advice in one word."""
        return self.advice.recommendation

    @property
    def rope_sensitive(self) -> bool:
        """Return whether half or double the ROPE would have given another recommendation."""
        return {self.half_rope, self.double_rope} != {self.recommendation}


def judge(challengers: Sequence[Challenger], design: Design, generator: np.random.Generator) -> tuple[Verdict, ...]:
    """Return the verdicts of one family of challengers against one baseline, in the order given.

    Args:
        challengers: all challengers of the family, their matrices with the same workloads.
        design: what they share.
        generator: for the sign-flip test beyond 16 seeds.
    """
    if not challengers:
        return ()
    design = replace(design, num_challengers=max(design.num_challengers or 0, len(challengers)))
    means = np.stack([challenger.differences.means for challenger in challengers])
    pilots = [_pilot(challenger.differences, design.num_pilot) for challenger in challengers]
    sds = np.stack([c.differences.sds(seeds) for c, seeds in zip(challengers, pilots, strict=True)])
    counts = np.array([challenger.differences.counts for challenger in challengers])
    known = None
    if design.num_pilot is not None:
        known = np.array(
            [count_pairs(c.differences, seeds) for c, seeds in zip(challengers, pilots, strict=True)], dtype=float
        )
    evidence = Evidence(
        means,
        np.nan_to_num(sds),
        counts,
        rho=design.rho,
        num_pilot=known,
        floors=design.floors,
        lost=np.stack([_failures(challenger, -1) for challenger in challengers]),
        won=np.stack([_failures(challenger, 1) for challenger in challengers]),
    )
    by_factor = {
        factor: decide(
            evidence,
            design.rope * factor,
            counted=np.array(design.counted),
            alpha=design.alpha,
            num_challengers=design.num_challengers,
        )
        for factor in (1.0, 0.5, 2.0)
    }
    seconds = _second_methods(challengers, by_factor[1.0], design, generator)
    return tuple(
        _verdict(index, challenger, by_factor, seconds[index], design, np.nan_to_num(sds[index]))
        for index, challenger in enumerate(challengers)
    )


def _failures(challenger: Challenger, side: int) -> Floats:
    none = np.zeros(len(challenger.differences.workloads))
    return none if challenger.decided is None else failures(challenger.decided, side)


def _pilot(differences: Matrix, num_pilot: int | None) -> tuple[int, ...] | None:
    return None if num_pilot is None else tuple(seed for seed in differences.seeds if seed < num_pilot)


def _second_methods(
    challengers: Sequence[Challenger], decisions: Decisions, design: Design, generator: np.random.Generator
) -> list[Second]:
    indices = used(design)
    D = len(indices)
    many = D >= FEWEST_DATASETS
    flips = "sign flips over data sets" if D > 1 else "sign flips over seeds"
    name = "Wilcoxon signed rank over data sets" if many else flips
    p_values, sides, counts = [], [], []
    for challenger in challengers:
        if D > 1:
            values = challenger.differences.means[indices]
        else:
            column = challenger.differences.values[:, indices[0]]
            values = column[np.isfinite(column)]
        values = values[np.isfinite(values)]
        enough = values.size > 1
        p_values.append((wilcoxon(values) if many else sign_flip(values, generator)) if enough else math.nan)
        sides.append(int(np.sign(np.median(values))) if enough else 0)
        counts.append(values.size)
    family = max(design.num_challengers or 0, len(challengers))
    adjusted = holm([*p_values, *[math.nan] * (family - len(challengers))])
    seconds = []
    for index, (p, p_holm) in enumerate(zip(p_values, adjusted[: len(challengers)], strict=True)):
        side = int(decisions.low[index] > 0) - int(decisions.high[index] < 0)
        attainable = min(1.0, smallest_attainable(counts[index]) * family)
        agrees = methods_agree(side, sides[index], p_holm, attainable, design.alpha)
        seconds.append(Second(name, p, p_holm, attainable, agrees))
    return seconds


def _verdict(
    index: int,
    challenger: Challenger,
    by_factor: Mapping[float, Decisions],
    second: Second,
    design: Design,
    sds: Floats,
) -> Verdict:
    differences, here = challenger.differences, by_factor[1.0]
    indices = used(design)
    D = sum(design.counted)
    counts = np.array(differences.counts)
    level = 1 - design.alpha / (design.num_challengers or 1)
    means = differences.means
    one = len(indices) == 1
    wins, ties, losses = _count_pairs(challenger, indices)
    gone = _count_failures(challenger, indices, int(here.by_failures[index]))
    num_pairs = D if design.one_score else int(counts[indices].min())
    advices = _advices(index, challenger, by_factor, second, design, num_pairs)
    guards, advice = advices[1.0]
    return Verdict(
        challenger=challenger.name,
        effect=_effect(index, challenger, here, indices, sds, level),
        equivalence=(float(here.low_tost[index]), float(here.high_tost[index])),
        prediction=prediction_interval([] if one else list(means[indices]), level),
        sets=_set_effects(index, challenger, here, design, sds, level),
        wins=wins,
        ties=ties,
        losses=losses,
        failures=gone,
        quality=Quality.INCONCLUSIVE
        if advice.recommendation is Recommendation.INVALID
        else QUALITIES[int(here.quality[index])],
        cost=challenger.cost,
        cost_class=cost_class(challenger.cost.low, challenger.cost.high),
        advice=advice,
        num_datasets=D,
        num_pairs=num_pairs,
        guards=guards,
        second=second,
        next_step=_next_step(advice, gone, means[indices], sds[indices], counts[indices], design, indices, 1 - level),
        half_rope=advices[0.5][1].recommendation,
        double_rope=advices[2.0][1].recommendation,
        floor=_floor(design, indices),
        finest=_finest(means[indices], sds[indices], counts[indices], design, indices, 1 - level),
        leave_one_out={} if one else _without_each(differences, indices),
    )


def _advices(
    index: int,
    challenger: Challenger,
    by_factor: Mapping[float, Decisions],
    second: Second,
    design: Design,
    num_pairs: int,
) -> dict[float, tuple[Guards, Advice]]:
    """Return guards and advice for each factor of the ROPE."""
    indices = used(design)
    cost = cost_class(challenger.cost.low, challenger.cost.high)
    base = Guards(
        complete=challenger.complete,
        tuned=design.tuned,
        tuning_parity=design.tuning_parity,
        lodo_stable=len(indices) == 1 or sign_is_stable(challenger.differences.means[indices]),
        methods_agree=second.agrees,
        failures_ok=challenger.failures_ok,
    )
    advices = {}
    for factor, decisions in by_factor.items():
        inferior = decisions.sets_quality[index, indices] == QUALITIES.index(Quality.INFERIOR)
        guards = replace(base, worst_dataset_inferior=bool(inferior.any()))
        quality = QUALITIES[int(decisions.quality[index])]
        advices[factor] = (guards, advise(quality, cost, sum(design.counted), num_pairs, guards))
    return advices


def _effect(
    index: int, challenger: Challenger, here: Decisions, indices: list[int], sds: Floats, level: float
) -> Interval:
    """Return the effect that decides: over the data sets, or over the seeds of the only one."""
    differences, one = challenger.differences, len(indices) == 1
    return Interval(
        mean=float(here.mean[index]),
        low=float(here.low[index]),
        high=float(here.high[index]),
        sd=float(sds[indices[0]]) if one else float(differences.means[indices].std(ddof=1)),
        count=int(differences.counts[indices[0]]) if one else len(indices),
        confidence=level,
    )


def _count_failures(challenger: Challenger, indices: list[int], side: int) -> Failures:
    lost, won = (float(_failures(challenger, side)[indices].sum()) for side in (-1, 1))
    return Failures(lost, won, int(np.array(challenger.differences.counts)[indices].sum()), side)


def _floor(design: Design, indices: list[int]) -> float:
    """Return the noise floor of the mean over some workloads."""
    return float(np.sqrt((np.asarray(design.floors)[indices] ** 2).sum())) / len(indices)


def _count_pairs(challenger: Challenger, indices: list[int]) -> tuple[int, int, int]:
    """Return the pairs that were won, tied and lost on some workloads."""
    rounded = np.round(challenger.differences.values[:, indices], 10)
    if challenger.decided is not None:
        decided = challenger.decided.values[:, indices]
        rounded = np.where(np.isfinite(rounded) & (decided != 0), decided, rounded)
    return int((rounded > 0).sum()), int((rounded == 0).sum()), int((rounded < 0).sum())


def _set_effects(
    index: int, challenger: Challenger, here: Decisions, design: Design, sds: Floats, level: float
) -> tuple[SetEffect, ...]:
    differences = challenger.differences
    return tuple(
        SetEffect(
            workload,
            Interval(
                mean=float(differences.means[w]),
                low=float(here.sets_low[index, w]),
                high=float(here.sets_high[index, w]),
                sd=float(sds[w]),
                count=int(differences.counts[w]),
                confidence=level,
            ),
            QUALITIES[int(here.sets_quality[index, w])],
            design.counted[w],
        )
        for w, workload in enumerate(differences.workloads)
    )


def _without_each(differences: Matrix, indices: list[int]) -> dict[str, float]:
    """Return the mean over the data sets without each of them in turn."""
    means = differences.means
    total = float(means[indices].sum())
    return {differences.workloads[w]: (total - float(means[w])) / (len(indices) - 1) for w in indices}


def _finest(means: Floats, sds: Floats, counts: Floats, design: Design, indices: list[int], level: float) -> float:
    """Return half the interval that no number of seeds would narrow, at least the noise floor of the test sets."""
    shared = np.asarray(design.rho)[indices] * sds**2
    if len(indices) == 1:
        limit = float(stats.norm.ppf(1 - level / 2)) * math.sqrt(float(shared[0]))
    else:
        between = _between(means, sds, counts, design, indices)
        t = float(stats.t.ppf(1 - level / 2, len(indices) - 1))
        limit = t * math.sqrt((between + float(shared.mean())) / len(indices))
    floor = _floor(design, indices)
    return max(limit, floor) if math.isfinite(floor) else limit


def _between(means: Floats, sds: Floats, counts: Floats, design: Design, indices: list[int]) -> float:
    variances = sds**2 * (1 / np.maximum(counts, 1) + np.asarray(design.rho)[indices])
    return between_variance(means, variances)


def _next_step(
    advice: Advice,
    gone: Failures,
    means: Floats,
    sds: Floats,
    counts: Floats,
    design: Design,
    indices: list[int],
    level: float,
) -> NextStep:
    if advice.recommendation is not Recommendation.INSUFFICIENT:
        return NextStep("")
    fewest = int(counts.min())
    if gone.often and not advice.caps:  # enough pairs
        return NextStep("failures")
    if counts.sum() > 1 and not (sds > 0).any() and np.ptp(means) <= ROUNDING * np.abs(means).max():
        return NextStep("spread")  # copies of one run, most likely
    if design.num_pilot is not None and fewest >= FEWEST_PAIRS:
        return NextStep("stop")  # seeds are extended once: to look again and again is how chance becomes a result
    if len(indices) == 1:
        rho = float(np.asarray(design.rho)[indices[0]])
        extra = more_seeds(float(sds[0]), fewest, design.rope, level, 1, rho, FEWEST_PAIRS)
        if extra is None:
            return NextStep("rows")
        return NextStep("seeds", extra) if fewest + extra <= MOST_SEEDS else NextStep("stop", MOST_SEEDS)
    D = len(indices)
    if design.one_score:
        needed = more_datasets(float(means.var(ddof=1)), 0.0, 1, D, design.rope, level)
        return _datasets(needed, D)
    if fewest < 2:
        return NextStep("seeds", FEWEST_PAIRS - fewest)
    # What seeds cannot shrink: the effect's variance between data sets, and the noise of the rows that seeds share.
    fixed = _between(means, sds, counts, design, indices) + float((np.asarray(design.rho)[indices] * sds**2).mean())
    noise = float((sds**2).mean())
    if fixed <= noise / fewest or fewest < FEWEST_PAIRS:
        extra = more_seeds_each(fixed, noise, fewest, D, design.rope, level)
        if extra is not None and 0 < fewest + extra <= MOST_SEEDS:
            return NextStep("seeds", max(extra, FEWEST_PAIRS - fewest, 1))
        if fewest < FEWEST_PAIRS:
            return NextStep("seeds", FEWEST_PAIRS - fewest)
    return _datasets(more_datasets(fixed, noise, fewest, D, design.rope, level), D)


def _datasets(needed: int | None, present: int) -> NextStep:
    if needed is None or needed + present > MOST_DATASETS:
        return NextStep("stop", MOST_DATASETS)
    return NextStep("datasets", max(needed, 1, FEWEST_DATASETS - present))
