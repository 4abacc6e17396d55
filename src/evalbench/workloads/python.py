"""Data sets from objects of Python: frames, arrays, and whatever a function of the user's returns."""

from collections.abc import Mapping
from typing import Any

from evalbench import own_code
from evalbench.config import Component
from evalbench.config.component import ANYTHING
from evalbench.errors import ConfigError, DataError
from evalbench.workloads.arrays import from_arrays
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.frames import is_frame, table

KINDS = "a frame of pandas or Polars, or arrays (inputs, targets)"


def load(source: str, name: str | None = None, arguments: Mapping[str, Any] | None = None, **settings: Any) -> Dataset:
    """Return the data set of what a function of the user's returns, called with some arguments.

    `source` is its dotted name. `settings` are those of every table, see `Choices`. Raises `ConfigError` if it
    cannot be called.
    """
    try:
        own_code.locate(str(source))
    except ANYTHING as error:  # importing a user's module may raise anything
        rule = "must be the dotted name of a function that can be imported"
        raise ConfigError("dataset.source", rule, source, str(error)) from error
    component = Component("dataset.source", str(source), dict(arguments or {}))
    return dataset_of(component.build(), str(source).rpartition(".")[2] if name is None else name, **settings)


def dataset_of(given: Any, name: str, **settings: Any) -> Dataset:
    """Return the data set of an object; `settings` are those of every table, see `Choices`.

    Raises `DataError` for an object of another kind.
    """
    if isinstance(given, Dataset):
        return given
    if is_frame(given):
        return table(given, name, **settings)
    choices = Choices(name, **settings)
    if isinstance(given, Mapping) and {"inputs", "targets"} <= given.keys():
        given = (given["inputs"], given["targets"])
    if isinstance(given, tuple | list) and len(given) == 2 and all(hasattr(part, "__array__") for part in given):
        return from_arrays(name, given[0], given[1], choices, name)
    if hasattr(given, "__array__"):
        return from_arrays(name, given, None, choices, name)
    raise DataError(f"{name}: data must be {KINDS}, not {type(given).__name__}: return one of these")
