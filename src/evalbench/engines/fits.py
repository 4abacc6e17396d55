"""Trials that are trained by one fit each: one after another, each with its result or its error."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evalbench import weights
from evalbench.config import Config
from evalbench.engines.contract import Outlets, Trained
from evalbench.errors import StorageError
from evalbench.trial import Entrant, State, TrialResult, best_point

log = logging.getLogger(__name__)

Fit = Callable[[Entrant, Path | None], TrialResult]
"""Trains a trial, and keeps what it has trained in a folder if one is given."""


def each(config: Config, entrants: Sequence[Entrant], fit: Fit, outlets: Outlets) -> Iterator[Trained]:
    """Fit the trials, and yield each with its result as it ends; an error ends one trial only.

    With `save=best` only the best of them stays in the folder.
    """
    said: set[str] = set()
    kept: list[tuple[float, Path]] = []
    for entrant in entrants:
        folder = None if outlets.keep_in is None else weights.folder(outlets.keep_in, entrant.seed)
        try:
            result = fit(entrant, folder)
        except StorageError:
            raise
        except Exception as error:  # what the user chose may raise anything
            text = repr(error)
            log.error("seed %d failed: %s", entrant.seed, text, exc_info=error if text not in said else None)
            said.add(text)
            yield [entrant], error
            continue
        if folder is not None and config.save == "best" and result.state is State.COMPLETE:
            kept = sorted([*kept, (best_point(result.curve).rank, folder)])
            for _, worse in kept[1:]:
                shutil.rmtree(worse, ignore_errors=True)
            kept = kept[:1]
        if outlets.watch is not None and entrant.trial is not None:
            outlets.watch({entrant.spec.trial_id: result.curve}, 0)
        yield [entrant], [result]
