"""The rule for any number of evaluations at once, against the same rule written out for a single one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.decisions import Decisions, Evidence, Rule, decide, per_set
from evalbench.statistics.verdicts import QUALITIES, Quality

ROPE = 0.3


def quality(decisions: Decisions, index: int = 0) -> Quality:
    return QUALITIES[int(decisions.quality.reshape(-1)[index])]


def evidence(
    means: list[float], sd: float | list[float] = 1.0, count: int | list[int] = 10, **others: object
) -> Evidence:
    """Evidence on one challenger."""
    shape = (1, len(means))
    sds = np.broadcast_to(np.asarray(sd, dtype=float), shape)
    return Evidence(np.reshape(means, shape), sds, np.asarray(count), **others)


def plain_class(M: float, half: float, half_tost: float, may_be_equivalent: bool, rope: float) -> Quality:
    low, high = M - half, M + half
    if high < -rope:
        return Quality.INFERIOR
    if low > rope:
        return Quality.SUPERIOR
    if M - half_tost > -rope and M + half_tost < rope and may_be_equivalent:
        return Quality.EQUIVALENT
    if low > 0:
        return Quality.BETTER
    if high < 0:
        return Quality.WORSE
    return Quality.NON_INFERIOR if low > -rope else Quality.INCONCLUSIVE


def plain_names(y: np.ndarray, errors: np.ndarray, counts: np.ndarray, m: int, alpha: float, rope: float) -> np.ndarray:
    """Holm's procedure over all challengers and workloads, step by step."""
    claims = []
    for c, w in np.ndindex(*y.shape):
        if errors[c, w] > 0:
            p = 2 * stats.t.sf((abs(y[c, w]) - rope) / errors[c, w], counts[c, w] - 1)
            claims.append((p, c, w))
    named = np.zeros(y.shape, dtype=int)
    for step, (p, c, w) in enumerate(sorted(claims)):
        if p > alpha / (m * y.shape[1] - step):
            break
        named[c, w] = np.sign(y[c, w])
    return named


def plain_decisions(y: np.ndarray, s: np.ndarray, n: np.ndarray, rho: np.ndarray, m: int, looks: int) -> list[Quality]:
    """Return the class of every challenger, from arrays of shape (challengers, workloads)."""
    W = y.shape[1]
    for_mean, for_names = (0.05, 0.0) if W == 1 else (0.04, 0.01)
    errors = s * np.sqrt(1 / n + rho)
    named = plain_names(y, errors, n, m, for_names / looks, 0.0)
    beyond = plain_names(y, errors, n, m, for_names / looks, ROPE)
    classes = []
    for c in range(y.shape[0]):
        v = [float(errors[c, w]) ** 2 for w in range(W)]
        below = sum(v[w] ** 2 / (n[c, w] - 1) for w in range(W))
        freedom = sum(v) ** 2 / below if below else math.nan
        SE = math.sqrt(sum(v)) / W
        if not freedom >= 4:
            classes.append(Quality.INCONCLUSIVE)
        elif {-1, 1} <= set(named[c]):
            classes.append(Quality.MIXED)
        else:
            half = stats.t.ppf(1 - for_mean / looks / (2 * m), freedom) * SE
            half_tost = stats.t.ppf(1 - for_mean / looks / m, freedom) * SE
            classes.append(plain_class(y[c].mean(), half, half_tost, not beyond[c].any(), ROPE))
    return classes


@pytest.mark.parametrize("W", [1, 2, 5])
@pytest.mark.parametrize("looks", [1, 3])
@pytest.mark.slow
def test_many_evaluations_at_once_are_judged_as_one_by_one(W: int, looks: int) -> None:
    generator = np.random.default_rng(W)
    shape = (200, 3, W)
    y = generator.normal(0, 0.6, shape) * generator.integers(0, 2, (200, 1, 1))
    s = generator.choice([0.0, 0.1, 0.3, 1.0], shape)
    n, rho = generator.integers(2, 30, shape), generator.choice([0.0, 0.25], W)
    decisions = decide(Evidence(y, s, n, rho), Rule(ROPE, num_challengers=4, num_looks=looks))
    expected = [plain_decisions(y[i], s[i], n[i], np.broadcast_to(rho, (3, W)), 4, looks) for i in range(200)]
    assert [[QUALITIES[code] for code in row] for row in decisions.quality] == expected
    assert len({name for row in expected for name in row}) == (7 if W == 1 else 8)  # every class is met


