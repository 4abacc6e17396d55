"""Seeds in stages: what stops when, what is kept, and the formula of futility."""

import math

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.decisions import Evidence, Rule, decide
from evalbench.statistics.looks import BY_CLASS, BY_FUTILITY, DECIDED, OPEN, Stop, decide_in_looks
from evalbench.statistics.verdicts import QUALITIES, Quality

ROPE = 0.3


def looks(*means: list[list[float]], sd: float = 1.0, rho: float = 0.0) -> list[Evidence]:
    """Evidence at 5, 10, 20 ... seeds: means of shape (challengers, workloads) for every look."""
    return [
        Evidence(np.array(one, dtype=float), np.full(np.shape(one), sd), 5 * 2**number, rho)
        for number, one in enumerate(means)
    ]


def classes(codes: np.ndarray) -> list[Quality]:
    return [QUALITIES[code] for code in codes]


def test_a_challenger_that_has_stopped_keeps_its_decision() -> None:
    rule = Rule(ROPE, num_looks=3)
    stages = looks([[9.0] * 3, [0.2] * 3], [[-9.0] * 3, [0.2] * 3], [[-9.0] * 3, [2.0] * 3])
    staged = decide_in_looks(stages, rule)
    assert classes(staged.decisions.quality) == [Quality.SUPERIOR, Quality.SUPERIOR]
    assert staged.look.tolist() == [0, 2]
    first, last = decide(stages[0], rule), decide(stages[2], rule)
    assert staged.decisions.low.tolist() == [first.low[0], last.low[1]]
    assert staged.decisions.p_where[0].tolist() == first.p_where[0].tolist()
    assert [staged.reason(index) for index in range(2)] == [Stop.DECIDED, Stop.DECIDED]


def test_every_look_has_its_share_of_the_error_rate() -> None:
    one, four = (decide(looks([[0.5] * 3])[0], Rule(ROPE, num_looks=L)) for L in (1, 4))
    for decisions, level in ((one, 0.04), (four, 0.01)):
        half = stats.t.ppf(1 - level / 2, decisions.freedom[0]) * math.sqrt(3 / 5) / 3
        assert decisions.high[0] - 0.5 == pytest.approx(half)


def test_what_is_open_is_judged_again_and_non_inferior_stops_nothing() -> None:
    stages = looks([[0.05] * 3], [[0.13] * 3], sd=0.45)
    rule = Rule(ROPE, num_looks=2)
    assert classes(decide(stages[1], rule).quality) == [Quality.NON_INFERIOR]
    assert QUALITIES.index(Quality.NON_INFERIOR) not in DECIDED
    staged = decide_in_looks(stages, rule)
    assert (staged.look.tolist(), staged.stopped.tolist(), staged.reason(0)) == ([1], [OPEN], None)


def test_a_data_set_that_was_named_once_stays_named_and_makes_the_rest_mixed() -> None:
    stages = looks([[-9.0, 9.0, 0.0]], [[0.1, 9.0, 0.0]])
    stages[0] = Evidence(stages[0].means, np.array([[1.0, 40.0, 1.0]]), 5)
    staged = decide_in_looks(stages, Rule(ROPE, num_looks=2))
    assert staged.decisions.named.tolist() == [[-1, 1, 0]]
    assert classes(staged.decisions.quality) == [Quality.MIXED]
    assert staged.look.tolist() == [1]


def test_a_stopped_challenger_names_no_more_data_sets() -> None:
    stages = looks([[9.0, 0.0, 9.0]], [[9.0, 9.0, 9.0]])
    staged = decide_in_looks(stages, Rule(ROPE, num_looks=2))
    assert (staged.look.tolist(), staged.decisions.named.tolist()) == ([0], [[1, 0, 1]])


def plain_futility(y: float, s: float, n: int, rho: float, W: int, rope: float, level: float) -> tuple[float, bool]:
    """Return the formula for W workloads with the same mean and spread."""
    f = stats.norm.ppf(1 - level / 2) * math.sqrt(W * s**2 * rho) / W
    moves = stats.t.ppf(1 - level / 2, W * (n - 1)) * math.sqrt(W * s**2 / n) / W
    half = stats.t.ppf(1 - level / 2, W * (n - 1)) * math.sqrt(W * s**2 * (1 / n + rho)) / W
    had = not (y - half > 0 or y + half < 0) and y - half > -rope
    return f, abs(y) + moves < f and f >= rope and (had or y + moves - f <= -rope)


@pytest.mark.parametrize("n", [5, 20, 80])
@pytest.mark.parametrize("rope", [0.02, 0.3, 0.6, 0.7])
@pytest.mark.parametrize("y", [0.0, 0.1, -0.1, 0.25, -0.25])
def test_futility_against_its_formula(n: int, rope: float, y: float) -> None:
    W, rho, L, m = 5, 0.25, 4, 2
    evidence = Evidence(np.full((m, W), y), np.ones((m, W)), n, rho)
    decisions = decide(evidence, Rule(rope, num_looks=L))
    f, futile = plain_futility(y, 1.0, n, rho, W, rope, 0.04 / m / L)
    assert decisions.limit == pytest.approx([f] * m)
    assert decisions.futile.tolist() == [futile] * m


def test_futility_stops_a_challenger_and_can_be_turned_off() -> None:
    stages = looks([[0.0] * 5], [[0.0] * 5], [[0.0] * 5], rho=0.2)
    rule = Rule(0.1, num_looks=4)
    staged = decide_in_looks(stages, rule)
    assert (staged.look.tolist(), staged.stopped.tolist()) == ([1], [BY_FUTILITY])
    assert staged.reason(0) is Stop.FUTILE
    assert decide_in_looks(stages, rule, futility=False).look.tolist() == [2]
    decided = decide_in_looks(looks([[9.0] * 5], rho=0.5), rule)
    assert decided.stopped.tolist() == [BY_CLASS]


def test_with_fresh_rows_or_a_single_look_nothing_is_futile() -> None:
    assert not decide(looks([[0.0] * 5])[0], Rule(1e-6, num_looks=4)).futile.any()
    staged = decide_in_looks(looks([[0.0] * 5], rho=4.0), Rule(1e-6, num_looks=1))
    assert staged.stopped.tolist() == [OPEN]


def test_many_evaluations_at_once_are_staged_as_one_by_one() -> None:
    generator = np.random.default_rng(2)
    shape = (3, 50, 2, 4)
    means, sds = generator.normal(0, 0.7, shape), generator.uniform(0.3, 1.5, shape)
    rule = Rule(ROPE, num_looks=3)
    stages = [Evidence(means[k], sds[k], n, 0.25) for k, n in enumerate((5, 10, 20))]
    together = decide_in_looks(stages, rule)
    for i in range(50):
        alone = decide_in_looks([Evidence(stage.means[i], stage.sds[i], stage.counts, 0.25) for stage in stages], rule)
        assert together.decisions.quality[i].tolist() == alone.decisions.quality.tolist()
        assert together.look[i].tolist() == alone.look.tolist()
        assert together.decisions.named[i].tolist() == alone.decisions.named.tolist()
