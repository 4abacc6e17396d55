"""A small network after ConvNeXt (Liu et al. 2022): convolutions of single channels between two-layer perceptrons.

Shapes: `B` examples, `K` outputs.
"""

from collections.abc import Callable

from torch import Tensor, nn

from evalbench.errors import ConfigError
from evalbench.models.layers import NormalConvolution, NormalLinear
from evalbench.models.settings import check_counts, patch_of

MOST, LEAST_PATCHES = 4, 8


class ConvNeXt(nn.Module):
    """Square patches, then stages of `depth` blocks; each stage after the first halves the image, if 4 x 4 are left.

    It also doubles the width. Patches have the largest side up to 4 with at least 8 x 8 patches. Weights start as
    normal draws of standard deviation `gain / sqrt(fan_in)`. The layer that ends a residual branch is divided by the
    root of the number of branches, which does the work of the layer scale.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 2,
        width: int = 32,
        stages: int = 3,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        check_counts(depth=depth, width=width, stages=stages, kernel=kernel)
        if kernel % 2 == 0:
            raise ConfigError("model.kernel", "must be odd", kernel, "use model.kernel=7")
        self.image = tuple(image)
        channels, *sides = self.image
        patch = patch_of(sides, MOST, LEAST_PATCHES)
        layers: list[nn.Module] = [
            NormalConvolution(channels, width, 1.0, bias=True, kernel=patch, patches=True),
            ChannelNorm(width),
        ]
        least = min(sides) // patch
        for stage in range(stages):
            if stage:
                stride = 2 if least >= 4 else 1
                down = NormalConvolution(width, 2 * width, 1.0, bias=True, stride=stride)
                layers += [ChannelNorm(width), down]
                width, least = 2 * width, -(-least // stride)
            layers += [ConvNeXtBlock(activation, gain, width, kernel, depth * stages) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.output = NormalLinear(width, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, K)`."""
        images = inputs.reshape(-1, *self.image)
        outputs: Tensor = self.output(self.norm(self.layers(images).mean((-2, -1))))
        return outputs


class ConvNeXtBlock(nn.Module):
    """Add to the input: a convolution within each channel, a norm, and a perceptron of four times the width."""

    def __init__(
        self, activation: Callable[[], nn.Module], gain: float, width: int, kernel: int, branches: int
    ) -> None:
        super().__init__()
        self.convolution = NormalConvolution(width, width, 1.0, bias=True, kernel=kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            NormalLinear(width, 4 * width), activation(), NormalLinear(4 * width, width, gain / branches**0.5)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(B, channels, height, width)` to the same."""
        pixels = self.convolution(hidden).permute(0, 2, 3, 1)
        outputs: Tensor = hidden + self.perceptron(self.norm(pixels)).permute(0, 3, 1, 2)
        return outputs


class ChannelNorm(nn.LayerNorm):
    """Normalize each pixel over its channels."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(B, channels, height, width)` to the same."""
        return super().forward(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
