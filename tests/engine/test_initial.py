"""The initial tensors of members that are drawn at once have the bits of networks that are built one by one.

Shapes: `C` members.
"""

import copy
import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from conftest import compose_config, make_cell
from evalbench import models
from evalbench.cell import Cell
from evalbench.config import Component
from evalbench.engine import initial, state, training
from evalbench.models.cnn import CNN
from evalbench.models.initial import keys_of
from evalbench.models.mlp import MLP
from evalbench.models.transformer import Encoder, Transformer
from evalbench.seeds import Role, derive
from networks import drawn_again

SEEDS = [5, 2**62 + 3, 7, 0, 11, 12, 13, 1, 3]
TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)
ELSEWHERE = torch.ones(3)
ACTIVATION = compose_config().activation


class Made(Component):
    """A model that a function without arguments makes."""

    @classmethod
    def by(cls, make: Callable[[], nn.Module]) -> "Made":
        return cls("model", "networks.Made", {"make": make})

    def locate(self) -> Any:
        return self.arguments["make"]

    def build(self, *_: Any, **__: Any) -> Any:
        return self.arguments["make"]()


def builder(make: Callable[[], nn.Module], seeds: list[int] = SEEDS) -> models.Builder:
    return models.Builder(Made.by(make), ACTIVATION, models.Shape(1, 1), seeds)


def drawn(make: Callable[[], nn.Module], seeds: list[int] = SEEDS, device: str = "cpu") -> initial.Drawn:
    return initial.draw_all(builder(make, seeds), keys_of(torch.tensor(seeds)), device)


class Own(nn.Module):
    """A network with the parameters that a function makes."""

    def __init__(self, make: Callable[["Own"], Any]) -> None:
        super().__init__()
        self.parts = make(self)

    @classmethod
    def of(cls, make: Callable[["Own"], Any]) -> Callable[[], nn.Module]:
        return lambda: cls(make)


def forget_gate(_: Own) -> nn.Module:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    with torch.no_grad():
        dict(layer.named_parameters())["bias_ih_l0"][4:8].fill_(1.0)
    return layer


def chained(own: Own) -> list[Any]:
    own.weight = nn.Parameter(torch.Tensor(4, 3))
    nn.init.xavier_normal_(own.weight)
    own.weight.data.mul_(0.5)
    own.scales = nn.Parameter(torch.log(0.001 + 0.1 * torch.rand(5)))
    own.mask = torch.bernoulli(torch.full((4,), 0.5))
    own.steps = torch.tensor([1.0, 2.0])
    own.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
    own.wide = nn.Linear(3, 2).double()
    own.copy = copy.deepcopy(own.wide)
    return [x.item() for x in torch.linspace(0, 0.1, 3)]


def tied(own: Own) -> None:
    own.embedding, own.output = nn.Embedding(5, 3, padding_idx=1), nn.Linear(3, 5)
    own.output.weight = own.embedding.weight


def seeded_body(own: Own) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        own.body = nn.Linear(3, 3)
    return nn.Linear(3, 2)


def orthogonal(own: Own) -> None:
    own.wide, own.tall = nn.Linear(6, 4), nn.Linear(4, 6)
    nn.init.orthogonal_(own.wide.weight)
    nn.init.orthogonal_(own.tall.weight, gain=2.0)
    nn.init.dirac_(nn.Parameter(torch.empty(2, 2, 3)))


def writing_elsewhere(_: Own) -> nn.Module:
    ELSEWHERE.mul_(1.0)
    return nn.Linear(3, 2)


def initialised(function: Callable[..., Any], **settings: Any) -> Callable[[], nn.Module]:
    def make(own: Own) -> None:
        own.weight = nn.Parameter(torch.empty(6, 5))
        function(own.weight, **settings)

    return Own.of(make)


