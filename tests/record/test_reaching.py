"""From curves to times: what counts as reached, and up to when runs are compared."""

import math

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.reaching import EVERY, reached
from evalbench.report.analysis.reaching import race
from evalbench.statistics.verdicts import Quality

CURVES = pd.DataFrame(
    [
        ("a", "w", 0, 1, 0.2), ("a", "w", 0, 2, 0.6), ("a", "w", 0, 3, 0.4),
        ("a", "w", 1, 1, 0.1), ("a", "w", 1, 2, 0.2), ("a", "w", 1, 5, 0.5),
        ("b", "w", 0, 1, 0.1), ("b", "w", 0, 4, 0.3),
    ],
    columns=["technique", "workload", "seed", "time", "score"],
)  # fmt: skip


def test_the_first_evaluation_at_the_target_counts() -> None:
    mine = reached("t", CURVES, {EVERY: 0.5}, None, None)
    assert mine.runs["time"].tolist() == [2, 5, 4]
    assert mine.runs["reached"].tolist() == [True, True, False]
    assert mine.horizons == {"w": 4}  # b was watched until 4
    assert mine.within.tolist() == [True, False, False]
    assert mine.stopped_early == 0
    falling = reached("t", CURVES, {"w": 0.15}, "minimize", 9)
    assert (falling.runs["time"].tolist(), falling.horizons) == ([3, 1, 1], {"w": 9})
    assert falling.runs["reached"].tolist() == [False, True, True]


def test_a_run_that_failed_has_reached_nothing_and_counts_with_the_horizon() -> None:
    states = np.where(CURVES["technique"].eq("a") & CURVES["seed"].eq(0), "FAILED", "COMPLETE")
    mine = reached("t", CURVES.assign(state=states), {EVERY: 0.5}, None, 10)
    assert mine.runs["time"].tolist() == [10, 5, 4]
    assert mine.runs["reached"].tolist() == [False, True, False]
    assert mine.stopped_early == 1  # b


def test_a_search_counts_by_its_first_trial() -> None:
    second = CURVES[CURVES["technique"] == "a"].assign(seed=0)
    trials = second.assign(trial=CURVES["seed"])
    assert reached("t", trials, {EVERY: 0.5}, None, None).runs["time"].tolist() == [2]


def test_a_workload_that_nobody_solved_says_nothing() -> None:
    generator = np.random.default_rng(1)
    rows = [
        (name, workload, seed, time if workload == "w" else math.inf)
        for name, mean in (("base", 10.0), ("fast", 5.0))
        for workload in ("w", "hard")
        for seed in range(6)
        for time in [mean * math.exp(0.05 * float(generator.normal()))]
    ]
    times = pd.DataFrame(rows, columns=["technique", "workload", "seed", "time"])
    mine = race(reached("t", times, {}, None, 30), "base", math.log(1.02))
    assert mine.reached.unsolved == ("hard",)
    faster = mine.against[0]
    assert faster.ratio.ratio == pytest.approx(0.5, abs=0.03)
    assert faster.quality is Quality.SUPERIOR
    assert [one.reached for one in mine.successes] == [6, 0, 6, 0]
    assert (mine.successes[1].low, mine.successes[1].high) == pytest.approx((0, 1 - 0.025 ** (1 / 6)))


@pytest.mark.parametrize(
    ("curves", "targets", "budget", "message"),
    [
        (CURVES.drop(columns="time"), {EVERY: 0.5}, None, "t has no time of an evaluation"),
        (CURVES, {}, None, "workload w has no target: give it"),
        (CURVES, {"v": 0.5}, None, "t has no workload 'v', whose target is given: it has w"),
        (CURVES, {EVERY: 0.5}, -1.0, "the budget must be above 0, not -1"),
        (CURVES.assign(time=0.0), {EVERY: 0.5}, None, "more than one row"),
        (CURVES.assign(time=CURVES["time"] - 1), {EVERY: 0.1}, None, "times must be above 0"),
    ],
)
def test_what_has_no_time_is_refused(
    curves: pd.DataFrame, targets: dict[str, float], budget: float | None, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        reached("t", curves, targets, None, budget)
