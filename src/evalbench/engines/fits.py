"""Trials that are trained by one fit each, several at once over the cores: each with its result or its error."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from evalbench import weights
from evalbench.config import Config
from evalbench.engines.contract import Outlets, Trained
from evalbench.errors import StorageError
from evalbench.processes import forks
from evalbench.processes.shares import Shares
from evalbench.trial import Entrant, State, TrialResult, best_point

log = logging.getLogger(__name__)

Fit = Callable[[Entrant, Path | None], tuple[TrialResult, Sequence[str]]]
"""Trains a trial, and keeps what it has trained in a folder if one is given; returns also what is to be said once."""


def each(
    config: Config, entrants: Sequence[Entrant], fit: Fit, outlets: Outlets, on_cores: bool = True
) -> Iterator[Trained]:
    """Fit the trials, and yield each with its result as it ends; an error ends one trial only.

    Fits run `on_cores` side by side, each on one thread, however many there are: so a result does not depend on that.
    With `save=best` only the best of them stays in the folder.
    """
    said: set[str] = set()
    kept: list[tuple[float, Path]] = []

    def folder_of(entrant: Entrant) -> Path | None:
        return None if outlets.keep_in is None else weights.folder(outlets.keep_in, entrant.seed)

    at_once = _at_once(len(entrants)) if on_cores else 0
    for entrant, ended in forks.each(entrants, lambda one: fit(one, folder_of(one)), at_once):
        if isinstance(ended, StorageError):
            raise ended
        if isinstance(ended, Exception):  # what the user chose may raise anything
            text = repr(ended)
            log.error("seed %d failed: %s", entrant.seed, text, exc_info=ended if text not in said else None)
            said.add(text)
            yield [entrant], ended
            continue
        result, words = ended
        for text in dict.fromkeys(one for one in words if one not in said):
            log.warning("%s", text)
        said |= set(words)
        folder = folder_of(entrant)
        if folder is not None and config.save == "best" and result.state is State.COMPLETE:
            kept = sorted([*kept, (best_point(result.curve).rank, folder)])
            for _, worse in kept[1:]:
                shutil.rmtree(worse, ignore_errors=True)
            kept = kept[:1]
        if outlets.watch is not None and entrant.trial is not None:
            outlets.watch({entrant.spec.trial_id: result.curve}, 0)
        yield [entrant], [result]


def _at_once(count: int) -> int:
    """Return the number of fits at once on the cores of this job; 0 if it has one, or if this system cannot fork."""
    threads = torch.get_num_threads()
    return 0 if threads == 1 or sys.platform != "linux" else min(threads, Shares.of(count).workers)
