"""From a column of texts to windows of tokens of a pretrained decoder, which foretells each token but the first.

Shapes: `N` windows, `T` tokens of a window.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.next_token import NextToken
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import tokenizers
from evalbench.workloads.about_rows import about_rows, given_rows
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.packing import Windows, packed
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.table import RawTable, refuse
from evalbench.workloads.text_inputs import TokenizerInput

PARTS = ("held_out", "declared_validation")
"""Fields with the numbers of rows that are not for training."""


def of_texts(
    table: RawTable,
    label: str,
    choices: Choices,
    wrong: list[str],
    remarks: Sequence[str],
    given: Mapping[str, NDArray[np.int64] | None],
) -> Dataset:
    """Return the windows of the texts in a column, called `label`; raise `DataError` with all that is wrong.

    `given` has the numbers of the rows that all splits test and validate on, by field.
    """
    refuse(table.source, wrong)  # a column may be absent
    (name,), every, said = choices.texts, table.numbers, list(remarks)
    known = table.columns[name].known
    if not known.all():
        said.append(f"{(~known).sum():,} of {len(known):,} rows left out because they have no text")
        table = table.take(known)
    about = dict(about_rows(table, choices, wrong))
    about |= given_rows(given, np.searchsorted(every, table.numbers), choices, wrong)
    for field in ("times", "weights"):
        if choices.packing and field in about:
            wrong.append(
                f"dataset.{field[:-1]} must be left out, because texts share windows: say dataset.packing=false"
            )
    texts = tokenizers.texts([str(text) for text in table.columns[name].values], str(choices.tokenizer))
    empty = np.array([len(text) < 2 for text in texts])
    if empty.any():
        wrong.append(f"column {name!r} has no tokens in {table.listed_rows(empty)}: leave these rows out")
    refuse(table.source, wrong)
    tokens = TokenizerInput.of(name, choices.text_length, str(choices.tokenizer))
    windows, how = _windows(texts, choices, about)
    said.append(f"{name}: {len(texts):,} texts {how}")
    encoding = Encoding.of([tokens], table)
    return of_windows(windows, label, tokens, said, encoding=encoding, **_about_windows(windows, about, choices))


def _windows(texts: list[list[int]], choices: Choices, about: Mapping[str, Any]) -> tuple[Windows, str]:
    """Return the windows of texts, and how they are made."""
    length, numbers = choices.text_length, range(len(texts))
    if not choices.packing:
        longer = sum(len(text) > length for text in texts)
        one = Windows([text[:length] for text in texts], [[number] for number in numbers], list(numbers))
        return one, f"({longer:,} are longer and cut), each filled up to a window"
    parts = np.zeros(len(texts), dtype=np.int64)
    for part, field in enumerate(PARTS, 1):
        parts[about.get(field, [])] = part
    keys = zip(parts.tolist(), about.get("groups", parts).tolist(), strict=True)
    windows = packed(texts, length, list(keys))
    alone = sum(len(texts_of) == 1 for texts_of in windows.texts)
    return windows, f"packed into {len(windows.tokens):,} windows ({alone:,} with one text)"


def _about_windows(windows: Windows, about: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """Return what is known of windows beside their tokens, given what is known of texts."""
    first = np.array([texts[0] for texts in windows.texts], dtype=np.int64)
    known = {field: np.flatnonzero(np.isin(first, rows)) for field, rows in about.items() if field in PARTS}
    known |= {field: values[first] for field, values in about.items() if field not in PARTS}
    if choices.packing and "groups" not in known:
        known["groups"] = np.unique(windows.groups, return_inverse=True)[1]
    return known


def of_windows(windows: Windows, label: str, tokens: TokenizerInput, remarks: Sequence[str], **about: Any) -> Dataset:
    """Return windows of at least two tokens, which are filled up to the length of a row, as a data set."""
    rows = windows.rows(tokens.length)
    targets = rows[:, 1:].copy()
    how = f"{tokens.length} tokens each by the model's tokenizer of {tokens.vocabulary:,} tokens"
    counts = f"{(targets != NO_TARGET).sum():,} of them to foretell, {(rows == NO_TARGET).mean():.1%} padding"
    return Dataset(
        name=label,
        kind=NextToken(tokens.vocabulary),
        inputs=np.where(rows == NO_TARGET, rows[0, 0], rows),  # any token: none before it sees it
        targets=targets,
        features=tuple(tokens.features),
        numeric=np.zeros(tokens.length, dtype=bool),
        classes=tuple(f"token {number}" for number in range(1, tokens.length)),
        description="; ".join([*remarks, how, counts]),
        vocabulary=tokens.vocabulary,
        **about,
    )
