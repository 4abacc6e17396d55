"""Under 64-true everything is in 64 bits, and products are exact unless the user asks for less."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import make_cell
from evalbench import weights
from evalbench.engine import training
from evalbench.seeds import Role, derive
from evalbench.workloads import draw_split
from plain import train as train_plainly

DOUBLE = ("trainer.precision=64-true", "budget.epochs=3", "trainer.accelerator=cpu")
OWN = ("~model.depth", "~model.width")
CLIPPED = "+optimizer.clip_norm=0.1"
SMALL_TEXT = ("dataset=python_source", "dataset.num_rows=30", "dataset.length=8")
CASES = {
    "classes, schedule": ("dataset=wine", "optimizer=adamw", "schedule=one_cycle"),
    "two classes, missing values, smoothing": ("dataset=breast_cancer", "loss.label_smoothing=0.1"),
    "numbers, clipped": ("dataset=diabetes", "optimizer=momentum", CLIPPED),
    "own network, dropout": ("dataset=wine", "model._target_=networks.Dropped", *OWN),
    "one by one": ("dataset=wine", "model._target_=networks.Branching", *OWN),
    "complex, clipped": ("dataset=wine", "model._target_=peoples_networks.ComplexWeights", CLIPPED, *OWN),
    "tokens": (*SMALL_TEXT, "model=transformer", "model.width=8"),
}  # fmt: skip
QUICK = ("numbers, clipped", "own network, dropout")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
@pytest.mark.slow
def test_double_precision_agrees_with_a_double_loop_to_its_last_digits(case: str, tmp_path: Path) -> None:
    cell = make_cell(*CASES[case], *DOUBLE, "save=all")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), keep_in=tmp_path)
    # `Module.double` leaves complex parameters at 64 bits for both parts together
    accuracy = 1e-6 if "complex" in case else 1e-12
    for seed, result in enumerate(results):
        plain = train_plainly(cell, seed)
        assert [point.val_loss for point in result.curve] == pytest.approx(plain.val_losses, rel=accuracy)
        assert result.metrics == pytest.approx(plain.metrics, rel=10 * accuracy)
    dataset = cell.dataset
    test = draw_split(dataset, 0.2, 0.2, derive(0, dataset.name, Role.SPLIT, 2)).test
    predictions = (
        weights.load(weights.folder(tmp_path, 2), packages=("networks", "peoples_networks"))(
            torch.as_tensor(dataset.inputs[test])
        )
        .detach()
        .numpy()
    )
    assert predictions.dtype == np.float64
    assert dataset.kind.evaluate(predictions, dataset.targets[test]) == pytest.approx(results[2].metrics, rel=accuracy)


def products() -> tuple[str, bool]:
    """Return the precision of products, and whether convolutions on CUDA may round to TF32."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("chosen", "rounds"), [("highest", False), ("high", True), ("medium", True)])
def test_products_have_the_chosen_precision_in_training_alone(chosen: str, rounds: bool) -> None:
    before, seen = products(), set()
    cell = make_cell("dataset=iris", "budget.epochs=1", f"trainer.matmul_precision={chosen}")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))

    def note(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        seen.add(products())
        return dict(gradients)

    cohort.recipe = replace(cohort.recipe, on_gradients=[note])
    training._fit(cohort, cell.config)
    assert seen == {(chosen, rounds)}
    assert products() == before
    with pytest.raises(ZeroDivisionError), cohort.recipe.numbers():
        1 / 0  # noqa: B018
    assert products() == before


def test_the_precision_of_products_is_part_of_a_trial_unless_it_is_the_default() -> None:
    default, exact, medium = (
        make_cell("dataset=iris", *more)
        for more in ((), ("trainer.matmul_precision=highest",), ("trainer.matmul_precision=medium",))
    )
    assert "matmul_precision" not in default.settings
    assert default.id == exact.id != medium.id


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_trial_with_rounded_products_does_not_depend_on_its_cohort(optimizer: str) -> None:
    cell = make_cell(
        "dataset=digits", f"optimizer={optimizer}", "optimizer.batch_size=32", "budget=steps", "budget.steps=20",
        "budget.validations=2", "trainer.matmul_precision=medium", "trainer.accelerator=cpu",
    )  # fmt: skip
    alone = training.train(cell.config, cell.dataset, cell.entrants(1))[0]
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))[1].curve == alone.curve


gpu = pytest.param("gpu", marks=(pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")))


@pytest.mark.parametrize("accelerator", ["cpu", gpu])
@pytest.mark.parametrize("case", [("dataset=digits",), (*SMALL_TEXT, "model=transformer", "model.width=32")], ids=str)
@pytest.mark.slow
def test_bf16_mixed_agrees_with_a_plain_autocast_loop(case: tuple[str, ...], accelerator: str) -> None:
    cell = make_cell(
        *case, "optimizer=momentum", "optimizer.batch_size=32", "budget=steps", "budget.steps=30",
        "budget.validations=3", "trainer.precision=bf16-mixed", f"trainer.accelerator={accelerator}",
    )  # fmt: skip
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # a cache would keep the weights of the first step
        plain = train_plainly(cell, 2)
    assert [point.val_loss for point in results[2].curve] == pytest.approx(plain.val_losses, rel=0.02)
