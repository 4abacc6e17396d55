"""Time the way of rows from a file to a step, beside `DataLoader`: `python -m benchmarks.reading`.

Every way gives the same scaled batches of the same rows in the same order, on the CPU: inputs held on the device,
inputs read ahead from the host, and a map-style data set in torch's `DataLoader` with no and with two workers. Nothing
is trained. The ways take turns, and the fastest of three rounds counts. A cohort of M members reads M batches a step;
the loader serves M trials one after the other.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import data as torch_data

from evalbench.engine.batches import Batches
from evalbench.engine.cohort import CHUNK_NUMBERS
from evalbench.engine.data import Data
from evalbench.workloads import Dataset, Kind, Split, draw_split, fit_scaling

ROUNDS = 3
Read = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Yields inputs `(B, D)` and targets of one batch, of a cohort `(C, B, D)`."""


def made(folder: Path, name: str, rows: int) -> Dataset:
    """Return images of 3 × 32 × 32 bytes, or a table of 24 numbers, in a file."""
    generator = np.random.default_rng(0)
    image = (3, 32, 32) if name == "images" else None
    columns = 3072 if image else 24
    inputs: NDArray[np.generic]
    if image:
        inputs = generator.integers(0, 256, (rows, columns), np.uint8)
    else:
        inputs = generator.normal(size=(rows, columns)).astype(np.float32)
    features = tuple(str(number) for number in range(columns))
    np.save(folder / name, inputs)
    mapped = np.load(folder / f"{name}.npy", mmap_mode="r")
    return Dataset(
        name, Kind.BINARY, mapped, np.arange(rows) % 2, features, np.ones(columns, bool), ("0", "1"), image=image
    )


class Rows(torch_data.Dataset[tuple[Tensor, int]]):
    """Rows of a trial as people write them: one read, scaled and returned at a time."""

    def __init__(self, dataset: Dataset, split: Split) -> None:
        scaling = fit_scaling(dataset, split.train)
        self._inputs, self._targets = dataset.inputs, dataset.targets
        self._mean, self._std = scaling.mean.astype(np.float32), scaling.std.astype(np.float32)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """Return the scaled inputs `(D,)` and the target of a row."""
        return torch.from_numpy((self._inputs[row] - self._mean) / self._std), int(self._targets[row])


def cohort(dataset: Dataset, splits: Sequence[Split], batches: Batches, on_host: bool) -> Read:
    """Return the batches of a cohort, as its steps take them."""
    held = Data(dataset, splits, torch.float32, on_host)
    members = list(range(len(splits)))

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        steps = max(1, CHUNK_NUMBERS // (len(splits) * batches.batch_size * held.num_columns))
        for rows in held.inputs.staged(batches.chunks(0, batches.steps_per_epoch, steps)):
            inputs, targets = held.gather(rows, members)
            yield from zip(inputs, targets, strict=True)

    return read


def loader(dataset: Dataset, splits: Sequence[Split], batches: Batches, workers: int) -> Read:
    """Return the batches of `DataLoader`, of one trial after the other."""
    each = [Rows(dataset, split) for split in splits]

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for slot, rows in enumerate(each):
            orders = [chunk[0, slot].tolist() for chunk in batches.chunks(0, batches.steps_per_epoch, 1)]
            yield from torch_data.DataLoader(rows, batch_sampler=orders, num_workers=workers)

    return read


def examples_per_second(reads: dict[str, Read]) -> dict[str, float]:
    """Return the examples per second of each way, the fastest of interleaved rounds."""
    rates = dict.fromkeys(reads, 0.0)
    for _ in range(ROUNDS):
        for name, read in reads.items():
            start, count = time.perf_counter(), 0
            for _, targets in read():
                count += targets.numel()
            rates[name] = max(rates[name], count / (time.perf_counter() - start))
    return rates


def compare(folder: Path, name: str, rows: int, batch_size: int, members: int) -> dict[str, float]:
    """Return the examples per second of each way on data of a size."""
    dataset = made(folder, name, rows)
    splits = [draw_split(dataset, 0.2, 0.2, seed) for seed in range(members)]
    batches = Batches(np.stack([split.train for split in splits]), batch_size, range(members))
    return examples_per_second(
        {
            "held": cohort(dataset, splits, batches, on_host=False),
            "read ahead": cohort(dataset, splits, batches, on_host=True),
            "DataLoader": loader(dataset, splits, batches, 0),
            "DataLoader, 2 workers": loader(dataset, splits, batches, 2),
        }
    )


def main() -> None:
    """Print the table for the sizes of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, batch_size in (("images", given.images, 128), ("table", given.rows, 1024)):
            for members in (1, 4):
                rates = compare(Path(folder), name, rows, batch_size, members)
                plain = max(rate for way, rate in rates.items() if way.startswith("DataLoader"))
                told = ", ".join(f"{way} {rate:,.0f}" for way, rate in rates.items())
                ratio = min(rates["held"], rates["read ahead"]) / plain
                print(
                    f"{name}, {rows:,} rows, {members} trials: {told} examples/s; {ratio:.1f} times the faster loader"
                )


if __name__ == "__main__":
    main()
