"""Runs that are not paired: equal to SciPy, and independent of how runs are numbered."""

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.decisions import Rule, decide
from evalbench.statistics.design import evidence_of, interval_of, unpaired_effect
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.unpaired import (
    TwoSamples,
    difference_size,
    hodges_lehmann_shift,
    labels,
    superiority,
    welch_p,
)

GENERATOR = np.random.default_rng(2)
X, Y = np.sort(GENERATOR.normal(0.1, 1.0, 7)), np.sort(GENERATOR.normal(0.0, 3.0, 11))


def samples(*sides: tuple[np.ndarray, np.ndarray]) -> TwoSamples:
    """Return two samples on one workload per pair of arrays."""
    names = tuple(f"w{index}" for index in range(len(sides)))

    def side(index: int) -> Matrix:
        longest = max(pair[index].size for pair in sides)
        columns = [np.pad(pair[index], (0, longest - pair[index].size), constant_values=np.nan) for pair in sides]
        return Matrix(np.stack(columns, axis=1), tuple(range(longest)), names)

    return TwoSamples(side(0), side(1))


def test_one_workload_is_scipys_welch() -> None:
    scipys, mine = stats.ttest_ind(X, Y, equal_var=False), samples((X, Y))
    assert mine.freedom == pytest.approx([scipys.df])
    interval = interval_of(mine, 0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(scipys.confidence_interval(0.95)))
    assert 2 * min(welch_p(mine, [0], np.zeros(1))) == pytest.approx(scipys.pvalue)
    decided = decide(evidence_of([(mine, None)], np.zeros(1), np.full(1, np.nan)), Rule(0.1, paired=False))
    assert (decided.low[0], decided.high[0]) == pytest.approx(tuple(scipys.confidence_interval(0.95)))
    assert (decided.low_tost[0], decided.high_tost[0]) == pytest.approx(tuple(scipys.confidence_interval(0.90)))
    assert decided.p_where[0, 0] == pytest.approx(scipys.pvalue)


def test_several_workloads_share_the_error() -> None:
    twice = samples((X, Y), (X + 1, Y + 1))
    decided = decide(evidence_of([(twice, None)], np.zeros(2), np.full(2, np.nan)), Rule(0.1, paired=False))
    half = stats.t.ppf(1 - 0.04 / 2, 2 * stats.ttest_ind(X, Y, equal_var=False).df) * np.sqrt(
        (X.var(ddof=1) / 7 + Y.var(ddof=1) / 11) / 2
    )
    assert (decided.low[0], decided.high[0]) == pytest.approx((X.mean() - Y.mean() - half, X.mean() - Y.mean() + half))


def test_rows_that_are_redrawn_widen_both_sides() -> None:
    mine = interval_of(samples((X, Y)), 0.95, rho=0.25)
    error = np.sqrt(X.var(ddof=1) * (1 / 7 + 0.25) + Y.var(ddof=1) * (1 / 11 + 0.25))
    freedom = stats.ttest_ind(X, Y, equal_var=False).df
    assert mine.high - mine.mean == pytest.approx(stats.t.ppf(0.975, freedom) * error)


def test_the_probability_is_that_of_brunner_and_munzel() -> None:
    scipys, mine = stats.brunnermunzel(Y, X), superiority(X, Y)
    assert mine.value == pytest.approx((X[:, None] > Y).mean())
    assert (mine.value - 0.5) / mine.error == pytest.approx(scipys.statistic)
    effect = unpaired_effect(samples((X, Y)), 0.95)
    assert (effect.wins, effect.ties, effect.losses) == ((X[:, None] > Y).sum(), 0, (X[:, None] < Y).sum())
    low, high = superiority(np.arange(8.0) + 10, np.arange(8.0)).interval(0.95)
    assert (low, high) == pytest.approx((0.025 ** (1 / 8), 1.0))


def test_all_labellings_are_those_of_scipys_permutation_test() -> None:
    def studentized(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        error = np.sqrt(a.var(axis=axis, ddof=1) / a.shape[axis] + b.var(axis=axis, ddof=1) / b.shape[axis])
        return np.asarray((a.mean(axis=axis) - b.mean(axis=axis)) / error)

    scipys = stats.permutation_test((X[:5], Y[:6]), studentized, vectorized=True, n_resamples=500)  # all of them
    observed = abs(float(studentized(X[None, :5], Y[None, :6], 1)[0]))
    p, smallest, _ = labels([(X[:5], Y[:6])], np.random.default_rng(0))
    assert p == pytest.approx((np.abs(scipys.null_distribution) >= observed * (1 - 1e-9)).sum() / 462)
    assert smallest == 1 / 462
    drawn, _, _ = labels([(X, Y), (X, Y)], np.random.default_rng(0))
    assert 0 < drawn <= 1


def test_thousands_of_runs_are_compared_by_ranks() -> None:
    x, y = np.sort(GENERATOR.normal(0.1, 1.0, 1500)), np.sort(GENERATOR.normal(0.0, 1.0, 1200))
    p, _, name = labels([(x, y)], np.random.default_rng(0))
    assert p == pytest.approx(stats.brunnermunzel(x, y).pvalue)
    assert name == "Brunner–Munzel"
    exact = float(np.median(x[:, None] - y))
    assert hodges_lehmann_shift(x, y) == pytest.approx(exact)
    many = hodges_lehmann_shift(np.tile(x, 3), np.tile(y, 3))  # by bisection
    assert many == pytest.approx(exact, abs=1e-6)


def test_the_size_of_a_difference() -> None:
    d, hedges = difference_size(X, Y)
    assert d == pytest.approx((X.mean() - Y.mean()) / np.sqrt((X.var(ddof=1) + Y.var(ddof=1)) / 2))
    assert abs(hedges) < abs(d)
    assert np.isnan(difference_size(X[:1], Y)).all()
    assert np.isnan(difference_size(np.ones(3), np.ones(3))).all()


def test_a_side_with_one_run_has_no_interval() -> None:
    alone = samples((X[:1], Y))
    assert not interval_of(alone, 0.95).computed
    decided = decide(evidence_of([(alone, None)], np.zeros(1), np.full(1, np.nan)), Rule(0.1, paired=False))
    assert np.isnan(decided.low[0])
