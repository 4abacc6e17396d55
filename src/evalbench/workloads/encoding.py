"""From a table to a data set, the same way for every format. All that is wrong with a table is told at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.tasks import Kind, kind_of
from evalbench.workloads.about_rows import about_rows
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.inputs import Inputs, plain_number, single, tokens
from evalbench.workloads.table import RawTable, TableColumn, listed, refuse
from evalbench.workloads.written import as_text, read_numbers

OTHER_CLASS = "(other)"


def encode(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    marks: str = ".,",
    images: NDArray[Any] | None = None,
    held_out: NDArray[np.int64] | None = None,
    remarks: Sequence[str] = (),
) -> Dataset:
    """Return the data set of a table, called `label`; raise `DataError` with all its faults and those of `wrong`.

    With `images` `(N, channels, height, width)` these are the inputs, and the table has the targets. `held_out` are the
    numbers of the rows that every split tests on. The rows of both are numbered from 0. `remarks` come first in the
    description.

    Categories are those of the whole table, so that every split has the same columns. Whatever is learned from rows,
    is learned by each split from its training rows: see `splits.fit_scaling`.
    """
    target = str(list(table.columns)[-1] if choices.target is None else choices.target)
    dropped = choices.dropped(label)
    asked = dict.fromkeys([target, *dropped, *choices.codes, *choices.texts, *choices.formats, *choices.about_rows])
    absent = [name for name in asked if name not in table.columns]
    wrong += [f"no column {name!r}: its columns are {listed(map(repr, table.columns), 8)}" for name in absent]
    beside = [target, *dropped, *choices.about_rows]
    used = [name for name in table.columns if name not in beside or name == choices.time]
    said, every = list(remarks), table.numbers
    faults: list[str] = []  # of the target: they come last
    if has_target := target in table.columns:
        table = _with_targets(table, target, choices, faults, said)
    must = [target] if choices.is_regression and has_target else []
    readable = [name for name in table.columns if name in used or name in choices.about_rows]
    read = [name for name in readable if name not in choices.texts and name not in choices.formats] + must
    table, how = read_numbers(table, read, must, marks, wrong)
    said = [*how, *said]
    targets, classes = _targets(table, target, choices, faults) if has_target else (np.zeros(0, np.int64), ())
    table, targets, classes = _without_rare(table, target, (targets, classes), choices, faults, said)
    rows = np.searchsorted(every, table.numbers)
    if images is not None:
        inputs: dict[str, Any] = _pixels(images[rows])
    elif choices.texts and choices.text_as == "tokens":
        inputs = _tokens(table, used, choices, wrong, said)
    else:
        inputs = _inputs(table, used, choices, len(classes), wrong, said)
    inputs |= about_rows(table, choices, wrong)
    refuse(table.source, wrong + faults)
    if held_out is not None:
        inputs["held_out"] = np.flatnonzero(np.isin(rows, held_out))
    task = Kind.REGRESSION if choices.is_regression else kind_of(len(classes))
    return Dataset(label, task, targets=targets, classes=classes, description="; ".join(said), **inputs)


def _with_targets(table: RawTable, target: str, choices: Choices, wrong: list[str], remarks: list[str]) -> RawTable:
    absent = ~table.columns[target].known
    if not absent.any():
        return table
    if choices.missing_target == "refuse":
        read = " (so reads an empty field, NA, null or None)" if table.columns[target].form == "written" else ""
        wrong.append(
            f"the target {target!r} is missing in {table.listed_rows(absent)}{read}: fill it in, or leave these rows"
            " out with dataset.missing_target=drop"
        )
        return table
    if absent.all():
        wrong.append(f"the target {target!r} is missing in every row: choose another dataset.target")
        return table
    remarks.append(f"{absent.sum():,} of {len(absent):,} rows left out because they have no target")
    return table.take(~absent)


def _targets(
    table: RawTable, target: str, choices: Choices, wrong: list[str]
) -> tuple[NDArray[np.int64] | NDArray[np.float32], tuple[str, ...]]:
    column = table.columns[target]
    if choices.is_regression:
        odd = column.known & (np.isnan(column.values) if column.form == "number" else True)
        if odd.any():
            wrong.append(
                f"a regression target must be a number, not {table.listed_values(target, odd)}, as {target!r} has:"
                " choose another dataset.target, or dataset.kind=classification"
            )
            return np.zeros(len(table.numbers), np.float32), ()
        return single(table, target, column, wrong), ()
    if column.form == "date":
        wrong.append(f"the target {target!r} must be classes or numbers, not dates: choose another dataset.target")
        return np.zeros(len(table.numbers), np.int64), ()
    labels = _labels(column)
    values = sorted(set(labels[column.known].tolist()))
    codes = pd.Series(labels).map({value: code for code, value in enumerate(values)}).fillna(-1)
    names = tuple(plain_number(value) if column.form == "number" else str(value) for value in values)
    return codes.to_numpy(np.int64), names


def _labels(column: TableColumn) -> NDArray[Any]:
    """Return the classes of a target, numbers if all are."""
    if column.form != "written":
        return column.values
    plain = pd.to_numeric(pd.Series(column.values, dtype=object), errors="coerce")
    return plain.to_numpy() if plain[column.known].notna().all() else as_text(column).values


def _without_rare(
    table: RawTable,
    target: str,
    labelled: tuple[NDArray[Any], tuple[str, ...]],
    choices: Choices,
    wrong: list[str],
    remarks: list[str],
) -> tuple[RawTable, NDArray[Any], tuple[str, ...]]:
    """Refuse, leave out or merge the classes with few rows."""
    targets, classes = labelled
    counts = np.bincount(targets[targets >= 0], minlength=len(classes)) if classes else np.zeros(0, np.int64)
    rare = counts < choices.rare_rows
    if not rare.any() or len(classes) < 2:
        return table, targets, classes
    named = listed(f"{classes[code]!r} ({counts[code]})" for code in np.flatnonzero(rare))
    merged = int(counts[rare].sum())
    if choices.rare == "refuse" or (choices.rare == "merge" and merged < choices.rare_rows) or rare.all():
        hint = "" if len(classes) < 20 else " (dataset.kind=regression, if the target is a number)"
        others = "" if choices.rare != "merge" or rare.all() else f", and together they have {merged}"
        remedy = f"say dataset.rare=drop{' or merge' if choices.rare == 'refuse' else ''}, or collect more"
        wrong.append(
            f"every class of {target!r} needs at least {choices.rare_rows} rows to appear in every split, not {named}"
            f"{others}: {'choose another dataset.target' if rare.all() else remedy}{hint}"
        )
        return table, targets, classes
    new_codes = np.cumsum(~rare) - 1
    names = tuple(name for name, is_rare in zip(classes, rare, strict=True) if not is_rare)
    if choices.rare == "merge":
        new_codes[rare] = len(names)
        remarks.append(f"classes with fewer than {choices.rare_rows} rows merged into {OTHER_CLASS}: {named}")
        return table, np.where(targets >= 0, new_codes[targets], -1), (*names, OTHER_CLASS)
    remarks.append(f"{merged:,} rows of classes with fewer than {choices.rare_rows} rows left out: {named}")
    kept = (targets < 0) | ~rare[targets]
    return table.take(kept), np.where(targets >= 0, new_codes[targets], -1)[kept], names


def _inputs(
    table: RawTable, names: Sequence[str], choices: Choices, num_classes: int, wrong: list[str], remarks: list[str]
) -> dict[str, Any]:
    inputs = Inputs(table, choices, num_classes if num_classes > 2 else 1, wrong)
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
