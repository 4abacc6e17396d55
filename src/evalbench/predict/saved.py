"""Find a saved model by what people call it: a folder, a trial, or an evaluation with its technique and data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalbench.errors import InputError
from evalbench.store import Store
from evalbench.sync import STORE, existing

DESCRIPTION = "model.json"
EVALUATION = "evaluation.json"
"""A file of the folder of a report."""
LEAST_OF_A_TRIAL = 6
"""Digits of a trial's identity that name it."""
MOST_LISTED = 8
WEIGHTS = Path("outputs/weights")


@dataclass(frozen=True)
class SavedModel:
    """A model in a folder, and the names that people have for it."""

    path: Path
    description: Mapping[str, Any]
    links: tuple[tuple[str, str], ...] = ()
    """The evaluations that its trial counts in, and the technique that it stands for there."""

    @property
    def label(self) -> str:
        """Return a name that `chosen` takes: evaluation, technique and data set."""
        own = tuple(str(self.description.get(key, "?")) for key in ("evaluation", "technique"))
        return "/".join([*(self.links or (own,))[0], str(self.description.get("workload", "?"))])

    @property
    def rank(self) -> float:
        """Return the validation loss, or what else chose its epoch; lower is better."""
        value = self.description.get("selection")
        return float("inf") if value is None else float(value)

    def is_called(self, word: str) -> bool:
        """Return whether a word is one of its names."""
        about = self.description
        names = {about.get("evaluation"), about.get("technique"), about.get("workload"), f"s{about.get('seed')}"}
        names |= {name for link in self.links for name in link} | {self.path.parent.name}
        is_trial = len(word) >= LEAST_OF_A_TRIAL and str(about.get("trial") or "").startswith(word)
        return word in names or is_trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a saved model, and what is trusted to load it."""
    kept = "the folder of saved models (default: %(default)s)"
    parser.add_argument("run", help="evaluation/technique/data set, a trial, or the folder of a saved model")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="import code of this package")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER", help=kept)
    parser.add_argument("--store", default=STORE, metavar="URL", help="the store (default: %(default)s)")


def chosen(run: str, folder: Path, store: str) -> SavedModel:
    """Return the saved model that somebody names; raise `InputError` with what there is.

    Args:
        run: the folder of a model, of those of a cell, or of a report; or names, separated by `/`, each an evaluation,
            technique, data set, seed such as `s3`, or the first digits of a trial.
        folder: with the saved models.
        store: its URL; it tells which evaluations a trial counts in.

    Of the seeds of one technique on one data set, the best on its validation rows is chosen.
    """
    path = Path(run)
    if path.name == DESCRIPTION:
        path = path.parent
    inside = _read(path.glob(DESCRIPTION)) or _read(path.glob(f"s*/{DESCRIPTION}"))
    if not inside and path.is_dir() and list(path.glob("*.safetensors")):
        rule = f"must hold a {DESCRIPTION} that can be read"
        raise InputError(f"{run}: {rule}: give a folder written by save=best or save=all")
    words = [path.name] if (path / EVALUATION).is_file() else run.split("/")
    models = inside or [model for model in _all(folder, store) if all(map(model.is_called, words))]
    if not models:
        raise InputError(f"there is no saved model {run!r}: {_listed(_all(folder, store), folder)}")
    if len({model.path.parent for model in models}) > 1:
        raise InputError(f"{run!r} names several saved models: give one of {_labels(models)}")
    return min(models, key=lambda model: model.rank)


def _all(folder: Path, store: str) -> list[SavedModel]:
    """Return the models in a folder, with the names that the store has for them."""
    models = _read(folder.glob(f"*/s*/{DESCRIPTION}"))
    links: dict[str, list[tuple[str, str]]] = {}
    for opened in _opened(store) if models else ():
        trials = [str(model.description.get("trial")) for model in models]
        for evaluation in opened.described():
            for link in opened.links(evaluation, trials):
                links.setdefault(link.trial_id, []).append((evaluation, link.technique))
        opened.close()
    return [replace(model, links=tuple(links.get(str(model.description.get("trial")), ()))) for model in models]


def _opened(store: str) -> Iterable[Store]:
    try:
        return [existing(store)]
    except InputError:  # the descriptions of the models are enough
        return []


def _read(files: Iterable[Path]) -> list[SavedModel]:
    models = []
    for file in sorted(files):
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(description, dict):
            models.append(SavedModel(file.parent, description))
    return models


def _listed(models: Sequence[SavedModel], folder: Path) -> str:
    if not models:
        return f"{folder} has none: train with save=best, or name their folder with --weights"
    return f"there are {_labels(models)}"


def _labels(models: Sequence[SavedModel]) -> str:
    labels = dict.fromkeys(model.label for model in models)
    if len(labels) < len({model.path.parent for model in models}):  # settings that no name tells
        labels = dict.fromkeys(str(model.path.parent) for model in models)
    more = f" and {len(labels) - MOST_LISTED} more" if len(labels) > MOST_LISTED else ""
    return ", ".join(list(labels)[:MOST_LISTED]) + more
