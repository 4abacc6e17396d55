"""A profile is a trace and a table of one validation interval, and changes nothing else."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import Inline, make_cell
from evalbench import ranks
from evalbench.cell import Cell
from evalbench.engine import profile, training
from evalbench.engine.profile import Profile, busy_share, costliest

SETTINGS = ("dataset=iris", "optimizer=sgd", "optimizer.batch_size=32", "budget.epochs=3", "trainer.profile=true")


def event(name: str, start: float, end: float, own: float = 0.0, device: str = "CPU") -> Any:
    times = SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start)
    kind = f"DeviceType.{device}"
    return SimpleNamespace(
        name=name, time_range=times, self_cpu_time_total=own, device_type=kind, is_user_annotation=False
    )


def read(folder: Path) -> tuple[dict[str, Any], str]:
    (trace,), (page,) = folder.glob("*.pt.trace.json.gz"), folder.glob("*.md")
    with gzip.open(trace) as file:
        return json.load(file), page.read_text()


@pytest.mark.slow
def test_a_sweep_writes_a_trace_and_a_table(inline: Inline, workspace: Path) -> None:
    inline(*SETTINGS, "num_seeds=2", "evaluation.name=x", "cost.rounds=0", "tracker=none")
    trace, page = read(workspace / "reports/x/profile")
    names = {entry["name"] for entry in trace["traceEvents"]}
    assert "aten::bmm" in names
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 10
    assert sorted((float(row[2]) for row in rows), reverse=True) == [float(row[2]) for row in rows]
    assert (workspace / "reports/x/report.md").is_file()


@pytest.mark.parametrize(
    "more",
    [("budget.epochs=1",), ("model._target_=networks.Branching", "~model.depth", "~model.width")],
    ids=["one interval", "one by one"],
)
@pytest.mark.slow
def test_a_profile_changes_no_result_and_no_identity(more: tuple[str, ...], tmp_path: Path) -> None:
    cell, plain = (
        make_cell(*SETTINGS, *more, f"reports={tmp_path}", f"trainer.profile={wanted}") for wanted in (True, False)
    )
    assert cell.id == plain.id
    assert curves(cell) == curves(plain)
    folder = tmp_path / "single/profile"
    assert read(folder)[0]["traceEvents"]
    before = read(folder)
    assert curves(cell) == curves(plain)
    assert read(folder) == before  # of the first cohort


def curves(cell: Cell) -> list[object]:
    trained = training.train_all(cell.config, cell.dataset, cell.entrants(0, 1), cell.id)
    return [result.curve for _, results in trained if isinstance(results, list) for result in results]


def test_rank_zero_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(make_cell(*SETTINGS).config, reports=tmp_path)
    assert len(profile.recorders(config, "iris", "id")) == 1
    monkeypatch.setattr(ranks, "current", lambda: SimpleNamespace(index=1))
    assert not profile.recorders(config, "iris", "id")


def test_an_interrupted_recording_leaves_nothing_behind(tmp_path: Path) -> None:
    recorder = Profile(tmp_path / "x.pt.trace.json.gz", "x")
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=1)
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    recorder.on_train_epoch_start(trainer, module)
    recorder.on_exception(trainer, module, KeyboardInterrupt())
    recorder.on_train_end(trainer, module)
    assert not list(tmp_path.iterdir())


def test_the_table_counts_operations_by_their_own_time() -> None:
    events = [event("mm", 0, 4, own=3), event("linear", 0, 5, own=1), event("mm", 6, 10, own=4)]
    assert costliest(events) == [("mm", 2, 0.007, 0.875), ("linear", 1, 0.001, 0.125)]


def test_kernels_count_where_there_are_any() -> None:
    events = [event("aten::mm", 0, 100, own=100), event("gemm", 10, 12, device="CUDA")]
    assert costliest(events) == [("gemm", 1, 0.002, 1.0)]


def test_the_busy_share_counts_overlapping_spans_once() -> None:
    assert busy_share([(10, 12), (11, 12), (11, 13), (18, 20)]) == pytest.approx(0.5)
    assert busy_share([]) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_profile_of_a_cuda_device_lists_its_kernels_and_gaps(tmp_path: Path) -> None:
    cell = make_cell(*SETTINGS, f"reports={tmp_path}", "trainer.accelerator=gpu")
    curves(cell)
    _, page = read(tmp_path / "single/profile")
    assert "The costliest kernels and copies on the GPU" in page
    assert "were gaps" in page