def test_the_interval_of_three_data_sets_by_hand() -> None:
    y, s, n, rho = np.array([[0.5, 0.1, 0.3]]), np.array([[1.0, 0.5, 2.0]]), np.array([10, 5, 8]), 1 / 3
    v = s[0] ** 2 * (1 / n + rho)
    freedom = v.sum() ** 2 / (v**2 / (n - 1)).sum()
    decisions = decide(Evidence(y, s, n, rho), Rule(ROPE))
    assert decisions.freedom[0] == pytest.approx(freedom)
    assert decisions.high[0] - 0.3 == pytest.approx(stats.t.ppf(0.98, freedom) * math.sqrt(v.sum()) / 3)
    assert decisions.high_tost[0] - 0.3 == pytest.approx(stats.t.ppf(0.96, freedom) * math.sqrt(v.sum()) / 3)
    assert decisions.limit[0] == pytest.approx(stats.norm.ppf(0.98) * math.sqrt((s**2).sum() / 3) / 3)


def test_one_data_set_has_the_whole_error_rate_and_no_names() -> None:
    decisions = decide(evidence([2.0]), Rule(ROPE))
    assert decisions.high[0] - 2 == pytest.approx(stats.t.ppf(0.975, 9) / math.sqrt(10))
    assert quality(decisions) is Quality.SUPERIOR
    assert not decisions.named.any()


@pytest.mark.parametrize(
    ("means", "count", "decided"),
    [([5.0], 4, False), ([5.0], 5, True), ([5.0] * 2, 3, True), ([5.0] * 40, 3, True), ([5.0] * 40, 1, False)],
)
def test_the_least_number_of_pairs_belongs_to_all_data_sets_together(
    means: list[float], count: int, decided: bool
) -> None:
    # Three seeds on each of forty data sets are 80 degrees of freedom; three on each of two are four.
    assert (quality(decide(evidence(means, 1.0, count), Rule(ROPE))) is Quality.SUPERIOR) == decided


def test_more_pairs_never_erase_a_verdict_that_the_means_still_support() -> None:
    for count in range(3, 41):
        assert quality(decide(evidence([2.0] * 4, 0.5, count), Rule(ROPE))) is Quality.SUPERIOR


def test_one_score_on_each_of_forty_data_sets_has_an_answer_of_its_own() -> None:
    means = np.linspace(0.5, 1.5, 40).tolist()
    decisions = decide(evidence(means, 0.0, 1), Rule(ROPE, by_set=True))
    half = stats.t.ppf(0.975, 39) * np.std(means, ddof=1) / math.sqrt(40)
    assert decisions.low[0] == pytest.approx(1 - half)
    assert quality(decisions) is Quality.SUPERIOR
    assert quality(decide(evidence(means[:4], 0.0, 1), Rule(ROPE, by_set=True))) is Quality.INCONCLUSIVE


def test_data_sets_without_spread() -> None:
    rule = Rule(ROPE)
    assert quality(decide(evidence([5.0, 5.0], 0.0), rule)) is Quality.INCONCLUSIVE  # identical runs show nothing
    half = decide(evidence([5.0, 5.0], [1.0, 0.0]), rule)
    assert half.freedom[0] == pytest.approx(9)  # that of the data set with spread
    assert half.named.tolist() == [[1, 0]]  # a mean without spread is no evidence of its own
    assert math.isnan(half.p_where[0, 1])
    assert np.isnan(per_set(evidence([5.0, 5.0], [1.0, 0.0]), 0.95)).tolist() == [[[False, True]]] * 2


def test_with_too_few_pairs_nothing_is_claimed() -> None:
    single = decide(evidence([9.0, 9.0], 1.0, [10, 1]), Rule(ROPE))
    assert quality(single) is Quality.INCONCLUSIVE
    assert single.named.tolist() == [[0, 0]]
    failing = decide(evidence([-0.5], 0.0, 4, lost=4.0), Rule(ROPE))  # Fisher: p = .029
    assert (quality(failing), failing.by_failures.tolist()) == (Quality.INCONCLUSIVE, [0])
    assert quality(decide(evidence([-0.5], 0.0, 5, lost=5.0), Rule(ROPE))) is Quality.INFERIOR


