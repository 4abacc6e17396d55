"""Where the inputs of a data set stay while a cohort trains: on its device, or on the host, read ahead of the steps.

Both give the same rows in the same order, so the place changes no result.

Shapes: `C` members, `S` steps in a chunk, `B` rows in a batch, `D` columns, `N` rows of the data set, `U` different
rows of a chunk.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HELD_SHARE = 0.3
"""The share of a device's free memory up to which `trainer.data=auto` holds the inputs there."""
READ_AHEAD = 2
"""Chunks that are read while another one trains."""

Chunk = Tensor | tuple[Tensor, Tensor, Tensor]
"""Rows `(S, C, B)`; on the host also the different rows among them `(U,)` and their inputs `(U, D)`."""


def stays_on_host(choice: str, inputs: NDArray[Any], device: torch.device, free_bytes: int) -> bool:
    """Return whether inputs stay on the host: as the configuration says, or because they fill the device.

    On the CPU an array in memory is used where it is, so that only one in a file can be too large.
    """
    if choice != "auto":
        return choice == "host"
    return inputs.nbytes > HELD_SHARE * free_bytes and (device.type != "cpu" or isinstance(inputs, np.memmap))


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor on the same memory, which nothing writes into."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


class InputRows(nn.Module):
    """Give the inputs of rows that are staged."""

    inputs: Tensor  # (N, D), or the stage
    on_move: Callable[[], object] = staticmethod(lambda: None)
    """Called when the stage has got another address."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the inputs `(…, D)` of staged rows."""
        raise NotImplementedError

    def ahead(self, chunks: Iterable[Tensor]) -> Iterator[Chunk]:
        """Yield chunks with what `stage` needs, which is read while earlier chunks train."""
        raise NotImplementedError

    def stage(self, chunk: Chunk) -> Tensor:
        """Make the inputs of a chunk available; return its rows."""
        raise NotImplementedError

    def staged(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield rows when they are staged, while those of later chunks are read."""
        yield from map(self.stage, self.ahead(chunks))


class HeldRows(InputRows):
    """Hold all inputs `(N, D)` on the device; on the CPU they are the array of the data set, without a copy."""

    def __init__(self, inputs: NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("inputs", as_tensor(inputs), persistent=False)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return _taken(self.inputs, rows)

    def __len__(self) -> int:
        return len(self.inputs)

    def ahead(self, chunks: Iterable[Tensor]) -> Iterator[Chunk]:
        """Yield the chunks as they are: all rows are there."""
        yield from chunks

    def stage(self, chunk: Chunk) -> Tensor:
        """Return the rows of a chunk."""
        assert isinstance(chunk, Tensor)
        return chunk


class HostRows(InputRows):
    """Keep the inputs `(N, D)` in the host's memory or in a file; only a chunk's different rows are on the device.

    They lie in a *stage* that keeps its address while it is large enough, because a CUDA graph reads there.
    """

    positions: Tensor  # (N,), where a row lies in the stage

    def __init__(self, inputs: NDArray[Any]) -> None:
        super().__init__()
        self._source = inputs.view(np.ndarray)
        self.register_buffer("inputs", as_tensor(self._source[:0]).clone(), persistent=False)
        self.register_buffer("positions", torch.zeros(len(inputs), dtype=torch.int32), persistent=False)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return _taken(self.inputs, _taken(self.positions, rows))

    def __len__(self) -> int:
        return len(self.positions)

    def ahead(self, chunks: Iterable[Tensor]) -> Iterator[Chunk]:
        """Yield chunks with their inputs, which a thread reads."""
        waiting: deque[Future[Chunk]] = deque()
        with ThreadPoolExecutor(1, "rows") as reader:
            for rows in chunks:
                waiting.append(reader.submit(self._read, rows))
                if len(waiting) > READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _read(self, rows: Tensor) -> Chunk:
        distinct = np.unique(rows.cpu().numpy())  # ascending, as a file is read fastest
        read = [torch.from_numpy(distinct), torch.from_numpy(np.take(self._source, distinct, axis=0))]
        if self.inputs.is_cuda:  # a copy from pinned memory does not wait
            read = [tensor.pin_memory() for tensor in read]
        return rows, read[0], read[1]

    def stage(self, chunk: Chunk) -> Tensor:
        """Copy the inputs of a chunk to the device; return its rows."""
        rows, distinct, inputs = chunk
        count = len(distinct)
        if count > len(self.inputs):
            self.inputs = self.inputs.new_empty((min(2 * count, len(self)), inputs.shape[1]))
            self.on_move()
        self.inputs[:count].copy_(inputs, non_blocking=True)
        distinct = distinct.to(self.positions.device, non_blocking=True)
        self.positions[distinct] = torch.arange(count, dtype=torch.int32, device=distinct.device)
        return rows


def _taken(values: Tensor, rows: Tensor) -> Tensor:
    """Return `values[rows]`, for bytes on the CPU in a tenth of its time."""
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])
