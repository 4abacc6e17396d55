"""Train on many small images and on a long table, kill and resume the command: `python -m benchmarks.large`.

It prints seconds, examples per second, the peak memory, and whether the killed and resumed run equals an unbroken
one. Peak memory is what the processes hold beside mapped files, whose pages the system can take back. Linux only.

    python -m benchmarks.large --images 50000 --rows 5000000 --folder /somewhere
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = 10
SIDE = 32
BLOCK_ROWS = 500_000
SECONDS = 0.05
"""The interval at which memory is read and a checkpoint is looked for."""
COMMON = (
    "num_seeds=1",
    "budget.epochs=2",
    "trainer.checkpoint_minutes=0.001",
    "cost.rounds=0",
    "trainer.accelerator=cpu",
)


def make_images(folder: Path, count: int) -> Path:
    """Write PNG files of 32 × 32 pixels in three colours, in a folder for each of ten classes."""
    from PIL import Image

    path, generator = folder / f"images-{count}", np.random.default_rng(0)
    if path.exists():
        return path
    patterns = generator.integers(64, 192, (CLASSES, SIDE, SIDE, 3))
    for number in range(count):
        label = number % CLASSES
        pixels = np.clip(patterns[label] + generator.normal(0, 40, patterns[label].shape), 0, 255).astype(np.uint8)
        file = path / f"class {label}" / f"{number:06}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, compress_level=1)
    return path


def make_table(folder: Path, rows: int) -> Path:
    """Write a Parquet file with eleven columns of numbers, one of eight texts, one of dates, and two classes."""
    import pyarrow as pa
    from pyarrow import parquet

    path, generator = folder / f"table-{rows}.parquet", np.random.default_rng(0)
    if path.exists():
        return path
    texts, slopes, writer = np.array([f"region {number}" for number in range(8)]), np.linspace(-1, 1, 10), None
    for first in range(0, rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - first)
        numbers, region = generator.normal(size=(count, 10)).astype(np.float32), generator.integers(0, 8, count)
        columns = {f"x{number}": numbers[:, number] for number in range(10)} | {
            "region": texts[region],
            "amount": np.exp(generator.normal(size=count)),
            "day": np.datetime64("2020-01-01") + generator.integers(0, 1000, count).astype("timedelta64[D]"),
            "label": (numbers @ slopes + 0.3 * region + generator.normal(size=count) > 1).astype(np.int64),
        }
        block = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, block.schema)
        writer.write_table(block)
    if writer is not None:
        writer.close()
    return path


@dataclass
class Measured:
    """What was seen of a run from outside."""

    seconds: float = 0.0
    peak_bytes: int = 0
    killed: bool = False


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            yield from _tree(int(child))


def _held_bytes(pid: int) -> int:
    """Return the bytes that a process and its children hold in memory beside mapped files."""
    held = 0
    for process in _tree(pid):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        held += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return held


def run(folder: Path, overrides: tuple[str, ...], until: Callable[[], bool] = lambda: False) -> Measured:
    """Run the command in a folder; kill its processes at once when `until` says so."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "evalbench", *COMMON, *overrides]
    measured, start = Measured(), time.perf_counter()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None:
            try:
                measured.peak_bytes = max(measured.peak_bytes, _held_bytes(process.pid))
            except OSError:  # it has just ended
                continue
            if until():
                os.killpg(process.pid, signal.SIGKILL)
                measured.killed = True
                process.wait()
            time.sleep(SECONDS)
    measured.seconds = time.perf_counter() - start
    if process.returncode and not measured.killed:
        raise SystemExit(f"{' '.join(command)} has ended with the code {process.returncode}: see {folder}/log.txt")
    return measured


def results(folder: Path) -> pd.DataFrame:
    """Return the rows of the run's trials, without what depends on time."""
    (path,) = folder.glob("reports/*/results.csv")
    return pd.read_csv(path)


def compare(name: str, folder: Path, overrides: tuple[str, ...]) -> None:
    """Run a command, then again with a kill after its first checkpoint; print what was measured."""
    whole = run(folder / "whole", overrides)
    _say(name, "unbroken", whole, results(folder / "whole"))
    broken = folder / "broken"
    killed = run(broken, overrides, lambda: any((broken / "outputs" / "checkpoints").glob("*.pt")))
    resumed = run(broken, overrides)
    _say(name, f"killed after {killed.seconds:.0f} s, resumed", resumed, results(broken))
    equal = killed.killed and results(folder / "whole").equals(results(broken))
    print(f"{name}: killed and resumed results {'equal' if equal else 'DIFFER from'} those of the unbroken run")


def _say(name: str, how: str, measured: Measured, table: pd.DataFrame) -> None:
    examples = int(table["examples"].sum())
    print(
        f"{name}, {how}: {measured.seconds:.0f} s in all, {examples / measured.seconds:,.0f} examples/s,"
        f" at most {measured.peak_bytes / 2**30:.2f} GiB, scores {table['score'].round(4).tolist()}",
        flush=True,
    )


def main() -> None:
    """Read the sizes from the command line, make the data, and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000, help="0: none")
    parser.add_argument("--rows", type=int, default=200_000, help="0: none")
    parser.add_argument("--folder", type=Path, help="where data and runs are kept; default: a temporary folder")
    parser.add_argument("overrides", nargs="*", help="further settings of the runs, such as trainer.data=host")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        runs = Path(tempfile.mkdtemp(prefix="runs-", dir=folder))
        further = tuple(given.overrides)
        if given.images:
            path = make_images(folder, given.images)
            settings = (
                "dataset=imagefolder",
                f"dataset.path={path}",
                "model=cnn",
                "optimizer.batch_size=128",
                *further,
            )
            compare(f"{given.images:,} images", runs / "images", settings)
        if given.rows:
            path = make_table(folder, given.rows)
            settings = ("dataset=parquet", f"dataset.path={path}", "optimizer.batch_size=1024")
            compare(f"{given.rows:,} rows", runs / "table", (*settings, *further))


if __name__ == "__main__":
    main()
