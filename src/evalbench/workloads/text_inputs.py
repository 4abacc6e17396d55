"""The inputs that a column of natural language becomes: counts of words, or tokens.

Shapes: `N` rows.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.workloads import tokenizers
from evalbench.workloads.inputs import ColumnInput, Numbers, Told, bucket
from evalbench.workloads.table import TableColumn

TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class WordsInput(ColumnInput):
    """The counts of the words and signs of a text, by their hash."""

    kind = "words"
    numeric = True
    count: int = 256

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}: words {number}" for number in range(self.count)]

    def typed(self, told: Told) -> TableColumn:
        """Return the column as it is."""
        return told.table.columns[self.name]

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return `log(1 + count)` of each hash, `(N, count)`."""
        from sklearn.feature_extraction.text import HashingVectorizer

        texts = [str(text) if known else "" for text, known in zip(column.values, column.known, strict=True)]
        counter = HashingVectorizer(n_features=self.count, alternate_sign=False, norm=None, token_pattern=TOKEN.pattern)
        counts: NDArray[np.float64] = np.log1p(counter.transform(texts).toarray())
        return counts.astype(np.float32)


@dataclass(frozen=True)
class TokensInput(ColumnInput):
    """The first words and signs of a text as hashed tokens."""

    kind = "tokens"
    length: int = 64
    vocabulary: int = 2048

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}: token {number}" for number in range(self.length)]

    @property
    def how(self) -> str:
        """Return how texts become tokens."""
        return f"the first {self.length} words and signs of a text, hashed to {self.vocabulary:,} tokens (CRC-32)"

    def typed(self, told: Told) -> TableColumn:
        """Return the column as it is."""
        return told.table.columns[self.name]

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the tokens `(N, length)`, filled up with 0."""
        rows = np.zeros((len(column.values), self.length), dtype=np.int64)
        cut = 0
        for row in np.flatnonzero(column.known):
            words = TOKEN.findall(str(column.values[row]).lower())
            cut += len(words) > self.length
            tokens = [1 + bucket(word, self.vocabulary - 1) for word in words[: self.length]]
            rows[row, : len(tokens)] = tokens
        told.notes.append(f"{cut:,} of {len(rows):,} texts are longer")
        return rows


@dataclass(frozen=True)
class TokenizerInput(TokensInput):
    """The first tokens of a text by the tokenizer of a pretrained model."""

    kind = "tokenizer"
    path: str = ""
    files: str = ""
    """The hash of the tokenizer's files."""

    @classmethod
    def of(cls, name: str, length: int, path: str) -> Self:
        """Return that of a column and of the tokenizer in a folder; raise `ConfigError`."""
        return cls(name, length, tokenizers.vocabulary(path), path, tokenizers.hash_of(path))

    @property
    def how(self) -> str:
        """Return how texts become tokens."""
        return f"the first {self.length} of a text's tokens by the model's tokenizer of {self.vocabulary:,} tokens"

    def typed(self, told: Told) -> TableColumn:
        """Return the column as it is; raise `DataError` if the tokenizer is not that of the training."""
        try:
            same = tokenizers.hash_of(self.path) == self.files
        except ConfigError:
            same = False
        if not same:
            rule = f"the tokenizer in {self.path} must be as it was in training"
            raise DataError(f"{rule}: put its files back, or correct its path in model.json")
        return super().typed(told)

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the tokens `(N, length)`, filled up with the token of padding."""
        texts = [str(text) if known else "" for text, known in zip(column.values, column.known, strict=True)]
        rows, cut = tokenizers.tokens(texts, self.path, self.length)
        told.notes.append(f"{cut:,} of {len(rows):,} texts are longer")
        return rows
