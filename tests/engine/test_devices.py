"""A cohort moves as a whole, and gives the same results on a CUDA device as on the CPU."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import Inline, make_cell
from evalbench import weights
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.engine.cohort import Cohort

MODEL = ("dataset=wine", "budget.epochs=3", "~model.depth", "~model.width")
CASES = {
    "shared instance": ("optimizer=adam", "model._target_=networks.Normed"),
    "own rates": ("optimizer=adamw", "model._target_=networks.Dropped"),
    "instances": ("optimizer=sgd", "optimizer._target_=torch.optim.Adafactor", "model._target_=networks.Dropped"),
    "schedule": ("optimizer=momentum", "schedule=one_cycle", "model._target_=networks.Tied"),
    "frozen body": ("optimizer=adamw", "model._target_=networks.Probe"),
    "constants": ("optimizer=adam", "model._target_=peoples_networks.Projection"),
    "one by one": ("optimizer=adam", "model._target_=networks.Branching"),
    "weights of classes": ("loss.class_weights=balanced", "model._target_=networks.Normed"),
    "tensor in a loss": (
        "loss=own",
        "loss._target_=torch.nn.CrossEntropyLoss",
        "+loss.weight={_target_:torch.tensor,data:[1.0,2.0,3.0]}",
        "model._target_=networks.Normed",
    ),
    "patience": ("optimizer=adam", "optimizer.lr=0.1", "budget.patience=1", "model._target_=networks.Normed"),
}
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def cell_of(case: str) -> Cell:
    return make_cell(*MODEL[:1], *MODEL[1:2], *CASES[case], *MODEL[2:])


def trained_cohort(cell: Cell) -> Cohort:
    """Return a cohort that has taken a few steps, with everything that it keeps between steps."""
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    with torch.no_grad():
        for chunk in cohort.batches.chunks(0, 2, 1):
            cohort.train_chunk(chunk, 0)
    return cohort


def tensors_of(cohort: Cohort) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor that can be reached from a cohort through attributes, containers and closures."""
    seen: set[int] = set()
    queue: deque[tuple[str, Any]] = deque([("cohort", cohort)])
    while queue:
        path, value = queue.popleft()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield path, value
        elif isinstance(value, dict):
            queue.extend(
                (f"{path}[{key}]", part)
                for pair in value.items()
                for key, part in zip(("key", pair[0]), pair, strict=True)
            )
        elif isinstance(value, list | tuple | set | deque):
            queue.extend((f"{path}[]", part) for part in value)
        elif callable(value) and getattr(value, "__closure__", None):
            queue.extend((f"{path}()", cell.cell_contents) for cell in value.__closure__)
        elif hasattr(value, "__dict__"):
            queue.extend((f"{path}.{key}", part) for key, part in vars(value).items())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_nothing_of_a_cohort_is_left_behind_when_it_moves(case: str) -> None:
    cohort = trained_cohort(cell_of(case))
    assert len(list(tensors_of(cohort))) > 20
    assert not [path for path, value in tensors_of(cohort.to("meta")) if value.device.type != "meta"]


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("case", CASES)
def test_a_cuda_device_gives_the_numbers_of_the_cpu(case: str, tmp_path: Path) -> None:
    cell = cell_of(case)
    cpu_cell = make_cell(*MODEL[:1], *MODEL[1:2], *CASES[case], *MODEL[2:], "trainer.accelerator=cpu")
    for on_cuda, on_cpu in zip(
        training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), tmp_path / "checkpoint"),
        training.train(cpu_cell.config, cpu_cell.dataset, cpu_cell.entrants(0, 1, 2)),
        strict=True,
    ):
        assert [p.val_loss for p in on_cuda.curve] == pytest.approx([p.val_loss for p in on_cpu.curve], rel=1e-3)
        assert on_cuda.metrics == pytest.approx(on_cpu.metrics, rel=5e-3, abs=1e-4)


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_every_precision_trains_on_a_cuda_device(precision: str, tmp_path: Path) -> None:
    cell = make_cell(
        "dataset=digits",
        "model=cnn",
        "budget=steps",
        "budget.steps=6",
        "budget.validations=2",
        f"trainer.precision={precision}",
        "save=all",
    )
    (result, _) = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path)
    assert result.metrics["test/accuracy"] > 0
    assert weights.load(tmp_path / "s0").network is not None


@pytest.mark.gpu
@cuda
def test_a_sweep_on_a_cuda_device_writes_its_report(inline: Inline, workspace: Path) -> None:
    inline(
        "+sweep=optimizers",
        "optimizer=bgd,adam",
        "evaluation.baseline=bgd",
        "dataset=iris",
        "num_seeds=2",
        "budget.epochs=2",
        "tracker=none",
        "evaluation.name=x",
    )
    assert (workspace / "reports/x/report.md").is_file()
    assert "DIVERGED" not in (workspace / "reports/x/results.csv").read_text()
