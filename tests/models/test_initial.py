"""Initial values come from each seed's own stream, and have the distributions that torch's functions name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from conftest import compose_config
from evalbench import models
from evalbench.config import Component

ACTIVATION = compose_config().activation
WIDE = Component("model", "torch.nn.Linear", {"in_features": 200, "out_features": 300})
SHAPE = (300, 200)


def values(seed: int, *overrides: str) -> dict[str, Tensor]:
    config = compose_config(*overrides)
    network = models.build_seeded(seed, config.model, config.activation, models.Shape(16, 10, (1, 4, 4)))
    return {name: value.detach() for name, value in network.named_parameters()}


def drawn(function: Callable[[Tensor], object], seed: int = 1) -> Tensor:
    with models.initial.InitialValues(lambda numbers: numbers(models.initial.keys_of(torch.tensor(seed)))):
        tensor = torch.empty(SHAPE)
        function(tensor)
    return tensor


def test_a_seed_determines_the_values_and_no_generator_changes() -> None:
    torch.manual_seed(3)
    before = torch.default_generator.get_state()
    first = values(7)
    assert torch.equal(torch.default_generator.get_state(), before)
    torch.rand(5)
    assert all(torch.equal(value, first[name]) for name, value in values(7).items())
    assert not any(torch.equal(value, first[name]) for name, value in values(8).items() if "weight" in name)


@pytest.mark.parametrize("model", ["mlp", "cnn", "encoder"])
def test_techniques_that_differ_in_the_activation_share_the_draws(model: str) -> None:
    relu, tanh = (values(5, f"model={model}", f"activation={name}") for name in ("relu", "tanh"))
    for name, value in relu.items():
        assert torch.equal(value.sign(), tanh[name].sign())
        ratio = (tanh[name] / value)[value != 0]
        assert ratio.numel() == 0 or torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-5)


BOUND = math.sqrt(6 / 200)
DISTRIBUTIONS: dict[str, tuple[Callable[[Tensor], object], Any]] = {
    "normal_": (lambda x: nn.init.normal_(x, 2.0, 3.0), stats.norm(2, 3)),
    "uniform_": (lambda x: nn.init.uniform_(x, -1.0, 3.0), stats.uniform(-1, 4)),
    "kaiming_uniform_": (nn.init.kaiming_uniform_, stats.uniform(-BOUND, 2 * BOUND)),
    "kaiming_normal_": (nn.init.kaiming_normal_, stats.norm(0, math.sqrt(2 / 200))),
    "xavier_normal_": (nn.init.xavier_normal_, stats.norm(0, math.sqrt(2 / 500))),
    "trunc_normal_": (lambda x: nn.init.trunc_normal_(x, a=-1.0, b=1.0), stats.truncnorm(-1, 1)),
    "exponential_": (lambda x: x.exponential_(2.0), stats.expon(0, 0.5)),
    "randn": (lambda x: x.copy_(torch.randn(*SHAPE)), stats.norm()),
    "rand": (lambda x: x.copy_(torch.rand(SHAPE)), stats.uniform()),
    "normal": (lambda x: x.copy_(torch.normal(1.0, 2.0, SHAPE)), stats.norm(1, 2)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_values_have_the_distribution_of_their_function(name: str) -> None:
    function, expected = DISTRIBUTIONS[name]
    numbers = drawn(function).double().numpy().flatten()
    standard_error = expected.std() / math.sqrt(len(numbers))
    assert numbers.mean() == pytest.approx(expected.mean(), abs=4 * standard_error)
    assert numbers.std() == pytest.approx(expected.std(), rel=0.015)
    assert stats.kstest(numbers, expected.cdf).pvalue > 1e-3


@pytest.mark.slow
def test_orthogonal_weights_are_orthogonal() -> None:
    weight = drawn(nn.init.orthogonal_).double()
    torch.testing.assert_close(weight.T @ weight, torch.eye(200, dtype=torch.float64), atol=1e-5, rtol=0)


def test_seeds_draws_rows_and_columns_are_independent() -> None:
    def twice(x: Tensor) -> None:
        x.copy_(torch.stack([torch.randn(150, 200), torch.randn(150, 200)]).flatten(0, 1))

    tensors = [drawn(twice, seed) for seed in (0, 1, 2, 2**62)]
    draws = torch.stack(tensors).reshape(8, -1)  # two draws of each of four seeds
    numbers = draws.shape[1]
    for powers in (draws, draws.square(), draws.abs()):
        correlations = torch.corrcoef(powers) - torch.eye(8)
        assert correlations.abs().max() < 4 / math.sqrt(numbers)
    weight = tensors[0]
    for rows in (weight, weight.T):  # the largest of many correlations: about √(2 ln n) standard errors
        correlations = torch.corrcoef(rows) - torch.eye(len(rows))
        assert correlations.abs().max() < 6 / math.sqrt(rows.shape[1])
        assert correlations.square().mean() * rows.shape[1] == pytest.approx(1, abs=0.05)


def test_the_values_of_one_network_hold_no_number_twice_in_a_row() -> None:
    weight = np.abs(drawn(nn.init.normal_).numpy())
    assert len(np.unique(weight)) > 0.99 * weight.size


def test_a_constructor_that_seeds_torch_gets_the_numbers_of_torch() -> None:
    def seeded(x: Tensor) -> None:
        torch.manual_seed(5)
        nn.init.normal_(x)

    with torch.random.fork_rng():
        found = drawn(seeded)
        torch.manual_seed(5)
        assert torch.equal(found, torch.empty(SHAPE).normal_())


def test_a_generator_that_is_given_is_used() -> None:
    expected = torch.empty(SHAPE).normal_(generator=torch.Generator().manual_seed(4))
    assert torch.equal(drawn(lambda x: nn.init.normal_(x, generator=torch.Generator().manual_seed(4))), expected)


def test_a_layer_of_torch_starts_as_torch_says() -> None:
    weight = models.build_seeded(3, WIDE, ACTIVATION, (200, 300)).get_parameter("weight").detach()
    assert (
        stats.kstest(weight.flatten().numpy(), stats.uniform(-1 / math.sqrt(200), 2 / math.sqrt(200)).cdf).pvalue > 1e-3
    )
