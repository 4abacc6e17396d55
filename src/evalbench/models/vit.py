"""The vision transformer (Dosovitskiy et al. 2021).

Shapes: `B` examples, `T` patches, `K` outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evalbench.errors import ConfigError
from evalbench.models.layers import NormalConvolution, NormalLinear
from evalbench.models.settings import check_counts, patch_of
from evalbench.models.transformer import Blocks, check_shape

MOST, LEAST_PATCHES = 16, 4


class ViT(nn.Module):
    """A linear map of square patches, learned positions, a transformer, and a linear layer on the mean over patches.

    Weights start as in the other transformers. Positions start at a tenth of the size of a patch's vector.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 4,
        width: int = 64,
        heads: int = 4,
        patch: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Take the patch's side in pixels; None: the largest up to 16 with at least 4 x 4 patches."""
        super().__init__()
        check_shape(depth, width, heads, dropout)
        self.image = tuple(image)
        channels, *sides = self.image
        patch = patch_of(sides, MOST, LEAST_PATCHES) if patch is None else patch
        check_counts(patch=patch)
        if any(side % patch for side in sides):
            rule = f"must divide the image's sides, {sides[0]} and {sides[1]}"
            raise ConfigError("model.patch", rule, patch, "leave it out, or use model.patch=1")
        self.patches = NormalConvolution(channels, width, 1.0, bias=True, kernel=patch, patches=True)
        self.positions = nn.Parameter(0.1 * torch.randn(sides[0] // patch * (sides[1] // patch), width))
        self.blocks = Blocks(activation, gain, depth, width, heads, dropout, causal=False)
        self.output = NormalLinear(width, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, channels * height * width)` to `(B, K)`."""
        patches = self.patches(inputs.reshape(-1, *self.image)).flatten(2).transpose(1, 2)  # (B, T, width)
        outputs: Tensor = self.output(self.blocks(patches + self.positions).mean(1))
        return outputs
