"""Inputs that stay on the host, in memory or in a file, give the bits of inputs that are held on the device."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import cohort, rows, training
from evalbench.trial import TrialResult
from evalbench.workloads import Dataset

QUICK = ("budget.epochs=3", "model.width=8")


def trained(cell: Cell, *, dataset: Dataset | None = None, **settings: object) -> list[TrialResult]:
    config = replace(cell.config, **settings)  # type: ignore[arg-type]
    return training.train(config, dataset or cell.dataset, cell.entrants(0, 1, 2))


def mapped(array: np.ndarray, path: Path) -> np.ndarray:
    np.save(path, array)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_inputs_read_ahead_from_a_file_give_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "CHUNK_NUMBERS", 10_000)  # several chunks in an epoch
    monkeypatch.setattr(cohort, "EVALUATION_EXAMPLES", 100)
    cell = make_cell(f"dataset={name}", *QUICK)
    held = trained(cell)
    assert trained(cell, data="host") == held
    in_file = replace(cell.dataset, inputs=mapped(cell.dataset.inputs, tmp_path / "inputs.npy"))
    assert in_file.fingerprint == cell.dataset.fingerprint
    assert trained(cell, dataset=in_file, data="host") == held
    assert trained(cell, dataset=in_file, data="device") == held


def test_a_killed_training_resumes_with_the_same_bits_wherever_inputs_stay(tmp_path: Path) -> None:
    cell = make_cell("dataset=wine", "trainer.checkpoint_minutes=1e-9", *QUICK)
    config, entrants, path = replace(cell.config, data="host"), cell.entrants(0, 1), tmp_path / "checkpoint.pt"

    def killed(curves: object, first: int) -> None:
        if path.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(config, cell.dataset, entrants, path, watch=killed)
    assert path.exists()
    resumed = training.train(config, cell.dataset, entrants, path)
    assert resumed == training.train(cell.config, cell.dataset, entrants)


def test_a_stage_keeps_its_address_until_it_is_too_small() -> None:
    inputs, moves = np.arange(80, dtype=np.float32).reshape(40, 2), []
    on_host = rows.HostRows(inputs)
    on_host.on_move = lambda: moves.append(len(on_host.inputs))
    chunks = [[[[3, 3, 9], [0, 3, 5]]], [[[1, 2, 3], [4, 5, 6]]], [[list(range(10, 20))]]]
    for chunk in on_host.staged(map(torch.tensor, chunks)):
        assert on_host[chunk].tolist() == inputs[chunk.numpy()].tolist()
    assert moves == [8, 20]  # twice the 4 and the 10 different rows


def test_inputs_stay_on_the_host_if_they_fill_the_device() -> None:
    inputs, cuda, cpu = np.zeros((100, 10), np.uint8), torch.device("cuda"), torch.device("cpu")
    assert not rows.stays_on_host("auto", inputs, cuda, 4000)
    assert rows.stays_on_host("auto", inputs, cuda, 3000)
    assert not rows.stays_on_host("auto", inputs, cpu, 3000)  # it is in memory already
    assert rows.stays_on_host("host", inputs, cpu, 10**9)
    assert not rows.stays_on_host("device", inputs, cuda, 0)
