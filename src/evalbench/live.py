"""Write the growing curves of trials in training to the store, for live trackers, in a thread beside the training."""

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
