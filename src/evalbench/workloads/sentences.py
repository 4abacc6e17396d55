"""From two columns of lists to a data set of token classification: tokens and their tags.

Shapes: `N` sentences, `T` tokens of the longest one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.spans import are_spans
from evalbench.tasks.task import NO_TARGET
from evalbench.tasks.token_classification import UNKNOWN
from evalbench.workloads.choices import Choices
from evalbench.workloads.inputs import Told
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.table import MOST, RawTable, listed
from evalbench.workloads.token_inputs import TokenListInput

Tagged = tuple[NDArray[np.int64], tuple[str, ...]]
"""Numbers of tags `(N, T)`, and the tags."""


def read_tags(table: RawTable, target: str, choices: Choices, wrong: list[str]) -> Tagged:
    """Return the tags of all tokens, `NO_TARGET` behind the last one; sentences with other numbers are refused."""
    words, tags = table.columns[str(choices.tokens)].values, table.columns[target].values
    odd = [row for row, both in enumerate(zip(words, tags, strict=True)) if len(both[0]) != len(both[1])]
    if odd:
        shown = listed(
            (f"{len(words[row])} and {len(tags[row])} in {table.unit} {table.numbers[row]}" for row in odd[:MOST]),
            MOST,
            len(odd),
        )
        wrong.append(f"{choices.tokens!r} and {target!r} must have as many tokens as tags, not {shown}: correct them")
    names = tuple(sorted({tag for cells in tags for tag in cells}))
    codes = {name: code for code, name in enumerate(names)}
    targets = np.full((len(tags), _length(tags, choices)), NO_TARGET, dtype=np.int64)
    for row, cells in enumerate(tags):
        kept = [codes[tag] for tag in cells[: targets.shape[1]]]
        targets[row, : len(kept)] = kept
    return targets, names


def token_inputs(
    table: RawTable, targets: NDArray[Any], tags: Sequence[str], choices: Choices, remarks: list[str]
) -> dict[str, Any]:
    """Return the fields of a data set that its tokens give; say in `remarks` how many there are and which are lost.

    All words have a number. Which of them a split knows is a matter of its training rows: `Dataset.min_count`.
    """
    name = str(choices.tokens)
    column = table.columns[name]
    words = tuple(sorted({word for cells in column.values for word in cells}))
    tokens = TokenListInput(name, _length(column.values, choices), words)
    told = Told(table, [])
    inputs = tokens.values(column, told)
    counts = np.bincount(targets[targets != NO_TARGET], minlength=1)
    most = f" ({tags[int(counts.argmax())]}: {counts.max() / max(1, counts.sum()):.0%} of the tokens)" if tags else ""
    what = "entities by their first and last token" if are_spans(tags) else "tags without entities"
    remarks.insert(0, f"{len(inputs):,} sentences with {counts.sum():,} tokens and {len(tags)} tags{most}; {what}")
    remarks += told.notes
    remarks.append(
        f"{name}: {len(words):,} different tokens, of which those that a split's training rows have less than"
        f" {choices.min_count} times are one unknown token"
    )
    return {
        "inputs": inputs,
        "features": tuple(tokens.features),
        "numeric": np.zeros(tokens.length, dtype=bool),
        "vocabulary": UNKNOWN + 1 + len(words),
        "min_count": choices.min_count,
        "encoding": Encoding.of([tokens], table),
    }


def _length(lists: NDArray[np.object_], choices: Choices) -> int:
    return choices.length or max((len(cells) for cells in lists), default=1)
