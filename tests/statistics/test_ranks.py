"""Demšar (2006): the published ranks, statistics and critical values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.statistics.ranks import (
    cliques,
    critical_difference,
    iman_davenport,
    nemenyi_q,
    rank_rows,
    shared_ranks,
)
from evalbench.statistics.significance import signed_rank_sums, wilcoxon

DATA = Path(__file__).parent / "data"
PUBLISHED = pd.read_csv(DATA / "demsar_ranks.csv", index_col=0)
SCORES = pd.read_csv(DATA / "demsar_auc.csv", index_col=0)
Q_NEMENYI = {
    0.05: (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164),
    0.10: (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920),
}


def test_published_ranks_give_the_published_statistics() -> None:
    test = iman_davenport(PUBLISHED.to_numpy())
    assert test.average_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=0.0005)
    assert (test.chi2, test.f) == pytest.approx((9.28, 3.69), abs=0.005)
    assert (test.chi2, test.f, test.p) == pytest.approx((9.278571428571437, 3.686313032089068, 0.019823006192249054))
    assert test.degrees == (3, 39)
    assert test.kendalls_w == pytest.approx(9.278571428571437 / 42)


def test_ranking_the_printed_table_ties_what_the_paper_did_not() -> None:
    test = iman_davenport(rank_rows(SCORES.to_numpy()))
    assert test.average_ranks == pytest.approx((3.142857, 2.0, 2.928571, 1.928571), abs=1e-6)
    assert (test.chi2, test.f, test.p) == pytest.approx((9.857142857142824, 3.9866666666666495, 0.01435244621602403))


def test_critical_values_and_differences() -> None:
    for alpha, values in Q_NEMENYI.items():
        assert [nemenyi_q(k, alpha) for k in range(2, 11)] == pytest.approx(values, abs=0.0015)
    assert critical_difference(4, 14) == pytest.approx(1.2535591471176057)
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.1180601669815278)


def test_groups_of_the_critical_difference_picture() -> None:
    mean = PUBLISHED.mean().tolist()
    names = list(PUBLISHED.columns)
    assert cliques(mean, critical_difference(4, 14)) == [(3, 1, 2, 0)]  # no pair differs at .05
    at_ten = [[names[i] for i in group] for group in cliques(mean, critical_difference(4, 14, 0.10))]
    assert at_ten == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_wilcoxon_the_way_of_the_paper() -> None:
    d = (SCORES["C4.5+m"] - SCORES["C4.5"]).to_numpy()
    assert signed_rank_sums(d) == (93.0, 12.0)  # Demšar, section 3.1.3: zero differences are split
    assert wilcoxon(d) == pytest.approx(0.008544921875, abs=3e-3)
    assert wilcoxon(d, zeros="wilcox") == pytest.approx(0.00927734375, abs=3e-3)


def test_wilcoxon_without_the_zero_differences() -> None:
    """Student's sleep data: with the zero dropped, V = 45, the largest of 2^9 values, as R's `wilcox.exact` prints."""
    d = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert signed_rank_sums(d, "wilcox") == (45.0, 0.0)
    assert wilcoxon(d, "wilcox") == pytest.approx(0.003906, abs=5e-7)
    assert signed_rank_sums(d) == (54.5, 0.5)


def test_wilcoxon_is_exact_without_ties() -> None:
    """Hollander and Wolfe's depression scores: V = 40, p = .03906 (two-sided) in R."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    assert signed_rank_sums(before - after) == (40.0, 5.0)
    assert wilcoxon(before - after) == wilcoxon(before - after, "wilcox") == pytest.approx(0.0390625)


def test_unanimous_and_tied_data_sets() -> None:
    unanimous = iman_davenport(np.tile([1.0, 2.0, 3.0], (6, 1)))
    assert (unanimous.f, unanimous.p) == (np.inf, 0.0)
    assert np.isnan(iman_davenport(np.full((6, 3), 2.0)).p)
    with pytest.raises(ValueError, match="at least two"):
        iman_davenport(np.ones((1, 3)))


def test_what_cannot_be_told_apart_shares_a_rank() -> None:
    beats = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    assert shared_ranks(beats) == (1, 1, 3)
    assert shared_ranks(np.zeros((3, 3))) == (1, 1, 1)
