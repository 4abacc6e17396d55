"""The columns to predict, as targets of a task: classes, labels or numbers; rows without one; rare classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.tasks import Kind, Task, kind_of
from evalbench.tasks.metric import GENERATION
from evalbench.tasks.token_classification import TokenClassification
from evalbench.workloads import answers, tokenizers
from evalbench.workloads.choices import Choices
from evalbench.workloads.inputs import plain_number, single
from evalbench.workloads.sentences import read_tags
from evalbench.workloads.table import RawTable, TableColumn, listed
from evalbench.workloads.written import as_text

OTHER_CLASS = "(other)"
YES = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False, "y": True, "n": False}
"""The values of a label, whose case does not matter."""
Labelled = tuple[NDArray[np.int64] | NDArray[np.float32], tuple[str, ...]]
"""Targets `(N,)` or `(N, L)`, and the names of classes or columns; -1 or NaN for an unknown target."""


def task_of(choices: Choices, targets: Sequence[str], classes: Sequence[str]) -> Task:
    """Return the task of the columns to predict."""
    if choices.tokens is not None and choices.tokenizer is not None:
        return TokenClassification(classes, tokenizers.padding(choices.tokenizer), of_pieces=True)
    if choices.tokens is not None:
        return TokenClassification(classes)
    if choices.kind == GENERATION:
        return answers.task_of(str(choices.tokenizer))
    if choices.kind == "regression":
        return Kind.MULTI_OUTPUT if len(targets) > 1 else Kind.REGRESSION
    given = {"multilabel": Kind.MULTILABEL, "ordinal": Kind.ORDINAL, "count": Kind.COUNT, "ranking": Kind.RANKING}
    return given.get(choices.kind) or kind_of(len(classes))


def with_groups(
    targets: NDArray[Any], groups: NDArray[np.int64] | None, choices: Choices
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return the targets, for ranking `(N, 2)` with the number of each row's group beside its relevance."""
    if choices.kind != "ranking" or groups is None:
        return targets
    return np.column_stack([targets, groups]).astype(np.float32)


def with_targets(
    table: RawTable, targets: Sequence[str], choices: Choices, wrong: list[str], remarks: list[str]
) -> RawTable:
    """Return the rows that have all targets; refuse or leave out the others, as the settings say."""
    for target in targets:
        absent = ~table.columns[target].known
        if not absent.any():
            continue
        if choices.missing_target == "refuse":
            read = " (so reads an empty field, NA, null or None)" if table.columns[target].form == "written" else ""
            wrong.append(
                f"the target {target!r} is missing in {table.listed_rows(absent)}{read}: fill it in, or leave these"
                " rows out with dataset.missing_target=drop"
            )
        elif absent.all():
            wrong.append(f"the target {target!r} is missing in every row: choose another dataset.target")
        else:
            which = f"{target!r}" if len(targets) > 1 else "target"
            remarks.append(f"{absent.sum():,} of {len(absent):,} rows left out because they have no {which}")
            table = table.take(~absent)
    return table


def read_targets(table: RawTable, targets: Sequence[str], choices: Choices, wrong: list[str]) -> Labelled:
    """Return the targets of all rows; faults are added to `wrong`."""
    if choices.tokens is not None:
        return read_tags(table, targets[0], choices, wrong)
    if choices.kind == GENERATION:
        path, most = str(choices.tokenizer), choices.answer_length
        return answers.read_answers(table, targets[0], choices.texts[0], path, most)
    if choices.kind == "multilabel":
        return np.column_stack([_yes_or_no(table, name, wrong) for name in targets]), tuple(targets)
    if choices.is_number:
        numbers = [_numbers(table, name, choices, wrong) for name in targets]
        return (numbers[0], ()) if len(numbers) == 1 else (np.column_stack(numbers), tuple(targets))
    return _classes(table, targets[0], choices, wrong)


def _numbers(table: RawTable, target: str, choices: Choices, wrong: list[str]) -> NDArray[np.float32]:
    column = table.columns[target]
    odd = column.known & (np.isnan(column.values) if column.form == "number" else True)
    if odd.any():
        wrong.append(
            f"a {choices.kind} target must be a number, not {table.listed_values(target, odd)}, as {target!r} has:"
            " choose another dataset.target, or dataset.kind=classification"
        )
        return np.zeros(len(table.numbers), np.float32)
    if choices.kind == "count" and (negative := column.values < 0).any():
        wrong.append(
            f"a count must be at least 0, not {table.listed_values(target, negative)}, as {target!r} has: choose"
            " another dataset.target, or dataset.kind=regression"
        )
    return single(table, target, column, wrong)


