"""From the paired differences of a family of challengers to their verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from evalbench.statistics.costs import Ratio
from evalbench.statistics.decisions import FEWEST_FREEDOM, Decisions, Evidence, Rule, decide, per_set
from evalbench.statistics.design import Challenger, Design, Differences, evidence_of, used
from evalbench.statistics.generality import Generality, generality
from evalbench.statistics.intervals import ROUNDING, Floats, Interval
from evalbench.statistics.items import Items
from evalbench.statistics.looks import Looked, decide_in_looks
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.pooling import between_variance, prediction_interval, sign_is_stable
from evalbench.statistics.power import Prices, datasets_needed, seeds_needed
from evalbench.statistics.second import Second, second_methods
from evalbench.statistics.significance import asymmetry
from evalbench.statistics.unpaired import TwoSamples
from evalbench.statistics.verdicts import (
    FAILURES,
    FEWEST_DATASETS,
    QUALITIES,
    Advice,
    CostClass,
    Guards,
    Quality,
    Recommendation,
    advise,
    cost_class,
)

SKEWED = 0.01
"""Below this p of `asymmetry`, the t interval errs more often than it says."""


@dataclass(frozen=True)
class SetEffect:
    """One challenger on one workload, in the common unit."""

    workload: str
    interval: Interval  # at the level of the family, by itself
    named: int  # 1 if the first verdict names the workload as better, -1 if as worse
    p: float  # after Holm over all workloads and challengers; nan if it is not part of the first verdict
    share: float  # of the squared standard error of the mean; nan if it is not part of it
    counted: bool  # it is a data set: it was not generated
    runs: tuple[int, int]  # of the challenger and of the baseline; of pairs, both are their number


@dataclass(frozen=True)
class NextStep:
    """What would settle an open question."""

    what: str  # look, seeds, pairs, datasets, rows, spread, failures, or nothing
    count: int = 0  # of a look, seeds and pairs: how many per workload in all; of data sets: in all


@dataclass(frozen=True)
class Failures:
    """How often a side alone failed, over the workloads that count; with other factors, a mean over their settings.

    Of runs that are not paired: the failed runs of each side.
    """

    challenger: float  # pairs
    baseline: float
    num_pairs: int
    num_pairs_baseline: int  # another number than `num_pairs` if runs are not paired
    side: int  # -1 if the challenger loses by them alone, 1 if the baseline does, else 0

    @property
    def often(self) -> bool:
        """Return whether the challenger fails more often, by a tenth of the pairs or more."""
        return self.more > FAILURES - 1e-9

    @property
    def more(self) -> float:
        """Return the rate of the challenger minus that of the baseline."""
        return self.challenger / max(1, self.num_pairs) - self.baseline / max(1, self.num_pairs_baseline)


@dataclass(frozen=True)
class RowsOnly:
    """What holds on exactly these rows, over splits and seeds: the interval with rho = 0."""

    low: float
    high: float
    quality: Quality
    better_on: tuple[str, ...]
    worse_on: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one challenger, in the common unit; positive is better than the baseline."""

    challenger: str
    effect: Interval  # at the level of the family: this one decides
    freedom: float  # its degrees of freedom
    equivalence: tuple[float, float]  # the interval of the two one-sided tests
    prediction: tuple[float, float]  # the mean effect on one more data set; nan below three data sets
    sets: tuple[SetEffect, ...]
    wins: int  # pairs, over the workloads of the first verdict
    ties: int
    losses: int
    failures: Failures
    quality: Quality
    on_rows: RowsOnly | None  # None if the first verdict is about these rows already, or INVALID
    generality: Generality | None  # the second verdict, which decides if data sets are the pairs; None for one, INVALID
    looks: Looked
    cost: Ratio
    cost_class: CostClass
    advice: Advice
    num_datasets: int
    num_pairs: int  # on the workload with fewest
    guards: Guards
    second: Second
    next_step: NextStep
    prices: Prices
    half_rope: Recommendation  # the recommendation if the ROPE were half as wide
    double_rope: Recommendation
    floor: float  # noise floor of the test sets for the mean, at least, if some are not known; nan if none is
    finest: float  # half the interval with infinitely many seeds on these rows
    asymmetry: float  # p of a test that the paired differences are symmetric; nan for too few
    between: float  # standard deviation of the true effect between the workloads
    leave_one_out: Mapping[str, float] = field(default_factory=dict)  # mean without each workload

    @property
    def recommendation(self) -> Recommendation:
        """Return the advice in one word."""
        return self.advice.recommendation

    @property
    def rope_sensitive(self) -> bool:
        """Return whether half or double the ROPE would have given another recommendation."""
        return {self.half_rope, self.double_rope} != {self.recommendation}

    @property
    def better_on(self) -> tuple[str, ...]:
        """Return the workloads that the first verdict names as better."""
        return tuple(effect.workload for effect in self.sets if effect.named > 0)

    @property
    def worse_on(self) -> tuple[str, ...]:
        """Return the workloads that the first verdict names as worse."""
        return tuple(effect.workload for effect in self.sets if effect.named < 0)