AT_ONCE: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(6, 3, nn.ReLU, 1.4, width=8),
    "cnn": lambda: CNN((1, 8, 8), 3, nn.ReLU, 1.4, width=4),
    "cnn, batch norm": lambda: CNN((2, 8, 8), 3, nn.ReLU, 1.4, width=4, norm="batch"),
    "transformer": lambda: Transformer(7, 5, 7, nn.GELU, 1.4, width=8, heads=2),
    "transformer, tied": lambda: Transformer(7, 5, 7, nn.GELU, 1.4, width=8, heads=2, tie=True),
    "encoder": lambda: Encoder(5, 3, nn.GELU, 1.4, width=8, heads=2),
    "Linear": lambda: nn.Linear(3, 4),
    "Conv2d": lambda: nn.Conv2d(2, 4, 3),
    "LSTM": Own.of(forget_gate),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2),
    "Embedding": lambda: nn.Embedding(5, 3, padding_idx=1),
    "BatchNorm": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU()),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(4, 5)),
    "kaiming_normal_": initialised(nn.init.kaiming_normal_),
    "kaiming_uniform_": initialised(nn.init.kaiming_uniform_, a=5**0.5),
    "xavier_uniform_": initialised(nn.init.xavier_uniform_),
    "exponential_": initialised(lambda x: x.data.exponential_(2.0)),
    "orthogonal_": Own.of(orthogonal),
    "operations on tensors": Own.of(chained),
    "tied": Own.of(tied),
    "a body of one seed": Own.of(seeded_body),
}
ONE_BY_ONE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "random": (initialised(lambda x: x.data.fill_(random.random())), "drawn from random"),
    "NumPy": (initialised(lambda x: x.data.fill_(np.random.rand())), "drawn from numpy.random"),
    "randperm": (initialised(nn.init.sparse_, sparsity=0.5), "drawn from torch's global generator"),
    "drawn again": (initialised(drawn_again), "depends on values of drawn tensors"),
    "a branch": (initialised(lambda x: x.data.normal_().sum() > 0 or x.data.zero_()), "depends on values"),
    "to NumPy": (initialised(lambda x: x.data.fill_(float(torch.rand(2).numpy()[0]))), "depends on values"),
    "to a list": (initialised(lambda x: x.data.fill_(torch.rand(2).tolist()[0])), "depends on values"),
    "a seed's own generator": (
        initialised(lambda x: x.data.normal_(generator=torch.Generator().manual_seed(torch.initial_seed()))),
        "weight depends on the seed",
    ),
    "a shape": (Own.of(lambda _: nn.Linear(3, 2 + torch.initial_seed() % 5)), "not the same for every seed"),
    "a tensor made elsewhere": (Own.of(writing_elsewhere), "made elsewhere"),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_members_drawn_at_once_have_the_bits_of_networks_built_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(initial.CHUNK_NUMBERS, "cpu", 500)  # several chunks
    build, at_once = builder(AT_ONCE[name]), drawn(AT_ONCE[name])
    assert at_once.values
    expected = state.stack((build(member_index) for member_index in range(len(SEEDS))), {"running_mean", "1.bias"})
    stack = state.stack_of(at_once.first, at_once.values, len(SEEDS), {"running_mean", "1.bias"})
    for part in ("trained", "carried", "own", "shared"):
        values, right = getattr(stack, part), getattr(expected, part)
        assert list(values) == list(right), part
        assert all(state.same(value, right[key]) for key, value in values.items()), part


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_what_cannot_be_repeated_is_noticed(name: str) -> None:
    make, why = ONE_BY_ONE[name]
    with pytest.raises(models.OtherDrawsError, match=why):
        drawn(make)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", AT_ONCE)
def test_a_gpu_draws_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(initial.CHUNK_NUMBERS, "cuda", 500)
    with caplog.at_level(logging.INFO):
        on_cpu, on_gpu = (drawn(AT_ONCE[name], device=device).values for device in ("cpu", "cuda"))
    if name not in ("weight_norm", "orthogonal_", "operations on tensors"):  # sums, QR and logarithms of torch
        assert not caplog.records
    assert all(torch.equal(value, on_cpu[key]) for key, value in on_gpu.items())


def test_a_member_starts_alike_in_every_cohort(caplog: pytest.LogCaptureFixture) -> None:
    cell = make_cell("dataset=wine")

    def started(*seeds: int) -> dict[int, list[torch.Tensor]]:
        cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*seeds))
        parameters = [parameter.detach() for parameter in cohort.parameters()]
        return {seed: [value[slot] for value in parameters] for slot, seed in enumerate(seeds)}

    with caplog.at_level(logging.INFO):
        together, reversed_ = started(*range(10)), started(*range(9, -1, -1))
    assert not caplog.records
    for seed, values in (*reversed_.items(), *started(4).items(), *started(9, 2).items()):
        assert all(torch.equal(value, right) for value, right in zip(values, together[seed], strict=True))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("networks.PythonDraws", "its initial values are drawn from random"),
        ("networks.TruncatedDraws", "it depends on values of drawn tensors"),
    ],
)
def test_a_network_that_must_be_built_alone_says_why(model: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    cell = make_cell("dataset=wine", f"model._target_={model}", "~model.depth", "~model.width")
    with caplog.at_level(logging.INFO):
        cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(8)))
    assert [record.message for record in caplog.records] == [f"networks are built one by one: {why}"]
    seeds = [cohort_seed(cell, seed) for seed in range(8)]
    for slot, seed in enumerate(seeds):
        alone = models.build_seeded(seed, cell.config.model, cell.config.activation, training.shape_of(cell.dataset))
        for parameter, expected in zip(cohort.parameters(), alone.parameters(), strict=True):
            assert torch.equal(parameter[slot], expected)


def cohort_seed(cell: Cell, seed: int) -> int:
    return derive(cell.config.root_seed, cell.dataset.name, Role.INIT, seed)


def test_what_members_keep_in_python_is_compared(caplog: pytest.LogCaptureFixture) -> None:
    cell = make_cell("dataset=wine", "model._target_=networks.DrawnList", "~model.depth", "~model.width")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(9)))
    assert cohort.why_one_by_one == "scales[0], which is neither a parameter nor a buffer, differs between its members"
