"""Arrays of numbers, tables and images: files of NumPy and safetensors, and arrays from Python."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.errors import DataError
from evalbench.workloads.array_files import opened
from evalbench.workloads.choices import SEVERAL, Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.encoding import encode
from evalbench.workloads.frames import raw_table
from evalbench.workloads.table import RawTable, listed

TARGET = "target"
CHANNELS = (1, 3, 4)
"""The numbers of channels by which an axis is known."""


def npy(path: str, targets: str | None = None, name: str | None = None, **settings: Any) -> Dataset:
    """Read inputs from a `.npy` file, and targets from another; without it the target is the last column.

    `settings` are those of every table, see `Choices`. Raises `DataError` if a file cannot be used.
    """
    choices = Choices(name, **settings)
    inputs = opened(path)
    return from_arrays(_label(path, name), inputs, None if targets is None else opened(targets), choices, path)


def named(
    path: str,
    inputs: str = "inputs",
    targets: str = "targets",
    name: str | None = None,
    cache_folder: str | None = None,
    **settings: Any,
) -> Dataset:
    """Read two arrays of a `.npz` or `.safetensors` file by their names; raise `DataError` if it cannot be used.

    `cache_folder` keeps large arrays that are compressed; `settings` are those of every table, see `Choices`.
    """
    choices = Choices(name, **settings)
    arrays = opened(path, cache_folder)
    if not isinstance(arrays, Mapping):
        raise DataError(f"{path}: must hold arrays by name: set dataset.path to a .npz or .safetensors file")
    for wanted in (inputs, targets):
        if wanted not in arrays:
            remedy = "set dataset.inputs and dataset.targets to two of them"
            raise DataError(f"{path}: no array {wanted!r}: there are {listed(map(repr, arrays), 8)}: {remedy}")
    return from_arrays(_label(path, name), arrays[inputs], arrays[targets], choices, path)


def from_arrays(
    name: str, inputs: Any, targets: Any, choices: Choices, source: str, held_out: Any = None, validated: Any = None
) -> Dataset:
    """Return the data set of arrays: inputs `(N,)` or `(N, D)`, or images, and targets `(N,)` or `(N, L)`.

    Images are `(N, height, width)` or have their channels (1, 3 or 4) before or after these axes. Columns are called
    `feature 0` and so on, the target `target`, several `target 0` and so on. Without targets, the last column has them.
    `held_out` and `validated` are the numbers of the rows that every split tests and validates on. Raises `DataError`
    for arrays that fit none of this.
    """
    inputs = plain(inputs, source, "inputs")
    if inputs.ndim not in (1, 2, 3, 4):
        raise DataError(f"{source}: inputs must have 1 to 4 axes, rows first, not {inputs.shape}: reshape them")
    if targets is None and inputs.ndim != 2:
        raise DataError(f"{source}: inputs of shape {inputs.shape} need targets in an array of their own: give one")
    labels = None if targets is None else plain(targets, source, "targets")
    if labels is not None and labels.shape == (len(inputs), 1):
        labels = labels[:, 0]
    if labels is not None and labels.ndim == 2 and choices.kind in SEVERAL:
        choices = replace(choices, target=list(_columns(labels)))
    elif labels is not None and labels.shape != (len(inputs),):
        rule = f"targets must have one value for each of {len(inputs)} inputs"
        remedy = "give one per row, or say dataset.kind=multilabel or regression for several"
        raise DataError(f"{source}: {rule}, not the shape {labels.shape}: {remedy}")
    if inputs.ndim > 2:
        return _images(name, inputs, labels, choices, source, held_out, validated)
    if labels is not None and _stays_in_file(inputs, choices, name):
        wrong: list[str] = []
        return encode(
            label_table(labels, source, wrong),
            name,
            choices,
            wrong,
            given=inputs,
            held_out=held_out,
            validated=validated,
        )
    columns = {f"feature {number}": column for number, column in enumerate(inputs.reshape(len(inputs), -1).T)}
    frame = pd.DataFrame(columns if labels is None else {**columns, **_columns(labels)})
    wrong = []
    table = raw_table(frame, source, wrong, dropped=choices.unread(name))
    return encode(table, name, choices, wrong, held_out=held_out, validated=validated)


def _stays_in_file(inputs: Any, choices: Choices, name: str) -> bool:
    """Return whether the numbers of a file are inputs as they are, all columns of them."""
    named = [*choices.dropped(name), *choices.codes, *choices.texts, *choices.formats, *choices.about_rows]
    is_table = isinstance(inputs, np.memmap) and inputs.ndim == 2 and inputs.dtype == np.float32
    is_table = is_table and inputs.flags.c_contiguous
    return is_table and not named and choices.target in (None, TARGET)


def _images(
    name: str, images: Any, labels: Any, choices: Choices, source: str, held_out: Any, validated: Any
) -> Dataset:
    if images.dtype.kind not in "uifb":
        raise DataError(f"{source}: images must be numbers, not {images.dtype}: convert them")
    wrong: list[str] = []
    table = label_table(labels, source, wrong)
    return encode(table, name, choices, wrong, given=channels_first(images), held_out=held_out, validated=validated)


def plain(values: Any, source: str, what: str) -> Any:
    """Return an array or a tensor of any device as an array; raise `DataError` if it is none."""
    try:
        if isinstance(values, np.memmap):
            return values
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as error:  # such as bfloat16, which NumPy lacks
        raise DataError(f"{source}: {what} cannot become an array ({error}): convert them to float32") from error


def label_table(labels: Any, source: str, wrong: list[str]) -> RawTable:
    """Return a table of the targets alone, an array or columns by name, whose rows are numbered from 0."""
    columns = labels if isinstance(labels, Mapping) else _columns(labels)
    table = raw_table(pd.DataFrame({"": np.zeros(len(next(iter(columns.values())))), **columns}), source, wrong)
    return RawTable(source, {name: table.columns[name] for name in columns}, table.numbers)


def _columns(labels: Any) -> dict[str, Any]:
    """Return the columns of targets `(N,)` or `(N, L)` by name."""
    return {TARGET: labels} if labels.ndim == 1 else {f"{TARGET} {number}": one for number, one in enumerate(labels.T)}


def channels_first(images: Any) -> Any:
    """Return images `(N, channels, height, width)`."""
    if images.ndim == 3:
        return images[:, None]
    if images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        return np.moveaxis(images, 3, 1)
    return images


def _label(path: str, name: str | None) -> str:
    return Path(path).stem if name is None else name
