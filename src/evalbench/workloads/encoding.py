"""From a table to a data set, the same way for every format. All that is wrong with a table is told at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.workloads.about_rows import about_rows
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.inputs import Inputs, tokens
from evalbench.workloads.table import RawTable, listed, refuse
from evalbench.workloads.target_columns import Labelled, read_targets, task_of, with_targets, without_rare
from evalbench.workloads.written import read_numbers


def encode(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    marks: str = ".,",
    images: NDArray[Any] | None = None,
    held_out: NDArray[np.int64] | None = None,
    remarks: Sequence[str] = (),
    validated: NDArray[np.int64] | None = None,
) -> Dataset:
    """Return the data set of a table, called `label`; raise `DataError` with all its faults and those of `wrong`.

    With `images` `(N, channels, height, width)` these are the inputs, and the table has the targets. `held_out` and
    `validated` are the numbers of the rows that every split tests and validates on, if there are any. All rows are
    numbered from 0. `remarks` come first in the description.

    Categories are those of the whole table, so that every split has the same columns. Whatever is learned from rows,
    is learned by each split from its training rows: see `splits.fit_scaling`.
    """
    targets = choices.targets(list(table.columns))
    dropped = choices.dropped(label)
    asked = dict.fromkeys([*targets, *dropped, *choices.codes, *choices.texts, *choices.formats, *choices.about_rows])
    absent = [name for name in asked if name not in table.columns]
    wrong += [f"no column {name!r}: its columns are {listed(map(repr, table.columns), 8)}" for name in absent]
    beside = [*targets, *dropped, *choices.about_rows]
    used = [name for name in table.columns if name not in beside or name == choices.time]
    said, every = list(remarks), table.numbers
    faults: list[str] = []  # of the target: they come last
    if has_targets := set(targets) <= set(table.columns):
        table = with_targets(table, targets, choices, faults, said)
    must = targets if choices.is_number and has_targets else []
    readable = [name for name in table.columns if name in used or name in choices.about_rows]
    read = [name for name in readable if name not in choices.texts and name not in choices.formats] + must
    table, how = read_numbers(table, read, must, marks, wrong)
    said = [*how, *said]
    labelled: Labelled = read_targets(table, targets, choices, faults) if has_targets else (np.zeros(0, np.int64), ())
    table, values, classes = without_rare(table, targets[0], labelled, choices, faults, said)
    rows = np.searchsorted(every, table.numbers)
    if images is not None:
        inputs: dict[str, Any] = _pixels(images[rows])
    elif choices.texts and choices.text_as == "tokens":
        inputs = _tokens(table, used, choices, wrong, said)
    else:
        inputs = _inputs(table, used, choices, _means(values, classes), wrong, said)
    inputs |= about_rows(table, choices, wrong)
    inputs |= _given({"held_out": held_out, "declared_validation": validated}, rows, choices, wrong)
    refuse(table.source, wrong + faults)
    task = task_of(choices, targets, len(classes))
    return Dataset(label, task, targets=values, classes=classes, description="; ".join(said), **inputs)


def _given(
    given: Mapping[str, NDArray[np.int64] | None], rows: NDArray[np.int64], choices: Choices, wrong: list[str]
) -> dict[str, Any]:
    """Return the numbers of given rows by field as they are after rows were left out; `rows` has the old numbers."""
    numbers = {field: old for field, old in given.items() if old is not None and len(old)}
    if numbers and choices.split_column is not None:
        wrong.append("dataset.split_column must be left out, because the data set has parts of its own: leave it out")
    return {field: np.flatnonzero(np.isin(rows, old)) for field, old in numbers.items()}


def _means(targets: NDArray[Any], classes: Sequence[str]) -> list[str]:
    """Return the words for the means of the targets that may replace a category."""
    if targets.ndim == 2:
        return [f"target {name}" for name in classes]
    return [f"share of class {number}" for number in range(len(classes))] if len(classes) > 2 else ["target"]


def _inputs(
    table: RawTable, names: Sequence[str], choices: Choices, means: list[str], wrong: list[str], remarks: list[str]
) -> dict[str, Any]:
    inputs = Inputs(table, choices, means, wrong)
    for name in names:
        inputs.add(name)
    remarks += [f"{how}: {listed(columns)}" for how, columns in inputs.remarks.items()]
    return {
        "inputs": np.concatenate([np.empty((len(table.numbers), 0), np.float32), *inputs.blocks], axis=1),
        "features": tuple(inputs.features),
        "numeric": np.array(inputs.numeric, dtype=bool),
        "encoded": tuple(inputs.encoded),
    }


def _pixels(images: NDArray[Any]) -> dict[str, Any]:
    shape = images.shape[1:]
    features = tuple(f"channel {channel}, row {row}, column {column}" for channel, row, column in np.ndindex(shape))
    return {
        "inputs": images.reshape(len(images), -1).astype(np.float32),
        "features": features,
        "numeric": np.ones(len(features), dtype=bool),
        "image": shape,
    }


def _tokens(
    table: RawTable, used: Sequence[str], choices: Choices, wrong: list[str], remarks: list[str]
) -> dict[str, Any]:
    text, *others = [*choices.texts, *(name for name in used if name not in choices.texts)]
    if others:
        wrong.append(
            f"a text as tokens must be the only input, not beside {listed(map(repr, others))}: leave these out with"
            f" dataset.drop=[{','.join(others[:3])}{',…' * (len(others) > 3)}], or say dataset.text_as=words"
        )
    if text not in table.columns:
        return {}
    rows, vocabulary, how = tokens(table.columns[text], choices)
    remarks.append(f"{text}: {how}")
    features = tuple(f"{text}: token {number}" for number in range(rows.shape[1]))
    return {"inputs": rows, "features": features, "numeric": np.zeros(len(features), bool), "vocabulary": vocabulary}
