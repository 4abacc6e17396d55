"""Save a cohort on disk, so that a killed training can resume: tensors and plain values, no other pickled objects."""

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
    """Resume the cohort from the checkpoint, if there is one; save it at a validation once `every_minutes` have passed.

    A checkpoint that was made for another training, or that cannot be read, is set aside. If a checkpoint cannot be
    written, log a warning and train on without checkpoints.
    """
    if path.exists():
        try:
            cohort.resume(_load(path, made_for))
        except Exception as error:  # damaged bytes, or a snapshot of another object, may raise anything
            set_aside(path, error)
    last = time.monotonic()

    def save_when_due(cohort: Cohort, next_interval: int) -> None:
        nonlocal last
        due = time.monotonic() - last >= 60 * every_minutes
        if due and cohort.is_rank_zero and cohort.can_be_saved:
            try:
                save(cohort, path, next_interval, made_for)
            except Exception as error:  # a full disk, or an optimizer state that cannot be saved
                log.warning("cannot write the checkpoint %s (%s): training goes on without checkpoints", path, error)
                cohort.on_interval_end = None
            last = time.monotonic()

    cohort.on_interval_end = save_when_due


def save(cohort: Cohort, path: Path, next_interval: int, made_for: str = "") -> None:
    """Write the cohort's snapshot; a crash meanwhile leaves the previous checkpoint intact."""
    snapshot = {MADE_FOR: made_for, **cohort.snapshot(next_interval)}
    if not is_plain(snapshot):
        raise TypeError("it may hold only tensors and plain values")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(snapshot, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _load(path: Path, made_for: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()  # torch does not check checksums
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
    snapshot: dict[str, Any] = torch.load(path, weights_only=True)
    if snapshot.pop(MADE_FOR) != made_for:
        raise ValueError("it belongs to another training")
    return snapshot


def set_aside(path: Path, error: Exception) -> None:
    """Rename a checkpoint that cannot be used, and log a warning."""
    aside = path.with_name(f"{path.name}.broken")
    log.warning("%s cannot be used (%r): moved to %s; training starts over", path, error, aside.name)
    with suppress(FileNotFoundError):  # another rank has moved it
        path.replace(aside)
