"""Build models: plain `nn.Module`s for one trial that know nothing of cohorts."""

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evalbench.config import ActivationConfig, Component
from evalbench.config.pretrained import OWN, OwnPretrainedConfig
from evalbench.errors import ConfigError
from evalbench.models import features, gain, initial
from evalbench.models.adaptation import adapt, full
from evalbench.models.images import ImageInputs, takes_images
from evalbench.models.own_pretrained import OwnPretrained
from evalbench.models.shared_weights import SharedWeights

NEEDS = {
    "image": (
        "needs images, which this data set does not have",
        "choose dataset=digits, give the Dataset an image=(channels, height, width), or choose model=mlp or encoder",
    ),
    "vocabulary": (
        "needs tokens, which this data set does not have",
        "choose dataset=python_source or text, or model=encoder, which makes a token of every column",
    ),
    "padding": (
        "needs a tag for every token, which this data set does not have",
        "name the columns by dataset.tokens=words dataset.target=tags, or choose model=transformer or encoder",
    ),
}
"""Arguments of a model's constructor that a data set may lack, each with the rule and the remedy."""


_takes_images: dict[str, bool] = {}
"""By settings and shape: whether a network takes images only."""


class OtherDrawsError(Exception):
    """A network has drawn initial values in a way that cannot be repeated for many members at once."""


class Shape(NamedTuple):
    """Hold the shapes that a data set requires of a network."""

    in_features: int
    """The number of columns D of an example: numbers, pixels or tokens."""
    out_features: int
    """The number of outputs K, at each position if each token has a target."""
    image: tuple[int, int, int] | None = None
    """Channels, height and width if the columns are pixels."""
    vocabulary: int | None = None
    """The number of different tokens if the columns are tokens."""
    per_token: bool = False
    """Whether every token has a target."""
    padding: int | None = None
    """The token that fills short rows up, if there is one."""
    answers: bool = False
    """Whether the network gives the likelihoods of the answers that rows end with, see `tasks.generation`."""


def build(
    model: Component,
    activation: ActivationConfig,
    in_features: int,
    out_features: int,
    image: tuple[int, int, int] | None = None,
    vocabulary: int | None = None,
    per_token: bool = False,
    padding: int | None = None,
    answers: bool = False,
) -> nn.Module:
    """Build the network of one trial; draw its initial weights by torch's random functions.

    The class gets its own settings, and each of the fields of `Shape`, `activation` (a function that makes the
    non-linearity) and `gain` that its constructor names. A constructor that names `image`, `vocabulary` or `padding`
    without a default requires it. Raises `ConfigError`.
    """
    if model.target == OWN:
        own = OwnPretrainedConfig(model).network
        shape = Shape(in_features, out_features, image, vocabulary, per_token, padding)
        network = _with_images(build(own, activation, *shape), own, shape)
        return OwnPretrained(network, str(model.arguments["weights"]))
    offered = {
        "in_features": in_features,
        "out_features": out_features,
        "image": image,
        "vocabulary": vocabulary,
        "per_token": per_token,
        "padding": padding,
        "answers": answers,
        "activation": activation.module.build,
        "gain": activation.gain,
    }
    named = inspect.signature(model.locate()).parameters
    if activation.gain is None and "gain" in named:
        offered["gain"] = gain.computed(activation.module)
    _check_needs(model, named, offered)
    if answers and "answers" not in named:
        rule, remedy = (
            f"must be a pretrained decoder for answers in words, not {model.target}",
            "choose model=pretrained",
        )
        raise ConfigError("model", rule, remedy=f"{remedy} model.head=causal_lm")
    network = model.build(
        **{name: value for name, value in offered.items() if name in named and name not in model.arguments}
    )
    if not isinstance(network, nn.Module):
        raise ConfigError("model._target_", "must build a torch.nn.Module", model.target, "name such a class")
    _register_attributes(network)
    return network


