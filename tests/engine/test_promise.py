"""The central promise: a trial's result does not depend on its cohort.

Every trait trains in a cohort of four, in a cohort of one, in another order with other members, and in a plain PyTorch
loop. Validation losses agree within 2e-4 relative (float32 sums in another order, over about forty steps).
"""

import pytest

from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.trial import TrialResult
from plain import train as train_plainly

TOLERANCE = 2e-4
MODELS = {
    "mlp": ("model.width=16",),
    "dropout": ("model._target_=networks.Dropped", "~model.depth", "~model.width"),
    "noise": ("model._target_=networks.Noisy", "~model.depth", "~model.width"),
    "batch norm": ("model._target_=networks.Normed", "~model.depth", "~model.width"),
    "tied": ("model._target_=networks.Tied", "~model.depth", "~model.width"),
}
HALVES = ("optimizer.batch_size=53",)
"""Two batches of the same size; the traits below have three batches and a smaller one, whose graph is traced too."""
OPTIMIZERS = {
    "sgd": ("optimizer=sgd", "budget=steps", "budget.steps=40", "budget.validations=4"),
    "bgd": ("optimizer=bgd",),
    "momentum": ("optimizer=momentum", *HALVES),
    "adam": ("optimizer=adam", *HALVES),
    "adamw": ("optimizer=adamw", *HALVES),
    "adafactor": ("optimizer=momentum", "optimizer._target_=torch.optim.Adafactor", "~optimizer.momentum", *HALVES),
}
TRAITS = {
    "cosine": ("schedule=cosine",),
    "one cycle": ("schedule=one_cycle", "optimizer=momentum"),
    "one cycle with adam": ("schedule=one_cycle",),
    "step": ("schedule=step", "schedule.step_size=5"),
    "warm-up": ("schedule=warmup", "schedule.total_iters=8"),
    "clipping": ("+optimizer.clip_norm=0.05", "optimizer=momentum"),
    "weight decay": ("optimizer=adamw", "optimizer.weight_decay=0.3"),
    "label smoothing": ("loss.label_smoothing=0.2",),
    "accumulation": ("trainer.microbatch_size=7",),
    "accumulation and dropout": ("trainer.microbatch_size=7", *MODELS["dropout"]),
    "full batch in parts": ("optimizer=bgd", "trainer.microbatch_size=10"),
    "patience": ("budget.patience=2", "optimizer=minibatch_sgd", "optimizer.lr=0.6", "budget.epochs=12"),
    "binary": ("dataset=breast_cancer", "loss.label_smoothing=0.1"),
    "regression": ("dataset=diabetes", *MODELS["dropout"]),
}
CASES = {
    **{f"{model} with {name}": (*MODELS[model], *more) for model in MODELS for name, more in OPTIMIZERS.items()},
    **TRAITS,
}
# This pair is refused: a batch of one row has no variance to normalize by.
del CASES["batch norm with sgd"]
QUICK = ("mlp with adam", "dropout with momentum", "tied with adafactor", "cosine", "clipping", "accumulation")


def assert_equal(result: TrialResult, losses: list[float], metrics: dict[str, float], best_epoch: float | None) -> None:
    assert [point.val_loss for point in result.curve] == pytest.approx(losses, rel=TOLERANCE, abs=1e-6)
    assert result.metrics == pytest.approx(metrics, rel=5 * TOLERANCE, abs=1e-5)
    assert result.best_epoch == best_epoch


def losses_of(result: TrialResult) -> list[float]:
    return [point.val_loss for point in result.curve]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
@pytest.mark.slow
def test_a_trial_does_not_depend_on_its_cohort(case: str) -> None:
    budget = () if "budget=steps" in CASES[case] else ("budget.epochs=3",)
    cell = make_cell("dataset=wine", *budget, *CASES[case])
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2, 3))
    assert_equal(together[2], *_values(training.train(cell.config, cell.dataset, cell.entrants(2))[0]))
    assert_equal(together[1], *_values(training.train(cell.config, cell.dataset, cell.entrants(3, 1))[1]))
    assert losses_of(together[0]) != losses_of(together[1])
    _assert_equal_to_plain(cell, together[2], seed=2)


def _values(result: TrialResult) -> tuple[list[float], dict[str, float], float | None]:
    return losses_of(result), dict(result.metrics), result.best_epoch


def _assert_equal_to_plain(cell: Cell, result: TrialResult, seed: int) -> None:
    plain = train_plainly(cell, seed)
    assert_equal(result, plain.val_losses, plain.metrics, plain.best_epoch)
    assert [point.step for point in result.curve] == plain.steps
