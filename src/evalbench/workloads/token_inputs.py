"""How a column of lists of tokens becomes inputs of a network: a number for each token, and padding behind the last.

Shapes: `N` rows.
"""

from dataclasses import dataclass

import numpy as np

from evalbench.tasks.token_classification import UNKNOWN
from evalbench.workloads.inputs import ColumnInput, Numbers, Told
from evalbench.workloads.table import TableColumn
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

    def typed(self, told: Told) -> TableColumn:
        """Return lists of tokens, none of which may be empty."""
        column = as_lists(told.table, self.name, told.wrong, [])
        if not column.known.all():
            rows = told.table.listed_rows(~column.known)
            told.wrong.append(f"column {self.name!r} has no tokens in {rows}: leave these rows out")
        return column

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
