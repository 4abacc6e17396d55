from dataclasses import replace

import pytest

from evalbench import trial
from evalbench.trial import Budget, TrialSpec

SPEC = TrialSpec("digits", {"optimizer": {"lr": 0.1}}, root_seed=0, seed=3)


def test_validation_comes_after_each_epoch() -> None:
    assert Budget(epochs=3).validation_steps(steps_per_epoch=34) == [34, 68, 102]


def test_validation_points_of_a_budget_in_steps_are_equally_spaced_and_end_with_it() -> None:
    assert Budget(steps=100, validations=4).validation_steps(34) == [25, 50, 75, 100]
    assert Budget(steps=3, validations=20).validation_steps(34) == [1, 2, 3]


@pytest.mark.parametrize(
    "other",
    [
        TrialSpec("iris", SPEC.settings, 0, 3),
        TrialSpec("digits", {"optimizer": {"lr": 0.2}}, 0, 3),
        TrialSpec("digits", SPEC.settings, 1, 3),
        TrialSpec("digits", SPEC.settings, 0, 4),
    ],
)
def test_whatever_determines_a_result_is_in_the_identity(other: TrialSpec) -> None:
    assert other.trial_id != SPEC.trial_id


def test_identity_does_not_depend_on_the_order_of_settings() -> None:
    one, two = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert TrialSpec("w", one, 0, 0).trial_id == TrialSpec("w", two, 0, 0).trial_id


def test_trials_of_one_cell_differ_in_the_seed_alone() -> None:
    other = TrialSpec("digits", SPEC.settings, 0, 4)
    assert other.cell_id == SPEC.cell_id


def test_new_training_code_makes_new_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    before = SPEC.trial_id
    monkeypatch.setattr(trial, "TRAINING_VERSION", trial.TRAINING_VERSION + 1)
    assert replace(SPEC).trial_id != before
