"""Verdicts where pairs are missing, or have no spread: no claim, no failure, no warning."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evalbench.statistics.design import Challenger, Design
from evalbench.statistics.judging import NextStep, Verdict, judge
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.verdicts import Quality, Recommendation

pytestmark = pytest.mark.filterwarnings("error")
NOISE = np.random.default_rng(0).standard_normal((10, 4))


def verdict(values: np.ndarray, **changes: object) -> Verdict:
    seeds, W = values.shape
    design = Design(0.3, np.full(W, 0.25), (True,) * W, np.full(W, math.nan))
    differences = Matrix(values, tuple(range(seeds)), tuple(f"w{index}" for index in range(W)))
    return judge([Challenger("new", differences)], replace(design, **changes), np.random.default_rng(0))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("there", [0, 1])
def test_a_workload_with_fewer_than_two_pairs(there: int) -> None:
    values = NOISE + 5
    values[there:, 1] = np.nan
    verdict_ = verdict(values)
    assert (verdict_.quality, verdict_.recommendation) == (Quality.INCONCLUSIVE, Recommendation.INSUFFICIENT)
    assert verdict_.next_step == NextStep("pairs", 2)
    assert verdict_.better_on == ()  # nothing is claimed


@pytest.mark.parametrize("W", [1, 3])
def test_no_pair_at_all(W: int) -> None:
    assert verdict(np.full((10, W), np.nan)).recommendation is Recommendation.INSUFFICIENT


def test_one_score_per_data_set() -> None:
    assert verdict(NOISE[:, :1].T + 5, one_score=True).quality is Quality.SUPERIOR
    assert verdict(NOISE[:1] + 5, one_score=True).recommendation is Recommendation.INSUFFICIENT
    gap = NOISE[:, :1].T + np.where(np.arange(10) == 3, np.nan, 5)
    assert verdict(gap, one_score=True).recommendation is Recommendation.INSUFFICIENT


def test_copies_of_one_run_on_every_data_set() -> None:
    copies = verdict(np.tile([0.1, 0.2, 0.3, -0.1], (10, 1)))
    assert (copies.quality, copies.next_step) == (Quality.INCONCLUSIVE, NextStep("spread"))
    assert verdict(np.full((1, 6), 0.1), one_score=True).next_step == NextStep("spread")


def test_a_look_counts_when_its_seeds_are_there() -> None:
    looks = verdict(NOISE[:9], looks=(5, 10, 20)).looks
    assert (looks.index, looks.num_seeds) == (0, 5)  # four seeds of the second look are no look
    assert verdict(NOISE, looks=(5, 10, 20)).looks.num_seeds == 10
