"""Which rows every step of every member sees: a pure function of the members' order seeds.

Shapes: `C` members, `S` steps in a block, `B` rows in a batch, `N` training rows.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evalbench.seeds import derive_epoch


class Batches:
    """Epoch after epoch each member's training rows in an order of its own, cut into batches; the last one is kept."""

    def __init__(self, rows: ArrayLike, batch_size: int, order_seeds: Sequence[int]) -> None:
        """Take the members' training rows `(C, N)`, the rows per step and a seed per member."""
        self.rows: NDArray[np.int64] = np.asarray(rows)  # of the loader, which stays on the CPU when a cohort moves
        self.batch_size = batch_size
        self.order_seeds = tuple(order_seeds)
        self.num_rows: int = self.rows.shape[1]
        self.steps_per_epoch: int = -(-self.num_rows // batch_size)
        self._epoch = lru_cache(maxsize=1)(self._order)

    def blocks(self, start: int, stop: int, most_steps: int) -> Iterator[Tensor]:
        """Yield the batches of steps `start` to `stop` as blocks `(S, C, B)`, `S` at most `most_steps`."""
        full = self.num_rows // self.batch_size
        step = start
        while step < stop:
            epoch, place = divmod(step, self.steps_per_epoch)
            length = 1 if place == full else min(most_steps, full - place, stop - step)
            first = place * self.batch_size
            rows = self._epoch(epoch)[:, first : first + length * self.batch_size]  # (C, S*B)
            yield torch.from_numpy(rows.reshape(len(rows), length, -1).swapaxes(0, 1).copy())
            step += length

    def keep(self, members: Sequence[int]) -> "Batches":
        """Return the batches of some of the members."""
        return Batches(self.rows[list(members)], self.batch_size, [self.order_seeds[member] for member in members])

    def examples(self, steps: int) -> int:
        """Return how many examples a member has seen after so many steps."""
        epochs, place = divmod(steps, self.steps_per_epoch)
        return epochs * self.num_rows + place * self.batch_size

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self.steps_per_epoch == 1:
            return self.rows  # one batch of all rows: their order does not matter, so keep one
        orders = []
        for member, seed in enumerate(self.order_seeds):
            generator = torch.Generator().manual_seed(derive_epoch(seed, epoch))
            orders.append(self.rows[member, torch.randperm(self.num_rows, generator=generator).numpy()])
        return np.stack(orders)
