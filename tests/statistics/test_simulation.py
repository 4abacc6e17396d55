"""Error rates, coverage and power over thousands of simulated evaluations, and that these tests can fail.

A rate is estimated from n evaluations: it fails where it exceeds its limit by more than three standard errors.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from evalbench.statistics.simulation import Rates, Setup, simulate

pytestmark = pytest.mark.slow
FRESH = [
    Setup(seeds, workloads, num_challengers=m)
    for seeds, workloads, m in product((5, 10, 20), (1, 8), (1, 3))
]  # fmt: skip
OTHERS = [
    Setup(10, 8, between=0.5),
    Setup(10, 8, between=2.0, unequal=True),
    Setup(10, 8, correlation=0.0),
    Setup(10, 1, extended=True),
    Setup(10, 1, pool=True),
    Setup(20, 1, pool=True),
]
NARROWER = 0.6


def run(setup: Setup, narrower: float = 1.0) -> Rates:
    count = 2000 if setup.pool else 10_000
    return simulate(setup, count, np.random.default_rng(20_260_101), narrower)


def limit(rate: float, rates: Rates, trials: int = 1) -> float:
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / (rates.num_evaluations * trials)))


def false_claims_hold(setup: Setup, narrower: float = 1.0) -> bool:
    """No true difference: the family errs at most 5 % of the time, and each challenger gains at most 2.5 %/m."""
    # A ROPE of almost nothing is the hardest case for SUPERIOR and INFERIOR, the declared one is the real case.
    # Where true effects vary much between data sets, single ones have true effects to find: see docs/validity.md.
    smallest = 1e-6 if setup.between <= 1 else 0.5
    strict, real = (run(replace(setup, difference=0.0, rope=rope), narrower) for rope in (smallest, 0.5))
    each = 0.025 / setup.num_challengers
    return max(strict.false_claims, real.false_claims) <= limit(0.05, real) and max(
        strict.better_or_superior, real.better_or_superior
    ) <= limit(each, real)


def claims_at_the_rope_hold(setup: Setup, narrower: float = 1.0) -> bool:
    """A true difference of exactly the ROPE."""
    rates = run(replace(setup, difference=setup.rope), narrower)
    return rates.superior <= limit(0.025 / setup.num_challengers, rates) and rates.equivalent <= limit(0.05, rates)


def coverage_holds(setup: Setup, narrower: float = 1.0) -> bool:
    """The deciding interval of one challenger, at 95 %."""
    rates = run(replace(setup, num_challengers=1, difference=0.3), narrower)
    exact = not (setup.pool or setup.unequal)
    return 0.935 <= rates.coverage <= (0.965 if exact else 1.0)


CHECKS = (false_claims_hold, claims_at_the_rope_hold, coverage_holds)


@pytest.mark.parametrize("setup", [*FRESH, *OTHERS], ids=str)
def test_error_rates_and_coverage(setup: Setup) -> None:
    for check in CHECKS:
        assert check(setup), check.__name__


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("setup", [Setup(10, 1), Setup(10, 8), Setup(10, 1, extended=True)], ids=str)
def test_intervals_that_are_too_narrow_are_noticed(setup: Setup, check: object) -> None:
    assert callable(check)
    assert not check(setup, NARROWER)


@pytest.mark.parametrize("workloads", [1, 8])
def test_a_large_difference_is_found(workloads: int) -> None:
    setup = Setup(10, workloads, difference=2.5, rope=0.5, num_challengers=3)
    assert run(setup).superior >= 0.90


def test_the_correction_for_redrawn_splits_is_needed() -> None:
    setup = Setup(20, 1, pool=True, num_challengers=1)
    corrected = run(setup)
    # Without it the interval would be narrower by this factor.
    plain = run(setup, narrower=float(np.sqrt((1 / 20) / (1 / 20 + 1 / 3))))
    assert plain.coverage < 0.85 < 0.935 < corrected.coverage


def test_the_same_generator_gives_the_same_rates() -> None:
    assert run(Setup(5, 1)) == run(Setup(5, 1))
