from itertools import product

import numpy as np
import pytest

from evalbench.statistics.aggregates import (
    iqm,
    iqm_interval,
    paired_improvement,
    redrawn,
    score_profile,
    share_best,
)


def test_the_middle_half() -> None:
    assert iqm(np.arange(8.0)) == 3.5
    assert iqm([[0.0, 100.0], [5.0, 7.0], [6.0, np.nan]]) == pytest.approx(6.0)
    assert np.isnan(iqm([]))


def test_both_bootstraps_are_reproducible_and_sets_add_uncertainty() -> None:
    scores = np.random.default_rng(0).normal([0.2, 0.5, 0.6, 0.9], 0.01, (10, 4))
    first = iqm_interval(scores, np.random.default_rng(1))
    assert first == iqm_interval(scores, np.random.default_rng(1))
    assert first.these[0] < first.value < first.these[1]
    assert np.ptp(first.like_these) > 5 * np.ptp(first.these)


def test_the_stratified_bootstrap_of_one_set_against_all_its_draws() -> None:
    sample = np.array([1.0, 2.0, 6.0])
    means = [float(iqm(draw)) for draw in product(sample, repeat=3)]
    found = iqm_interval(sample[:, None], np.random.default_rng(0), num_draws=50_000)
    assert found.these == tuple(np.quantile(means, [0.025, 0.975], method="inverted_cdf")) == (1.0, 6.0)


def test_share_of_pairs_won() -> None:
    a = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, np.nan]])
    b = np.array([[2.0, 5.0], [3.0, 4.0], [4.0, 4.0]])
    assert paired_improvement(a - b) == pytest.approx((0 + (1 / 2 + 1) / 2) / 2)


def test_score_profile_counts_strictly_above() -> None:
    assert score_profile([[1.0, 2.0], [3.0, np.nan]], [0.0, 1.0, 2.5, 3.0]) == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_probability_best_pairs_the_seeds() -> None:
    seeds = np.random.default_rng(0).normal(0, 1, (10, 3))
    # Always a little better on the same seed: paired resamples never doubt it, however large the seeds' own noise.
    table = np.stack([seeds, seeds + 0.01, seeds - 1])
    assert share_best(redrawn(table, np.random.default_rng(1))) == pytest.approx([0, 1, 0])
    equal = share_best(redrawn(np.stack([seeds, seeds]), np.random.default_rng(1)))
    assert equal == pytest.approx([0.5, 0.5])
