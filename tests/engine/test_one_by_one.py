"""The state of networks and optimizers and the noise belong to one member, whatever happens to other members."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conftest import make_cell
from evalbench.cell import Cell
from evalbench.config import Component
from evalbench.engine import checkpoints, checks, training
from evalbench.engine.cohort import Cohort
from evalbench.engine.optimizers import CohortOptimizer
from evalbench.errors import ConfigError
from evalbench.seeds import Phase
from evalbench.trial import Entrant, TrialResult
from plain import train as train_plainly


def cell_of(network: str, *more: str) -> Cell:
    model = (f"model._target_={network}", "~model.depth", "~model.width")
    return make_cell("dataset=wine", "optimizer=momentum", "optimizer.batch_size=53", "budget.epochs=5", *model, *more)


def losses(result: TrialResult) -> list[float]:
    return [point.val_loss for point in result.curve]


class KilledError(Exception):
    pass


def break_off(cell: Cell, path: Path, optimizer: str = "") -> None:
    """Train two members until after the second validation, and leave a checkpoint."""
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    checkpoints.attach(cohort, path, 0)
    save = cohort.on_interval_end
    assert save is not None

    def save_and_die(cohort: Cohort, next_interval: int) -> None:
        save(cohort, next_interval)
        if next_interval == 2:
            raise KilledError

    cohort.on_interval_end = save_and_die
    with pytest.raises(KilledError):
        training._fit(cohort, cell.config)


@pytest.mark.parametrize("network", ["Counter", "MergedLora", "BufferInPlace"])
@pytest.mark.slow
def test_a_resumed_network_keeps_its_python_state(network: str, tmp_path: Path) -> None:
    cell = cell_of(f"peoples_networks.{network}")
    whole = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    break_off(cell, tmp_path / "x.pt")
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1), tmp_path / "x.pt") == whole


def test_a_network_that_cannot_be_saved_leaves_no_checkpoint(tmp_path: Path) -> None:
    cell = cell_of("peoples_networks.OwnPythonGenerator")
    break_off(cell, tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()


class Stepping(torch.optim.Optimizer):
    """SGD whose rate falls with a count on the instance and a count in its group."""

    def __init__(self, params, lr=0.5) -> None:  # type: ignore[no-untyped-def]
        super().__init__(params, {"lr": lr, "count": 0})
        self.seen = 0

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        self.seen += 1
        for group in self.param_groups:
            group["count"] += 1
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"] / (self.seen + group["count"]))


class Holding(Stepping):
    """Keeps the weights of its first step on the instance."""

    def step(self) -> None:  # type: ignore[override]
        super().step()
        if self.seen == 1:
            self.first = [parameter.detach().clone() for parameter in self.param_groups[0]["params"]]
        for parameter, first in zip(self.param_groups[0]["params"], self.first, strict=True):
            parameter.data.lerp_(first, 0.1)


@pytest.mark.parametrize("optimizer", ["Stepping", "Holding"])
def test_an_optimizers_own_state_survives_the_end_of_another_member(optimizer: str) -> None:
    component = Component("optimizer", f"{__name__}.{optimizer}", {"lr": 0.5})
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    def survivor(ends_at: int | None) -> Tensor:
        stacked = {"weight": nn.Parameter(start.clone())}
        cohort = CohortOptimizer(component, stacked)
        for step in range(8):
            if step == ends_at:
                stacked = {"weight": nn.Parameter(stacked["weight"].data[[0, 2]])}
                cohort.keep([0, 2], stacked)
            cohort.step({"weight": torch.sin(stacked["weight"].detach())})
        return stacked["weight"][-1].detach()

    assert torch.equal(survivor(None), survivor(5))


@pytest.mark.parametrize("optimizer", ["Stepping", "Holding"])
@pytest.mark.slow
def test_an_optimizers_own_state_is_resumed(optimizer: str, tmp_path: Path) -> None:
    own = (f"optimizer._target_={__name__}.{optimizer}", "~optimizer.momentum", "optimizer.lr=0.5")
    cell = cell_of("networks.Dropped", *own)
    whole = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    break_off(cell, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").exists()
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1), tmp_path / "x.pt") == whole


# ── parts of a batch ──────────────────────────────────────────────────────────────────────────────────────────────────

PARTS = [
    "AttentionDropout",
    "EncoderLayer",
    "AlphaDropout",
    "FeatureAlphaDropout",
    "RandomTensors",
    "Gumbel",
    "RandomRelu",
]


@pytest.mark.parametrize("network", PARTS)
@pytest.mark.slow
def test_noise_does_not_depend_on_how_a_batch_is_split(network: str) -> None:
    whole, parts = (
        cell_of(f"peoples_networks.{network}", "budget.epochs=2", *more)
        for more in ((), ("trainer.microbatch_size=10",))
    )
    checks.check(parts.config, parts.dataset)
    (unsplit,) = training.train(whole.config, whole.dataset, whole.entrants(0))
    (split,) = training.train(parts.config, parts.dataset, parts.entrants(0))
    assert losses(unsplit) == pytest.approx(losses(split), rel=1e-4)


@pytest.mark.parametrize("network", ["LstmWithDropout", "RandomChoices", "BatchNorm", "BufferAssigned"])
@pytest.mark.slow
def test_a_network_whose_halves_do_not_add_up_is_refused_in_parts(network: str) -> None:
    cell = cell_of(f"peoples_networks.{network}", "trainer.microbatch_size=10")
    with pytest.raises(ConfigError, match=r"trainer.microbatch_size must see whole batches"):
        checks.check(cell.config, cell.dataset)


# ── settings and refusals ────────────────────────────────────────────────────────────────────────────────────────────


def test_weights_of_a_network_with_state_in_python_are_not_saved_without_it() -> None:
    cell = cell_of("peoples_networks.Counter", "save=best")
    with pytest.raises(ConfigError, match="save must be none"):
        checks.check(cell.config, cell.dataset)


def test_the_check_can_be_left_out() -> None:
    cell = cell_of("peoples_networks.Counter", "trainer.verify=false")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    assert cohort.why_one_by_one is None


class Sudden(nn.Module):
    """Writes into a frozen weight, but not in its first steps."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(in_features, 8), nn.Linear(8, out_features)
        nn.init.constant_(self.body.weight, 0.1)
        nn.init.constant_(self.body.bias, 0.1)
        self.body.requires_grad_(False)
        self.steps = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.steps += self.training
        if self.steps > 6:
            self.body.weight.data.mul_(0.9)
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


