"""The multilayer perceptron."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench.errors import ConfigError
from evalbench.models.layers import NormalEmbedding, NormalLinear


class MLP(nn.Module):
    """`depth` hidden layers of `width` units, each followed by the activation, and a linear output layer.

    Weights start as normal draws of standard deviation `gain / sqrt(inputs of the layer)`. The gain is 1 for the first
    layer, whose inputs are scaled data, and the activation's own for the other layers, so that the variance of the
    units stays near 1 at any depth (He et al. 2015, for any activation). Biases start at 0. Techniques that differ only
    in the activation share the draws.

    If inputs are tokens, the first layer is the mean of a learned vector per token, whatever their order: the deep
    averaging network of Iyyer et al. (2015).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 2,
        width: int = 64,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("depth", depth), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"model.{name}", "must be a whole number of at least 1", value, f"use model.{name}=2")
        layers: list[nn.Module] = []
        for layer, (fan_in, fan_out) in enumerate(
            zip([in_features, *[width] * depth], [*[width] * depth, out_features], strict=True)
        ):
            linear: nn.Module = NormalLinear(fan_in, fan_out, gain if layer else 1.0)
            if vocabulary is not None and not layer:
                linear = TokenMeans(vocabulary, fan_out)
            layers += [linear, activation()] if layer < depth else [linear]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map numbers or tokens `(B, in_features)` to `(B, out_features)`."""
        outputs: Tensor = self.layers(inputs)
        return outputs


class TokenMeans(nn.Module):
    """The mean of the vectors of a row's tokens, plus a bias: a linear layer of their shares in the row."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.tokens = NormalEmbedding(vocabulary, width)
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = width**0.5

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens `(B, T)` to `(B, width)`."""
        return F.embedding(inputs, self.tokens.weight * self.scale).mean(1) + self.bias