def judge(challengers: Sequence[Challenger], design: Design, generator: np.random.Generator) -> tuple[Verdict, ...]:
    """Return the verdicts of one family of challengers against one baseline, in the order given.

    Each challenger is judged at every declared look that its seeds have reached, and keeps the verdict of the look at
    which it stopped; seeds beyond that look are left out.

    Args:
        challengers: all challengers of the family, their matrices with the same workloads.
        design: what they share.
        generator: for the tests that draw signs.
    """
    if not challengers:
        return ()
    family = max(design.num_challengers or 0, len(challengers))
    rule = Rule(design.rope, design.alpha, family, max(1, len(design.looks)), design.one_score, design.paired)
    reached = _reached(challengers, design)
    at = [_evidence([_until(c, num_seeds) for c in challengers], design) for num_seeds in reached]
    staged = decide_in_looks([evidence.on(_mask(design)) for evidence in at], rule)
    looks = [Looked(int(look), reached[int(look)] or 0, staged.reason(index)) for index, look in enumerate(staged.look)]
    kept = [_until(c, look.num_seeds or None) for c, look in zip(challengers, looks, strict=True)]
    evidence = _evidence(kept, design)
    wide, narrow, rows = (
        decide(replace(part, rho=rho), replace(rule, rope=design.rope * factor), staged.decisions.named)
        for part in [evidence.on(_mask(design))]
        for factor, rho in ((2.0, part.rho), (0.5, part.rho), (1.0, 0.0))
    )
    by_factor = {1.0: staged.decisions, 0.5: narrow, 2.0: wide}
    seconds = second_methods(kept, staged.decisions, design, family, generator)
    judged = _Judged(design, rule, evidence, by_factor, rows, 1 - design.alpha / family)
    return tuple(
        judged.verdict(index, challenger, seconds[index], looks[index]) for index, challenger in enumerate(kept)
    )


def _mask(design: Design) -> npt.NDArray[np.bool_]:
    return np.isin(np.arange(len(design.counted)), used(design))


def _reached(challengers: Sequence[Challenger], design: Design) -> list[int | None]:
    """Return the declared looks whose seeds are there; None for a single look at all seeds."""
    if len(design.looks) < 2:
        return [None]
    last = max((seed for challenger in challengers for seed in challenger.differences.seeds), default=0)
    return [design.looks[0], *(n for n in design.looks[1:] if last >= n - 1)]


def _until(challenger: Challenger, num_seeds: int | None) -> Challenger:
    """Return a challenger with the seeds of a look (all of them, if None)."""
    if num_seeds is None:
        return challenger
    decided = None if challenger.decided is None else challenger.decided.first(num_seeds)
    return replace(challenger, differences=challenger.differences.first(num_seeds), decided=decided)


