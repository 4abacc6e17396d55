"""A cohort on disk, so that a killed training goes on where it was: tensors and plain values, never another pickle."""

import os
import time
from pathlib import Path

import torch

from evalbench.engine.cohort import Cohort


def attach(cohort: Cohort, path: Path, every_minutes: float) -> None:
    """Save the cohort after a round whenever so many minutes have passed, and go on from what is saved, if anything."""
    if path.exists():
        cohort.resume(torch.load(path, weights_only=True))
    last = time.monotonic()

    def save_when_due(cohort: Cohort, next_round: int) -> None:
        nonlocal last
        due = time.monotonic() - last >= 60 * every_minutes
        if due and cohort.is_rank_zero and cohort.can_be_saved:
            save(cohort, path, next_round)
            last = time.monotonic()

    cohort.on_round_end = save_when_due


def save(cohort: Cohort, path: Path, next_round: int) -> None:
    """Write the cohort's snapshot; a crash on the way leaves the previous one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save(cohort.snapshot(next_round), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
