"""Residual networks for images (He et al. 2016), from 8 x 8 to 224 x 224 pixels and more.

Shapes: `B` examples, `K` outputs.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from evalbench.models.cnn import BatchNorm
from evalbench.models.layers import NormalConvolution, NormalLinear
from evalbench.models.settings import check_choice, check_counts

ONE, TWO, MANY = (1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3)
BLOCKS = {10: ONE, 14: ONE, 18: TWO, 26: TWO, 34: MANY, 50: MANY}
"""The number of blocks in each of the four stages, by the number of layers."""
BOTTLENECKS = (14, 26, 50)
"""With these numbers of layers, a block has three layers instead of two, and its output four times the width."""
LARGE = 64
"""Images of at least as many pixels a side begin with a convolution 7 x 7 and a maximum, each of stride 2."""
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda width: nn.GroupNorm(math.gcd(width, min(8, max(1, width // 4))), width),
    "batch": BatchNorm,
}
"""By name: GroupNorm with at most 8 groups, each of at least 4 channels, as the last images have a single pixel."""


class ResNet(nn.Module):
    """`depth` layers in four stages; each stage halves the image and doubles the width.

    GroupNorm treats every example by itself. BatchNorm couples the examples of a step.

    Weights start as normal draws of standard deviation `gain / sqrt(fan_in)`, the gain being 1 for the first layer and
    for projections. The norm that ends a residual branch starts at 1 divided by the root of the number of branches, so
    that their sum keeps its size at any depth. Techniques that differ only in the activation share the draws.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 18,
        width: int = 64,
        norm: str = "group",
    ) -> None:
        super().__init__()
        check_counts(width=width)
        check_choice("depth", depth, tuple(BLOCKS))
        check_choice("norm", norm, tuple(NORMS))
        self.image = tuple(image)
        channels, *sides = self.image
        self.stem = _stem(channels, sides, width, norm, activation)
        factor = 4 if depth in BOTTLENECKS else 1
        size = 1 / sum(BLOCKS[depth]) ** 0.5
        blocks: list[nn.Module] = []
        in_width = width
        for stage, count in enumerate(BLOCKS[depth]):
            inner = width * 2**stage
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers = _branch(in_width, inner, factor, stride, norm, activation, gain, size)
                blocks.append(ResidualBlock(layers, in_width, inner * factor, stride, norm, activation()))
                in_width = inner * factor
        self.blocks = nn.Sequential(*blocks)
        self.output = NormalLinear(in_width, out_features, gain)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, K)`."""
        images = inputs.reshape(-1, *self.image)
        outputs: Tensor = self.output(self.blocks(self.stem(images)).mean((-2, -1)))
        return outputs


class ResidualBlock(nn.Module):
    """The activation of the sum of the input, projected where its shape changes, and a branch of layers."""

    def __init__(
        self, branch: nn.Module, in_width: int, width: int, stride: int, norm: str, activation: nn.Module
    ) -> None:
        super().__init__()
        self.branch, self.activation = branch, activation
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_width != width:
            projection = NormalConvolution(in_width, width, 1.0, bias=False, kernel=1, stride=stride)
            self.shortcut = nn.Sequential(projection, NORMS[norm](width))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(B, channels, height, width)` to the block's width and size."""
        outputs: Tensor = self.activation(self.shortcut(hidden) + self.branch(hidden))
        return outputs


def _stem(
    channels: int, sides: Sequence[int], width: int, norm: str, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    if min(sides) < LARGE:
        return nn.Sequential(NormalConvolution(channels, width, 1.0, bias=False), NORMS[norm](width), activation())
    first = NormalConvolution(channels, width, 1.0, bias=False, kernel=7, stride=2)
    return nn.Sequential(first, NORMS[norm](width), activation(), nn.MaxPool2d(3, 2, padding=1))


def _branch(
    in_width: int,
    inner: int,
    factor: int,
    stride: int,
    norm: str,
    activation: Callable[[], nn.Module],
    gain: float,
    size: float,
) -> nn.Sequential:
    """Return two layers 3 x 3, or a bottleneck of 1 x 1, 3 x 3 and 1 x 1; the last norm's weights start at `size`."""
    steps = [(in_width, inner, 3, stride), (inner, inner, 3, 1)]
    if factor > 1:
        steps = [(in_width, inner, 1, 1), (inner, inner, 3, stride), (inner, inner * factor, 1, 1)]
    layers: list[nn.Module] = []
    for channels, width, kernel, step in steps:
        convolution = NormalConvolution(channels, width, gain, bias=False, kernel=kernel, stride=step)
        layers += [convolution, NORMS[norm](width), activation()]
    layers.pop()  # the block's activation follows the sum
    nn.init.constant_(layers[-1].weight, size)  # type: ignore[arg-type]
    return nn.Sequential(*layers)
