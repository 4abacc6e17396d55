from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from conftest import compose_config
from evalbench import models
from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.models import gain

ACTIVATIONS = ["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu"]


def network(seed: int, *overrides: str) -> nn.Module:
    config = compose_config(*overrides)
    return models.build_seeded(seed, config.model, config.activation, (64, 10))


def test_depth_and_width_count_layers_and_units() -> None:
    layers = [
        layer for layer in network(0, "model.depth=3", "model.width=16").modules() if isinstance(layer, nn.Linear)
    ]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(64, 16), (16, 16), (16, 16), (16, 10)]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.slow
def test_the_shipped_gain_keeps_the_second_moment_at_one(name: str) -> None:
    activation = compose_config(f"activation={name}").activation
    function = activation.module.build()

    def weighted(z: float) -> float:
        return float(function(torch.tensor(z, dtype=torch.float64))) ** 2 * norm.pdf(z)

    second_moment = quad(weighted, -10, 0)[0] + quad(weighted, 0, 10)[0]
    assert activation.gain == pytest.approx(1 / np.sqrt(second_moment), rel=1e-5)
    assert gain.computed(activation.module) == pytest.approx(activation.gain, rel=1e-5)


@pytest.mark.slow
def test_an_activation_without_a_gain_gets_a_gain_that_keeps_the_second_moment_at_one() -> None:
    own = ("activation._target_=torch.nn.Softplus", "~activation.gain")
    assert compose_config(*own).activation.gain is None
    weights = [next(network(0, *change).parameters()) for change in (own, ("activation=relu",))]
    assert torch.equal(*weights)  # the first layer's gain is 1
    second = [list(network(0, *change).parameters())[2] for change in (own, ("activation=relu",))]
    computed = gain.computed(Component("activation", "torch.nn.Softplus", {}))
    assert torch.allclose(second[0] / computed, second[1] / np.sqrt(2), rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "settings", "reason"),
    [
        ("torch.nn.Softmax", {"dim": -1}, "does not treat every number by itself"),
        ("torch.nn.GLU", {}, "does not treat every number by itself"),
        ("torch.nn.Threshold", {"threshold": 20.0, "value": 0.0}, "second moment is 0"),
        ("torch.nn.Linear", {"in_features": 2, "out_features": 2}, "raised RuntimeError"),
    ],
)
def test_a_gain_that_cannot_be_computed_must_be_given(target: str, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^activation.gain must be given for {target}.*{reason}"):
        gain.computed(Component("activation", target, settings))


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_signals_keep_their_size_through_eight_layers(name: str) -> None:
    inputs = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    outputs = network(0, f"activation={name}", "model.depth=8", "model.width=256")(inputs)
    assert 0.2 < outputs.square().mean() < 5  # without the gain it would be 0.004 for ReLU


def test_activations_share_the_draws_of_the_initial_weights() -> None:
    relu, tanh = (network(1, f"activation={name}") for name in ("relu", "tanh"))
    for relu_weight, tanh_weight in zip(relu.parameters(), tanh.parameters(), strict=True):
        if relu_weight.ndim == 2:
            assert torch.allclose(relu_weight / relu_weight.std(), tanh_weight / tanh_weight.std(), atol=1e-5)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network(1)
    assert torch.equal(torch.rand(3), expected)


def test_a_network_gets_the_arguments_that_its_constructor_names() -> None:
    config = compose_config("model._target_=torch.nn.Linear", "~model.depth", "~model.width")
    assert isinstance(models.build(config.model, config.activation, 4, 2), nn.Linear)


@pytest.mark.parametrize(
    ("override", "reason"),
    [("model.depth=0", r"model\.depth"), ("model._target_=collections.Counter", "must build a torch.nn.Module")],
)
def test_a_network_that_cannot_be_built_is_refused(override: str, reason: str) -> None:
    config = compose_config(override)
    with pytest.raises(ConfigError, match=reason):
        models.build(config.model, config.activation, 4, 2)
