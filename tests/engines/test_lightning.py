"""LightningModules with their own steps, beside a cohort on the same work."""

from dataclasses import replace

import numpy as np
import pytest

import peoples_modules
from conftest import make_cell
from contracts.engine import EngineContract, trained
from evalbench import cell as cells
from evalbench.cell import Cell
from evalbench.engine.objective import NotPlainError
from evalbench.engines import module_cohort, module_fit
from evalbench.errors import ConfigError
from evalbench.seeds import Role, derive
from evalbench.trial import Entrant, State


def module(name: str, *more: str) -> tuple[str, ...]:
    return ("model=lightning", f"model._target_=peoples_modules.{name}", *more)


class TestLightning(EngineContract):
    chosen = module("Own")
    refused = ("+model.depth=3",)

    def raising(self) -> tuple[Cell, list[Entrant]]:
        cell = make_cell("dataset=wine", "budget.epochs=1", *module("Own"))
        built = module_fit.build(cell.config, cell.dataset, derive(0, "wine", Role.INIT, 1))
        bad = built.first
        cell = make_cell("dataset=wine", "budget.epochs=1", *module("Own", f"+model.bad={bad}"))
        return cell, cell.entrants(0, 1, 2)


@pytest.mark.slow
class TestAsCohort(TestLightning):
    """A module whose step is plain trains as a cohort."""

    chosen = module("Plain", "+model.dropout=0.1")


PLAIN = (
    "budget.epochs=3 resampling=oversample",
    "budget.epochs=3 +model.how=epochs",
    "budget=steps budget.steps=7 budget.validations=2 +model.how=steps",
)


@pytest.mark.slow
@pytest.mark.parametrize("more", PLAIN)
def test_a_plain_module_has_the_scores_of_its_own_fit_in_a_cohort(more: str) -> None:
    shared = ("dataset=wine", *module("Plain"), *more.split())
    together, alone = make_cell(*shared), make_cell(*shared, "+model.alone=true")
    first, second = (trained(cell, cell.entrants(0, 1)) for cell in (together, alone))
    for seed in (0, 1):
        assert first[seed].path["name"] == "batched"
        assert second[seed].path == {"name": "fit", "reason": "model.alone=true asks for it"}
        assert first[seed].metrics == pytest.approx(second[seed].metrics, rel=1e-4)
        losses = [[point.val_loss for point in results[seed].curve] for results in (first, second)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        assert (first[seed].steps, first[seed].best_epoch) == (second[seed].steps, second[seed].best_epoch)


REASONS = {
    "Own": "its own on_train_epoch_start",
    "ByEpoch": "reads trainer.current_epoch",
    "ByBatch": "reads the number of its batch",
    "Counting": "keeps state in Python",
    "Printing": "keeps state in Python",
    "Plain +model.how=groups": "several groups of parameters",
    "Plain +model.how=cycle": "changes more than the learning rate",
    "Plain +model.how=plateau": "may depend on more than the number of steps",
    "Plain num_seeds=1": "one trial is planned",
    "Plain trainer.microbatch_size=8": "cannot be split by trainer.microbatch_size",
    "Halved": "net.0.weight differs from that of a Lightning fit",
}


@pytest.mark.parametrize("chosen", REASONS)
@pytest.mark.slow
def test_any_other_module_trains_in_fits_of_its_own(chosen: str) -> None:
    name, *more = chosen.split()
    cell = make_cell("dataset=wine", "budget.epochs=1", *module(name), *more)
    with pytest.raises(NotPlainError, match=REASONS[chosen]):
        module_cohort.as_cohort(cell.config, cell.dataset)


def test_a_schedule_lasts_for_the_steps_of_each_phase_and_split() -> None:
    cell = make_cell("dataset=wine", "budget.epochs=5", *module("Plain", "+model.how=steps", "model.batch_size=10"))
    fewer = cell.dataset.take(np.arange(0, 178, 2))
    schedules = [module_cohort.as_cohort(cell.config, data).schedule for data in (cell.dataset, fewer)]
    factors = [schedule.arguments["lr_lambda"] for schedule in schedules if schedule is not None]
    assert [factor(25) for factor in factors] == pytest.approx([0.1 + 0.9 * 25 / 55, 0.1 + 0.9 * 25 / 40])
    by_group = replace(cell.config, split=replace(cell.config.split, method="group"))
    groups = replace(cell.dataset, groups=np.random.default_rng(0).integers(0, 40, 178))
    with pytest.raises(NotPlainError, match="which differs between splits"):
        module_cohort.as_cohort(by_group, groups)


def test_a_step_need_not_take_the_number_of_its_batch() -> None:
    cell = make_cell("dataset=wine", "budget.epochs=1", *module("Short"))
    assert module_cohort.as_cohort(cell.config, cell.dataset).optimizer.batch_size == 32


@pytest.mark.parametrize("data", [("dataset=wine", "resampling=oversample"), ("dataset=diabetes",)], ids=" ".join)
@pytest.mark.slow
def test_the_same_work_as_a_cohort_gives_the_same_scores(data: tuple[str, ...]) -> None:
    shared = (*data, "budget.epochs=3")
    alone = make_cell(*shared, *module("Own"))
    cohort = make_cell(
        *shared, "model._target_=peoples_modules.net", "~model.depth", "~model.width", "optimizer=sgd",
        "optimizer.lr=0.05", "optimizer.batch_size=32",
    )  # fmt: skip
    first, second = (trained(cell, cell.entrants(0, 1)) for cell in (alone, cohort))
    for seed in (0, 1):
        assert first[seed].metrics == pytest.approx(second[seed].metrics, rel=1e-3)
        losses = [[point.val_loss for point in results[seed].curve] for results in (first, second)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        assert first[seed].steps == second[seed].steps


def test_its_hooks_run() -> None:
    cell = make_cell("dataset=wine", "budget.epochs=2", *module("Own"))
    peoples_modules.EPOCHS.clear()
    trained(cell, cell.entrants(0))
    assert peoples_modules.EPOCHS == [0, 1]


def test_a_loss_that_is_not_finite_is_a_finding() -> None:
    cell = make_cell("dataset=diabetes", "budget.epochs=3", *module("Own", "+model.lr=1e9"))
    (result,) = trained(cell, cell.entrants(0)).values()
    assert result.state is State.DIVERGED


@pytest.mark.parametrize(
    ("name", "message"), [("Net", "must be a LightningModule"), ("NoStep", "must have a training_step of its own")]
)
def test_bad_input_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cells.check(make_cell("dataset=wine", *module(name)))
