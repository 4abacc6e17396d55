"""Models: plain `nn.Module`s for one trial; they know nothing of cohorts."""

import inspect

import torch
from torch import nn

from evalbench.config import ActivationConfig, Component
from evalbench.errors import ConfigError


def build(model: Component, activation: ActivationConfig, in_features: int, out_features: int) -> nn.Module:
    """Build the network of one trial, its initial weights drawn from torch's global generator.

    The class gets those of `in_features`, `out_features`, `activation` (a function that makes the non-linearity) and
    `gain` that its constructor names, beside its own settings. Raises `ConfigError`.
    """
    offered = {
        "in_features": in_features,
        "out_features": out_features,
        "activation": activation.module.build,
        "gain": activation.gain,
    }
    named = inspect.signature(model.locate()).parameters
    network = model.build(**{name: value for name, value in offered.items() if name in named})
    if not isinstance(network, nn.Module):
        raise ConfigError("model._target_", "must build a torch.nn.Module", model.target, "name such a class")
    return network


def build_seeded(seed: int, model: Component, activation: ActivationConfig, shape: tuple[int, int]) -> nn.Module:
    """Build the network with the initial weights of one seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(model, activation, *shape)