def _register_attributes(network: nn.Module) -> None:
    """Turn tensors that are plain attributes into buffers, so that they move and are stacked like buffers."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and value.grad_fn is None and not hasattr(type(module), name):
                delattr(module, name)
                module.register_buffer(name, value.detach(), persistent=False)


def build_seeded(
    seed: int,
    model: Component,
    activation: ActivationConfig,
    shape: Shape | tuple[int, int],
    draw: initial.Draw | None = None,
    adaptation: Component | None = None,
    stored: Sequence[features.FrozenPart] = (),
) -> nn.Module:
    """Build the network with the initial values of one seed, and adapt it; restore the global generators.

    It takes features in the place of `stored` parts, see `models.features`.

    torch's random functions get numbers of the seed's own stream (`initial.InitialValues`); `random`, NumPy and torch's
    other functions draw from the global generators, which are seeded. With `draw`, which gives the numbers instead,
    raise `OtherDrawsError` if the network has drawn from a global generator.
    """
    key = initial.keys_of(torch.tensor(seed))
    others: set[str] = set()
    with seeded(seed):
        state = torch.default_generator.manual_seed(int(key)).get_state()
        with initial.InitialValues(draw or (lambda numbers: numbers(key))):
            network = build(model, activation, *Shape(*shape))
            if adaptation is not None:
                adapt(network, adaptation)
            if isinstance(network, SharedWeights):
                if adaptation is None:
                    full(network)
                network.own_trained()
                if stored:
                    features.cut(network, stored, Shape(*shape).in_features)
        if draw is not None:
            others = generators_used(seed, state)
    if others:
        raise OtherDrawsError(f"its initial values are drawn from {' and '.join(sorted(others))}")
    return _with_images(network, model, Shape(*shape))


def _with_images(network: nn.Module, model: Component, shape: Shape) -> nn.Module:
    """Return a network of images that takes rows of pixels, if it is the user's own and does not take these itself."""
    if shape.image is None or model.target.startswith("evalbench.models."):
        return network
    key = repr((model.spec(), shape))
    if key not in _takes_images:
        with seeded(0):
            _takes_images[key] = takes_images(network, shape.image, shape.out_features)
    return ImageInputs(network, shape.image) if _takes_images[key] else network


@dataclass(frozen=True)
class Builder:
    """Build the networks of members, each from its own seed."""

    model: Component
    activation: ActivationConfig
    shape: Shape
    seeds: Sequence[int]
    adaptation: Component | None = None
    stored: Sequence[features.FrozenPart] = ()

    def __call__(self, member_index: int, draw: initial.Draw | None = None) -> nn.Module:
        """Build a member's network as `build_seeded` does."""
        seed = self.seeds[member_index]
        return build_seeded(seed, self.model, self.activation, self.shape, draw, self.adaptation, self.stored)


def generators_used(seed: int, torch_state: Tensor) -> set[str]:
    """Return the global generators that are no longer in the state of a seed; `torch_state` is that of torch's own."""
    state, untouched = np.random.get_state(legacy=False), np.random.RandomState(seed % 2**32).get_state(legacy=False)
    used = {
        "random": random.getstate() != random.Random(seed).getstate(),
        "numpy.random": repr(state) != repr(untouched),
        "torch's global generator": not torch.equal(torch.default_generator.get_state(), torch_state),
    }
    return {name for name, was_used in used.items() if was_used}


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of torch (the CPU's, and a CUDA device's), `random` and NumPy inside the block."""
    cuda = [device] if device is not None and device.type == "cuda" else []
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=cuda):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            if cuda:
                torch.cuda.manual_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def check_outputs(network: nn.Module, inputs: Tensor, expected: tuple[int, ...], training: bool = False) -> None:
    """Raise `ConfigError` for a network that does not map these inputs to outputs of the expected shape.

    A network that raises on tokens was made for numbers. A network that raises on numbers has an error of its own: it
    is left to the training, whose log contains the traceback while other cells go on.
    """
    tokens = not inputs.is_floating_point()
    rule = f"must map {tuple(inputs.shape)} {'tokens' if tokens else 'numbers'} to outputs {expected}"
    remedy = (
        "choose model=transformer, or model=tagger for tags" if len(expected) == 3 else "choose a model for such data"
    )
    try:
        with torch.no_grad(), seeded(0):
            outputs = network.train(training)(inputs.clone())
    except Exception as error:  # a user's network may raise anything
        if not tokens:
            return
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError("model", f"{rule} (it raised: {reason[0]})", remedy=remedy) from error
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if shape != expected:
        raise ConfigError("model", rule, shape, remedy)


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether the network normalizes over a batch, so that examples of a step depend on each other."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def check_batches(network: nn.Module, num_train: int, batch_size: int) -> None:
    """Raise `ConfigError` for BatchNorm if a step sees a single example, whose batch has no variance."""
    if has_batch_norm(network) and (batch_size == 1 or num_train % batch_size == 1):
        last = "" if batch_size == 1 else f" (the last batch of {num_train} training rows has one)"
        rule = f"must leave at least two examples in every step for BatchNorm{last}"
        remedy = "use GroupNorm (model.norm=group in the shipped cnn) or another batch size"
        raise ConfigError("optimizer.batch_size", rule, batch_size, remedy)


def _check_needs(model: Component, named: Mapping[str, inspect.Parameter], offered: Mapping[str, Any]) -> None:
    for name, (rule, remedy) in NEEDS.items():
        needed = name in named and named[name].default is inspect.Parameter.empty and name not in model.arguments
        if needed and offered[name] is None:
            raise ConfigError("model", f"{model.target} {rule}", remedy=remedy)
