"""Data sets that libraries fetch when a network is there, and keep: of OpenML, scikit-learn and torchvision."""

import warnings
from collections.abc import Callable
from typing import Any

from evalbench.errors import ConfigError, DataError
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.frames import table
from evalbench.workloads.rows import map_style

FRAMES = ("california_housing", "covtype", "kddcup99")
"""The data sets that scikit-learn fetches as frames."""


def openml(id: int, name: str | None = None, folder: str | None = None, **settings: Any) -> Dataset:
    """Return a data set of OpenML by its number; without a target of your own it is the one that OpenML names.

    The other settings are those of every table, see `Choices`. Raises `DataError` if it cannot be fetched.
    """
    from sklearn.datasets import fetch_openml

    Choices(name, **settings)
    if isinstance(id, bool) or not isinstance(id, int) or id < 1:
        raise ConfigError("dataset.id", "must be the number of a data set of OpenML", id, "for example dataset.id=31")
    bunch = _fetch(
        f"data set {id} of OpenML", lambda: fetch_openml(data_id=id, data_home=folder, as_frame=True, n_retries=1)
    )
    return from_bunch(bunch, bunch.details["name"] if name is None else name, settings)


def sklearn(name: str, folder: str | None = None, **settings: Any) -> Dataset:
    """Return one of the tables that scikit-learn fetches, by name; raise `DataError` if it cannot be fetched.

    The other settings are those of every table, see `Choices`.
    """
    from sklearn import datasets

    if name not in FRAMES:
        rule = f"must be a table that scikit-learn fetches: {', '.join(FRAMES)}"
        raise ConfigError("dataset.name", rule, name, "choose one of them")
    if settings.get("kind") is None:
        settings["kind"] = "regression" if name == "california_housing" else "classification"
    fetch = getattr(datasets, f"fetch_{name}")
    bunch = _fetch(f"{name} of scikit-learn", lambda: fetch(data_home=folder, as_frame=True, n_retries=1))
    return from_bunch(bunch, name, settings)


def from_bunch(bunch: Any, name: str, settings: dict[str, Any]) -> Dataset:
    """Return the data set of what a function of `sklearn.datasets` returns with `as_frame=True`."""
    targets = list(bunch.target_names) if bunch.get("details") else [bunch.frame.columns[-1]]
    if settings.get("target") is None and len(targets) == 1:
        settings = {**settings, "target": targets[0]}
    if settings.get("target") is None:
        raise DataError(f"{name}: it names {len(targets)} targets: choose one, with dataset.target=NAME")
    others = [one for one in targets if str(one) not in Choices(**settings).targets([])]
    if others:
        settings = {**settings, "drop": [*Choices(**settings).dropped(name), *others]}
    return table(bunch.frame, name, **settings)


def torchvision(name: str, folder: str = "data", **settings: Any) -> Dataset:
    """Return a data set of torchvision by the name of its class, such as CIFAR10.

    If it has a test part of its own, every split tests on that. The other settings are those of every table, see
    `Choices`. Raises `DataError` if torchvision is not installed or the data cannot be fetched.
    """
    choices = Choices(name, **settings)
    try:
        from torchvision import datasets
    except Exception as error:  # one built for another torch raises errors of its own
        rule = "needs torchvision, which cannot be imported"
        raise DataError(f"{name}: {rule} ({str(error).splitlines()[0]}): pip install torchvision") from error
    source = getattr(datasets, str(name), None)
    if not isinstance(source, type) or not hasattr(source, "__getitem__"):
        rule, remedy = "must be the name of a class of torchvision.datasets", "for example dataset.name=CIFAR10"
        raise ConfigError("dataset.name", rule, name, remedy)

    def part(train: bool) -> Any:
        try:
            return source(folder, train=train, download=True)
        except TypeError as error:
            rule = "must be a data set of torchvision with a training and a test part"
            raise ConfigError("dataset.name", rule, name, "use dataset=imagefolder or dataset=python") from error

    parts = [_fetch(f"{name} of torchvision", lambda train=train: part(train)) for train in (True, False)]  # type: ignore[misc]
    classes = getattr(parts[0], "classes", None)
    return map_style({"train": parts[:1], "test": parts[1:]}, name, choices, classes)


def _fetch(what: str, fetch: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each try of a download; the last one is told
            return fetch()
    except (ConfigError, DataError):
        raise
    except ImportError as error:
        raise DataError(f"{what} needs a package that is not installed ({error}): install it") from error
    except Exception as error:  # of each library its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "connect to a network once, or use files of your own"
        raise DataError(f"{what} cannot be fetched ({type(error).__name__}: {reason}): {remedy}") from error
