"""The user's own augmentation: a function of the inputs of one trial's batch, run for all members.

Shapes: `C` members, `S` steps in a block, `B` rows, `D` features.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import vmap

from evalbench import draws, models
from evalbench.config import ANYTHING
from evalbench.errors import ConfigError
from evalbench.models.initial import InitialValues
from evalbench.parts.hooks import BatchHook
from evalbench.workloads import Dataset

log = logging.getLogger(__name__)

EXAMPLE_ROWS = 4
Run = Callable[[Tensor, Tensor], Tensor]
"""Takes inputs `(B, ...)` and a key; returns inputs of the same shape."""


class OwnAugmentation(BatchHook):
    """Call a function or module with the inputs of each member's batch.

    It gets images `(B, channels, height, width)` if the data set has images, else rows `(B, D)`, and returns the same
    shape. torch's uniform, normal, exponential and Bernoulli numbers come from the trial's stream. All members take
    part in one call by `torch.vmap`. A function that `vmap` refuses is called for one member after the other.
    """

    def __init__(self, label: str, change: Callable[[Tensor], Tensor], dataset: Dataset) -> None:
        """Try the function on a few rows; raise `ConfigError` if it fails, or if its result is not the trial's own."""
        super().__init__()
        self._label, self._change = label, change
        self._module = change if isinstance(change, nn.Module) else None  # so that its tensors move along
        self._shape = dataset.image or dataset.inputs.shape[1:]
        self._run: Run = self._alone
        self._choose_path(dataset)

    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed inputs `(S, C, B, D)`, and the targets."""
        shaped = inputs.reshape(-1, inputs.shape[2], *self._shape)
        changed = self._run(shaped, keys.flatten())
        return changed.reshape(inputs.shape).to(inputs.dtype), targets

    def _of_member(self, inputs: Tensor, key: Tensor) -> Tensor:
        with InitialValues(lambda numbers: numbers(key)):
            return self._change(inputs)

    def _alone(self, inputs: Tensor, keys: Tensor) -> Tensor:
        return torch.stack([self._of_member(*member) for member in zip(inputs.clone(), keys, strict=True)])

    def _choose_path(self, dataset: Dataset) -> None:
        keys = draws.step_keys(torch.tensor([1, 2]), 0, 1)[0]
        shape = (EXAMPLE_ROWS, *self._shape)
        if dataset.vocabulary is None:
            inputs = draws.normal(keys, shape).to(torch.get_default_dtype())
        else:
            inputs = draws.integers(keys, 1, shape, dataset.vocabulary)
        with models.seeded(1):
            state = torch.default_generator.get_state()
            first, second = self._tried(inputs, keys), self._tried(inputs, keys)
            others = models.generators_used(1, state)
        if others:
            raise self._refused(
                f"draws from {' and '.join(sorted(others))}", "draw with torch.rand or randn, or write a BatchHook"
            )
        if not torch.equal(first, second):
            raise self._refused("gives other results for the same numbers", "keep nothing from call to call")
        try:
            batched = vmap(self._of_member)(inputs, keys)
        except ANYTHING as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            log.info("augmentation %s: one member after the other, because vmap refuses it: %s", self._label, lines[0])
            return
        if torch.equal(batched, first):
            self._run = vmap(self._of_member)

    def _tried(self, inputs: Tensor, keys: Tensor) -> Tensor:
        try:
            outputs = self._alone(inputs, keys)
        except ANYTHING as error:  # the user's own code
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise self._refused(f"raises {type(error).__name__} ({lines[0]})", "mend it") from error
        if outputs.shape != inputs.shape or outputs.is_floating_point() != inputs.is_floating_point():
            got = f"{tuple(outputs.shape[1:])} {outputs.dtype}"
            raise self._refused(f"returns {got} for {tuple(inputs.shape[1:])} {inputs.dtype}", "return the same shape")
        return outputs

    def _refused(self, reason: str, remedy: str) -> ConfigError:
        return ConfigError("augmentation", f"must change the inputs of a batch: {self._label} {reason}", remedy=remedy)
