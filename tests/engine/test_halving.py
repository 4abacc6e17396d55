import math

from evalbench.config import Pruning
from evalbench.engine.halving import Halving

HALVING = Halving(Pruning(eta=2, first_rung=2), candidates=[0, 0, 1, 1, 2, 2, 3, 3])


def test_rungs_are_the_first_one_times_powers_of_eta() -> None:
    assert [v for v in range(1, 20) if Pruning(eta=3, first_rung=2).is_rung(v)] == [2, 6, 18]


def test_the_worse_half_by_the_mean_of_its_members_ends_at_a_rung() -> None:
    standing = [0.9, 0.1, 0.6, 0.6, 0.2, 0.2, 0.7, 0.7]  # means 0.5, 0.6, 0.2, 0.7
    none = [False] * 8
    assert HALVING.losers(standing, none, 1) == []
    assert HALVING.losers(standing, none, 2) == [0, 1, 4, 5]
    gone = [member in (0, 1, 4, 5) for member in range(8)]
    assert HALVING.losers(standing, gone, 4) == [2, 3]


def test_one_that_diverged_is_the_worst_and_one_always_goes_on() -> None:
    standing = [-math.inf, 0.9, 0.1, 0.1, -math.inf, -math.inf, 0.0, 0.0]
    assert HALVING.losers(standing, [False] * 8, 2) == [0, 1, 4, 5]
    assert HALVING.losers(standing, [True] * 6 + [False] * 2, 8) == []
