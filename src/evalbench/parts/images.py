"""Augmentations of images, which move pixels by whole-number arithmetic.

A pixel that comes from outside the image is 0, the mean of the training rows.
Shapes: `C` members, `S` steps in a block, `B` rows, `H` x `W` pixels, `D` = channels * H * W; `...` is `(S, C, B)`.
"""

import numpy as np
import torch
from torch import Tensor

from evalbench import draws
from evalbench.parts.augmentation import beta_quantiles, check_mixes, checked, draw_mixture, mixed, refused, rows_of
from evalbench.parts.hooks import BatchHook
from evalbench.workloads import Dataset

OPERATIONS = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "contrast")
"""The operations that `RandAugment` draws from."""
SHEAR, TRANSLATE, ROTATE, BRIGHTNESS, CONTRAST = 0.3, 0.45, 1 / 3, 0.9, 0.9
"""Their size at the magnitude 1: pixels per pixel, a share of the side, quarter turns, standard deviations, a share of
each pixel's distance from the mean of its image."""


class FlipCrop(BatchHook):
    """Mirror images from left to right, and move them by a few pixels up or down and left or right."""

    def __init__(self, dataset: Dataset, flip: float = 0.5, crop: float = 0.125) -> None:
        """Take the probability of a mirror image, and the largest move as a share of the side."""
        super().__init__()
        self.image = image_of(dataset)
        self.flip, self.crop = checked("flip", flip, most=1.0), checked("crop", crop, most=1.0)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return moved images `(S, C, B, D)`, and the targets."""
        _, height, width = self.image
        down, right = (
            (draws.integers(keys, call, inputs.shape[2:3], 2 * most + 1) - most)[..., None]
            for call, most in ((1, round(self.crop * height)), (2, round(self.crop * width)))
        )
        is_mirrored = (draws.uniform(keys, 3, inputs.shape[2:3]) < self.flip)[..., None]
        rows, columns = (torch.arange(side, device=inputs.device) for side in (height, width))
        columns = torch.where(is_mirrored, width - 1 - columns, columns) + right
        images = moved(torch.unflatten(inputs, -1, self.image), (rows + down)[..., :, None], columns[..., None, :])
        return images.flatten(-3), targets


class RandAugment(BatchHook):
    """Apply a few drawn operations to each image, each with a drawn sign (Cubuk et al. 2020).

    The operations are those on tensors of standardised numbers (`OPERATIONS`); moved pixels take the nearest pixel.
    """

    def __init__(self, dataset: Dataset, num_operations: int = 2, magnitude: float = 0.3) -> None:
        """Take the number of operations one after another, and their strength from 0 to 1."""
        super().__init__()
        self.image = image_of(dataset)
        self.num_operations = int(checked("num_operations", num_operations, least=1))
        self.magnitude = checked("magnitude", magnitude, most=1.0)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed images `(S, C, B, D)`, and the targets."""
        images = torch.unflatten(inputs, -1, self.image)
        for number in range(self.num_operations):
            operation = draws.integers(keys, 2 * number + 1, inputs.shape[2:3], len(OPERATIONS))
            is_negative = draws.uniform(keys, 2 * number + 2, inputs.shape[2:3]) < 0.5
            strength = torch.where(is_negative, -self.magnitude, self.magnitude)
            images = changed(images, operation, strength)
        return images.flatten(-3), targets


class CutMix(BatchHook):
    """Replace a box of each image by that of an image that is drawn from its batch (Yun et al. 2019).

    The share of the image that stays is drawn from a Beta(alpha, alpha) distribution, for each image anew; the box is
    cut off at the image's sides. The target is mixed by the share of the pixels that did stay.
    """

    sides: Tensor  # (2, quantiles)
    mixes_rows = True

    def __init__(self, dataset: Dataset, alpha: float = 1.0, probability: float = 1.0) -> None:
        """Take the distribution's parameter, and the probability that an image is mixed."""
        super().__init__()
        self.image, self.weighs_targets = image_of(dataset), check_mixes(dataset)
        self.probability = checked("probability", probability, most=1.0)
        share = np.sqrt(1 - beta_quantiles(alpha))
        self.register_buffer("sides", torch.as_tensor(np.outer(self.image[1:], share).astype(int)), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images `(S, C, B, D)` and targets, see `mixed`."""
        partner, drawn, is_mixed = draw_mixture(keys, inputs.shape[2], self.probability)
        inside = []
        for call, side, length in zip((4, 5), self.image[1:], self.sides, strict=True):
            centre, half = draws.integers(keys, call, inputs.shape[2:3], side), length[drawn] // 2
            first, last = (end.clamp(0, side)[..., None] for end in (centre - half, centre + half))
            pixels = torch.arange(side, device=inputs.device)
            inside.append((pixels >= first) & (pixels < last) & is_mixed[..., None])
        is_cut = inside[0][..., :, None] & inside[1][..., None, :]  # (..., H, W)
        images = torch.unflatten(inputs, -1, self.image)
        mixture = torch.where(is_cut[..., None, :, :], rows_of(images, partner), images)
        share = 1 - is_cut.sum((-2, -1)) / is_cut[0, 0, 0].numel()
        return mixture.flatten(-3), mixed(targets, partner, share.to(inputs.dtype), self.weighs_targets)


def image_of(dataset: Dataset) -> tuple[int, int, int]:
    """Return channels, height and width; raise `ConfigError` for a data set without images."""
    if dataset.image is None:
        remedy = "choose dataset=digits, give the Dataset an image=(channels, height, width), or augmentation=noise"
        raise refused(dataset, "needs images", remedy)
    return dataset.image


def moved(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images `(..., channels, H, W)` whose pixels come from rows and columns `(..., H, W)`, 0 from outside."""
    height, width = images.shape[-2:]
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(-2).unsqueeze(-2)
    pixels = images.flatten(-2)
    return (pixels.gather(-1, index.expand_as(pixels)) * is_inside.flatten(-2).unsqueeze(-2)).view_as(images)


def changed(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Return images `(..., channels, H, W)` after an operation of `OPERATIONS` `(...)` of a strength from -1 to 1."""
    height, width = images.shape[-2:]

    def of(name: str, most: float) -> Tensor:
        """Return the strength of an operation, 0 where another one was drawn, `(..., 1, 1)`."""
        return torch.where(operation == OPERATIONS.index(name), strength * most, 0.0)[..., None, None]

    turn = of("rotate", ROTATE)
    sine, cosine = draws.sine(turn), draws.sine(1 - turn.abs())
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[:, None]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    rows = cosine * y + (of("shear_y", SHEAR) - sine) * x + of("translate_y", TRANSLATE * height) + (height - 1) / 2
    columns = cosine * x + (of("shear_x", SHEAR) + sine) * y + of("translate_x", TRANSLATE * width) + (width - 1) / 2
    images = moved(images, rows.round().long(), columns.round().long())
    mean = images.mean((-3, -2, -1), keepdim=True)
    more = of("contrast", CONTRAST)[..., None].to(images.dtype)
    return images + (images - mean) * more + of("brightness", BRIGHTNESS)[..., None].to(images.dtype)