def _evidence(challengers: Sequence[Challenger], design: Design) -> Evidence:
    """Return the evidence on all workloads."""
    return evidence_of([(one.differences, one.decided) for one in challengers], design.rho, design.floors)


@dataclass(frozen=True)
class _Judged:
    """The decisions on a family, from which each verdict is made."""

    design: Design
    rule: Rule
    evidence: Evidence  # on all workloads, at the look of each challenger
    by_factor: Mapping[float, Decisions]  # by the factor of the ROPE
    rows: Decisions  # with rho = 0
    level: float  # confidence of each workload by itself, and of the second verdict

    def verdict(self, index: int, challenger: Challenger, second: Second, look: Looked) -> Verdict:
        """Return the verdict on one challenger."""
        design, here, indices = self.design, self.by_factor[1.0], used(self.design)
        differences = challenger.differences
        means, counts = differences.means, np.array(differences.counts)
        data_sets = [w for w, counts_there in enumerate(design.counted) if counts_there and counts[w]]
        lacking = self._lacking(index, counts[indices])
        effect = self._effect(index, differences.sds[indices], counts[indices], lacking)
        side = int(here.by_failures[index]) or effect.side
        guards, advices = self._advices(index, challenger, second, lacking)
        invalid = advices[1.0].recommendation is Recommendation.INVALID
        failed = self._failures(index, indices)
        variances = self.evidence.errors[index] ** 2
        floors = np.asarray(design.floors)[indices]
        floor = math.sqrt(np.nansum(floors**2)) / len(indices) if np.isfinite(floors).any() else math.nan
        prices = self._prices(index, effect, means[data_sets], getattr(differences, "doubled", np.ones(means.size)))
        wins, ties, losses = _count_pairs(challenger, indices)
        like_these = len(data_sets) > 1 and not design.fixed_sets
        return Verdict(
            challenger=challenger.name,
            effect=effect,
            freedom=float(here.freedom[index]),
            equivalence=(float(here.low_tost[index]), float(here.high_tost[index])),
            prediction=prediction_interval(list(means[data_sets]) if like_these else [], self.level),
            sets=self._sets(index, challenger, variances, claims=not invalid),
            wins=wins,
            ties=ties,
            losses=losses,
            failures=failed,
            quality=Quality.INCONCLUSIVE if invalid else QUALITIES[int(here.quality[index])],
            on_rows=None if invalid else self._on_rows(index, differences.workloads),
            generality=None if invalid or not like_these else generality(means[data_sets], side, self.level),
            looks=look,
            cost=challenger.cost,
            cost_class=cost_class(challenger.cost.low, challenger.cost.high),
            advice=advices[1.0],
            num_datasets=len(data_sets),
            num_pairs=len(data_sets) if design.one_score else int(counts[indices].min()),
            guards=guards,
            second=second,
            next_step=self._next_step(index, advices[1.0], failed, look, prices),
            prices=prices,
            half_rope=advices[0.5].recommendation,
            double_rope=advices[2.0].recommendation,
            floor=floor,
            finest=float(np.fmax(here.limit[index], floor)),
            asymmetry=math.nan if self.rule.by_set else _asymmetry(differences, indices),
            between=_between(means[indices], variances[indices]),
            leave_one_out=_without_each(means, differences.workloads, indices),
        )

    def _lacking(self, index: int, counts: npt.NDArray[np.int_]) -> str:
        """Return why there are too few pairs for any verdict; empty if there are enough."""
        number = counts.size if self.rule.by_set else int(counts.min())
        freedom, least = float(self.by_factor[1.0].freedom[index]), self.rule.fewest(counts.size)
        if number < least:
            one, many = ("pair is", "pairs are") if self.rule.paired else ("run of a side is", "runs of a side are")
            return f"{number} {one if number == 1 else many} fewer than {least}"
        if freedom < FEWEST_FREEDOM - 1e-9:
            return f"{freedom:.1f} degrees of freedom are fewer than {FEWEST_FREEDOM:.0f}"
        return ""

    def _effect(self, index: int, sds: Floats, counts: npt.NDArray[np.int_], lacking: str) -> Interval:
        """Return the effect that decides."""
        here, family = self.by_factor[1.0], self.rule.num_challengers or 1
        return Interval(
            mean=float(here.mean[index]),
            low=float(here.low[index]),
            high=float(here.high[index]),
            sd=float(sds[0]) if counts.size == 1 else math.nan,
            count=int(counts[0]) if counts.size == 1 else counts.size,
            confidence=1 - self.rule.for_the_mean(counts.size) / family,
            lacking="too few pairs" if lacking else "",
        )

    def _on_rows(self, index: int, workloads: Sequence[str]) -> RowsOnly | None:
        indices, rows = used(self.design), self.rows
        if self.rule.by_set or not np.asarray(self.design.rho)[indices].any():
            return None
        named = [
            tuple(workloads[w] for w, side in zip(indices, rows.named[index], strict=True) if side == wanted)
            for wanted in (1, -1)
        ]
        return RowsOnly(float(rows.low[index]), float(rows.high[index]), QUALITIES[int(rows.quality[index])], *named)

    def _failures(self, index: int, indices: list[int]) -> Failures:
        lost, won, runs, runs_baseline = (
            float(self.evidence.broadcast(name)[index, indices].sum())
            for name in ("lost", "won", "runs", "runs_baseline")
        )
        return Failures(lost, won, int(runs), int(runs_baseline), int(self.by_factor[1.0].by_failures[index]))

    def _sets(self, index: int, challenger: Challenger, variances: Floats, claims: bool) -> tuple[SetEffect, ...]:
        """Return the effects on the workloads; none is named without `claims`."""
        here, indices, differences = self.by_factor[1.0], used(self.design), challenger.differences
        low, high = (ends[index] for ends in per_set(self.evidence, self.level))
        total = float(np.nansum(variances[indices]))
        effects = []
        for w, workload in enumerate(differences.workloads):
            position = indices.index(w) if w in indices and not self.rule.by_set else None
            interval = Interval(
                mean=float(differences.means[w]),
                low=float(low[w]),
                high=float(high[w]),
                sd=float(np.nan_to_num(differences.sds[w])),
                count=int(differences.counts[w]),
                confidence=self.level,
            )
            effects.append(
                SetEffect(
                    workload,
                    interval,
                    named=int(here.named[index, position]) if claims and position is not None else 0,
                    p=math.nan if position is None else float(here.p_where[index, position]),
                    share=math.nan if position is None or not total > 0 else float(variances[w]) / total,
                    counted=self.design.counted[w],
                    runs=(int(differences.runs[0][w]), int(differences.runs[1][w])),
                )
            )
        return tuple(effects)

    def _advices(
        self, index: int, challenger: Challenger, second: Second, lacking: str
    ) -> tuple[Guards, dict[float, Advice]]:
        """Return the guards, and the advice for each factor of the ROPE."""
        design, D = self.design, sum(self.design.counted)
        means = challenger.differences.means[used(design)]
        guards = Guards(
            complete=challenger.complete,
            tuned=design.tuned,
            tuning_parity=design.tuning_parity,
            named_worse=bool((self.by_factor[1.0].named[index] < 0).any()),
            methods_agree=second.agrees,
            failures_ok=challenger.failures_ok,
            few_datasets=D if D == 0 or (self.rule.by_set and D < FEWEST_DATASETS) else None,
            lodo_stable=not self.rule.by_set or sign_is_stable(means),
        )
        cost = cost_class(challenger.cost.low, challenger.cost.high)
        advices = {
            factor: advise(QUALITIES[int(decisions.quality[index])], cost, lacking, guards)
            for factor, decisions in self.by_factor.items()
        }
        return guards, advices

    def _prices(self, index: int, effect: Interval, means: Floats, doubled: Floats) -> Prices:
        """Return the seeds and data sets that an answer needs, at the level of a single look."""
        rule, design, indices = self.rule, self.design, used(self.design)
        sds, counts = self.evidence.sds[index, indices], self.evidence.fewest[index, indices]
        level, doubled = 1 - effect.confidence, doubled[indices]
        least = int(counts.min())
        halves = (abs(effect.mean), design.rope)
        seeds: list[int | None] = [None, None]
        if not rule.by_set:
            rho = np.asarray(design.rho)[indices]
            seeds = [seeds_needed(sds, rho, half, level, least, doubled) for half in halves]
        spread = float(means.std(ddof=1)) if means.size > 1 else math.nan
        here = abs(float(means.mean())) if means.size else math.nan
        spread = math.nan if design.fixed_sets else spread
        sets = [datasets_needed(spread, half, 1 - self.level, means.size) for half in (here, design.rope)]
        return Prices(*seeds, *sets)

    def _next_step(self, index: int, advice: Advice, gone: Failures, look: Looked, prices: Prices) -> NextStep:
        if advice.recommendation is not Recommendation.INSUFFICIENT:
            return NextStep("")
        enough = not advice.caps
        if gone.often and enough:
            return NextStep("failures")
        indices = used(self.design)
        means, sds = self.evidence.means[index, indices], self.evidence.sds[index, indices]
        counts = self.evidence.fewest[index, indices]
        if self.rule.by_set:
            copies = means.size > 1 and np.ptp(means) <= ROUNDING * np.abs(means).max()
        else:
            copies = counts.max() > 1 and not (sds > 0).any()
        if copies:
            return NextStep("spread")  # of one run, most likely
        if look.stopped is None and look.index + 1 < len(self.design.looks):
            return NextStep("look", self.design.looks[look.index + 1])
        if self.rule.by_set:
            return NextStep("datasets", prices.datasets_for_rope or prices.datasets_for_sign or 0)
        if not enough:
            least = self.rule.fewest(len(indices))
            return NextStep("pairs", max(least, int(counts.min()) + int(counts.min() >= least)))
        seeds = prices.seeds_for_rope or prices.seeds_for_sign
        return NextStep("rows") if seeds is None else NextStep("seeds", seeds)


