import math

import pytest

from evalbench.config import Pruning
from evalbench.engine.halving import Halving, race
from evalbench.trial import CurvePoint, State, TrialResult

PRUNING = Pruning(eta=2, first_rung=1)


def losers(scores: list[float], ended: list[bool] | None = None, validation: int = 2, seeds: int = 1) -> list[int]:
    """Return the members that end after a validation, given candidates with some seeds each."""
    halving = Halving(Pruning(eta=2, first_rung=2), [member_index // seeds for member_index in range(len(scores))])
    return halving.losers(scores, ended or [False] * len(scores), validation)


def test_rungs_are_the_first_one_times_powers_of_eta() -> None:
    pruning = Pruning(eta=3, first_rung=2)
    assert [v for v in range(1, 20) if pruning.is_rung(v)] == pruning.rungs(20) == [2, 6, 18]
    assert pruning.rungs(18) == [2, 6]  # a trial that reaches the last validation has ended


def test_the_worse_half_by_the_mean_of_its_members_ends_at_a_rung() -> None:
    scores = [0.9, 0.1, 0.6, 0.6, 0.2, 0.2, 0.7, 0.7]  # means 0.5, 0.6, 0.2, 0.7
    assert losers(scores, validation=1, seeds=2) == []
    assert losers(scores, seeds=2) == [0, 1, 4, 5]
    assert losers(scores, [member_index in (0, 1, 4, 5) for member_index in range(8)], 4, seeds=2) == [2, 3]


@pytest.mark.parametrize("ended_score", [-math.inf, 0.99], ids=["diverged", "out of patience"])
def test_only_candidates_that_still_train_compete(ended_score: float) -> None:
    assert losers([0.1, 0.2, 0.3, 0.4]) == [0, 1]
    ended = [ended_score] * 4
    assert losers([0.1, 0.2, 0.3, 0.4, *ended], [False] * 4 + [True] * 4) == [0, 1]
    assert losers([*ended, 0.1, 0.2, 0.3, 0.4], [True] * 4 + [False] * 4) == [4, 5]
    assert losers(ended, [True] * 4) == []


def test_a_candidate_with_a_member_that_diverged_does_not_go_on_unless_all_have_one() -> None:
    half = [-math.inf, 0.9]
    ended = [False] * 4 + [True, False] * 2
    assert losers([0.1, 0.1, 0.2, 0.2, *half, *half], ended, seeds=2) == [0, 1, 5, 7]
    assert losers([-math.inf, 0.1, *half], [True, False] * 2, seeds=2) == [
        1
    ]  # all have a diverged member: the better goes on
    assert losers([-math.inf, math.nan, *half], [True, False] * 2, seeds=2) == [1]


def test_a_member_that_ran_out_of_patience_counts_for_its_candidate_while_another_trains() -> None:
    assert losers([0.9, 0.1, 0.2, 0.2], [True, False, False, False], seeds=2) == [2, 3]
    assert losers([0.3, 0.1, 0.9, 0.9], [True, False, False, False], seeds=2) == [1]


def test_members_that_compete_elsewhere_end_at_the_given_stop() -> None:
    halving = Halving(PRUNING, [0, 1, 2], stop=4)
    assert [halving.losers([0.1, 0.2, 0.3], [False, True, False], v) for v in (1, 2, 4)] == [[], [], [0, 2]]


# ── among cohorts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def result(score: float, validations: int, state: State = State.PRUNED) -> TrialResult:
    """Return the result of a trial whose score does not change."""
    return TrialResult(
        state, curve=tuple(CurvePoint(v + 1, v + 1, 1.0, 1.0 - score, score) for v in range(validations))
    )


def test_a_race_returns_where_losers_end_and_how_far_the_others_must_train() -> None:
    company = [[result(score / 10, 1)] for score in range(4)]
    assert race(company, PRUNING, 9) == ({0: 1, 1: 1}, 2)
    further = [*company[:2], [result(0.2, 2)], [result(0.3, 2)]]
    assert race(further, PRUNING, 9) == ({0: 1, 1: 1, 2: 2}, 4)
    ended = [*further[:3], [result(0.3, 9, State.COMPLETE)]]
    assert race(ended, PRUNING, 9) == ({0: 1, 1: 1, 2: 2}, 9)


def test_a_race_waits_for_all_rivals() -> None:
    assert race([[result(0.1, 1)], [None]], PRUNING, 9) == ({}, 1)
    assert race([[result(0.1, 2)], [result(0.2, 2)], [result(0.3, 1)]], PRUNING, 9) == ({0: 1}, 2)


def test_it_does_not_matter_how_much_further_a_loser_was_trained() -> None:
    """It may have competed with other or with fewer candidates before."""
    company = [[result(0.3, 9, State.COMPLETE)], [result(0.2, 4)], [result(0.1, 3, State.DIVERGED)], [result(0.0, 1)]]
    assert race(company, PRUNING, 9) == ({2: 1, 3: 1, 1: 2}, 9)


def test_candidates_that_have_ended_or_failed_do_not_compete() -> None:
    healthy = [[result(0.3, 9, State.COMPLETE)], [result(0.2, 2)], [result(0.1, 1)], [result(0.0, 1)]]
    for ended in (result(0.9, 1, State.COMPLETE), result(0.9, 0, State.DIVERGED), TrialResult(State.FAILED)):
        assert race([*healthy, *([ended],) * 4], PRUNING, 9) == ({2: 1, 3: 1, 1: 2}, 9)


def test_a_race_is_by_the_score_at_the_lowest_loss_or_by_that_loss() -> None:
    points = [CurvePoint(1, 1, 1.0, 0.5, 0.9), CurvePoint(2, 2, 1.0, 0.7, 1.0)]
    company = [[TrialResult(State.PRUNED, curve=tuple(points))], [result(0.95, 2)]]  # losses 0.5 and 0.05
    late = Pruning(eta=2, first_rung=2)
    assert race(company, late, 3)[0] == {0: 2}
    assert race([[TrialResult(State.PRUNED, curve=tuple(points))], [result(0.45, 2)]], late, 3, by_loss=True)[0] == {
        1: 2
    }
