"""Garcia and Herrera (JMLR 2008): five classifiers on thirty data sets, and closed testing by brute force."""

from itertools import combinations

import numpy as np
import pytest

from evalbench.statistics.all_pairs import (
    MOST_TECHNIQUES,
    bergmann_hommel,
    exhaustive_sets,
    pair_tests,
    rank_pairs,
    shaffer,
)
from evalbench.statistics.significance import holm, wilcoxon

AVERAGE_RANKS = (2.100, 3.250, 2.200, 4 + 1 / 3, 3 + 7 / 60)  # C4.5, 1-NN, naive Bayes, kernel, CN2
PUBLISHED = {  # p, Holm, Shaffer, Bergmann-Hommel
    (0, 3): (4.487e-8, 4.487e-7, 4.487e-7, 4.487e-7),
    (2, 3): (1.736e-7, 1.563e-6, 1.042e-6, 1.042e-6),
    (3, 4): (0.00288, 0.02304, 0.01728, 0.01152),
    (0, 1): (0.00485, 0.03394, 0.02909, 0.02909),
    (1, 3): (0.00796, 0.04778, 0.04778, 0.03185),
    (1, 2): (0.01011, 0.05056, 0.04778, 0.03185),
    (0, 4): (0.01276, 0.05105, 0.05105, 0.03829),
    (2, 4): (0.02474, 0.07423, 0.07423, 0.03829),
    (1, 4): (0.74398, 1, 1, 1),
    (0, 2): (0.80650, 1, 1, 1),
}


def test_the_published_example() -> None:
    p = rank_pairs(AVERAGE_RANKS, 30)
    columns = (p, holm(p), shaffer(p, 5), bergmann_hommel(p, 5))
    found = dict(zip(combinations(range(5), 2), zip(*columns, strict=True), strict=True))
    for pair, expected in PUBLISHED.items():
        assert found[pair] == pytest.approx(expected, rel=6e-4), pair


def test_the_published_numbers_of_exhaustive_sets() -> None:
    assert [len(exhaustive_sets(k)) for k in range(4, 10)] == [14, 51, 202, 876, 4139, 21146]


@pytest.mark.parametrize("seed", range(5))
def test_against_closed_testing_by_brute_force(seed: int) -> None:
    """A hypothesis is rejected if every set of pairs that can be true with it is, at α over the size of the set."""
    k, p = 4, np.random.default_rng(seed).beta(0.4, 1.5, 6)
    pairs = list(combinations(range(k), 2))

    def implied(chosen: tuple[int, ...]) -> frozenset[int]:
        groups = list(range(k))
        for index in chosen:
            a, b = (groups[end] for end in pairs[index])
            groups = [a if group == b else group for group in groups]
        return frozenset(index for index, (i, j) in enumerate(pairs) if groups[i] == groups[j])

    closed = {implied(chosen) for size in range(1, 7) for chosen in combinations(range(6), size)}
    for hypothesis, adjusted in enumerate(bergmann_hommel(p.tolist(), k)):
        mine = [len(one) * min(p[list(one)]) for one in closed if hypothesis in one]
        below = [
            len(one) * min(p[list(one)])
            for other in range(6)
            if p[other] <= p[hypothesis]
            for one in closed
            if other in one
        ]
        assert max(mine) <= max(below) == pytest.approx(adjusted) or adjusted == 1
    assert all(b <= s + 1e-12 for b, s in zip(bergmann_hommel(p.tolist(), k), shaffer(p.tolist(), k), strict=True))
    assert all(s <= h + 1e-12 for s, h in zip(shaffer(p.tolist(), k), holm(p.tolist()), strict=True))


def test_too_many_techniques_are_not_computed() -> None:
    k = MOST_TECHNIQUES + 1
    p = [0.01] * 45
    assert np.isnan(bergmann_hommel(p, k)).all()
    assert max(shaffer(p, k)) == pytest.approx(0.45)
    with pytest.raises(ValueError, match="10 techniques have 45 pairs, not 3"):
        shaffer([0.1] * 3, k)


def test_every_pair_is_tested_with_both_treatments_of_ties() -> None:
    scores = np.array([[0.1, 0.2, 0.1], [0.3, 0.4, 0.3], [0.5, 0.9, 0.6], [0.2, 0.5, 0.1], [0.3, 0.5, 0.3]])
    tests = pair_tests(scores)
    assert list(tests) == [(0, 1), (0, 2), (1, 2)]
    d = scores[:, 0] - scores[:, 2]
    assert (tests[0, 2].p, tests[0, 2].p_without_ties) == (wilcoxon(d), wilcoxon(d, "wilcox"))
    assert tests[0, 1].holm == holm([test.p for test in tests.values()])[0]