def test_opposite_data_sets_are_mixed_whatever_the_mean() -> None:
    decisions = decide(evidence([9.0, 9.0, -2.0], 0.5), Rule(ROPE))
    assert decisions.low[0] > ROPE
    assert decisions.named.tolist() == [[1, 1, -1]]
    assert quality(decisions) is Quality.MIXED
    assert not (decide(evidence([-2.0, -2.0, 0.0], 0.5), Rule(ROPE)).quality == QUALITIES.index(Quality.MIXED)).any()


def test_equivalence_is_not_given_over_a_data_set_beyond_the_rope() -> None:
    fine, beyond = evidence([0.02, -0.02, 0.01], 0.05), evidence([0.4, -0.2, -0.2], 0.05)
    assert quality(decide(fine, Rule(ROPE))) is Quality.EQUIVALENT
    one_side = evidence([0.45, 0.0, 0.0], 0.05)  # the mean is .15
    assert quality(decide(one_side, Rule(ROPE))) is Quality.BETTER
    assert quality(decide(evidence([0.45, 0.0, -0.002], [0.05, 0.5, 0.5]), Rule(ROPE))) is Quality.NON_INFERIOR
    assert quality(decide(beyond, Rule(ROPE))) is Quality.MIXED


def test_equivalence_is_not_given_below_a_noise_floor_of_which_a_part_is_known() -> None:
    near = evidence([0.02, -0.02, 0.01], 0.05)
    for floors, expected in (
        ([0.5, 0.5, 0.5], Quality.EQUIVALENT),  # √.75 / 3 = .29 is that of the mean
        ([0.6, 0.6, 0.6], Quality.NON_INFERIOR),
        ([2.0, math.nan, 0.0], Quality.NON_INFERIOR),
        ([math.nan] * 3, Quality.EQUIVALENT),
    ):
        assert quality(decide(replace(near, floors=np.array(floors)), Rule(ROPE))) is expected


def test_data_sets_are_named_by_holms_steps() -> None:
    y = stats.t.isf(np.array([[0.0045, 0.0049, 0.5]]) / 2, 9) / math.sqrt(10)
    decisions = decide(Evidence(y, np.ones((1, 3)), 10), Rule(ROPE))
    assert decisions.p_where[0] == pytest.approx([0.0135, 0.0135, 0.5])
    assert not decisions.named.any()  # .0049 is below .01 / 2, but the step before it fails: .0045 is above .01 / 3
    y[0, 0] = stats.t.isf(0.003 / 2, 9) / math.sqrt(10)
    y[0, 1] = -stats.t.isf(0.0049 / 2, 9) / math.sqrt(10)
    assert decide(Evidence(y, np.ones((1, 3)), 10), Rule(ROPE)).named.tolist() == [[1, -1, 0]]


def test_a_family_that_was_declared_larger_gives_no_discount() -> None:
    two = Evidence(np.array([[1.0, 1.1], [0.2, 0.1]]), np.ones((2, 2)), 10)
    declared = decide(two, Rule(ROPE, num_challengers=4))
    four = decide(replace(two, means=np.repeat(two.means, [1, 3], 0), sds=np.ones((4, 2))), Rule(ROPE))
    assert declared.low[0] == pytest.approx(four.low[0])
    assert declared.p_where[0] == pytest.approx(four.p_where[0])
    too_small = decide(two, Rule(ROPE, num_challengers=1))
    assert too_small.p_where == pytest.approx(decide(two, Rule(ROPE)).p_where)


def test_data_sets_that_were_named_stay_named() -> None:
    before = np.array([[-1, 0, 0]])
    decisions = decide(evidence([0.0, 0.0, 9.0], 0.5), Rule(ROPE), before)
    assert decisions.named.tolist() == [[-1, 0, 1]]
    assert quality(decisions) is Quality.MIXED


def test_a_challenger_that_fails_alone_in_most_pairs_is_inferior_whatever_its_scores() -> None:
    decisions = decide(evidence([9.0, 9.0], 0.5, lost=np.array([9.0, 9.0])), Rule(ROPE))
    assert quality(decisions) is Quality.INFERIOR
    assert decisions.by_failures.tolist() == [-1]
    unequal = decide(evidence([0.0, 0.01], 0.05, lost=np.array([1.0, 0.0])), Rule(ROPE))
    assert quality(unequal) is Quality.NON_INFERIOR


def test_spreads_of_any_size_give_degrees_of_freedom() -> None:
    for scale in (1e-100, 1.0, 1e100):
        decisions = decide(evidence([scale, scale], [scale, 2 * scale]), Rule(ROPE * scale))
        assert decisions.freedom[0] == pytest.approx(9 * 25 / 17)