def _count_pairs(challenger: Challenger, indices: list[int]) -> tuple[int, int, int]:
    """Return the pairs that were won, tied and lost on some workloads: all pairs of runs, if they are not paired."""
    if isinstance(challenger.differences, TwoSamples):
        return challenger.differences.compared(indices)
    each = challenger.differences
    rounded = np.round((each.each if isinstance(each, Items) else each).values[:, indices], 10)
    if isinstance(challenger.decided, Matrix):
        decided = challenger.decided.values[:, indices]
        rounded = np.where(np.isfinite(rounded) & (decided != 0), decided, rounded)
    return int((rounded > 0).sum()), int((rounded == 0).sum()), int((rounded < 0).sum())


def _asymmetry(differences: Differences, indices: list[int]) -> float:
    """Return p of the test of skewness; without pairs, of the scores of one side and the negated ones of the other."""
    if isinstance(differences, TwoSamples):
        return asymmetry([side * sign for a, b in differences.sides(indices) for side, sign in ((a, 1.0), (b, -1.0))])
    return asymmetry(list(differences.values[:, indices].T))


def _between(means: Floats, variances: Floats) -> float:
    """Return the standard deviation of the true effect between workloads; nan if their noise is not known."""
    return math.sqrt(between_variance(means, variances)) if np.isfinite(variances).all() else math.nan


def _without_each(means: Floats, workloads: Sequence[str], indices: list[int]) -> dict[str, float]:
    """Return the mean over the workloads without each of them in turn."""
    total = float(means[indices].sum())
    return {workloads[w]: (total - float(means[w])) / (len(indices) - 1) for w in indices if len(indices) > 1}
