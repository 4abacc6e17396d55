"""Verdicts from planted differences: what is found, what is not, and what would settle it."""

from dataclasses import replace

import numpy as np
import pytest

from evalbench.statistics.costs import Ratio
from evalbench.statistics.design import Challenger, Design
from evalbench.statistics.judging import NextStep, Verdict, judge
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.verdicts import Quality, Recommendation

SAME = Ratio(1.0, 0.97, 1.03, 5, 0.95)
SPREAD = np.array([0.3, -1.2, 0.8, 1.5, -0.4, -1.0, 0.9, -0.6, 0.5, -0.8])


def planted(effect: float | list[float], sd: float, num_seeds: int = 10) -> Matrix:
    """Differences with exactly this mean and standard deviation on each workload."""
    effects = np.atleast_1d(np.asarray(effect, dtype=float))
    pattern = np.resize(SPREAD, num_seeds)
    pattern = (pattern - pattern.mean()) / pattern.std(ddof=1)
    columns = [mean + sd * np.roll(pattern, place) for place, mean in enumerate(effects)]
    return Matrix(np.stack(columns, axis=1), tuple(range(num_seeds)), tuple(f"w{i}" for i in range(len(effects))))


def verdict(differences: Matrix, cost: Ratio = SAME, rho: float = 0.0, **changes: object) -> Verdict:
    W = len(differences.workloads)
    design = Design(0.005, np.full(W, rho), (True,) * W, np.full(W, np.nan), tuned=True)
    challenger = Challenger("new", differences, cost)
    return judge([challenger], replace(design, **changes), np.random.default_rng(0))[0]  # type: ignore[arg-type]


def test_a_large_effect_on_many_data_sets_is_adopted() -> None:
    found = verdict(planted([0.02, 0.03, 0.025, 0.02, 0.03, 0.02], 0.005))
    assert (found.quality, found.recommendation) == (Quality.SUPERIOR, Recommendation.ADOPT)
    assert (found.num_datasets, found.num_pairs) == (6, 10)
    assert found.second.p == 2 / 2**6
    assert found.prediction[0] < found.effect.low
    assert not found.rope_sensitive


def test_seeds_that_would_settle_it_do_settle_it() -> None:
    pilot = verdict(planted(0.006, 0.008))
    assert pilot.recommendation is Recommendation.INSUFFICIENT or pilot.quality is Quality.BETTER
    open_ = verdict(planted(0.0005, 0.01))
    assert open_.recommendation is Recommendation.INSUFFICIENT
    assert open_.next_step == NextStep("seeds", 11)
    settled = verdict(planted(0.0005, 0.01, 21), num_pilot=10)
    assert settled.effect.high - settled.effect.low <= 2 * 0.005 + 1e-3


def test_as_many_data_sets_as_advised_do_narrow_the_interval() -> None:
    effects = [0.02, -0.018, 0.002, 0.012, -0.01, 0.004, 0.0, -0.006]
    pilot = verdict(planted(effects, 0.004))
    step = pilot.next_step
    assert step.what == "datasets"
    wider = planted(np.resize(effects, len(effects) + step.count).tolist(), 0.004)
    assert verdict(wider).effect.high - verdict(wider).effect.low <= 2 * 0.005 * 1.05


def test_below_six_data_sets_the_second_method_is_that_of_sign_flips() -> None:
    found = verdict(planted([0.02, 0.03, 0.025, 0.02, 0.03], 0.005), num_challengers=3)
    assert (found.second.name, found.second.p) == ("sign flips over data sets", 2 / 2**5)
    assert found.second.p_holm == pytest.approx(3 * found.second.p)


def test_no_seeds_make_up_for_rows() -> None:
    found = verdict(planted(0.0005, 0.01), rho=1 / 3)
    assert found.recommendation is Recommendation.INSUFFICIENT
    assert found.next_step == NextStep("rows")


def test_data_sets_that_disagree_ask_for_data_sets() -> None:
    found = verdict(planted([0.02, -0.02, 0.01, -0.015, 0.012, -0.005], 0.004))
    assert found.recommendation is Recommendation.INSUFFICIENT
    assert found.next_step.what == "datasets"
    assert found.next_step.count > 0


def test_seeds_are_extended_once() -> None:
    found = verdict(planted(0.0005, 0.05, 21), num_pilot=10)
    assert found.recommendation is Recommendation.INSUFFICIENT
    assert found.next_step == NextStep("stop")


