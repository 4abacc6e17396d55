"""The curves of trials in training, for trackers that show them while they grow: off the training path."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from evalbench import ranks
from evalbench.config import Config
from evalbench.store import Store
from evalbench.trial import CurvePoint

log = logging.getLogger(__name__)

Watch = Callable[[Mapping[str, Sequence[CurvePoint]], int], None]
MOST_WAITING = 1000
"""Rounds that wait to be written; more are dropped, for the whole curve comes at the end anyway."""


@contextmanager
def watch(config: Config, trial_ids: Sequence[str], store: Store) -> Iterator[Watch | None]:
    """Yield what training calls with new points of curves by trial, or None where nobody wants to see them.

    A thread writes them into the store, from where trackers take them; they are forgotten at the end.
    """
    rank = ranks.here().index
    unseen = not config.tracker.live or not config.tracker.trackers
    if unseen or (rank and config.trainer_split == "data"):  # then rank zero has the same points
        yield None
        return
    waiting: queue.Queue[tuple[Mapping[str, Sequence[CurvePoint]], int] | None] = queue.Queue()
    if not rank:
        store.remove_points(trial_ids)  # what a killed training has left

    def write() -> None:
        while (new := waiting.get()) is not None:
            curves, first = new
            try:
                store.add_points(curves, first)
            except Exception as error:  # a store that is too busy, perhaps: the results are what counts
                log.warning("points of the curves were not shown (%s: %s)", type(error).__name__, error)

    def enqueue(curves: Mapping[str, Sequence[CurvePoint]], first: int) -> None:
        if waiting.qsize() < MOST_WAITING:
            waiting.put((curves, first))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield enqueue
    finally:
        waiting.put(None)
        thread.join()
        if not rank:
            store.remove_points(trial_ids)
