"""From a table to a data set, the same way for every format. All that is wrong with a table is told at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError
from evalbench.tasks.metric import GENERATION, NEXT_TOKEN
from evalbench.workloads import windows
from evalbench.workloads.about_rows import about_rows, given_rows
from evalbench.workloads.answers import with_answers
from evalbench.workloads.blocks import taken
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.fitting import Inputs
from evalbench.workloads.preprocessing import Encoding, ImageInput
from evalbench.workloads.prompts import PROMPT, Prompt
from evalbench.workloads.sentences import token_inputs
from evalbench.workloads.table import RawTable, listed, refuse
from evalbench.workloads.target_columns import Labelled, read_targets, task_of, with_groups, with_targets, without_rare
from evalbench.workloads.token_lists import as_lists
from evalbench.workloads.written import read_numbers


def encode(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    marks: str = ".,",
    given: NDArray[Any] | None = None,
    held_out: NDArray[np.int64] | None = None,
    remarks: Sequence[str] = (),
    validated: NDArray[np.int64] | None = None,
    scaled: bool | None = None,
) -> Dataset:
    """Return the data set of a table, called `label`; raise `DataError` with all its faults and those of `wrong`.

    If images `(N, channels, height, width)` or numbers `(N, D)` are `given`, these are the inputs, and the table has
    the targets; `scaled`: image files have been, None: they were arrays. Every split tests and validates on the rows
    with the numbers `held_out` and `validated`, from 0, if there are any. `remarks` come first in the description.
    All splits have the categories of the whole table, and learn the rest from training rows: see `splits.fit_scaling`.
    """
    parts = {"held_out": held_out, "validated": validated}
    if choices.kind == NEXT_TOKEN:
        return _of_windows(table, label, choices, wrong, remarks, **parts)
    if choices.template is not None:
        return _of_prompts(table, label, choices, wrong, remarks, marks=marks, given=given, **parts)
    targets, dropped = choices.targets(list(table.columns)), choices.dropped(label)
    wrong += _absent(table, [*targets, *dropped, *choices.named])
    beside = [*targets, *dropped, *choices.about_rows]
    used = [name for name in table.columns if name not in beside or (name == str(choices.time) and name not in dropped)]
    said, every = list(remarks), table.numbers
    faults: list[str] = []  # of the target: they come last
    if choices.tokens is not None:
        table, used = _with_lists(table, targets[0], used, choices, wrong, said)
    if has_targets := set(targets) <= set(table.columns):
        table = with_targets(table, targets, choices, faults, said)
    must = targets if choices.is_number and has_targets else []
    readable = [name for name in table.columns if name in used or name in choices.about_rows]
    read = [name for name in readable if name not in choices.texts and name not in choices.formats] + must
    table, said[:0] = read_numbers(table, read, must, choices.codes, marks, wrong)
    labelled: Labelled = read_targets(table, targets, choices, faults) if has_targets else (np.zeros(0, np.int64), ())
    table, values, classes = without_rare(table, targets[0], labelled, choices, faults, said)
    rows = np.searchsorted(every, table.numbers)
    if given is not None:
        inputs: dict[str, Any] = _as_given(taken(given, rows), scaled)
    else:
        inputs = _inputs(table, used, choices, (values, classes), wrong, said)
    inputs |= about_rows(table, choices, wrong)
    inputs |= given_rows({"held_out": held_out, "declared_validation": validated}, rows, choices, wrong)
    refuse(table.source, wrong + faults)
    inputs |= {"kind": task_of(choices, targets, classes), "classes": classes, "description": "; ".join(said)}
    return Dataset(label, **{"targets": with_groups(values, inputs.get("groups"), choices), **inputs})


def _of_windows(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    remarks: Sequence[str],
    held_out: NDArray[np.int64] | None,
    validated: NDArray[np.int64] | None,
) -> Dataset:
    """Return the data set of a table whose texts are inputs and targets."""
    wrong += _absent(table, [*choices.dropped(label), *choices.named])
    given = {"held_out": held_out, "declared_validation": validated}
    return windows.of_texts(table, label, choices, wrong, remarks, given)


def _absent(table: RawTable, asked: Sequence[str]) -> list[str]:
    """Return a fault for each column that a table lacks."""
    absent = [name for name in dict.fromkeys(asked) if name not in table.columns]
    return [f"no column {name!r}: its columns are {listed(map(repr, table.columns), 8)}" for name in absent]


def _of_prompts(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    remarks: Sequence[str],
    given: NDArray[Any] | None,
    **more: Any,
) -> Dataset:
    """Return the data set of a table whose only input is the text that a prompt makes of each row."""
    template, targets, dropped = choices.template, choices.targets(list(table.columns)), choices.dropped(label)
    assert template is not None
    if given is not None:
        raise ConfigError("dataset.prompt", "must be left out for images and arrays", template, "leave it out")
    used = [name for name in table.columns if name not in (*targets, *dropped, *choices.about_rows)]
    prompt = Prompt.of(template, used)
    unused = [name for name in used if name not in prompt.columns]
    said = [*remarks, f"prompts are made of {listed(prompt.columns)}"]
    said += [f"columns that are not used: {listed(unused)}"] if unused else []
    drop = [*dropped, *used]
    plain = replace(choices, target=targets, drop=drop, text=PROMPT, prompt=None, prompt_file=None)
    dataset = encode(prompt.added(table), label, plain, wrong, remarks=said, **more)
    assert dataset.encoding is not None
    return replace(dataset, encoding=dataset.encoding.prompted(prompt))


def _with_lists(
    table: RawTable, target: str, used: Sequence[str], choices: Choices, wrong: list[str], remarks: list[str]
) -> tuple[RawTable, list[str]]:
    """Return the table with lists of tokens and tags, and the columns to read beside them: none, which is said."""
    refuse(table.source, wrong)  # one of them may be absent
    lists = [str(choices.tokens), target]
    unused = [name for name in used if name not in lists]
    remarks += [f"columns that are not used: {listed(unused)}"] if unused else []
    columns = {name: as_lists(table, name, wrong, remarks) for name in lists}
    return replace(table, columns={**table.columns, **columns}), []


def _means(targets: NDArray[Any], classes: Sequence[str]) -> list[str]:
    """Return the words for the means of the targets that may replace a category."""
    if targets.ndim == 2:
        return [f"target {name}" for name in classes]
    return [f"share of class {number}" for number in range(len(classes))] if len(classes) > 2 else ["target"]


def _inputs(
    table: RawTable, names: Sequence[str], choices: Choices, labelled: Labelled, wrong: list[str], remarks: list[str]
) -> dict[str, Any]:
    if choices.tokens is not None:
        return token_inputs(table, *labelled, choices, wrong, remarks)
    if choices.texts and choices.text_as == "tokens":
        return _tokens(table, names, choices, labelled[0], wrong, remarks)
    inputs = Inputs(table, choices, _means(*labelled), wrong)
    for name in names:
        inputs.add(name)
    remarks += [f"{how}: {listed(columns)}" for how, columns in inputs.remarks.items()]
    return {
        "inputs": np.concatenate([np.empty((len(table.numbers), 0), np.float32), *inputs.blocks], axis=1),
        "features": tuple(inputs.features),
        "numeric": np.array(inputs.numeric, dtype=bool),
        "encoded": tuple(inputs.encoded),
        "encoding": Encoding.of(inputs.columns, table),
    }


def _as_given(values: NDArray[Any], scaled: bool | None) -> dict[str, Any]:
    """Return images or numbers as inputs; bytes stay bytes, and float32 numbers of a file stay in it."""
    shape = values.shape[1:]
    if len(shape) == 1:
        features, image = tuple(f"feature {number}" for number in range(shape[0])), None
    else:
        features = tuple(f"channel {channel}, row {row}, column {column}" for channel, row, column in np.ndindex(shape))
        image = shape
    inputs = values.reshape(len(values), -1)
    return {
        "inputs": inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32, copy=False),
        "features": features,
        "numeric": np.ones(len(features), dtype=bool),
        "image": image,
        "encoding": None if image is None else Encoding(image=ImageInput(shape[0], shape[1], shape[2], scaled)),
    }


def _tokens(
    table: RawTable,
    used: Sequence[str],
    choices: Choices,
    targets: NDArray[Any],
    wrong: list[str],
    remarks: list[str],
) -> dict[str, Any]:
    text, *others = [*choices.texts, *(name for name in used if name not in choices.texts)]
    if others:
        wrong.append(
            f"a text as tokens must be the only input, not beside {listed(map(repr, others))}: leave these out with"
            f" dataset.drop=[{','.join(others[:3])}{',…' * (len(others) > 3)}], or say dataset.text_as=words"
        )
    if text not in table.columns:
        return {}
    inputs, is_answered = Inputs(table, choices, [], wrong), choices.kind == GENERATION and targets.ndim == 2
    vocabulary = inputs.add_tokens(text, targets.shape[1] if is_answered else None)
    remarks += [f"{name}: {how}" for name, (how,) in inputs.remarks.items()]
    (rows,) = inputs.blocks
    if is_answered:
        rows = with_answers(rows, targets, str(choices.tokenizer), remarks)
    return {
        "inputs": rows,
        "features": tuple(inputs.features),
        "numeric": np.array(inputs.numeric, dtype=bool),
        "vocabulary": vocabulary,
        "encoding": Encoding.of(inputs.columns, table),
    }
