"""A cohort moves as a whole, and gives the same results on a CUDA device as on the CPU."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from conftest import Inline, make_cell
from evalbench import weights
from evalbench.cell import Cell
from evalbench.engine import gradients, memory, training
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
    "pruning": ("optimizer=adam", "compression=magnitude_pruning", "model._target_=networks.Normed"),
    "pruning by movement": ("optimizer=momentum", "compression=movement_pruning", "model._target_=networks.Normed"),
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


@pytest.mark.gpu
@cuda
def test_nccl_adds_up_gradients_and_finds_the_missing_ones(tmp_path: Path) -> None:
    device = torch.device("cuda", 0)
    torch.distributed.init_process_group("nccl", f"file://{tmp_path}/group", rank=0, world_size=1, device_id=device)
    try:
        tensors = [torch.arange(6.0, device=device).view(2, 3), torch.ones(2, device=device)]
        gradients._sum_over_ranks(tensors)
        assert [tensor.tolist() for tensor in tensors] == [[[0, 1, 2], [3, 4, 5]], [1, 1]]
        without = {"first": frozenset({1}), "second": frozenset[int]()}
        assert gradients._without_on_all_ranks(without, 3, device) == without
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.gpu
@cuda
def test_a_job_stays_within_its_bytes() -> None:
    device = torch.device("cuda", 0)
    try:
        available = memory.available_bytes(device)
        kept = torch.empty(2**28, dtype=torch.uint8, device=device)
        del kept  # the allocator keeps it
        assert memory.available_bytes(device) == pytest.approx(available, rel=0.01)
        assert memory.available_bytes(device, 2**30) <= 2**30
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2**31, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")
@pytest.mark.parametrize("way", ["trainer.strategy=ddp", "trainer.split=members"])
def test_two_cuda_devices_give_the_numbers_of_one(way: str, inline: Inline, workspace: Path) -> None:
    small = ("dataset=iris", "optimizer=adam", "num_seeds=2", "budget.epochs=3", "tracker=none", "cost.rounds=0")
    losses = []
    for devices, choice in ((1, ()), (2, (way,))):
        name = f"evaluation.name=on{devices}"
        launcher = ("hydra/launcher=processes", f"store.url=sqlite:///{devices}.sqlite", f"trainer.devices={devices}")
        inline("-m", *small, name, *launcher, *choice)
        losses.append(pd.read_csv(workspace / f"reports/on{devices}/curves.csv")["val_loss"].tolist())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.gpu
@cuda
def test_cells_side_by_side_share_the_gpus(inline: Inline, workspace: Path) -> None:
    inline(
        *("-m", "dataset=iris,wine", "optimizer=sgd,adam", "num_seeds=2", "budget.epochs=2", "tracker=none"),
        *("evaluation.name=shared", "cost.rounds=1", "hydra/launcher=processes", "hydra.launcher.jobs_per_gpu=2"),
    )
    states = pd.read_csv(workspace / "reports/shared/results.csv")["state"]
    assert states.tolist() == ["COMPLETE"] * 8
    costs = pd.read_csv(workspace / "reports/shared/costs.csv")
    assert costs["measured_on"].unique().tolist() == [torch.cuda.get_device_name()]
    assert (costs["peak_memory_bytes"] > 0).all()
