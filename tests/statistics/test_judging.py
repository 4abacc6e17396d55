"""Verdicts from planted differences: what is found, what is not, and what would settle it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.costs import Ratio
from evalbench.statistics.design import Challenger, Design
from evalbench.statistics.judging import NextStep, Verdict, judge
from evalbench.statistics.looks import Looked, Stop
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


def test_a_large_effect_on_many_data_sets_is_adopted_and_generalizes() -> None:
    found = verdict(planted([0.02, 0.03, 0.025, 0.02, 0.03, 0.02], 0.005))
    assert (found.quality, found.recommendation) == (Quality.SUPERIOR, Recommendation.ADOPT)
    assert (found.num_datasets, found.num_pairs) == (6, 10)
    assert (found.second.name, found.second.p) == ("sign flips within data sets", 1 / (2**14 + 1))
    assert found.better_on == ("w0", "w1", "w2", "w3", "w4", "w5")
    assert found.generality is not None
    assert found.generality.shown
    assert found.generality.limits == ()
    assert found.prediction[0] < found.generality.interval.low < found.effect.low
    assert not found.rope_sensitive


def test_seeds_that_would_settle_it_do_settle_it() -> None:
    open_ = verdict(planted(0.0005, 0.01))
    assert open_.recommendation is Recommendation.INSUFFICIENT
    assert open_.next_step == NextStep("seeds", open_.prices.seeds_for_rope or 0)
    settled = verdict(planted(0.0005, 0.01, open_.next_step.count))
    assert settled.effect.high - settled.effect.low <= 2 * 0.005
    assert verdict(planted(0.0005, 0.01, open_.next_step.count - 1)).effect.high > 0.0055


def test_as_many_data_sets_as_advised_show_the_sign() -> None:
    effects = [0.02, 0.03, 0.001, 0.025, 0.0, 0.001]
    few = verdict(planted(effects, 0.002))
    assert few.quality is Quality.SUPERIOR
    assert few.generality is not None
    assert not few.generality.shown
    needed = few.prices.datasets_for_sign
    assert needed is not None
    more = verdict(planted(np.resize(effects, needed + needed % 6).tolist(), 0.002))
    assert more.generality is not None
    assert more.generality.shown


def test_with_one_score_per_data_set_the_second_method_is_over_data_sets() -> None:
    means = np.array([[0.02, 0.03, 0.025, 0.02, 0.03]])
    found = verdict(Matrix(means, (0,), tuple("abcde")), num_challengers=3, one_score=True)
    assert (found.second.name, found.second.p) == ("sign flips over data sets", 2 / 2**5)
    assert found.second.p_holm == pytest.approx(3 * found.second.p)
    assert found.recommendation is Recommendation.TRIAL
    assert [cap.reason for cap in found.advice.caps] == ["5 data sets, fewer than 6"]


def test_no_seeds_make_up_for_rows() -> None:
    found = verdict(planted(0.0005, 0.01), rho=1 / 3)
    assert found.recommendation is Recommendation.INSUFFICIENT
    assert found.next_step == NextStep("rows")


def test_data_sets_that_disagree_are_mixed() -> None:
    found = verdict(planted([0.02, -0.02, 0.01, -0.015, 0.012, -0.005], 0.004))
    assert (found.quality, found.recommendation) == (Quality.MIXED, Recommendation.ASSESS)
    assert (found.better_on, found.worse_on) == (("w0", "w2", "w4"), ("w1", "w3", "w5"))
    assert found.generality is not None
    assert not found.generality.tested


def test_looks_end_at_the_declared_number_and_advise_a_new_evaluation() -> None:
    open_ = verdict(planted(0.0005, 0.05, 10), looks=(5, 10, 20))
    assert open_.looks == Looked(1, 10, None)
    assert open_.next_step == NextStep("look", 20)
    ended = verdict(planted(0.0005, 0.05, 20), looks=(5, 10, 20))
    assert ended.looks == Looked(2, 20, None)
    assert ended.next_step.what == "seeds"


def test_a_decided_look_is_kept_and_later_seeds_are_left_out() -> None:
    early = planted(0.05, 0.004, 5)
    later = Matrix(np.concatenate([early.values, -early.values]), tuple(range(10)), ("w0",))
    found = verdict(later, looks=(5, 10))
    assert found.looks == Looked(0, 5, Stop.DECIDED)
    assert (found.quality, found.num_pairs, found.wins) == (Quality.SUPERIOR, 5, 5)
    assert found.effect.confidence == pytest.approx(1 - 0.05 / 2)


def test_rows_that_seeds_share_stop_a_challenger() -> None:
    found = verdict(planted(-0.001, 0.1, 20), rho=1 / 3, looks=(20, 40))
    assert found.looks == Looked(0, 20, Stop.FUTILE)
    assert found.next_step == NextStep("rows")
    assert found.finest == pytest.approx(stats.norm.ppf(1 - 0.05 / 4) * 0.1 * np.sqrt(1 / 3))
    assert found.prices.seeds_for_rope is None


def test_too_few_pairs_and_identical_runs() -> None:
    few = verdict(planted(0.05, 0.001, 4))
    assert few.recommendation is Recommendation.INSUFFICIENT
    assert few.next_step == NextStep("pairs", 5)
    assert [cap.reason for cap in few.advice.caps] == ["4 pairs are fewer than 5"]
    same = verdict(planted(0.0, 0.0))
    assert same.quality is Quality.INCONCLUSIVE
    assert same.next_step == NextStep("spread")
    assert (same.wins, same.ties, same.losses) == (0, 10, 0)


def test_the_fewest_pairs_belong_to_what_decides() -> None:
    many = verdict(planted([0.05] * 40, 0.01, 3))  # 80 degrees of freedom
    assert (many.quality, round(many.freedom)) == (Quality.SUPERIOR, 80)
    one = verdict(planted([0.05] * 40, 0.01, 2).first(1))
    assert one.recommendation is Recommendation.INSUFFICIENT
    assert [cap.reason for cap in one.advice.caps] == ["1 pair is fewer than 2"]


def test_these_rows_may_decide_more_than_new_rows() -> None:
    found = verdict(planted([0.01, 0.02], 0.02), rho=1 / 3)
    assert found.quality is Quality.INCONCLUSIVE
    assert found.on_rows is not None
    assert found.on_rows.quality is Quality.SUPERIOR
    assert verdict(planted([0.01, 0.02], 0.02)).on_rows is None


def test_generated_workloads_do_not_count() -> None:
    found = verdict(planted([0.02, -0.5], 0.004), counted=(True, False))
    assert found.num_datasets == 1
    assert found.effect.mean == pytest.approx(0.02)
    assert found.quality is Quality.SUPERIOR
    alone = verdict(planted(0.02, 0.004), counted=(False,))
    assert (alone.num_datasets, alone.recommendation) == (0, Recommendation.TRIAL)
    declared = verdict(planted([0.02, -0.5], 0.004), counted=(True, False), generated_too=True)
    assert declared.quality is Quality.MIXED
    assert declared.num_datasets == 1


def test_a_data_set_that_is_named_worse_caps_the_recommendation() -> None:
    sets = [planted(effect, sd) for effect, sd in ((0.06, 0.07), (0.06, 0.07), (-0.02, 0.01))]
    values = np.concatenate([one.values for one in sets], axis=1)
    found = verdict(Matrix(values, tuple(range(10)), ("w0", "w1", "w2")))
    assert (found.quality, found.better_on, found.worse_on) == (Quality.SUPERIOR, (), ("w2",))
    assert found.recommendation is Recommendation.TRIAL
    assert [cap.reason for cap in found.advice.caps] == ["worse on a data set"]
    assert sum(effect.share for effect in found.sets) == pytest.approx(1)


def test_equal_on_average_is_no_equality_if_a_data_set_differs_by_more() -> None:
    found = verdict(planted([0.03, 0.002, -0.004, -0.004, 0.002], 0.002), rope=0.01)
    assert -0.01 < found.equivalence[0] < found.equivalence[1] < 0.01
    assert found.quality is Quality.MIXED
    one_sided = verdict(planted([0.03, 0.002, 0.0001, 0.0, 0.002], 0.002), rope=0.01)
    assert one_sided.better_on[0] == "w0"
    assert one_sided.quality is Quality.BETTER


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
    assert (found.quality, found.recommendation) == (Quality.SUPERIOR, Recommendation.ADOPT)
    assert found.double_rope is Recommendation.TRIAL
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


def test_of_a_comparison_with_missing_cells_nothing_is_claimed() -> None:
    design = Design(0.005, np.full(3, 1 / 3), (True,) * 3, np.array([0.02, np.nan, np.nan]), tuned=True)
    whole, partial = (
        Challenger("new", planted([0.02] * 3, 0.001), SAME, complete=complete) for complete in (True, False)
    )
    (claimed,), (silent,) = (judge([one], design, np.random.default_rng(0)) for one in (whole, partial))
    assert (len(claimed.better_on), claimed.generality is None, claimed.on_rows is None) == (3, False, False)
    assert (silent.recommendation, silent.quality) == (Recommendation.INVALID, Quality.INCONCLUSIVE)
    assert (silent.better_on, silent.generality, silent.on_rows) == ((), None, None)
    assert claimed.floor == pytest.approx(0.02 / 3)  # of the data set that has one
