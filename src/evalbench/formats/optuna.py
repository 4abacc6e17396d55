"""Optuna: the studies of a storage such as `sqlite:///study.db`; each study is a technique."""

from __future__ import annotations

from evalbench.errors import ConfigError, TableError
from evalbench.formats.reading import Imported

SCHEMES = ("sqlite:", "postgresql", "mysql")


def is_storage(location: str) -> bool:
    """Return whether a text is the URL of a storage."""
    return "://" in location and location.startswith(SCHEMES)


def read(location: str) -> Imported:
    """Return a row per study and trial: the value of the trial, with its state.

    The studies of one storage are techniques on one workload, unless their names are `TECHNIQUE/WORKLOAD`; a study's
    user attributes `technique` and `workload` count more.

    Raises:
        TableError: the storage cannot be opened, has no study, or has studies with several objectives.
        ConfigError: Optuna is not installed.
    """
    try:
        import optuna
        import pandas as pd
    except ImportError:
        raise ConfigError(location, "needs Optuna to be read", remedy="pip install optuna") from None
    try:
        storage = optuna.storages.RDBStorage(location, skip_table_creation=True)
        studies = [optuna.load_study(study_name=s.study_name, storage=storage) for s in storage.get_all_studies()]
    except Exception as error:  # of the database, whichever it is
        raise TableError(f"{location} cannot be read as a storage of Optuna: {type(error).__name__}") from None
    if not studies:
        raise TableError(f"{location} has no study: give the storage that the studies were written to")
    rows = []
    for study in studies:
        if len(study.directions) != 1:
            raise TableError(f"study {study.study_name} has {len(study.directions)} objectives: a table has one score")
        technique, _, workload = study.study_name.partition("/")
        rows += [
            {
                "technique": study.user_attrs.get("technique", technique),
                "workload": study.user_attrs.get("workload", workload or "study"),
                "seed": trial.number,
                "score": trial.value,
                "state": "COMPLETE" if trial.state == optuna.trial.TrialState.COMPLETE else "FAILED",
                "message": "" if trial.value is not None else f"the trial ended as {trial.state.name}",
                "direction": study.direction.name.lower(),
            }
            for trial in study.get_trials(deepcopy=False)
        ]
    said = ("a trial counts as a run: its value was chosen by on validation data, so the best one is too good",)
    return Imported(pd.DataFrame(rows), said, {"unit": "run"})