def _yes_or_no(table: RawTable, target: str, wrong: list[str]) -> NDArray[np.int64]:
    column = table.columns[target]
    values = plain_number if column.form == "number" else str
    said = [YES.get(values(value).casefold()) for value in column.values]
    odd = column.known & np.array([one is None for one in said])
    if odd.any():
        wrong.append(
            f"a label must be yes or no (or 1 and 0, true and false), not {table.listed_values(target, odd)}, as"
            f" {target!r} has: leave it out of dataset.target"
        )
    return np.array([bool(one) for one in said], dtype=np.int64)


def _classes(table: RawTable, target: str, choices: Choices, wrong: list[str]) -> Labelled:
    column, none = table.columns[target], np.zeros(len(table.numbers), np.int64)
    if column.form == "date":
        wrong.append(f"the target {target!r} must be classes or numbers, not dates: choose another dataset.target")
        return none, ()
    labels = _labels(column)
    values = sorted(set(labels[column.known].tolist()))
    is_number = bool(values) and isinstance(values[0], float)
    names = {value: plain_number(value) if column.form == "number" else str(value) for value in values}
    if choices.kind == "ordinal":
        order = _order(target, [names[value] for value in values], column.order, is_number, choices, wrong)
        values = sorted(values, key=lambda value: order.index(names[value]) if names[value] in order else -1)
    codes = pd.Series(labels).map({value: code for code, value in enumerate(values)}).fillna(-1)
    return codes.to_numpy(np.int64), tuple(names[value] for value in values)


def _order(
    target: str, names: list[str], own: Sequence[str], is_number: bool, choices: Choices, wrong: list[str]
) -> list[str]:
    """Return the names of classes from the lowest to the highest: as the settings, their type or numbers say."""
    given, own = choices.ordered, [name for name in own if name in names]
    if not given and (own or is_number):
        return own or names
    lacking = [name for name in names if name not in given]
    extra = [name for name in given if name not in names]
    fault = f"dataset.order lacks {listed(map(repr, lacking))}" if lacking else ""
    if not given:
        fault = "they are no numbers"
    elif extra:
        fault = f"dataset.order has {listed(map(repr, extra))}, which no row has"
    if fault:
        wrong.append(
            f"the order of the classes of {target!r} is not known, because {fault}: say"
            f" dataset.order=[{','.join(names[:3])}{',…' * (len(names) > 3)}], the lowest first"
        )
    elif own and own != given:
        wrong.append(
            f"the order of the classes of {target!r} must be that of its type, {listed(map(repr, own), 8)}, not"
            f" {listed(map(repr, given), 8)}: leave dataset.order out, or change the type of the column"
        )
    return given


def _labels(column: TableColumn) -> NDArray[Any]:
    """Return the classes of a target, numbers if all are."""
    if column.form != "written":
        return column.values
    plain = pd.to_numeric(pd.Series(column.values, dtype=object), errors="coerce")
    return plain.to_numpy() if plain[column.known].notna().all() else as_text(column).values


def without_rare(
    table: RawTable, target: str, labelled: Labelled, choices: Choices, wrong: list[str], remarks: list[str]
) -> tuple[RawTable, NDArray[Any], tuple[str, ...]]:
    """Refuse, leave out or merge the classes with few rows; labels and numbers have none."""
    targets, classes = labelled
    has_classes = bool(classes) and targets.ndim == 1
    counts = np.bincount(targets[targets >= 0], minlength=len(classes)) if has_classes else np.zeros(0, np.int64)
    rare = counts < choices.rare_rows
    if not rare.any() or len(classes) < 2:
        return table, targets, classes
    named = listed(f"{classes[code]!r} ({counts[code]})" for code in np.flatnonzero(rare))
    merged = int(counts[rare].sum())
    if choices.rare == "refuse" or (choices.rare == "merge" and merged < choices.rare_rows) or rare.all():
        hint = "" if len(classes) < 20 else " (dataset.kind=regression, if the target is a number)"
        others = "" if choices.rare != "merge" or rare.all() else f", and together they have {merged}"
        or_merge = " or merge" if choices.rare == "refuse" and choices.kind != "ordinal" else ""
        remedy = f"say dataset.rare=drop{or_merge}, or collect more"
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
