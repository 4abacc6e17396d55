"""The encoding of a data set: from rows as people have them to inputs, kept beside a trained model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.workloads.answers import PromptInput
from evalbench.workloads.inputs import (
    CategoryInput,
    ColumnInput,
    DateInput,
    HashedInput,
    NumberInput,
    Numbers,
    TargetEncodedInput,
    Told,
)
from evalbench.workloads.prompts import PROMPT, Prompt
from evalbench.workloads.table import RawTable, listed
from evalbench.workloads.text_inputs import TokenizerInput, TokensInput, WordsInput
from evalbench.workloads.token_inputs import TokenListInput, WordPiecesInput
from evalbench.workloads.written import decimal_marks

KINDS: dict[str, type[ColumnInput]] = {
    one.kind: one
    for one in (
        *(NumberInput, DateInput, CategoryInput, TargetEncodedInput, HashedInput, WordsInput, TokensInput),
        *(TokenListInput, TokenizerInput, WordPiecesInput, PromptInput),
    )
}
"""By the word for it beside a saved model."""


@dataclass(frozen=True)
class ImageInput:
    """The images that a model takes."""

    channels: int
    height: int
    width: int
    scaled: bool | None = None
    """Whether image files are scaled to this size; None: the images were arrays, whose numbers are used as they are."""


@dataclass(frozen=True)
class Encoding:
    """How rows become inputs `(N, D)`: the columns of a table, or images."""

    columns: tuple[ColumnInput, ...] = ()
    """In the order of their inputs."""
    beside: tuple[str, ...] = ()
    """Columns of the table that are no inputs: the target, and those that were left out."""
    image: ImageInput | None = None
    prompt: Prompt | None = None
    """What makes the column `PROMPT` of others."""

    @classmethod
    def of(cls, columns: Sequence[ColumnInput], table: RawTable) -> "Encoding":
        """Return the encoding of some columns of a table."""
        used = {column.name for column in columns}
        return cls(tuple(columns), tuple(name for name in table.columns if name not in used))

    def prompted(self, prompt: Prompt) -> "Encoding":
        """Return the encoding of a table whose column `PROMPT` a prompt makes."""
        return replace(self, prompt=prompt, beside=tuple(name for name in self.beside if name not in prompt.columns))

    @classmethod
    def plain(cls, features: Sequence[str]) -> "Encoding":
        """Return that of a data set whose loader says nothing of columns: each feature is a column of numbers."""
        return cls(tuple(NumberInput(name) for name in features))

    def inputs(self, told: Told) -> Numbers:
        """Return the inputs of other rows; what refuses them, by the name of the column, is told."""
        columns = told.table.columns
        needed = [column.name for column in self.columns if self.prompt is None or column.name != PROMPT]
        needed += () if self.prompt is None else self.prompt.columns
        absent = [name for name in needed if name not in columns]
        known = {*self.beside, *needed}
        new = [name for name in columns if name not in known]
        if absent:
            told.wrong.append(f"columns that the model was trained with are missing: {_quoted(absent)}: add them")
        if new:
            told.wrong.append(f"columns that the model does not know: {_quoted(new)}: leave them out")
        if self.prompt is not None and not absent:
            told.table = self.prompt.added(told.table)
        present = [column for column in self.columns if column.name in told.table.columns]
        blocks: list[NDArray[Any]] = [column.values(column.typed(told), told) for column in present]
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(told.table.numbers), 0), np.float32)

    def written(self, decimal: str) -> "Encoding":
        """Return the encoding of rows with another decimal sign, `point` or `comma`; raise `ConfigError` for others."""
        mark = decimal_marks(decimal)
        columns = (replace(one, mark=mark) if isinstance(one, NumberInput) else one for one in self.columns)
        return replace(self, columns=tuple(columns))

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of natural language, whose cells may have any lines."""
        kinds = ("words", "tokens", "token_list", "tokenizer", "word_pieces", "prompt")
        prompted = () if self.prompt is None else self.prompt.columns
        return (*(column.name for column in self.columns if column.kind in kinds), *prompted)

    @property
    def has_lists(self) -> bool:
        """Whether cells may be lists."""
        return any(column.kind in ("token_list", "word_pieces") for column in self.columns)

    def spec(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "columns": [column.spec() for column in self.columns],
            "beside": list(self.beside),
            "image": None if self.image is None else asdict(self.image),
            **({} if self.prompt is None else {"prompt": asdict(self.prompt)}),
        }

    @classmethod
    def read(cls, spec: dict[str, Any]) -> "Encoding":
        """Return what `spec` described; raise `KeyError` or `TypeError` for what no encoding is."""
        image, prompt = spec["image"], spec.get("prompt")
        columns = tuple(_column_input(column) for column in spec["columns"])
        return cls(
            columns,
            tuple(spec["beside"]),
            None if image is None else ImageInput(**image),
            None if prompt is None else Prompt(prompt["template"], tuple(prompt["columns"])),
        )


def _quoted(names: Sequence[str]) -> str:
    return listed(map(repr, names), 20)


def _column_input(spec: dict[str, Any]) -> ColumnInput:
    """Return what `spec` described; raise `KeyError` or `TypeError` for what no column is."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()}
    return KINDS[fields.pop("kind")](**fields)
