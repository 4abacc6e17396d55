"""The convolutional network."""

import math
from collections.abc import Callable
from itertools import count

from torch import Tensor, nn

from evalbench.errors import ConfigError
from evalbench.models.layers import NormalConvolution, NormalLinear

LEAST_POOLED = 4
"""The least side in pixels from which a maximum over 2 x 2 pixels is taken."""


class BatchNorm(nn.BatchNorm2d):
    """Compute PyTorch's BatchNorm in the precision of its weights: its batched CPU kernel takes no mixed precision."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels, height, width)` to the same."""
        return super().forward(inputs.to(self.weight.dtype))


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda width: nn.GroupNorm(math.gcd(width, 8), width),
    "batch": BatchNorm,
    "none": lambda width: nn.Identity(),
}
"""By name: GroupNorm with at most 8 groups of channels that divide the width (Wu & He 2018), BatchNorm, no norm."""


def seen_pixels(depth: int, side: int) -> int:
    """Return the side of the square of an image's pixels that an output of the last convolution or maximum sees."""
    seen, step = 1, 1  # step: pixels of the image between two neighbouring outputs
    for _ in range(depth):
        seen += 2 * step
        if side >= LEAST_POOLED:
            seen, step, side = seen + step, 2 * step, side // 2
    return seen


def sees_little(depth: int, image: tuple[int, int, int]) -> str:
    """Say in words that an output sees less than half of an image's side, and what sees it whole; empty otherwise."""
    side, seen = max(image[1:]), seen_pixels(depth, min(image[1:]))
    if 2 * seen >= side:
        return ""
    deeper = next(more for more in count(depth) if seen_pixels(more, min(image[1:])) >= side)
    return f"its {depth} convolutions see {seen} of {side} pixels: consider model.depth={deeper}, which sees all"


class CNN(nn.Module):
    """`depth` convolutions 3 x 3 of `width` channels, a mean over the pixels, and a linear output layer.

    Each convolution is followed by the norm, the activation and, while at least 4 x 4 pixels are left, a maximum over
    2 x 2 pixels. GroupNorm treats every example by itself. BatchNorm couples the examples of a step.

    Weights start as in the multilayer perceptron: normal draws of standard deviation `gain / sqrt(fan_in)`. A
    convolution's fan-in is its kernel's 9 pixels times its channels. The gain is 1 for the first layer and the
    activation's own for the other layers (He et al. 2015). Biases start at 0. A convolution before a norm has no bias.
    Techniques that differ only in the activation share the draws.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 2,
        width: int = 32,
        norm: str = "group",
    ) -> None:
        super().__init__()
        for name, value in (("depth", depth), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"model.{name}", "must be a whole number of at least 1", value, f"use model.{name}=2")
        if norm not in NORMS:
            raise ConfigError("model.norm", "must be one of " + ", ".join(NORMS), norm, "use model.norm=group")
        self.image = tuple(image)
        channels, *sides = self.image
        layers: list[nn.Module] = []
        for layer in range(depth):
            in_channels, own_gain = (width, gain) if layer else (channels, 1.0)
            convolution = NormalConvolution(in_channels, width, own_gain, bias=norm == "none")
            layers += [convolution, NORMS[norm](width), activation()]
            if min(sides) >= LEAST_POOLED:
                layers.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
        self.layers = nn.Sequential(*layers)
        self.output = NormalLinear(width, out_features, gain)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, out_features)`."""
        images = inputs.reshape(-1, *self.image)
        outputs: Tensor = self.output(self.layers(images).mean((-2, -1)))
        return outputs
