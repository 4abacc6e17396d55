"""The hooks at which a part of a technique acts on all members of a cohort.

The data are scaled when they are loaded (`engine.data`), and a network is built by its model (`models`). An `EpochRows`
chooses the training rows of each epoch. Then, for each step: `BatchHook`s on the batch, the loss on the outputs
(`Recipe.loss`), `GradientHook`s on the gradients.

Shapes: `C` members, `S` steps in a block, `B` rows, `D` features, `N` training rows, `E` rows of an epoch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

GradientHook = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Takes the gradients of one step by name, each `(C, *shape)`, of the whole batch on all ranks."""


class BatchHook(nn.Module, ABC):
    """A change of the batches of a block of steps, in training only; its buffers follow the cohort to its device."""

    weighs_targets: bool = False
    """Whether it returns targets `(S, C, B, 2 T)`: T targets of a row, each followed by its weight in the loss."""
    mixes_rows: bool = False
    """Whether a row that it returns is made of several rows, so that no weight of a single row belongs to it."""

    @abstractmethod
    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs `(S, C, B, D)` and targets `(S, C, B)`, given noise keys `(S, C)` and member indices `(C,)`.

        The keys are of a stream of the part's own: `draws.normal(keys, inputs.shape[2:])`.
        """


class EpochRows(ABC):
    """A choice of the training rows of every epoch, in the place of each row once."""

    num_rows: int
    """The rows `E` of an epoch: the same for all trials of a cell, so that trials are alike in any cohort."""

    @abstractmethod
    def __call__(self, rows: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """Return the rows `(E,)` of an epoch of one trial, given its training rows `(N,)`.

        The generator is the trial's own in this epoch. The order of the rows is drawn from it afterwards.
        """
