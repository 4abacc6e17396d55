"""Measure the cost of a run in each tracker: `python benchmarks/trackers.py [RUNS]`. Only the runs are made up.

Each tracker has a process of its own. The memory of the process and its children is measured after the first tenth of
the runs and at the end; the difference is the memory that further runs keep. The limit for W&B is 0.15 s per run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from evalbench.tracking import Run, Tracker
from evalbench.tracking.csv import CsvTracker
from evalbench.tracking.mlflow import MlflowTracker
from evalbench.tracking.tensorboard import TensorBoardTracker
from evalbench.tracking.trackio import TrackioTracker
from evalbench.tracking.wandb import WandbTracker

EPOCHS = 20
RUNS = 300
TRACKERS: dict[str, Callable[[], Tracker]] = {
    "wandb": lambda: WandbTracker("evalbench", None, "offline", "runs"),
    "tensorboard": lambda: TensorBoardTracker("runs"),
    "mlflow": lambda: MlflowTracker("sqlite:///runs.db", "evalbench", "artifacts"),
    "trackio": lambda: TrackioTracker("evalbench", "runs"),
    "csv": lambda: CsvTracker("runs"),
}


def made_up(number: int) -> Run:
    """Return a run like a sweep's runs: twenty epochs, a configuration of forty values."""
    tree = {group: {f"key{index}": index for index in range(8)} for group in ("model", "optimizer", "budget", "split")}
    curve = [
        {"epoch": epoch, "step": 30 * epoch, "train/loss": 1 / epoch, "val/loss": 2 / epoch, "val/accuracy": 0.9}
        for epoch in range(1, EPOCHS + 1)
    ]
    config = {
        "technique": "adam",
        "optimizer": "adam",
        "lr": 0.001,
        "seed": number,
        "trial": f"t{number}",
        "tree": tree,
    }
    summary: dict[str, float | int | str | None] = {
        "test/accuracy": 0.9,
        "test/log_loss": 0.3,
        "score": 0.9,
        "state": "COMPLETE",
        "cost/steps": 600,
    }
    about = (f"adam-s{number}-made-up", f"adam-s{number}", "made-up", "adam", ("digits", "adam"), "notes")
    return Run(*about, config, curve, summary, "val/accuracy", True)


def megabytes() -> float:
    """Return the memory of this process and its children."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(folder.name)] = int(fields[1])
    mine = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in mine} - mine:
        mine |= more
    pages = sum(int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) for pid in mine)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(name: str, num_runs: int) -> None:
    """Write runs to one tracker and print the times and the memory as JSON."""
    tracker = TRACKERS[name]()
    seconds, early = [], 0.0
    for number in range(num_runs):
        start = time.perf_counter()
        tracker.record(made_up(number))
        seconds.append(time.perf_counter() - start)
        if number == num_runs // 10:
            early = megabytes()
    late = megabytes()
    tracker.close()
    print(json.dumps({"first": seconds[0], "seconds": seconds[1:], "megabytes": [early, late]}))


def main() -> None:
    """Measure each tracker in a process and a folder of its own, and print a line for each tracker."""
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print(f"{num_runs} runs of {EPOCHS} epochs; s per run: median and the slowest of 100; MB left behind per run")
    print("tracker      first run    median     p99    total MB   MB per run")
    for name in TRACKERS:
        with tempfile.TemporaryDirectory() as folder:
            wandb = {f"WANDB_{name}_DIR": folder for name in ("CACHE", "CONFIG", "DATA")}
            code = f"from benchmarks.trackers import measure; measure({name!r}, {num_runs})"
            process = subprocess.run(
                [sys.executable, "-c", code],
                cwd=folder,
                env={**os.environ, **wandb, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path]))},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
        measured = json.loads([line for line in process.stdout.splitlines() if line.startswith('{"first"')][-1])
        early, late = measured["megabytes"]
        later = sorted(measured["seconds"])
        growth = (late - early) / (num_runs - 1 - num_runs // 10)
        p99 = later[int(0.99 * len(later))]
        median = statistics.median(later)
        print(f"{name:12} {measured['first']:9.2f} {median:9.4f} {p99:7.3f} {late:11.0f} {growth:12.4f}", flush=True)


if __name__ == "__main__":
    main()
