"""One tracker's copy of one evaluation, made from the store alone."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evalbench.config import Component
from evalbench.errors import InputError
from evalbench.mirror import conclusion, runs
from evalbench.store import Store
from evalbench.tracking import Run, Tracker

CHUNK = 50
"""Trials that are read at once."""
MOST_OPEN = 32
"""Runs of trials in training that are shown at a time; the others come when they have ended."""


class Mirror:
    """What a tracker has of an evaluation, and what it lacks."""

    def __init__(self, store: Store, evaluation: str, name: str, tracker: Tracker | None = None) -> None:
        """Take the tracker's settings from the store, or a tracker that is made already.

        Raises `InputError` where the evaluation or the tracker is not known, or cannot be made.
        """
        about = described(store, evaluation)
        if name not in about["trackers"]:
            known = ", ".join(about["trackers"]) or "none"
            raise InputError(f"{evaluation} has no tracker {name!r}: it has {known}")
        settings = dict(about["trackers"][name])
        component = Component(f"tracker.{name}", settings.pop("_target_"), settings)
        self._store, self._evaluation, self._name = store, evaluation, name
        self.key = key_of(component)
        self.live: bool = about["live"]
        self.tracker: Tracker = component.build() if tracker is None else tracker
        self._asked = {key: about[key] for key in ("question", "factor", "baseline", "command")}
        self._context = runs.Context(evaluation, about["question"], about["command"])
        self._learn(about)
        self._folder = Path(about["folder"])
        self._shown: dict[str, int] = {}

    def _learn(self, about: Mapping[str, Any]) -> None:
        """Take up what the store says; a search finds out what is to be measured only on the way."""
        self._cells = [runs.CellDescription(**cell) for cell in about["cells"]]
        self._cell_of = {trial_id: cell for cell in self._cells for trial_id in cell.trials}
        self._links = {link.trial_id: link for link in self._store.links(self._evaluation)}
        self._studies = {study["study_id"]: study["runs"] for study in about.get("studies", ())}

    def _unsent(self) -> list[str]:
        """Return those ended trials that the tracker lacks and that are described."""
        waiting = self._store.unmirrored(self._evaluation, self.key)
        if any(trial_id not in self._cell_of for trial_id in waiting):
            self._learn(described(self._store, self._evaluation))
        return [trial_id for trial_id in waiting if trial_id in self._cell_of and trial_id in self._links]

    def _unsent_studies(self) -> list[str]:
        return [i for i in self._studies if not self._store.is_mirrored(self._evaluation, i, self.key)]

    def waiting(self) -> int:
        """Return how many ended trials the tracker lacks."""
        return len(self._store.unmirrored(self._evaluation, self.key))

    def send(self, go_on: Callable[[], bool] = lambda: True) -> int:
        """Hand over the ended trials that the tracker lacks; return how many. Whatever it raises comes through."""
        sent = 0
        while waiting := self._unsent()[:CHUNK]:
            for trial in self._store.trials(waiting).values():
                if not go_on():
                    return sent
                self.tracker.record(runs.ended(self._context, self._cell_of[trial.id], self._links[trial.id], trial))
                self._store.note_mirrored(self._evaluation, [trial.id], self.key)
                self._shown.pop(trial.id, None)
                sent += 1
        return sent

    def follow(self) -> None:
        """Show trials in training: of each cohort the first, which stands for it; all of them where that is wanted."""
        trainers = self._store.trainers([cell.cell_id for cell in self._cells])
        now = [cell for cell in self._cells if cell.cell_id in trainers]
        for cell in now:
            missing = self._store.missing(cell.trials)
            curves = self._store.points(missing) if self.live else {}
            for place, trial_id in enumerate(missing):
                curve = curves.get(trial_id, [])
                process = trainers[cell.cell_id] if place == 0 else None
                grown = len(curve) > self._shown.get(trial_id, 0)
                new = trial_id not in self._shown and len(self._shown) < MOST_OPEN and (place == 0 or grown)
                if new or (grown and trial_id in self._shown):
                    self._shown[trial_id] = len(curve)
                    self.tracker.record(runs.running(self._context, cell, self._links[trial_id], curve, process))

    def lacks_conclusion(self) -> bool:
        """Whether there is a report that the tracker does not have."""
        now = conclusion.identity(self._folder)
        if now is not None and self._unsent_studies():
            return True
        return now is not None and not self._store.is_mirrored(self._evaluation, now, self.key)

    def conclude(self) -> None:
        """Hand over what the evaluation came to, unless the tracker has it; whatever it raises comes through."""
        self._learn(described(self._store, self._evaluation))
        for study_id in self._unsent_studies():
            for run in self._studies[study_id]:
                self.tracker.record(Run(**{**run, "tags": tuple(run["tags"])}))
            self._store.note_mirrored(self._evaluation, [study_id], self.key)
        now = conclusion.identity(self._folder)
        if now is None or self._store.is_mirrored(self._evaluation, now, self.key):
            return
        self.tracker.conclude(conclusion.read(self._folder, self._evaluation, self._asked, list(self._run_ids())))
        self._store.note_mirrored(self._evaluation, [now], self.key)

    def _run_ids(self) -> Iterator[str]:
        for trial_id, link in self._links.items():
            yield runs.running(self._context, self._cell_of[trial_id], link, (), None).id


def described(store: Store, evaluation: str) -> Mapping[str, Any]:
    """Return what the store says about an evaluation for trackers; raise `InputError` where it knows none."""
    about = store.description(evaluation)
    if about is None:
        known = ", ".join(store.described()) or "none"
        raise InputError(f"the store has no evaluation {evaluation!r}: it has {known}")
    return about


def key_of(tracker: Component) -> str:
    """Return a short hash of the tracker's settings: another project or mode is another mirror."""
    text = json.dumps(tracker.spec(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
