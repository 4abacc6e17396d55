"""How a column of lists of tokens becomes inputs of a network: a number for each token, and padding behind the last.

Shapes: `N` rows.
"""

from dataclasses import dataclass

import numpy as np

from evalbench.tasks.token_classification import UNKNOWN
from evalbench.workloads import tokenizers
from evalbench.workloads.inputs import ColumnInput, Numbers, Told
from evalbench.workloads.table import TableColumn
from evalbench.workloads.text_inputs import TokenizerInput
from evalbench.workloads.token_lists import as_lists


@dataclass(frozen=True)
class TokenListInput(ColumnInput):
    """The tokens of a sentence, each by its number among the words of the whole table."""

    kind = "token_list"
    length: int
    words: tuple[str, ...]
    """By number, from the first behind `UNKNOWN`."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}: token {number}" for number in range(self.length)]

    @property
    def vocabulary(self) -> int:
        """Return the number of different tokens, with padding and `UNKNOWN`."""
        return UNKNOWN + 1 + len(self.words)

    def typed(self, told: Told) -> TableColumn:
        """Return lists of tokens, none of which may be empty."""
        return _lists(self.name, told)

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the tokens `(N, length)`, filled up with padding, 0; tokens without a number are `UNKNOWN`."""
        numbers = {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}
        rows = np.zeros((len(column.values), self.length), dtype=np.int64)
        for row, cells in enumerate(column.values):
            tokens = [numbers.get(word, UNKNOWN) for word in cells[: self.length]]
            rows[row, : len(tokens)] = tokens
        longer = [len(cells) - self.length for cells in column.values if len(cells) > self.length]
        if longer:
            told.notes.append(
                f"{len(longer):,} of {len(rows):,} sentences are longer than {self.length} tokens: their last"
                f" {sum(longer):,} tokens are left out"
            )
        return rows


@dataclass(frozen=True)
class WordPiecesInput(TokenizerInput):
    """The words of a sentence as tokens by the tokenizer of a pretrained model, one or more for each word."""

    kind = "word_pieces"
    words: int | None = None
    """The first of a sentence that are read; None: all."""

    @property
    def how(self) -> str:
        """Return how sentences become tokens."""
        return f"{super().how}; the first token of a word has its tag"

    def typed(self, told: Told) -> TableColumn:
        """Return lists of words, none of which may be empty; raise `DataError` for a tokenizer that has changed."""
        super().typed(told)
        return _lists(self.name, told)

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the tokens `(N, length)`, filled up with the token of padding; tell the index of each word."""
        sentences = [cells[: self.words] for cells in column.values]
        rows, first_tokens, are_cut = tokenizers.words(sentences, self.path, self.length)
        behind, within = [], 0
        for cells, indices, is_cut in zip(column.values, first_tokens, are_cut, strict=True):
            kept = len(indices)
            while is_cut and kept and indices[kept - 1] < 0:
                kept -= 1
            within += indices[:kept].count(-1)
            behind.append(len(cells) - kept)
            told.first_tokens.append(indices + [-1] * (len(cells) - len(indices)))
        if any(behind):
            most = f"{self.length} tokens" + ("" if self.words is None else f" or {self.words} words")
            told.notes.append(
                f"{np.count_nonzero(behind):,} of {len(rows):,} sentences are longer than {most}: their last"
                f" {sum(behind):,} words are left out, and their tags with them"
            )
        if within:
            told.notes.append(
                f"{within:,} words are left out, with their tags, because the tokenizer has none for them"
            )
        return rows


def _lists(name: str, told: Told) -> TableColumn:
    column = as_lists(told.table, name, told.wrong, [])
    if not column.known.all():
        rows = told.table.listed_rows(~column.known)
        told.wrong.append(f"column {name!r} has no tokens in {rows}: leave these rows out")
    return column
