"""The loss of a batch: that of a network's outputs, or what a LightningModule's own `training_step` returns.

A module's step is computed here without a Trainer. So it may read its batch, its own layers and values, and torch's
random functions, and nothing else: a step that asks for an epoch or for the number of its batch is refused.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs and targets of a batch; returns their mean loss."""


class NotPlainError(Exception):
    """A LightningModule's step needs more than its batch."""


class Objective(nn.Module):
    """Compute the mean loss of a batch by a network."""

    def __init__(self, network: nn.Module, loss: Loss | None) -> None:
        """Take a network and the loss of its outputs; None: the network's own `training_step`."""
        super().__init__()
        self.network = network
        self._loss = [loss]  # in a list, so that the tensors of a loss are not taken for the network's

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of inputs `(B, ...)` and their targets; raise `NotPlainError`."""
        (loss,) = self._loss
        if loss is not None:
            return loss(self.network(inputs), targets)
        with _without_trainer(self.network, inputs.device) as module:
            takes_number = len(inspect.signature(module.training_step).parameters) > 1
            number = [_Unread("the number of its batch")] if takes_number else []
            returned = module.training_step((inputs, targets), *number)
        own = returned.get("loss") if isinstance(returned, Mapping) else returned
        if not isinstance(own, Tensor) or own.ndim:
            raise NotPlainError("its training_step does not return one loss")
        return own


def overridden(module: pl.LightningModule) -> list[str]:
    """Return the names of Lightning's steps and hooks that a LightningModule has of its own."""
    return [
        key
        for key in dir(pl.LightningModule)
        if not key.startswith("_") and not hasattr(nn.Module, key) and callable(getattr(pl.LightningModule, key))
        if inspect.getattr_static(type(module), key) is not inspect.getattr_static(pl.LightningModule, key)
    ]


class _Unread:
    """Stand for a value that a step must not read: whatever asks for it is refused."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def _refuse(self, *_: object, **__: object) -> Any:
        raise NotPlainError(f"its training_step reads {self.__dict__['name']}")

    def __getattr__(self, name: str) -> Any:
        raise NotPlainError(f"its training_step reads {self.__dict__['name']}.{name}")

    __setattr__ = __call__ = __getitem__ = __len__ = __iter__ = __int__ = __index__ = __float__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __floordiv__ = __truediv__ = _refuse
    __format__ = __str__ = __repr__ = _refuse

    def __bool__(self) -> bool:
        """Be true, because Lightning asks whether there is a Trainer before it reads from it."""
        return True


@contextmanager
def _without_trainer(network: nn.Module, device: torch.device) -> Iterator[Any]:
    """Drop what a step logs, let it read nothing of a Trainer, and name the device of its batch as the module's."""
    modules = [module for module in network.modules() if isinstance(module, pl.LightningModule)]
    stand_in = {"log": _ignore, "log_dict": _ignore, "_trainer": _Unread("trainer"), "_device": device}
    kept = [{key: module.__dict__[key] for key in stand_in if key in module.__dict__} for module in modules]
    for module in modules:
        module.__dict__ |= stand_in
    try:
        yield network
    finally:
        for module, own in zip(modules, kept, strict=True):
            for key in stand_in:
                del module.__dict__[key]
            module.__dict__ |= own


def _ignore(*_: object, **__: object) -> None:
    """Log nothing."""
