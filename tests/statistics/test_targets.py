import numpy as np
import pytest

from evalbench.statistics.targets import algoperf_score, speed_up, time_profile

INF = np.inf
TIMES = np.array([[10.0, 10.0, 10.0, INF, 20.0], [20.0, 10.0, 50.0, INF, 10.0], [40.0, INF, 30.0, INF, INF]])


def test_the_profile_counts_misses_for_nobody() -> None:
    shares = time_profile(TIMES, [1, 2, 4, 10])
    assert shares[0] == pytest.approx([3 / 5, 4 / 5, 4 / 5, 4 / 5])
    assert shares[1] == pytest.approx([2 / 5, 3 / 5, 3 / 5, 4 / 5])
    assert shares[2] == pytest.approx([0, 0, 2 / 5, 2 / 5])


def test_the_algoperf_score_is_the_integral_of_the_profile() -> None:
    score = algoperf_score(TIMES)
    assert score is not None
    grid = np.linspace(1, 4, 300_001)
    profile = time_profile(TIMES, grid)
    assert score == pytest.approx(np.trapezoid(profile, grid, axis=1) / 3, abs=1e-5)
    assert algoperf_score(TIMES[:2]) is None
    assert algoperf_score(TIMES[:, :4]) is None


def test_speed_up_over_what_both_reach() -> None:
    gain = speed_up([10, 10, INF, 5, INF], [20, 80, 10, INF, INF])
    assert gain.ratio == pytest.approx(4.0)
    assert (gain.both, gain.only_candidate, gain.only_baseline, gain.neither) == (2, 1, 1, 1)
    assert np.isnan(speed_up([INF], [1.0]).ratio)
