"""Send one evaluation from the store to one tracker."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evalbench.config import Component
from evalbench.errors import InputError
from evalbench.mirror import conclusion, runs
from evalbench.mirror.studies import StudyDescription, runs_of
from evalbench.store import Link, Store, StoredTrial
from evalbench.tracking import Tracker

CHUNK = 50
"""Number of trials that are read at once."""
MOST_OPEN = 32
"""Largest number of trials in training that are shown; the other trials are sent when they have ended."""


class Mirror:
    """The records of an evaluation that a tracker has and lacks."""

    def __init__(self, store: Store, evaluation: str, name: str, tracker: Tracker | None = None) -> None:
        """Build the tracker from its settings in the store, or use a given tracker.

        Raise `InputError` if the evaluation or the tracker is unknown, or if the tracker cannot be built.
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
        self._design = {key: about[key] for key in ("question", "factor", "baseline", "command")}
        self._context = runs.Context(evaluation, about["question"], about["command"])
        self._folder = Path(about["folder"])
        self._shown: dict[str, int] = {}
        self.reload()

    def reload(self) -> None:
        """Read the cells and the links again: a look adds trials, and a tuned trial is linked after its search."""
        about = described(self._store, self._evaluation)
        self._cells = [runs.CellDescription(**cell) for cell in about["cells"]]
        self._cell_of = {trial_id: cell for cell in self._cells for trial_id in cell.trials}
        self._links = {link.trial_id: link for link in self._store.links(self._evaluation)}

    def waiting(self) -> int:
        """Return the number of ended trials that the tracker lacks."""
        return len(self._store.unmirrored(self._evaluation, self.key))

    def send(self, go_on: Callable[[], bool] = lambda: True) -> int:
        """Send the ended trials that the tracker lacks while `go_on()` is true; return the number of sent trials."""
        sent = 0
        while waiting := self._store.unmirrored(self._evaluation, self.key)[:CHUNK]:
            for trial in self._store.trials(waiting).values():
                if not go_on():
                    return sent
                self.tracker.record(runs.ended(self._context, *self._cell_and_link(trial), trial))
                self._store.note_mirrored(self._evaluation, [trial.id], self.key)
                self._shown.pop(trial.id, None)
                sent += 1
        return sent

    def follow(self) -> None:
        """Send trials in training: the first trial of each cohort, or all trials if `live` is set."""
        trainers = self._store.trainers([cell.cell_id for cell in self._cells])
        for cell in [cell for cell in self._cells if cell.cell_id in trainers]:
            missing = self._store.missing(cell.trials)
            curves = self._store.points(missing) if self.live else {}
            for index, trial_id in enumerate(missing):
                curve = curves.get(trial_id, [])
                process = trainers[cell.cell_id] if index == 0 else None
                grown = len(curve) > self._shown.get(trial_id, 0)
                new = trial_id not in self._shown and len(self._shown) < MOST_OPEN and (index == 0 or grown)
                if new or (grown and trial_id in self._shown):
                    self._shown[trial_id] = len(curve)
                    self.tracker.record(runs.running(self._context, cell, self._links[trial_id], curve, process))

    def lacks_conclusion(self) -> bool:
        """Return whether there is a report that the tracker lacks."""
        report_id = conclusion.identity(self._folder)
        return report_id is not None and not self._store.is_mirrored(self._evaluation, report_id, self.key)

    def conclude(self) -> None:
        """Send the studies and the report, unless the tracker has the report."""
        report_id = conclusion.identity(self._folder)
        if report_id is None or self._store.is_mirrored(self._evaluation, report_id, self.key):
            return
        self._send_studies()
        self.tracker.conclude(conclusion.read(self._folder, self._evaluation, self._design, list(self._run_ids())))
        self._store.note_mirrored(self._evaluation, [report_id], self.key)

    def _send_studies(self) -> None:
        for cell in self._cells:
            for study in (StudyDescription(**values) for values in cell.studies):
                if not self._store.is_mirrored(self._evaluation, study.id, self.key):
                    for run in runs_of(self._context, cell, self._links[cell.trials[0]], study, self._store):
                        self.tracker.record(run)
                    self._store.note_mirrored(self._evaluation, [study.id], self.key)

    def _run_ids(self) -> Iterator[str]:
        links = {link.trial_id: link for link in self._store.links(self._evaluation)}
        planned = {trial_id: cell for cell in self._cells for trial_id in cell.trials}
        for trial_id in planned:
            yield runs.running(self._context, planned[trial_id], links[trial_id], (), None).id
        for trial in self._store.trials([trial_id for trial_id in links if trial_id not in planned]).values():
            yield runs.ended(self._context, *self._cell_and_link(trial), trial).id

    def _cell_and_link(self, trial: StoredTrial) -> tuple[runs.CellDescription, Link]:
        """Return a trial's cell and link; reload them for a trial that was linked later."""
        if trial.id not in self._links:
            self.reload()
        link = self._links[trial.id]
        if trial.id not in self._cell_of:
            self._cell_of[trial.id] = next(
                cell for cell in self._cells if cell.workload == trial.workload and self._is_of(cell, link)
            )
        return self._cell_of[trial.id], link

    def _is_of(self, cell: runs.CellDescription, link: Link) -> bool:
        first = self._links[cell.trials[0]]
        return (first.technique, first.factors) == (link.technique, link.factors)


def described(store: Store, evaluation: str) -> Mapping[str, Any]:
    """Return the stored description of an evaluation; raise `InputError` if there is none."""
    about = store.description(evaluation)
    if about is None:
        known = ", ".join(store.described()) or "none"
        raise InputError(f"the store has no evaluation {evaluation!r}: it has {known}")
    return about


def key_of(tracker: Component) -> str:
    """Return a short hash of the tracker's settings; another project or mode counts as another tracker."""
    text = json.dumps(tracker.spec(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