def test_too_few_pairs_and_identical_runs() -> None:
    few = verdict(planted(0.05, 0.001, 4))
    assert few.recommendation is Recommendation.INSUFFICIENT
    assert few.next_step == NextStep("seeds", 1)
    same = verdict(planted(0.0, 0.0))
    assert same.quality is Quality.INCONCLUSIVE
    assert same.next_step == NextStep("spread")
    assert (same.wins, same.ties, same.losses) == (0, 10, 0)


def test_the_pilots_spread_is_kept_after_the_extension() -> None:
    calm = planted(0.01, 0.004)
    wild = np.concatenate([calm.values, planted(0.01, 0.4).values])
    both = verdict(Matrix(wild, tuple(range(20)), ("w0",)), num_pilot=10)
    half = (both.effect.high - both.effect.low) / 2
    assert half == pytest.approx(2.2621571628540993 * 0.004 / np.sqrt(20))


def test_generated_workloads_do_not_count() -> None:
    found = verdict(planted([0.02, -0.5], 0.004), counted=(True, False))
    assert found.num_datasets == 1
    assert found.effect.mean == pytest.approx(0.02)
    assert found.quality is Quality.SUPERIOR
    alone = verdict(planted(0.02, 0.004), counted=(False,))
    assert (alone.num_datasets, alone.recommendation) == (0, Recommendation.TRIAL)


def test_a_data_set_where_it_is_inferior_caps_the_ring() -> None:
    found = verdict(planted([0.06, 0.05, 0.06, 0.05, 0.06, 0.05, -0.006 - 0.01], 0.004))
    assert found.sets[-1].quality is Quality.INFERIOR
    assert found.quality in (Quality.SUPERIOR, Quality.BETTER)
    assert found.recommendation is Recommendation.TRIAL
    assert "INFERIOR on a data set" in [cap.reason for cap in found.advice.caps]


def test_half_of_the_data_sets_can_speak_where_the_mean_cannot() -> None:
    found = verdict(planted([-0.15, -0.08, -0.02, -0.001], 0.004))
    assert found.effect.side == 0
    assert found.quality is Quality.INFERIOR
    assert found.recommendation is Recommendation.HOLD


def test_equivalence_below_the_floor_is_not_given_and_the_rope_is_not_altered() -> None:
    fine = verdict(planted(0.0, 0.002))
    assert fine.quality is Quality.EQUIVALENT
    coarse = verdict(planted(0.0, 0.002), floors=np.array([0.02]))
    assert coarse.quality is Quality.NON_INFERIOR
    assert coarse.floor == coarse.finest == 0.02


def test_one_score_per_data_set() -> None:
    means = [[0.02, 0.03, 0.025, 0.02, 0.03, 0.02]]
    found = verdict(Matrix(np.array(means), (0,), tuple("abcdef")), one_score=True)
    assert found.quality is Quality.SUPERIOR
    assert found.num_pairs == 6


def test_a_rope_that_decides_is_said() -> None:
    found = verdict(planted(0.012, 0.006))
    assert found.recommendation is Recommendation.TRIAL
    assert found.half_rope is Recommendation.TRIAL
    assert not found.rope_sensitive
    moved = verdict(planted(0.0, 0.006))  # the interval is ±.0043: within the ROPE and its double, not its half
    assert (moved.half_rope, moved.recommendation, moved.double_rope) == (
        Recommendation.INSUFFICIENT,
        Recommendation.HOLD,
        Recommendation.HOLD,
    )
    assert moved.rope_sensitive


def test_a_family_shares_its_error_rate() -> None:
    one = Challenger("a", planted(0.01, 0.01))
    design = Design(0.005, np.zeros(1), (True,), np.full(1, np.nan), tuned=True)
    alone = judge([one], design, np.random.default_rng(0))[0]
    of_four = judge([one] * 4, design, np.random.default_rng(0))[0]
    assert of_four.effect.confidence == pytest.approx(0.9875)
    assert of_four.effect.low < alone.effect.low
    declared = judge([one], replace(design, num_challengers=4), np.random.default_rng(0))[0]
    assert declared.effect == of_four.effect  # three that cannot be judged are no discount for the fourth
    assert judge([], design, np.random.default_rng(0)) == ()
