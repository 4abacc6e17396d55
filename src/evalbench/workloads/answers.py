"""Texts as answers: tokens of prompts, and of the answers behind them, by the tokenizer of a decoder.

Shapes: `N` rows, `P` tokens of the longest prompt, `A` of the longest answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError
from evalbench.tasks.generation import Generation
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import tokenizers
from evalbench.workloads.inputs import Numbers, Told
from evalbench.workloads.prompts import texts_of
from evalbench.workloads.table import RawTable, TableColumn
from evalbench.workloads.text_inputs import TokenizerInput

Answers = tuple[NDArray[np.int64], tuple[str, ...]]
"""The tokens of answers `(N, A)`, `NO_TARGET` behind the last one of each, and names of these columns."""


@dataclass(frozen=True)
class PromptInput(TokenizerInput):
    """The last tokens of a prompt, with padding before them, and padding where the answer is to stand."""

    kind = "prompt"
    answer: int = 0
    """The tokens of the longest answer."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [*super().features, *(f"answer: token {number}" for number in range(self.answer))]

    @property
    def how(self) -> str:
        """Return how texts become tokens."""
        return f"the last {self.length} of a text's tokens by the model's tokenizer of {self.vocabulary:,} tokens"

    def fitted_to(self, column: TableColumn) -> "PromptInput":
        """Return the input with no more tokens than the longest of some prompts has."""
        longest = max(map(len, self._tokens(column)), default=1)
        return replace(self, length=min(self.length, max(1, longest)))

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the tokens `(N, P + A)`; prompts without a token are refused."""
        tokenizer, tokens = tokenizers.loaded(self.path), self._tokens(column)
        empty = np.array([not row for row in tokens], dtype=bool)
        if empty.any():
            which = told.table.listed_rows(empty)
            told.wrong.append(f"a prompt must have a token, which it lacks in {which}: leave these rows out")
        rows = np.full((len(tokens), self.length + self.answer), tokenizer.pad_token_id, dtype=np.int64)
        special = set(tokenizer.all_special_ids)
        for row, given in enumerate(tokens):
            first = next((index for index, token in enumerate(given) if token not in special), 0)
            first = min(first, self.length - 1)
            kept = given if len(given) <= self.length else [*given[:first], *given[first - self.length :]]
            rows[row, self.length - len(kept) : self.length] = kept
        cut = sum(len(given) > self.length for given in tokens)
        told.notes.append(f"{cut:,} of {len(rows):,} texts are longer")
        return rows

    def _tokens(self, column: TableColumn) -> list[list[int]]:
        """Return the tokens of prompts, without one that ends a text."""
        tokenizer, end = tokenizers.loaded(self.path), end_of(self.path)
        every: list[list[int]] = tokenizer(texts_of(column), return_attention_mask=False)["input_ids"]
        return [tokens[:-1] if tokens[-1:] == [end] else tokens for tokens in every]


def task_of(path: str) -> Generation:
    """Return the task of the answers that a tokenizer makes tokens of; raise `ConfigError` for one without an end."""
    return Generation(end_of(path), partial(decoded, path))


def end_of(path: str) -> int:
    """Return the token that ends an answer; raise `ConfigError` if the tokenizer has none."""
    end = tokenizers.loaded(path).eos_token_id
    if end is None:
        remedy = 'add "eos_token" to its tokenizer_config.json'
        raise ConfigError("dataset.tokenizer", "must have a token that ends a text", path, remedy)
    return int(end)


def decoded(path: str, tokens: Sequence[Sequence[int]]) -> list[str]:
    """Return the texts of tokens by the tokenizer in a folder."""
    texts: list[str] = tokenizers.loaded(path).batch_decode(tokens, clean_up_tokenization_spaces=False)
    return texts


def read_answers(table: RawTable, target: str, prompt: str, path: str, most: int) -> Answers:
    """Return the tokens of the answers in a column, at most `most` of each, with the token that ends them.

    An answer that follows a prompt without white space at its end begins with a space.
    """
    pairs = zip(texts_of(table.columns[prompt]), texts_of(table.columns[target]), strict=True)
    texts = [answer if text[-1:].isspace() else f" {answer}" for text, answer in pairs]
    tokenizer, end = tokenizers.loaded(path), end_of(path)
    every = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    length = min(most, max((len(tokens) + 1 for tokens in every), default=1))
    targets = np.full((len(every), length), NO_TARGET, dtype=np.int64)
    for row, tokens in enumerate(every):
        kept = [*tokens, end][:length]
        targets[row, : len(kept)] = kept
    return targets, tuple(f"token {number}" for number in range(length))


def with_answers(rows: Numbers, targets: NDArray[np.int64], path: str, remarks: list[str]) -> Numbers:
    """Return inputs `(N, P + A)` with the answers behind the prompts; say how many were cut."""
    length, filled = targets.shape[1], rows.copy()
    filled[:, -length:] = np.where(targets == NO_TARGET, rows[:, -length:], targets)
    cut = int((targets != end_of(path)).all(1).sum())
    distinct, counts = np.unique(targets, axis=0, return_counts=True)
    (common,) = task_of(path).texts(distinct[[counts.argmax()]])
    remarks.append(f"answers of up to {length} tokens, most often {common!r} ({counts.max():,} rows)")
    if cut:
        remarks.append(f"{cut:,} of {len(targets):,} answers are longer and cut: they count as wrong")
    return filled
