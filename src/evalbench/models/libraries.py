"""Networks for images from the libraries timm and torchvision, where they are installed."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evalbench.errors import ConfigError


class TimmNetwork(nn.Module):
    """A network of timm by name, for the data set's channels and outputs."""

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        name: str,
        source: str,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Take more arguments of the function `source` in `options`, such as `img_size`."""
        super().__init__()
        self.image = tuple(image)
        arguments = {"in_chans": image[0], "num_classes": out_features, **(options or {})}
        self.network = _built(_imported(source), name, arguments)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, out_features)`."""
        outputs: Tensor = self.network(inputs.reshape(-1, *self.image))
        return outputs


class TorchvisionNetwork(nn.Module):
    """A network of torchvision by name; it takes three channels, so that a single one is repeated."""

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        name: str,
        source: str,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Take more arguments of the function `source` in `options`, such as `image_size`."""
        super().__init__()
        if image[0] not in (1, 3):
            rule = f"takes 1 or 3 channels, and the data set has {image[0]}"
            raise ConfigError("model=torchvision", rule, remedy="choose model=resnet or timm")
        self.image = tuple(image)
        self.network = _built(_imported(source), name, {"num_classes": out_features, **(options or {})})

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, out_features)`."""
        outputs: Tensor = self.network(inputs.reshape(-1, *self.image).expand(-1, 3, -1, -1))
        return outputs


def _imported(source: str) -> Callable[..., Any]:
    """Return the function of a dotted name; raise `ConfigError` if its package is not installed."""
    module, _, function = source.rpartition(".")
    package = module.partition(".")[0]
    try:
        made: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        version = torch.__version__.partition("+")[0]  # named, so that pip keeps the torch that is here
        rule = f"needs the package {package}, which is not installed"
        raise ConfigError(f"model={package}", rule, remedy=f"pip install {package} torch=={version}") from None
    return made


def _built(make: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        network: nn.Module = make(name, **arguments)
    except Exception as error:  # a library may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        rule = f"must be a network that the library has, with options that it takes ({lines[0]})"
        raise ConfigError("model.name", rule, name, "choose another, or change model.options") from error
    return network
