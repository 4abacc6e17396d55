"""Error rates, coverage and power over thousands of simulated evaluations, and that these tests can fail.

A rate is estimated from n evaluations: it fails if it exceeds its limit by more than three standard errors. The tables
of docs/validity.md come from more evaluations of more designs (benchmarks/validity.py).
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from benchmarks import validity
from evalbench.statistics.simulation import ANYTHING, FIRST, GENERALIZES, NAMED, Rates, Setup, simulate
from evalbench.statistics.verdicts import Quality

pytestmark = pytest.mark.slow
NOTHING = 1e-6
"""A ROPE of almost nothing: every difference would matter, and each class but INCONCLUSIVE claims a direction."""
REDRAWN = 0.25
STAGES = (5, 10, 20, 40)
NULL = [
    Setup(D, (seeds,), m, NOTHING, rho=REDRAWN if seeds > 3 else 0.0)
    for D, seeds, m in product((1, 2, 3, 5, 10), (3, 5, 10, 20), (1, 2, 4))
    if (D + seeds + m) % 3 == 0  # a third of all
]
TRUE = [
    Setup(D, (seeds,), effect=effect, between=between, opposite=opposite, rho=rho)
    for D, seeds, rho in ((1, 5, 0.0), (2, 10, REDRAWN), (3, 5, REDRAWN), (5, 10, 0.0), (10, 10, REDRAWN))
    for effect, between, opposite in ((0.5, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
]
HARDER = [
    Setup(3, (5,), rope=NOTHING, noise=20.0),
    Setup(10, (3,), rope=NOTHING, noise=20.0),
    Setup(5, (10,), rope=NOTHING, noise=20.0, rho=1 / 3),
    Setup(2, (10,), rope=NOTHING, ties=True),
    Setup(5, (3,), rope=NOTHING, ties=True),
    Setup(1, (10,), rope=NOTHING, pool=True),
    Setup(3, (10,), rope=NOTHING, pool=True),
    Setup(5, (1,), rope=NOTHING, one_score=True, between=1.0),
    Setup(20, (1,), rope=NOTHING, one_score=True),
]
LOOKS = [
    Setup(D, STAGES, rope=rope, between=between, rho=rho, futility=futility)
    for D, rho in ((1, 0.0), (2, REDRAWN), (3, 0.0), (5, REDRAWN))
    for rope, between, futility in ((NOTHING, 0.0, True), (NOTHING, 0.0, False), (0.3, 1.0, True))
]
LOOKS += [Setup(5, (5, 10, 20), m, NOTHING) for m in (1, 4)]  # the stages of the shipped sweeps


def run(setup: Setup, narrower: float = 1.0, divided: bool = True, count: int = 4000) -> Rates:
    count = 1000 if setup.pool else count
    return simulate(setup, count, np.random.default_rng(20_260_101), narrower, divided)


def limit(rate: float, rates: Rates) -> float:
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / rates.num_evaluations))


def holds(setup: Setup, narrower: float = 1.0, divided: bool = True, most: float = 0.06) -> bool:
    """Return whether everything that both verdicts say about all challengers is false in at most 6 % of evaluations."""
    rates = run(setup, narrower, divided)
    return rates.false[ANYTHING] <= limit(most, rates)


def covers(setup: Setup, narrower: float = 1.0) -> bool:
    """Return whether the interval of one challenger misses in at most 6 %: nominally 5, or 4 with several data sets."""
    rates = run(replace(setup, num_challengers=1), narrower)
    return rates.covered >= 0.94 - (limit(0.06, rates) - 0.06)


@pytest.mark.parametrize("setup", [*NULL, *TRUE, *HARDER, *LOOKS], ids=str)
def test_false_claims(setup: Setup) -> None:
    assert holds(setup)


@pytest.mark.parametrize("setup", [*NULL[::2], *TRUE[::2], *HARDER, *LOOKS[::3]], ids=str)
def test_coverage(setup: Setup) -> None:
    assert covers(setup)


@pytest.mark.parametrize(("effect", "claims"), [
    (0.3, {Quality.SUPERIOR: 0.025, Quality.EQUIVALENT: 0.05}),
    (-0.3, {Quality.INFERIOR: 0.025, Quality.EQUIVALENT: 0.05, Quality.NON_INFERIOR: 0.025}),
])  # fmt: skip
@pytest.mark.parametrize(("D", "seeds"), [(1, 10), (1, 40), (5, 10), (5, 40)])
def test_each_claim_at_a_difference_of_the_rope(D: int, seeds: int, effect: float, claims: dict[str, float]) -> None:
    for m in (1, 2):
        rates = run(Setup(D, (seeds,), m, effect=effect))
        for name, most in claims.items():
            assert rates.false[name] <= limit(most, rates), (m, name)
        assert rates.false[ANYTHING] <= limit(0.075, rates)  # the two-sided and the one-sided errors together


def test_naming_and_mixed_have_a_share_of_the_error_rate() -> None:
    rates = run(Setup(10, (10,), rope=NOTHING))
    assert 0.002 < rates.false[NAMED] <= limit(0.01, rates)
    assert rates.false[Quality.MIXED] <= limit(0.001, rates)
    opposite = run(Setup(4, (10,), opposite=2.0))
    assert opposite.given[Quality.MIXED] > 0.95
    assert opposite.false[ANYTHING] == 0


@pytest.mark.parametrize(("D", "before"), [(2, 0.44), (3, 0.12)])
def test_no_vote_lets_a_few_data_sets_speak_for_all(D: int, before: float) -> None:
    """Effects that vary around zero once gave a false direction in 44 % of families with two data sets."""
    rates = run(Setup(D, (10,), between=1.0, rho=REDRAWN))
    assert rates.false[FIRST] <= limit(0.05, rates) < before
    assert rates.false[GENERALIZES] <= limit(0.05, rates)
    assert D > 2 or rates.generalizes == 0


@pytest.mark.parametrize(
    ("true", "most"),
    [
        (Setup(5, (10,), effect=0.5), 0.35),
        (Setup(5, (10,), effect=1.0), 0.02),
        (Setup(5, (10,), effect=1.0, between=1.0), 0.12),
        (Setup(5, (10,), half=-2.0), 0.25),
    ],
    ids=["0.5 SD", "1 SD", "varies", "half"],
)
def test_share_left_open(true: Setup, most: float) -> None:
    rates = run(replace(true, rho=REDRAWN))
    assert rates.open <= limit(most, rates)
    stages = run(replace(true, rho=REDRAWN, looks=STAGES))
    assert stages.open <= limit(most, stages)
    assert stages.num_seeds < 40


def test_futility_ends_what_cannot_be_decided_and_costs_next_to_nothing() -> None:
    null = Setup(5, STAGES, rope=0.05, rho=REDRAWN)
    stopped, full = run(null), run(replace(null, futility=False))
    assert stopped.num_seeds < 30 < full.num_seeds
    there = replace(null, effect=0.5)
    assert run(there).open - run(replace(there, futility=False)).open < 0.02


@pytest.mark.parametrize("setup", [Setup(1, (10,), 1, NOTHING), Setup(5, (10,), rope=NOTHING, rho=REDRAWN)], ids=str)
def test_intervals_that_are_too_narrow_are_noticed(setup: Setup) -> None:
    for check in (holds, covers):
        assert check(setup)
        assert not check(setup, narrower=0.6)


def test_a_second_verdict_that_is_too_narrow_is_noticed() -> None:
    setup = Setup(5, (10,), between=1.0)
    assert holds(setup)
    assert not holds(setup, narrower=0.6)


@pytest.mark.parametrize("D", [1, 3])
def test_looks_without_their_division_of_the_error_rate_are_noticed(D: int) -> None:
    setup = Setup(D, STAGES, rope=NOTHING)
    assert holds(setup)
    assert not holds(setup, divided=False)


def test_the_correction_for_redrawn_splits_is_needed() -> None:
    setup = Setup(1, (20,), 1, pool=True)
    plain = run(setup, narrower=float(np.sqrt((1 / 20) / (1 / 20 + 1 / 3))))  # as if rho were 0
    assert plain.covered < 0.85 < 0.94 < run(setup).covered


@pytest.mark.parametrize("D", [1, 3, 5])
def test_rare_crashes_of_one_side(D: int) -> None:
    """A tenth of the challenger's runs collapse: more errors, which is why collapsed runs are counted and named."""
    assert holds(Setup(D, (10,), crashes=0.1), most=0.06)  # else it is as good as the baseline
    balanced = Setup(D, (10,), crashes=0.1, crash=-3.0, effect=1 / 3)  # its other runs make up for the crashes exactly
    assert abs(balanced.population) < 1e-9
    assert holds(balanced, most=0.12)


@pytest.mark.parametrize("D", [3, 5, 10])
def test_data_sets_that_are_alike_by_chance(D: int) -> None:
    """Each is +1 or -1 SD: not the normal effects that the second verdict assumes, so it errs more often."""
    rates = run(Setup(D, (10,), effect=-1.0, half=2.0, rho=REDRAWN))
    assert rates.false[FIRST] <= limit(0.05, rates)
    assert rates.false[GENERALIZES] <= limit(0.10, rates)


def test_the_same_generator_gives_the_same_rates() -> None:
    assert run(Setup(1, (5,))) == run(Setup(1, (5,)))


def test_the_benchmark_names_the_cells_that_exceed_their_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Setup(5, (10,), rope=NOTHING)
    page = validity.Page()
    monkeypatch.setattr(validity, "run", run)
    page.measure("sound", cell)
    assert page.exceeded == []
    monkeypatch.setattr(validity, "run", lambda setup: run(setup, narrower=0.6))
    monkeypatch.setattr(validity, "SECTIONS", (lambda page: page.measure("broken", cell),))
    with pytest.raises(SystemExit) as exit_:
        validity.main()
    assert exit_.value.code == 1
    assert capsys.readouterr().err.startswith("broken: false claims: ")
