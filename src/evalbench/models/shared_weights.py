"""A network with weights that were trained before, and that all networks built of them share."""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn


class SharedWeights(nn.Module):
    """Hold a network whose parameters share one memory with those of other trials until `own_trained`."""

    network: Any
    fresh: tuple[str, ...] = ()
    """The names of the parameters in `network` that are drawn from the trial's seed, before it is adapted."""
    head: str = ""
    """The kind of its head, as Transformers calls it; empty: it has none of these."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: frozenset[int] = frozenset()
        self.evaluates_frozen = False
        """Whether the parts that do not train are always as in evaluation, without dropout: a probe's are."""
        self.unpacked: Callable[[Tensor], AbstractContextManager[Tensor]] = contextlib.nullcontext
        """Takes what the network is given apart: for features the tokens beside them, see `models.features`."""

    def _share(self, tensors: Iterable[Tensor]) -> None:
        """Note the tensors whose memory is that of all networks."""
        self._shared = frozenset(value.untyped_storage().data_ptr() for value in tensors)

    def train(self, mode: bool = True) -> "SharedWeights":
        """Set the mode of training, or of evaluation."""
        super().train(mode)
        if self.evaluates_frozen:
            for part in self.network.modules():
                if (
                    not any(value.requires_grad for value in part.parameters())
                    and next(part.parameters(), None) is not None
                ):
                    part.train(False)
        return self

    def own_trained(self) -> None:
        """Copy the parameters that train, so that no optimizer moves the shared ones."""
        for value in self.parameters():
            if value.requires_grad and value.untyped_storage().data_ptr() in self._shared:
                value.data = value.data.clone()

    def borrowed(self) -> set[str]:
        """Return the names of the tensors that are those of the weights that all networks share."""
        named = (*self.named_parameters(), *self.named_buffers())
        return {name for name, value in named if value.untyped_storage().data_ptr() in self._shared}
