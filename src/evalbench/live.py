"""What is known of trials in training: a thread beside the training writes it into the store.

Trackers read growing curves there if they are live, and the terminal reads how far the steps have come.
"""

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from evalbench import ranks
from evalbench.config import Config
from evalbench.errors import StorageError
from evalbench.store import Lease, Store
from evalbench.trial import CurvePoint, Position

log = logging.getLogger(__name__)

Watch = Callable[[Mapping[str, Sequence[CurvePoint]], int], None]
MAX_QUEUED = 1000
"""The maximal number of queued validations; further ones are dropped, since the whole curve is stored at the end."""


@contextmanager
def watch(config: Config, trial_ids: Sequence[str], store: Store) -> Iterator[Watch | None]:
    """Yield a function that takes new points of curves by trial id, or None if no tracker is live.

    A thread writes the points into the store, from which trackers read them. They are removed at the end.
    """
    rank = ranks.current().index
    unused = not config.tracker.live or not config.tracker.trackers
    if unused or (rank and config.trainer_split == "data"):  # rank zero has the same points
        yield None
        return
    queued: queue.Queue[tuple[Mapping[str, Sequence[CurvePoint]], int] | None] = queue.Queue()
    if not rank:
        store.remove_points(trial_ids)  # those of a killed training

    def write() -> None:
        while (item := queued.get()) is not None:
            curves, first = item
            try:
                store.add_points(curves, first)
            except Exception as error:  # for example a busy store; the results do not depend on it
                log.warning("live points of curves were not stored (%s: %s)", type(error).__name__, error)

    def enqueue(curves: Mapping[str, Sequence[CurvePoint]], first: int) -> None:
        if queued.qsize() < MAX_QUEUED:
            queued.put((curves, first))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield enqueue
    finally:
        queued.put(None)
        thread.join()
        if not rank:
            store.remove_points(trial_ids)


# ── how far a cell has come ───────────────────────────────────────────────────────────────────────────────────────────

PERIOD_SECONDS = 1.0


class Training(Protocol):
    """Trials that train together, as a thread beside them may see them."""

    @property
    def position(self) -> Position:
        """The members, the steps taken, and all steps."""
        ...


Follow = Callable[[Training], None]


class Follower:
    """Writes the position of the trials that a process trains; the training itself does nothing for it."""

    def __init__(self, lease: Lease, store: Store) -> None:
        self._lease, self._store, self._turn = lease, store, threading.Lock()
        self._training: weakref.ref[Training] | None = None  # weak: it must not keep the memory of a failed training
        self._has_written = False

    def follow(self, training: Training) -> None:
        """Follow some trials until `rest` is called, or others begin."""
        self._training = weakref.ref(training)

    def rest(self) -> None:
        """Forget the trials, because their results are in the store."""
        with self._turn:
            self._training = None
            if self._has_written:
                self._store.positions.forget(self._lease.cell_id)
            self._has_written = False

    def write(self) -> None:
        """Write the position of the followed trials, if there are any."""
        with self._turn:
            training = None if self._training is None else self._training()
            if training is not None:
                self._has_written = True
                self._store.positions.note(self._lease.cell_id, training.position)


@contextmanager
def follower(lease: Lease, store: Store) -> Iterator[Follower]:
    """Yield a follower, whose thread writes every `PERIOD_SECONDS`; shorter trainings write nothing."""
    result, stop = Follower(lease, store), threading.Event()

    def write() -> None:
        while not stop.wait(PERIOD_SECONDS):
            try:
                result.write()
            except Exception as error:  # for example a busy store; the results do not depend on it
                log.info("the position of a training was not stored (%s: %s)", type(error).__name__, error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join()
        with suppress(StorageError):
            result.rest()
