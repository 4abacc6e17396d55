"""The rows of every step of every member: a pure function of the members' order seeds.

Shapes: `C` members, `S` steps in a chunk, `B` rows in a batch, `N` training rows.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evalbench.parts.hooks import EpochRows
from evalbench.seeds import derive_epoch


class Batches:
    """Cut each member's training rows, shuffled anew in each epoch, into batches; keep the last, smaller batch."""

    def __init__(
        self, rows: ArrayLike, batch_size: int, order_seeds: Sequence[int], epoch_rows: EpochRows | None = None
    ) -> None:
        """Take the members' training rows `(C, N)`, the rows per step, a seed per member, and a choice of rows."""
        self.rows: NDArray[np.int64] = np.asarray(rows)  # the loader's, which stay on the CPU when a cohort moves
        self.batch_size = batch_size
        self.order_seeds = tuple(order_seeds)
        self.epoch_rows = epoch_rows
        self.num_rows: int = self.rows.shape[1] if epoch_rows is None else epoch_rows.num_rows
        self.steps_per_epoch: int = -(-self.num_rows // batch_size)
        self._epoch = lru_cache(maxsize=1)(self._order)

    def chunks(self, start: int, stop: int, max_steps: int) -> Iterator[Tensor]:
        """Yield the batches of steps `start` to `stop` (excluded) as chunks `(S, C, B)`, `S` at most `max_steps`."""
        full = self.num_rows // self.batch_size
        step = start
        while step < stop:
            epoch, epoch_step = divmod(step, self.steps_per_epoch)
            length = 1 if epoch_step == full else min(max_steps, full - epoch_step, stop - step)
            first = epoch_step * self.batch_size
            rows = self._epoch(epoch)[:, first : first + length * self.batch_size]  # (C, S*B)
            yield torch.from_numpy(rows.reshape(len(rows), length, -1).swapaxes(0, 1).copy())
            step += length

    def keep(self, slots: Sequence[int]) -> "Batches":
        """Return the batches of the members in some slots."""
        seeds = [self.order_seeds[slot] for slot in slots]
        return Batches(self.rows[list(slots)], self.batch_size, seeds, self.epoch_rows)

    def examples(self, steps: int) -> int:
        """Return the number of examples that a member has seen after a number of steps."""
        epochs, epoch_steps = divmod(steps, self.steps_per_epoch)
        return epochs * self.num_rows + epoch_steps * self.batch_size

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self.steps_per_epoch == 1 and self.epoch_rows is None:
            return self.rows  # one batch of all rows, whose order does not matter
        orders = []
        for slot, seed in enumerate(self.order_seeds):
            generator = torch.Generator().manual_seed(derive_epoch(seed, epoch))
            rows = self.rows[slot] if self.epoch_rows is None else self.epoch_rows(self.rows[slot], generator)
            orders.append(rows[torch.randperm(self.num_rows, generator=generator).numpy()])
        return np.stack(orders)


class Loader:
    """Iterate anew over chunks each time that Lightning asks for an iterator."""

    def __init__(self, chunks: Callable[[], Iterator[Any]]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Any]:
        return self._chunks()
