"""How often the procedure errs: thousands of simulated evaluations, judged by the functions that judge real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalbench.statistics.decisions import Evidence, decide
from evalbench.statistics.intervals import Floats
from evalbench.statistics.verdicts import QUALITIES, Quality

POOL_ROWS = 200
TEST_ROWS, TRAIN_ROWS = 40, 120


@dataclass(frozen=True)
class Setup:
    """One kind of evaluation: m challengers and a baseline on W workloads with S seeds.

    All sizes are in standard deviations of the paired difference.
    """

    num_seeds: int
    num_workloads: int
    difference: float = 0.0  # true effect of every challenger, the mean over all data sets that there are
    rope: float = 0.5
    num_challengers: int = 2
    pool: bool = False  # every seed redraws its split from one finite pool of rows; else test data are fresh
    between: float = 0.0  # standard deviation of the true effect over data sets
    unequal: bool = False  # the data sets' noise differs by a factor of up to four
    correlation: float = 0.6  # of two runs that share a seed
    extended: bool = False  # a pilot of `num_seeds`, then as many seeds again


@dataclass(frozen=True)
class Rates:
    """Shares of simulated evaluations, 0 to 1."""

    false_claims: float  # any challenger SUPERIOR or INFERIOR: the family's error if there is no difference
    superior: float  # per challenger
    better_or_superior: float
    equivalent: float
    inconclusive: float  # INCONCLUSIVE or merely NON-INFERIOR
    coverage: float  # of the deciding interval, at 95 % (with one challenger) or at the level of the family
    num_evaluations: int


def simulate(
    setup: Setup, num_evaluations: int, generator: np.random.Generator, narrower: float = 1.0, alpha: float = 0.05
) -> Rates:
    """Judge `num_evaluations` simulated evaluations of one kind.

    `narrower` multiplies the spread that the intervals are made from: 1 is the procedure, 0.6 one whose intervals are
    40 % too narrow, which a test of the procedure must notice.
    """
    seeds = setup.num_seeds * (2 if setup.extended else 1)
    draw = _pool if setup.pool else _fresh
    d = draw(setup, seeds, num_evaluations, generator)  # (evaluations, m, S, W)
    pilot = d[..., : setup.num_seeds, :]
    means, sds = d.mean(axis=-2), pilot.std(axis=-2, ddof=1)
    if narrower != 1:
        # The spread over data sets shrinks towards their mean by the same factor as that within them.
        middle = means.mean(axis=-1, keepdims=True)
        sds = sds * narrower
        if setup.num_workloads > 1:
            means = middle + (means - middle) * narrower
    rho, num_pilot = TEST_ROWS / TRAIN_ROWS if setup.pool else 0.0, setup.num_seeds if setup.extended else None
    decisions = decide(Evidence(means, sds, seeds, rho, num_pilot), setup.rope, alpha=alpha)

    def share(*names: Quality) -> Floats:
        hits: Floats = np.isin(decisions.quality, [QUALITIES.index(name) for name in names]).astype(np.float64)
        return hits

    covered = (decisions.low <= setup.difference) & (setup.difference <= decisions.high)
    return Rates(
        false_claims=float(share(Quality.SUPERIOR, Quality.INFERIOR).max(axis=-1).mean()),
        superior=float(share(Quality.SUPERIOR).mean()),
        better_or_superior=float(share(Quality.SUPERIOR, Quality.BETTER).mean()),
        equivalent=float(share(Quality.EQUIVALENT).mean()),
        inconclusive=float(share(Quality.INCONCLUSIVE, Quality.NON_INFERIOR).mean()),
        coverage=float(covered.mean()),
        num_evaluations=num_evaluations,
    )


def _effects(setup: Setup, count: int, generator: np.random.Generator) -> Floats:
    """Return the true effect on each data set, shape (evaluations, m, 1, W)."""
    shape = (count, setup.num_challengers, 1, setup.num_workloads)
    effects: Floats = setup.difference + setup.between * generator.standard_normal(shape)
    return effects


def _noise(setup: Setup) -> Floats:
    W = setup.num_workloads
    scale = np.geomspace(0.5, 2.0, W) if setup.unequal and W > 1 else np.ones(W)
    return np.asarray(scale / np.sqrt((scale**2).mean()), dtype=np.float64)


def _fresh(setup: Setup, seeds: int, count: int, generator: np.random.Generator) -> Floats:
    """Draw runs of challengers and baseline that share a part of their noise by seed; return paired differences."""
    # Var(a - b) = 2 σ² (1 - r) = 1: the unit of everything is the standard deviation of the paired difference.
    sigma = 1 / np.sqrt(2 * (1 - setup.correlation))
    shared = generator.standard_normal((count, 1, seeds, setup.num_workloads))
    own = generator.standard_normal((count, setup.num_challengers + 1, seeds, setup.num_workloads))
    runs = sigma * (np.sqrt(setup.correlation) * shared + np.sqrt(1 - setup.correlation) * own)
    differences: Floats = (runs[:, 1:] - runs[:, :1]) * _noise(setup) + _effects(setup, count, generator)
    return differences


def _pool(setup: Setup, seeds: int, count: int, generator: np.random.Generator) -> Floats:
    """Draw test and training rows of every seed from a finite pool per data set, without replacement.

    A row has its own difference when it is tested and its own influence when it is trained on; a run adds its own
    noise. The true difference is that of the population that the pool was drawn from.
    """
    W, m = setup.num_workloads, setup.num_challengers
    tested = generator.standard_normal((count, m, W, POOL_ROWS)) * np.sqrt(TEST_ROWS * 0.5)
    trained = generator.standard_normal((count, m, W, POOL_ROWS)) * np.sqrt(TRAIN_ROWS * 0.1)
    d = np.empty((count, m, seeds, W))
    for seed in range(seeds):
        # One split per seed and data set, shared by all techniques.
        order = np.argsort(generator.random((count, 1, W, POOL_ROWS), dtype=np.float32), axis=-1)
        test, train = order[..., :TEST_ROWS], order[..., TEST_ROWS : TEST_ROWS + TRAIN_ROWS]
        d[:, :, seed] = np.take_along_axis(tested, np.broadcast_to(test, (count, m, W, TEST_ROWS)), -1).mean(axis=-1)
        d[:, :, seed] += np.take_along_axis(trained, np.broadcast_to(train, (count, m, W, TRAIN_ROWS)), -1).mean(
            axis=-1
        )
    noise = generator.standard_normal(d.shape) * np.sqrt(0.4)
    result: Floats = (d + noise) * _noise(setup) + _effects(setup, count, generator)
    return result
