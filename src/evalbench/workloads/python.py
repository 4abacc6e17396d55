"""Data sets from objects of Python: frames, arrays, and whatever a function of the user's returns."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evalbench import own_code
from evalbench.config import Component
from evalbench.config.component import ANYTHING
from evalbench.errors import ConfigError, DataError
from evalbench.workloads.arrays import from_arrays
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.frames import is_frame, table
from evalbench.workloads.rows import STREAM, is_a, is_stream, loader_rows, map_style, module_rows

KINDS = (
    "a frame of pandas or Polars, arrays (inputs, targets), a map-style Dataset of PyTorch, a DataLoader over one, or a"
    " LightningDataModule"
)


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


def dataset_of(given: Any, name: str, validation: str | None = None, **settings: Any) -> Dataset:
    """Return the data set of an object.

    Args:
        given: a frame of pandas or Polars, an Arrow table, arrays `(inputs, targets)`, a map-style `Dataset` of PyTorch
            with rows `(input, target)`, a `DataLoader` over one, or a `LightningDataModule`.
        name: of the workload in the report.
        validation: `drawn` puts the validation rows of a `LightningDataModule` among its training rows; None: every
            split validates on them.
        **settings: those of every table, see `Choices`.

    Raises:
        DataError: the object is of another kind, or cannot be used.
    """
    if validation not in (None, "drawn"):
        raise ConfigError("dataset.validation", "must be drawn", validation, "leave it out")
    if isinstance(given, Dataset):
        return given
    if is_frame(given):
        return table(given, name, **settings)
    choices = Choices(name, **settings)
    if isinstance(given, Mapping) and choices.tokens is not None:
        return table(pd.DataFrame({key: pd.Series(list(lists)) for key, lists in given.items()}), name, **settings)
    if isinstance(given, Mapping) and {"inputs", "targets"} <= given.keys():
        given = (given["inputs"], given["targets"])
    if isinstance(given, tuple | list) and len(given) == 2 and all(hasattr(part, "__array__") for part in given):
        return from_arrays(name, given[0], given[1], choices, name)
    if hasattr(given, "__array__"):
        return from_arrays(name, given, None, choices, name)
    if is_a(given, "LightningDataModule"):
        return map_style(module_rows(given, name, validation), name, choices)
    if is_a(given, "DataLoader"):
        return map_style({"train": [loader_rows(given, name)]}, name, choices)
    if is_a(given, "IterableDataset") or is_stream(given):
        raise DataError(f"{name}: {STREAM}")
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str | bytes | Mapping):
        return map_style({"train": [given]}, name, choices)
    raise DataError(f"{name}: data must be {KINDS}, not {type(given).__name__}: return one of these")
