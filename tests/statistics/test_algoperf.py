"""AlgoPerf's published rule: the trapezoid on 100 points, held-out workloads, and medians of studies."""

import numpy as np
import pytest

from evalbench.statistics.algoperf import Scored, scored, study_time, trapezoid_scores
from evalbench.statistics.targets import profile_area

INF, NAN = np.inf, np.nan


def by_hand(ratios: list[float]) -> float:
    """Integrate step by step as the published program does: ρ(τ) = share of ratios ≤ τ, 100 points, over 3."""
    points = [1 + 3 * index / 99 for index in range(100)]
    heights = [sum(ratio <= point for ratio in ratios) / len(ratios) for point in points]
    area = sum((heights[index] + heights[index + 1]) / 2 * (points[index + 1] - points[index]) for index in range(99))
    return area / 3


def test_the_published_trapezoid() -> None:
    times = np.array([[10.0, 30.0, 7.0, INF, 12.0], [25.0, 10.0, 7.0, INF, 48.0], [39.9, INF, 29.0, INF, 13.0]])
    ratios = [[1, 3, 1, INF, 1], [2.5, 1, 1, INF, 4], [3.99, INF, 29 / 7, INF, 13 / 12]]
    assert trapezoid_scores(times) == pytest.approx([by_hand(row) for row in ratios])
    # A ratio of 1 counts fully; between two points the profile rises in a slope instead of a step.
    assert trapezoid_scores([[1.0], [2.0]]) == pytest.approx([1.0, (99 - 33 + 0.5) / 99])
    assert trapezoid_scores([[1.0], [INF]]) == pytest.approx([1.0, 0.0])


def test_the_closed_form_is_its_limit() -> None:
    generator = np.random.default_rng(0)
    times = np.exp(generator.normal(0, 0.7, (5, 40)))
    times[generator.random(times.shape) < 0.1] = INF
    assert trapezoid_scores(times) == pytest.approx(profile_area(times), abs=0.5 / 99)
    assert (np.argsort(trapezoid_scores(times)) == np.argsort(profile_area(times))).all()


@pytest.mark.parametrize(
    ("times", "median"),
    [([5, 1, 3, 2, INF], 3), ([5, 1, INF, INF, INF], INF), ([1, INF], INF), ([1, 2, 3, INF], 2.5), ([7], 7)],
)
def test_the_median_of_studies(times: list[float], median: float) -> None:
    assert study_time(times) == median


def test_held_out_workloads_only_penalize() -> None:
    fixed = [[10.0, 10.0, 10.0], [39.0, 41.0, 20.0], [INF, 20.0, 30.0], [20.0, 20.0, 20.0]]
    other = [[5.0, NAN, 1.0], [8.0, NAN, INF], [0.1, NAN, 4.1], [20.1, NAN, 4.0]]
    assert scored(fixed, other) == [
        [Scored.COUNTS, Scored.COUNTS, Scored.COUNTS],
        [Scored.COUNTS, Scored.SLOW, Scored.HELD_OUT_MISSED],
        # Its 0.1 on the held-out workload is no measure for the others: it missed the fixed one.
        [Scored.MISSED, Scored.COUNTS, Scored.HELD_OUT_SLOW],
        [Scored.HELD_OUT_SLOW, Scored.COUNTS, Scored.COUNTS],
    ]
