"""Networks that take images `(B, channels, height, width)`, although the rows of a data set are flat."""

import copy
import math
from contextlib import suppress

import torch
from torch import Tensor, nn


class ImageInputs(nn.Module):
    """Give a network the pixels of a row as an image."""

    def __init__(self, network: nn.Module, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = network
        self.image = image

    def forward(self, inputs: Tensor) -> Tensor:
        """Map rows `(B, D)` to `(B, K)`."""
        outputs: Tensor = self.network(inputs.reshape(-1, *self.image))
        return outputs


def takes_images(network: nn.Module, image: tuple[int, int, int], out_features: int) -> bool:
    """Return whether a network maps images to outputs `(B, K)`, but not rows of pixels; it is left as it was."""
    rows = torch.zeros(2, math.prod(image))
    for inputs in (rows, rows.reshape(2, *image)):
        with suppress(Exception), torch.no_grad():  # a user's network may raise anything
            if copy.deepcopy(network).eval()(inputs).shape == (2, out_features):
                return inputs.dim() > 2
    return False
