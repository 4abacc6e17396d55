from itertools import combinations, product

import numpy as np
import pytest

from evalbench.statistics.tuning import expected_best, full_candidates

CASES = [
    [1.0, 2.0, 3.0],
    [0.7, 0.72, 0.75, 0.75, 0.81],
    [0.1, 0.5, 0.5, 0.9, 0.91, 0.93],
]


@pytest.mark.parametrize("values", CASES)
def test_against_all_draws(values: list[float]) -> None:
    found = expected_best(values)
    for n in range(1, len(values) + 1):
        draws = [max(draw) for draw in product(values, repeat=n)]
        assert found.with_replacement[n - 1] == pytest.approx(np.mean(draws))
        assert found.sd[n - 1] == pytest.approx(np.std(draws))
        assert found.without_replacement[n - 1] == pytest.approx(np.mean([max(c) for c in combinations(values, n)]))


def test_published_ten_trials() -> None:
    found = expected_best([0.1, 0.5, 0.5, 0.9, 0.91, 0.93, 0.1, 0.88, 0.87, 0.86])
    known = (0.655, 0.8179, 0.87379, 0.896203, 0.9066475, 0.91227379, 0.915736819, 0.9181159963, 0.91988745595)
    assert found.with_replacement[:9] == pytest.approx(known)
    assert found.sd[:3] == pytest.approx((0.31680435603065815, 0.1961226680747794, 0.11785132964884192), abs=3e-4)
    unbiased = (0.655, 0.836, 0.891, 0.9086666666666667, 0.9158333333333334, 0.9199523809523811)
    assert found.without_replacement[:6] == pytest.approx(unbiased)
    assert found.without_replacement[-1] == pytest.approx(0.93)


def test_a_pruned_candidate_counts_by_what_it_used() -> None:
    used = [1.0, 0.2, 0.2, 1.0]
    assert full_candidates(used, in_order=True) == pytest.approx([1.0, 1.2, 1.4, 2.4])
    for n, spent in enumerate(full_candidates(used, in_order=False), 1):
        assert spent == pytest.approx(np.mean([sum(chosen) for chosen in combinations(used, n)]))
    assert full_candidates([1.0] * 3, in_order=False).tolist() == [1, 2, 3]


@pytest.mark.slow
def test_many_trials_do_not_overflow() -> None:
    found = expected_best(np.linspace(0, 1, 2000))
    assert found.without_replacement[-1] == pytest.approx(1.0)
    assert (np.diff(found.without_replacement) >= -1e-9).all()


def test_nothing_to_expect() -> None:
    with pytest.raises(ValueError, match="at least one"):
        expected_best([])
