"""A network of the user's own, or of a library, on the weights of a file."""

import importlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conftest import make_cell
from evalbench import models, weights
from evalbench.cell import Cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.models.own_pretrained import OwnPretrained
from models.test_image_networks import STAND_IN
from plain import train as train_plainly

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, out_features, width=8):
        super().__init__()
        self.body = nn.Linear(in_features, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(2))
        self.head = nn.Linear(width, out_features)
        self.register_buffer("shift", torch.zeros(width))
        self.again = self.body  # tied

    def forward(self, x):
        x = self.body(x)
        for block in self.blocks:
            x = x + block(x).relu()
        return self.head(x + self.shift)
"""
BODY, BLOCK = 4 * 8 + 8, 8 * 8 + 8 + 16
HEAD = 8 * 3 + 3


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the code of a network, and its weights without a head; return their file."""
    (tmp_path / "own_base.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(7)
    network = importlib.import_module("own_base").Net(4, 3)
    state = {**dict(network.named_parameters()), "shift": torch.ones(8)}
    return written(tmp_path / "base.safetensors", {n: v for n, v in state.items() if "head" not in n})


def written(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


def of_flowers(file: Path, adaptation: str, *more: str) -> Cell:
    network = ("model=own_pretrained", "model.network._target_=own_base.Net", f"model.weights={file}")
    steps = ("budget=steps", "budget.steps=6", "budget.validations=2", "trainer.path=batched")
    return make_cell("dataset=iris", *network, *f"adaptation={adaptation}".split(), "optimizer=adam", *steps, *more)


def is_kept(name: str) -> bool:
    """Return whether a saved tensor trains: PEFT also has the head as it was drawn."""
    return name.startswith("network.") and "original_module" not in name


@pytest.mark.parametrize(
    ("adaptation", "trained", "shared"),
    [
        ("full", BODY + 2 * BLOCK + HEAD, 0),
        ("probe", HEAD, BODY + 2 * BLOCK),
        ("bitfit", 8 + 2 * (8 + 8) + HEAD, 4 * 8 + 2 * (8 * 8 + 8)),
        ("layernorm", 2 * 16 + HEAD, BODY + 2 * (8 * 8 + 8)),
        ("last_k", BLOCK + HEAD, BODY + BLOCK),
        (
            "lora adaptation.target_modules=all-linear adaptation.r=2",
            2 * (4 + 8) + 2 * 2 * (8 + 8) + HEAD,
            BODY + 2 * BLOCK,
        ),
    ],
)
@pytest.mark.slow
def test_an_own_network_is_adapted_like_one_of_transformers(
    adaptation: str, trained: int, shared: int, base: Path, tmp_path: Path
) -> None:
    cell = of_flowers(base, adaptation, "save=all")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    assert cohort.state_bytes == 2 * 4 * trained
    assert sum(value.numel() for value in cohort.shared_tensors.values()) == shared + 8  # and the buffer
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path / "kept" / "cell")
    assert [result.path["name"] for result in results] == ["batched"] * 2
    expected = train_plainly(cell, 1).val_losses
    assert [point.val_loss for point in results[1].curve] == pytest.approx(expected, rel=1e-5)
    loaded = weights.load(tmp_path / "kept" / "cell" / "s1", packages=["own_base"])
    assert isinstance(loaded.network, OwnPretrained)
    saved = load_file(tmp_path / "kept" / "cell" / "s1" / weights.WEIGHTS)
    assert sum(value.numel() for name, value in saved.items() if is_kept(name)) == trained


def test_the_content_of_the_file_is_the_identity_and_the_head_is_drawn(base: Path, tmp_path: Path) -> None:
    cell = of_flowers(base, "probe")
    known = cell.id
    moved = of_flowers(base.rename(tmp_path / "moved.safetensors"), "probe")
    assert (moved.id, list(moved.code)) == (known, ["own_base.Net"])
    one, other = (
        models.build_seeded(seed, moved.config.model, moved.config.activation, training.shape_of(moved.dataset))
        for seed in (1, 2)
    )
    assert torch.equal(one.get_buffer("network.shift"), torch.ones(8))
    assert torch.equal(one.get_parameter("network.body.weight"), other.get_parameter("network.body.weight"))
    assert not torch.equal(one.get_parameter("network.head.weight"), other.get_parameter("network.head.weight"))
    state = load_file(tmp_path / "moved.safetensors")
    head = {"head.weight": torch.zeros(5, 8), "head.bias": torch.zeros(5)}  # of another problem
    changed = of_flowers(written(tmp_path / "other.safetensors", {**state, **head}), "probe")
    checks.check(changed.config, changed.dataset)
    assert changed.id != known


def test_a_file_that_does_not_fit_is_refused(base: Path, tmp_path: Path) -> None:
    state = load_file(base)
    wrong = {
        "alone, not 'old.weight in .*: rename them": {**state, "old.weight": torch.zeros(3)},
        r"must hold body.weight of shape \(8, 4\), not '\(8, 5\) in": {**state, "body.weight": torch.zeros(8, 5)},
        "must hold a parameter of the network": {},
    }
    for message, tensors in wrong.items():
        cell = of_flowers(written(tmp_path / "wrong.safetensors", tensors), "probe")
        with pytest.raises(ConfigError, match=f"model.weights.*{message}"):
            checks.check(cell.config, cell.dataset)
    with pytest.raises(ConfigError, match=r"^model.weights must be a file of safetensors, not"):
        of_flowers(tmp_path / "own_base.py", "probe")
    with pytest.raises(ConfigError, match=r"^model.bits must be left out"):
        of_flowers(base, "probe", "+model.bits=4")
    cell = of_flowers(base, "prompt")
    with pytest.raises(ConfigError, match=r"^adaptation must not put vectors before the inputs"):
        checks.check(cell.config, cell.dataset)
    broken = tmp_path / "broken.safetensors"
    broken.write_text("no tensors")
    cell = of_flowers(broken, "probe")
    with pytest.raises(ConfigError, match=r"^model.weights must be a file of safetensors \("):
        checks.check(cell.config, cell.dataset)


def test_a_network_of_timm_takes_the_weights_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in_base.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    state = importlib.import_module("stand_in_base").create_model("tiny", 1, 1000).state_dict()
    file = written(tmp_path / "timm.safetensors", state)
    kind = "model.network._target_=evalbench.models.libraries.TimmNetwork"
    network = (kind, "+model.network.source=stand_in_base.create_model", "+model.network.name=tiny")
    cell = make_cell("dataset=digits", "model=own_pretrained", *network, f"model.weights={file}",
        "adaptation=probe", "budget=steps", "budget.steps=2", "budget.validations=1")  # fmt: skip
    assert "stand_in_base" in str(cell.code)
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    assert results[0].parameters == 4 * 10 + 10  # the head, whose shape in the file is that of 1,000 classes
