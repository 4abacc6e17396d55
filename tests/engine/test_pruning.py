"""Pruning: a cohort beside a plain loop, exact zeros in what is kept, resumed trainings, and what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import plain
import tiny_models
from conftest import make_cell
from evalbench import cell as cells
from evalbench import models, weights
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.errors import ConfigError
from evalbench.parts.pruning import MagnitudePruning, weights_of

SMALL = ("model.width=6", "model.depth=1", "budget.epochs=4", "optimizer.batch_size=32")
MAGNITUDE, MOVEMENT = "compression=magnitude_pruning", "compression=movement_pruning"


def pruned(*overrides: str, dataset: str = "wine") -> Cell:
    return make_cell(f"dataset={dataset}", *SMALL, *overrides)


class PlainPruner:
    """Prune one network as the papers say, weight by weight; `updates` are steps with the share of zeros after them."""

    def __init__(self, updates: dict[int, float], share: float, by_movement: bool, by_layer: bool) -> None:
        self.updates, self.share, self.by_movement, self.by_layer = updates, share, by_movement, by_layer
        self.whole: dict[str, Tensor] = {}
        self.moved: dict[str, Tensor] = {}
        self.zeros: dict[str, Tensor] = {}
        self.taken = 0

    def before_step(self, network: nn.Module) -> None:
        matrices = {name: value for name, value in network.named_parameters() if value.ndim == 2}
        for name, value in matrices.items():
            whole = self.whole.setdefault(name, value.detach().clone())
            self.zeros.setdefault(name, torch.zeros_like(whole, dtype=torch.bool))
            assert value.grad is not None
            self.moved[name] = self.moved.get(name, torch.zeros_like(whole)) - whole * value.grad
            value.grad[self.zeros[name]] = 0

    def after_step(self, network: nn.Module, taken: int) -> None:
        self.taken = taken
        for name, whole in self.whole.items():
            whole[~self.zeros[name]] = network.get_parameter(name).detach()[~self.zeros[name]]
        if taken in self.updates:
            self.zeros = self._chosen(self.updates[taken])
        self._put(network, self.zeros)

    def _chosen(self, share: float) -> dict[str, Tensor]:
        scores = self.moved if self.by_movement else {name: whole.abs() for name, whole in self.whole.items()}
        zeros = {name: torch.zeros_like(whole, dtype=torch.bool) for name, whole in self.whole.items()}
        for group in [[name] for name in scores] if self.by_layer else [list(scores)]:
            ranked = sorted((value, name, index) for name in group for index, value in enumerate(scores[name].ravel()))
            for _, name, index in ranked[: round(share * len(ranked))]:
                zeros[name].ravel()[index] = True
        return zeros

    def _put(self, network: nn.Module, zeros: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, whole in self.whole.items():
                network.get_parameter(name).copy_(torch.where(zeros[name], 0, whole))

    @contextmanager
    def kept(self, network: nn.Module) -> Iterator[None]:
        is_final = bool(self.updates) and self.taken >= max(self.updates)
        self._put(network, self.zeros if is_final else self._chosen(self.share))
        yield
        self._put(network, self.zeros)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (MAGNITUDE, "optimizer=adam"),
        (MAGNITUDE, "optimizer=sgd", "compression.scope=layer", "compression.sparsity=0.8"),
        (MAGNITUDE, "compression.schedule=one_shot", "optimizer=muon"),
        (MOVEMENT, "optimizer=adam", "compression.scope=layer", "+optimizer.clip_norm=0.5"),
        (MOVEMENT, "compression.schedule=one_shot", "optimizer=adam"),
    ],
    ids=" ".join,
)
def test_a_cohort_is_pruned_as_a_lone_trial_and_a_plain_loop(overrides: tuple[str, ...]) -> None:
    cell = pruned(*overrides)
    cells.check(cell)
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))[2]
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(2))
    _, pruning = cohort.recipe.pruned
    assert pruning is not None
    steps = cohort.recipe.validation_steps[-1]
    loop = PlainPruner(pruning.shares(steps), pruning.sparsity, MOVEMENT in overrides, pruning.scope == "layer")
    expected = plain.train(cell, 2, pruner=loop)
    for result in (together, alone):
        tolerance = 2e-3 if "optimizer=muon" in overrides else 2e-4
        assert [point.val_loss for point in result.curve] == pytest.approx(expected.val_losses, rel=tolerance)
        assert result.metrics == pytest.approx(expected.metrics, rel=1e-2)
    assert expected.val_losses != pytest.approx(plain.train(cell, 2).val_losses, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "zeros"),
    [
        ((MAGNITUDE,), {0.5}),
        ((MAGNITUDE, "compression.scope=layer", "compression.sparsity=0.75"), {0.75}),
        ((MOVEMENT, "compression.schedule=one_shot", "compression.sparsity=0.9"), {0.9}),
    ],
)
def test_the_kept_weights_have_their_share_of_zeros_and_predict_what_was_judged(
    overrides: tuple[str, ...], zeros: set[float], tmp_path: Path
) -> None:
    cell = pruned(*overrides, "save=all", "budget.epochs=2", dataset="iris")
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1), keep_in=tmp_path)
    for seed, result in enumerate(results):
        kept = load_file(tmp_path / f"s{seed}" / weights.WEIGHTS)
        matrices = [value for value in kept.values() if value.ndim == 2]
        if "compression.scope=layer" in overrides:
            assert all((value == 0).sum() == round(max(zeros) * value.numel()) for value in matrices)
        flat = torch.cat([value.flatten() for value in matrices])
        assert (flat == 0).sum() == round(max(zeros) * len(flat))
        rows = cell.split(seed).test
        predicted = weights.load(tmp_path / f"s{seed}")(torch.as_tensor(cell.dataset.inputs[rows])).detach()
        assert cell.dataset.evaluate(predicted.numpy(), cell.dataset.targets[rows]) == pytest.approx(result.metrics)


def test_a_schedule_ends_at_its_share_and_begins_gently() -> None:
    shares = MagnitudePruning(sparsity=0.8, begin=0.25, end=0.75, updates=4).shares(100)
    assert list(shares) == [37, 50, 63, 75]
    assert list(shares.values()) == pytest.approx([0.8 * (1 - left**3) for left in (0.75, 0.5, 0.25, 0)])
    assert MagnitudePruning(updates=20).shares(1) == {1: 0.5}
    assert MagnitudePruning(schedule="one_shot").shares(100) == {}


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    cell = pruned(MOVEMENT, "trainer.checkpoint_minutes=1e-9", "compression.begin=0", "+budget.patience=3")
    path = tmp_path / "cohort.pt"
    folders = [tmp_path / "whole", tmp_path / "resumed"]
    results = [training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), path, folders[0])]
    assert {"masks", "whole", "moved"} <= torch.load(path, weights_only=True)["optimizer"][-1].keys()
    results.append(training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2), path, folders[1]))
    assert results[0] == results[1]
    saved = replace(cell, config=replace(cell.config, save="all"))
    path.unlink()
    for folder in folders:  # the second one begins at the last checkpoint of the first
        training.train(saved.config, saved.dataset, saved.entrants(0, 1, 2), path, folder)
    files = [folder / "s1" / weights.WEIGHTS for folder in folders]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_pretrained_network_is_pruned_in_its_layers(tmp_path: Path) -> None:
    bert, texts = tiny_models.bert(tmp_path / "bert"), tiny_models.texts(tmp_path / "films.csv")
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_features=64", "dataset.text_length=8")
    network = ("model=pretrained", f"model.path={bert}", "adaptation=full", "optimizer.lr=0.01", "budget.epochs=2")
    cell = make_cell("dataset=csv", f"dataset.path={texts}", *tokens, *network, MAGNITUDE, "save=all")
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path / "cell")
    kept = load_file(tmp_path / "cell/s0" / weights.WEIGHTS)
    names = weights_of(training.network_of(cell.config, cell.dataset))
    assert not any("embedding" in name for name in names)
    flat = torch.cat([kept[f"network.{name}"].flatten() for name in names])
    assert (flat == 0).sum() == round(0.5 * len(flat))
    rows = cell.split(0).test
    predicted = weights.load(tmp_path / "cell/s0")(torch.as_tensor(cell.dataset.inputs[rows])).detach()
    assert cell.dataset.evaluate(predicted.numpy(), cell.dataset.targets[rows]) == pytest.approx(result.metrics)
    probe = make_cell("dataset=csv", f"dataset.path={texts}", *tokens, *network, MAGNITUDE, "adaptation=probe")
    with pytest.raises(ConfigError, match=r"compression needs .* to train: choose adaptation=full"):
        training.pruned_of(probe.config, probe.dataset)


def test_a_network_without_weights_of_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="without weights of layers"):
        weights_of(nn.Sequential(nn.Embedding(4, 2), nn.LayerNorm(2)))


def test_all_weights_of_layers_are_pruned() -> None:
    cell = make_cell("dataset=digits", "model=cnn")
    shape = training.shape_of(cell.dataset)
    network = models.build_seeded(0, cell.config.model, cell.config.activation, shape)
    layers = [one for one in network.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    assert [
        network.get_parameter(name) is layer.weight for name, layer in zip(weights_of(network), layers, strict=True)
    ]
    assert weights_of(nn.MultiheadAttention(4, 2)) == ["in_proj_weight", "out_proj.weight"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("compression.sparsity=1",), "compression.sparsity must be a share above 0 and below 1, not 1"),
        (("compression.sparsity=two",), "compression.sparsity must be a share from 0 to 1, not 'two'"),
        (("compression.begin=0.8",), r"compression.end must be above compression.begin, 0.8, not 0.75"),
        (("compression.updates=0",), "compression.updates must be a whole number of at least 1, not 0"),
        (("compression.scope=row",), "compression.scope must be global or layer, not 'row'"),
        (("compression.schedule=once",), "compression.schedule must be gradual or one_shot, not 'once'"),
        (
            ("optimizer=sgd", "optimizer._target_=torch.optim.LBFGS"),
            "compression must be none for an optimizer that needs a closure",
        ),
    ],
)
def test_wrong_settings_are_refused_in_one_line(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cells.check(pruned(MAGNITUDE, *overrides))


@pytest.mark.slow
def test_settings_are_part_of_a_trial() -> None:
    plainly = pruned()
    assert pruned("compression=none").id == plainly.id
    assert (
        len({plainly.id, pruned(MAGNITUDE).id, pruned(MOVEMENT).id, pruned(MAGNITUDE, "compression.end=0.8").id}) == 4
    )
