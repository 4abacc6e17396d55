"""A cohort on disk, so that a killed training goes on where it was: tensors and plain values, never another pickle."""

import logging
import os
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from evalbench.engine.cohort import Cohort
from evalbench.engine.python_state import is_plain

log = logging.getLogger(__name__)
MADE_FOR = "made_for"


def attach(cohort: Cohort, path: Path, every_minutes: float, made_for: str = "") -> None:
    """Save the cohort after a round whenever so many minutes have passed, and go on from what is saved, if anything.

    What was made for another training, or cannot be read, is set aside. A checkpoint that cannot be written costs a
    warning: the training goes on, without any more of them.
    """
    if path.exists():
        try:
            cohort.resume(_load(path, made_for))
        except Exception as error:  # whatever reading damaged bytes, or a snapshot of something else, may raise
            set_aside(path, error)
    last = time.monotonic()

    def save_when_due(cohort: Cohort, next_round: int) -> None:
        nonlocal last
        due = time.monotonic() - last >= 60 * every_minutes
        if due and cohort.is_rank_zero and cohort.can_be_saved:
            try:
                save(cohort, path, next_round, made_for)
            except Exception as error:  # a full disk, or what a user's optimizer keeps in its state
                log.warning("no checkpoint was written to %s (%s): the training goes on without", path, error)
                cohort.on_round_end = None
            last = time.monotonic()

    cohort.on_round_end = save_when_due


def save(cohort: Cohort, path: Path, next_round: int, made_for: str = "") -> None:
    """Write the cohort's snapshot; a crash on the way leaves the previous one whole."""
    snapshot = {MADE_FOR: made_for, **cohort.snapshot(next_round)}
    if not is_plain(snapshot):
        raise TypeError("it would hold more than tensors and plain values")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    try:
        with beside.open("wb") as file:
            torch.save(snapshot, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _load(path: Path, made_for: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()  # torch does not look at checksums
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
    snapshot: dict[str, Any] = torch.load(path, weights_only=True)
    if snapshot.pop(MADE_FOR) != made_for:
        raise ValueError("it is that of another training")
    return snapshot


def set_aside(path: Path, error: Exception) -> None:
    """Make room for another checkpoint, and say so."""
    aside = path.with_name(f"{path.name}.broken")
    log.warning("%s cannot be used (%r): it is now %s, and the training starts afresh", path, error, aside.name)
    with suppress(FileNotFoundError):  # another rank was quicker
        path.replace(aside)
