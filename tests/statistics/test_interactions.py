"""Whether a difference depends on another factor: the rule, and how often it errs."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.decisions import Evidence
from evalbench.statistics.interactions import DEPENDENCES, Dependence, LevelContrasts, contrast_levels
from evalbench.statistics.intervals import Floats

Draw = Callable[[tuple[int, ...], np.random.Generator], Floats]
POOL, TEST, TRAIN = 200, 40, 120
DEPENDS, SAME, UNKNOWN = (DEPENDENCES.index(name) for name in (Dependence.DEPENDS, Dependence.SAME, Dependence.UNKNOWN))


def judged(gaps: Floats, rope: float = 1e-9, rho: float = 0.0, alpha: float = 0.05) -> LevelContrasts:
    """Judge gaps of shape (..., seeds, W)."""
    seeds = gaps.shape[-2]
    sds = gaps.std(axis=-2, ddof=1) if seeds > 1 else np.full(gaps.shape[-1], np.nan)
    return contrast_levels(Evidence(gaps.mean(axis=-2), sds, seeds, rho), rope, alpha)


def test_one_workload_has_the_t_interval() -> None:
    gaps = np.random.default_rng(0).normal(1, 1, (8, 1))
    mine = judged(gaps)
    low, high = stats.ttest_1samp(gaps[:, 0], 0).confidence_interval(0.95)
    assert (float(mine.low), float(mine.high)) == pytest.approx((low, high))
    wider = judged(gaps, rho=1 / 3)
    ratio = float((wider.high - wider.low) / (mine.high - mine.low))
    assert ratio == pytest.approx(((1 / 8 + 1 / 3) / (1 / 8)) ** 0.5)


def test_two_workloads_are_a_difference_by_welch() -> None:
    """The sum of two means has the interval of a difference, with one of the two turned around."""
    gaps = np.random.default_rng(1).normal(0.3, [1, 4], (6, 2))
    mine = judged(gaps)
    welch = stats.ttest_ind(gaps[:, 0], -gaps[:, 1], equal_var=False).confidence_interval(0.95)
    assert (2 * float(mine.low), 2 * float(mine.high)) == pytest.approx((welch.low, welch.high))


@pytest.mark.parametrize(
    ("mean", "rope", "answer"), [(3.0, 0.5, DEPENDS), (0.0, 3.0, SAME), (0.0, 0.5, UNKNOWN), (1.2, 3.0, SAME)]
)
def test_the_answers(mean: float, rope: float, answer: int) -> None:
    gaps = mean + np.array([[-1.0], [1.0]] * 4)
    assert judged(gaps, rope).answer == answer


@pytest.mark.parametrize("gaps", [np.ones((6, 2)), np.ones((1, 2)), np.random.default_rng(0).normal(9, 1, (4, 1))])
def test_too_little_to_say_anything(gaps: Floats) -> None:
    """No spread, one seed, or fewer than four degrees of freedom."""
    mine = judged(gaps)
    assert mine.answer == UNKNOWN
    assert np.isnan(mine.low)


def fresh(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Draw paired differences (evaluations, candidates, levels, seeds, W) that share the baseline's noise."""
    evaluations, _, *others = shape
    noise = generator.standard_normal(shape) - generator.standard_normal((evaluations, 1, *others))
    return np.asarray(noise * np.geomspace(0.3, 3, shape[-1]))


def redrawn(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Draw paired differences on splits that are redrawn from one pool of rows per workload.

    At each level a row has a difference of its own when it is tested, and an influence of its own when it trains.
    """
    evaluations, candidates, levels, seeds, W = shape
    rows = (evaluations, candidates, levels, W, POOL)
    tested = generator.standard_normal(rows, np.float32) * (TEST * 0.5) ** 0.5
    trained = generator.standard_normal(rows, np.float32) * (TRAIN * 0.1) ** 0.5
    gaps = generator.standard_normal(shape) * 0.4**0.5
    for seed in range(seeds):
        order = np.argsort(generator.random((evaluations, 1, 1, W, POOL), np.float32), axis=-1)
        for effects, part in ((tested, order[..., :TEST]), (trained, order[..., TEST : TEST + TRAIN])):
            gaps[..., seed, :] += np.take_along_axis(effects, part, axis=-1).mean(axis=-1)
    return np.asarray(gaps, dtype=np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [fresh, redrawn])
@pytest.mark.parametrize(
    ("candidates", "levels", "seeds", "workloads"), [(1, 2, 5, 1), (2, 3, 5, 3), (2, 3, 10, 3), (1, 3, 20, 2)]
)
def test_a_dependence_that_is_not_there_is_rarely_claimed(
    draw: Draw, candidates: int, levels: int, seeds: int, workloads: int
) -> None:
    """The family of all candidates and pairs of levels errs in at most 6 %, three standard errors allowed."""
    evaluations = 4000 if draw is fresh else 2000
    differences = draw((evaluations, candidates, levels, seeds, workloads), np.random.default_rng(7))
    pairs = list(combinations(range(levels), 2))
    gaps = np.stack([differences[:, :, a] - differences[:, :, b] for a, b in pairs], axis=2)
    rho = 0.0 if draw is fresh else TEST / TRAIN
    answers = judged(gaps, rho=rho, alpha=0.05 / (candidates * len(pairs))).answer
    errors = (answers == DEPENDS).any(axis=(1, 2)).mean()
    assert errors <= 0.06 + 3 * (0.05 * 0.95 / evaluations) ** 0.5
