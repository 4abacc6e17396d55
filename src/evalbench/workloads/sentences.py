"""From two columns of lists to a data set of token classification: tokens and their tags.

Shapes: `N` sentences, `T` tokens of the longest one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.spans import are_spans
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads.choices import Choices
from evalbench.workloads.inputs import Told
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.table import MOST, RawTable, listed
from evalbench.workloads.token_inputs import TokenListInput, WordPiecesInput

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
    table: RawTable, targets: NDArray[Any], tags: Sequence[str], choices: Choices, wrong: list[str], remarks: list[str]
) -> dict[str, Any]:
    """Return the fields of a data set that its tokens give; say in `remarks` how many there are and which are lost."""
    name = str(choices.tokens)
    column = table.columns[name]
    tokens = _input_of(name, column.values, choices)
    told = Told(table, wrong)
    inputs = tokens.values(column, told)
    if told.first_tokens:
        targets = _at_first_tokens(table, targets, told, inputs.shape)
    counts = np.bincount(targets[targets != NO_TARGET], minlength=1)
    units = "words" if told.first_tokens else "tokens"
    most = f" ({tags[int(counts.argmax())]}: {counts.max() / max(1, counts.sum()):.0%} of the {units})" if tags else ""
    what = f"entities by their first and last {units[:-1]}" if are_spans(tags) else "tags without entities"
    remarks.insert(0, f"{len(inputs):,} sentences with {counts.sum():,} {units} and {len(tags)} tags{most}; {what}")
    remarks += told.notes
    how = tokens.how if isinstance(tokens, WordPiecesInput) else _unknown(tokens, choices)
    remarks.append(f"{name}: {how}")
    return {
        "inputs": inputs,
        "targets": targets,
        "features": tuple(tokens.features),
        "numeric": np.zeros(tokens.length, dtype=bool),
        "vocabulary": tokens.vocabulary,
        "min_count": None if told.first_tokens else choices.min_count,
        "encoding": Encoding.of([tokens], table),
    }


def _input_of(name: str, sentences: NDArray[np.object_], choices: Choices) -> TokenListInput | WordPiecesInput:
    """Return how a column becomes tokens: by the tokenizer of a model, or by the words of the whole table.

    All these words have a number. Which of them a split knows is a matter of its training rows: `Dataset.min_count`.
    """
    if choices.tokenizer is not None:
        return replace(WordPiecesInput.of(name, choices.text_length, choices.tokenizer), words=choices.length)
    return TokenListInput(
        name, _length(sentences, choices), tuple(sorted({word for cells in sentences for word in cells}))
    )


def _unknown(tokens: TokenListInput, choices: Choices) -> str:
    return (
        f"{len(tokens.words):,} different tokens, of which those that a split's training rows have less than"
        f" {choices.min_count} times are one unknown token"
    )


def _at_first_tokens(table: RawTable, tags: NDArray[Any], told: Told, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the tags `(N, T)` of words at their first tokens; a sentence in which no word has a token is refused."""
    targets = np.full(shape, NO_TARGET, dtype=np.int64)
    for row, first_tokens in enumerate(told.first_tokens):
        words = [word for word, index in enumerate(first_tokens[: tags.shape[1]]) if index >= 0]
        targets[row, [first_tokens[word] for word in words]] = tags[row, words]
    empty = ~(targets != NO_TARGET).any(1)
    if empty.any():
        told.wrong.append(f"the tokenizer has no token for a word in {table.listed_rows(empty)}: leave these rows out")
    return targets


def _length(lists: NDArray[np.object_], choices: Choices) -> int:
    return choices.length or max((len(cells) for cells in lists), default=1)
