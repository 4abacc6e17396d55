"""Tensors that do not train are shared by all members, counted as constants, and stay the same to the bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import make_cell
from evalbench import models, weights
from evalbench.cell import Cell
from evalbench.engine import checks, state, training
from evalbench.engine.cohort import Cohort
from evalbench.errors import ConfigError, DataError
from evalbench.trial import State
from plain import train as train_plainly

HEAD = 4 * (256 * 3 + 3)
BODY = 4 * (13 * 256 + 256 + 256 * 256 + 256)


def probe(*more: str, model: str = "networks.Probe") -> Cell:
    return make_cell(
        "dataset=wine", "budget.epochs=2", f"model._target_={model}", "~model.depth", "~model.width", *more
    )


def cohort_of(cell: Cell, members: int) -> Cohort:
    return training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(members)))[0]


@pytest.mark.slow
def test_memory_grows_with_the_head_alone() -> None:
    for members in (1, 8, 64):
        cohort = cohort_of(probe(), members)
        assert cohort.why_one_by_one is None
        assert cohort.state_bytes == members * HEAD
        assert cohort.constant_bytes == BODY


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw", "muon"])
@pytest.mark.slow
def test_nothing_frozen_moves_by_a_bit(optimizer: str, tmp_path: Path) -> None:
    decay = ("+optimizer.weight_decay=0.5",) if optimizer in ("sgd", "momentum") else ()
    cell = probe(f"optimizer={optimizer}", "save=all", *decay)
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), keep_in=tmp_path / "cell")
    assert {result.parameters for result in results} == {HEAD // 4}
    built = models.build_seeded(0, cell.config.model, cell.config.activation, training.shape_of(cell.dataset))
    (base,) = (tmp_path / weights.BASES).iterdir()
    saved = load_file(base)
    assert all(
        torch.equal(saved[f"network.body.{name}"], value)
        for name, value in built.get_submodule("body").named_parameters()
    )
    plain = train_plainly(cell, 1)
    tolerance = 2e-3 if optimizer == "muon" else 1e-4
    assert [point.val_loss for point in results[1].curve] == pytest.approx(plain.val_losses, rel=tolerance)


def test_a_base_is_written_once_and_checked_when_it_is_read(tmp_path: Path) -> None:
    cell = probe("save=all")
    training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path / "cell")
    training.train(cell.config, cell.dataset, cell.entrants(2, 3), keep_in=tmp_path / "other")
    (base,) = (tmp_path / weights.BASES).iterdir()
    for folder in ("cell/s0", "cell/s1", "other/s2"):
        assert {name.split(".")[1] for name in load_file(tmp_path / folder / weights.WEIGHTS) if "." in name} == {
            "head"
        }
        assert weights.load(tmp_path / folder, packages=["networks"]).network.get_parameter("body.0.weight").shape == (
            256,
            13,
        )
    assert json.loads((tmp_path / "cell/s0" / weights.DESCRIPTION).read_text())["base"] == base.stem
    damaged = {name: value + 1 for name, value in load_file(base).items()}
    save_file(damaged, base)
    with pytest.raises(DataError, match="has been changed"):
        weights.load(tmp_path / "cell/s0", packages=["networks"])
    base.unlink()
    with pytest.raises(DataError, match="must exist"):
        weights.load(tmp_path / "cell/s0", packages=["networks"])


@pytest.mark.slow
def test_frozen_values_that_differ_between_seeds_are_each_members_own(tmp_path: Path) -> None:
    cell = probe("save=all", model="peoples_networks.PretrainedBody")
    other = probe("save=all", model="peoples_networks.LinearProbe")  # drawn with the seed
    assert cohort_of(cell, 3).constant_bytes < cohort_of(other, 3).constant_bytes
    together = training.train(other.config, other.dataset, other.entrants(0, 1, 2), keep_in=tmp_path / "cell")
    (alone,) = training.train(other.config, other.dataset, other.entrants(2))
    assert together[2].metrics == pytest.approx(alone.metrics, rel=1e-4)
    for seed in (0, 2):  # saved with each trial, since no base could hold them
        model = weights.load(tmp_path / "cell" / f"s{seed}", packages=["peoples_networks"])
        assert model(torch.as_tensor(other.dataset.inputs)).isfinite().all()


def test_a_network_in_which_nothing_trains_is_refused() -> None:
    cell = probe(model="peoples_networks.LinearProbe")
    network = models.build_seeded(0, cell.config.model, cell.config.activation, training.shape_of(cell.dataset))
    network.requires_grad_(False)
    with pytest.raises(ConfigError, match="must have a parameter that trains"):
        checks._check_network(cell.config, network)


def test_a_frozen_body_that_a_resumed_cohort_needs_is_built_anew(tmp_path: Path) -> None:
    cell = probe("trainer.checkpoint_minutes=1e-9", "budget.epochs=4")
    whole = training.train(cell.config, cell.dataset, cell.entrants(0, 1), tmp_path / "x.pt")
    snapshot = torch.load(tmp_path / "x.pt", weights_only=True)
    assert sum(value.numel() for value in snapshot["state"]) == 2 * HEAD // 4
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1), tmp_path / "x.pt") == whole
    assert {result.state for result in whole} == {State.COMPLETE}


def test_a_pass_that_looks_for_changes_leaves_parameters_in_a_dict_as_they_are() -> None:
    class Bank(torch.nn.Module):
        def __init__(self, rows: torch.nn.ParameterDict) -> None:
            super().__init__()
            self.rows, self.scale = rows, torch.nn.Parameter(torch.ones(2), requires_grad=False)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = inputs @ self.rows["one"] * self.scale
            return outputs

    shared = torch.nn.ParameterDict({"one": torch.ones(2, 2)})
    network = torch.nn.Sequential(Bank(shared), Bank(shared))
    assert state.changing(network, torch.ones(3, 2)) == set()
    assert [name for name, value in network.named_parameters() if value.requires_grad] == ["0.rows.one"]