@pytest.mark.slow
def test_a_shared_weight_that_is_written_late_ends_the_training() -> None:
    cell = cell_of(f"{__name__}.Sudden")
    with pytest.raises(RuntimeError, match=r"the network changed body.weight"):
        training.train(cell.config, cell.dataset, cell.entrants(0, 1))


class Poisoned(torch.optim.SGD):
    """Raises in the step of the member whose rate is 13."""

    def step(self, closure=None):  # type: ignore[no-untyped-def]
        if self.param_groups[0]["lr"] == 13:
            raise ValueError("poisoned")
        return super().step(closure)


@pytest.mark.slow
def test_a_member_that_raises_ends_alone(tmp_path: Path) -> None:
    own = (f"optimizer._target_={__name__}.Poisoned", f"trainer.checkpoint_folder={tmp_path}", "budget.epochs=1")
    cell = cell_of("networks.Dropped", *own)
    entrants = [Entrant(0, Phase.MEASURE, {"lr": lr}) for lr in (0.1, 13, 0.2, 0.3)]
    ended: dict[float, TrialResult | Exception] = {}
    for cohort, results in training.train_all(cell.config, cell.dataset, entrants, "cell"):
        for slot, entrant in enumerate(cohort):
            ended[entrant.settings["lr"]] = results if isinstance(results, Exception) else results[slot]
    assert [lr for lr, result in ended.items() if isinstance(result, Exception)] == [13]
    for entrant in (entrants[0], entrants[2]):
        together, (alone,) = ended[entrant.settings["lr"]], training.train(cell.config, cell.dataset, [entrant])
        assert isinstance(together, TrialResult)
        assert together.metrics == pytest.approx(alone.metrics, rel=1e-4)


def test_a_networks_initial_weights_come_from_its_seed_with_any_library() -> None:
    cell = cell_of("peoples_networks.NumpyInit")
    (together, _) = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    assert losses(together) == pytest.approx(train_plainly(cell, 0).val_losses, rel=1e-4)
