"""How often the procedure errs on runs that are not paired, and on test items: judged by what judges real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from evalbench.statistics.decisions import Evidence, Rule, decide
from evalbench.statistics.design import Differences, evidence_of
from evalbench.statistics.intervals import Floats
from evalbench.statistics.items import Items
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.unpaired import TwoSamples
from evalbench.statistics.verdicts import QUALITIES, Quality

Draw = Callable[[np.random.Generator, float], Differences]


@dataclass(frozen=True)
class RowRates:
    """Shares of simulated evaluations of one challenger, 0 to 1."""

    false: float  # claims of a direction where there is none
    covered: float  # intervals that hold the true difference, or none
    equivalent: float  # EQUIVALENT at a true difference of the ROPE
    intervals: float  # evaluations with an interval


def runs_without_pairs(counts: tuple[int, int], spreads: tuple[float, float], num_workloads: int = 1) -> Draw:
    """Return a source of runs: their numbers and standard deviations on each side."""

    def draw(generator: np.random.Generator, effect: float) -> Differences:
        sides = []
        for count, spread, mean in zip(counts, spreads, (effect, 0.0), strict=True):
            values = generator.normal(mean, spread, (count, num_workloads))
            sides.append(_matrix(values))
        return TwoSamples(*sides)

    return draw


def binary_items(count: int, share: float) -> Draw:
    """Return a source of items that score 0 or 1, of which a share differs: one way at the largest effect."""

    def draw(generator: np.random.Generator, effect: float) -> Differences:
        chances = [(share + effect) / 2, (share - effect) / 2]
        better, worse, same = generator.multinomial(count, [*chances, 1 - share])
        return Items(_matrix(np.repeat([1.0, -1.0, 0.0], [better, worse, same])[:, None]))

    return draw


def clustered_items(num_clusters: int, most: int, correlation: float, known: bool = True) -> Draw:
    """Return a source of items in clusters of 1 to `most`, whose differences correlate; `known`: the clusters are."""

    def draw(generator: np.random.Generator, effect: float) -> Differences:
        codes = np.repeat(np.arange(num_clusters), generator.integers(1, most + 1, num_clusters))
        shared = generator.normal(0, np.sqrt(correlation), num_clusters)[codes]
        values = effect + shared + generator.normal(0, np.sqrt(1 - correlation), codes.size)
        return Items(_matrix(values[:, None]), _matrix(codes[:, None].astype(np.float64)) if known else None)

    return draw


def _matrix(values: Floats) -> Matrix:
    rows, columns = values.shape
    return Matrix(values, tuple(range(rows)), tuple(f"w{index}" for index in range(columns)))


def simulate_rows(draw: Draw, rope: float, num_evaluations: int, generator: np.random.Generator) -> RowRates:
    """Judge simulated evaluations of one challenger without a difference, and with one of exactly the ROPE."""
    null = _evidence(draw, 0.0, num_evaluations, generator)
    paired = not isinstance(draw(np.random.default_rng(0), 0.0), TwoSamples)
    certain = decide(null, Rule(rope * 1e-6, paired=paired))
    claims = [QUALITIES.index(name) for name in Quality if name not in (Quality.INCONCLUSIVE,)]
    at_rope = decide(_evidence(draw, rope, num_evaluations, generator), Rule(rope, paired=paired))
    known = np.isfinite(certain.low)
    return RowRates(
        false=float(np.isin(certain.quality, claims).mean()),
        covered=float((~known | ((certain.low <= 0) & (certain.high >= 0))).mean()),
        equivalent=float((at_rope.quality == QUALITIES.index(Quality.EQUIVALENT)).mean()),
        intervals=float(known.mean()),
    )


def _evidence(draw: Draw, effect: float, num_evaluations: int, generator: np.random.Generator) -> Evidence:
    """Return the evidence of evaluations with one challenger each, arrays of shape (evaluations, 1, W)."""
    drawn = [(draw(generator, effect), None) for _ in range(num_evaluations)]
    stacked = evidence_of(drawn, 0.0, np.nan)
    return replace(stacked, **{one.name: stacked.broadcast(one.name)[:, None] for one in fields(Evidence)})
