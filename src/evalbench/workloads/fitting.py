"""Fit the inputs of a table: what each of its columns becomes, and its values."""

from dataclasses import dataclass, field

import numpy as np

from evalbench.workloads import tokenizers
from evalbench.workloads.answers import PromptInput
from evalbench.workloads.choices import Choices
from evalbench.workloads.inputs import (
    CategoryInput,
    ColumnInput,
    DateInput,
    HashedInput,
    NumberInput,
    Numbers,
    TargetEncodedInput,
    Told,
    as_category,
    check_told_apart,
    circles_of,
    words_of,
)
from evalbench.workloads.table import RawTable, TableColumn
from evalbench.workloads.target_encoding import TargetEncoded
from evalbench.workloads.text_inputs import TokenizerInput, TokensInput, WordsInput
from evalbench.workloads.written import MAX_CATEGORIES, as_date, as_date_like, is_many


@dataclass
class Inputs:
    """The input columns of `N` rows, filled column by column."""

    table: RawTable
    choices: Choices
    means: list[str]
    """The words for the means of the targets that a column of categories becomes if it is target-encoded.

    One mean, or one for each of more than two classes, or for each column of targets.
    """
    wrong: list[str]
    columns: list[ColumnInput] = field(default_factory=list)
    """What columns become, in the order of their inputs."""
    blocks: list[Numbers] = field(default_factory=list)
    encoded: list[TargetEncoded] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """How columns were encoded, and which."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def numeric(self) -> list[bool]:
        """Return which inputs are scaled."""
        return [column.numeric for column in self.columns for _ in column.features]

    def add(self, name: str) -> None:
        """Encode a column of the table."""
        column, pattern = self.table.columns[name], None
        if name in self.choices.texts:
            count = self.choices.text_features or 256
            self._remark(f"texts as log(1 + count) of words and signs, hashed to {count} columns (MurmurHash3)", name)
            self._append(WordsInput(name, count), column)
            return
        if name in self.choices.formats:
            pattern = self.choices.formats[name]
            column = as_date_like(self.table, name, pattern, self.wrong)
        if name in self.choices.codes:
            column = as_category(column)
        if column.form == "text":
            column = as_date(column) or column
        if column.form == "number" and name == str(self.choices.time):
            self._remark("no input, because it only orders the rows in time", name)
        elif column.form == "number":
            self._append(NumberInput(name, column.mark, column.number_unit), column)
            check_told_apart(name, column.values, self.blocks[-1][:, 0], self.wrong)
            self._remark_missing("missing numbers as the mean of the training rows", name, column)
        elif column.form == "date":
            self._date(name, column, pattern)
        else:
            self._categories(name, column)

    def add_tokens(self, name: str, answer: int | None = None) -> int:
        """Encode a column of texts as tokens, before answers of some length; return the number of different tokens."""
        path, length = self.choices.tokenizer, self.choices.text_length
        if path is not None and answer is not None:
            prompts = PromptInput(name, length, tokenizers.vocabulary(path), path, tokenizers.hash_of(path), answer)
            tokens: TokensInput = prompts.fitted_to(self.table.columns[name])
        elif path is None:
            tokens = TokensInput(name, length, self.choices.num_tokens)
        else:
            tokens = TokenizerInput.of(name, length, path)
        longer = self._append(tokens, self.table.columns[name])[0]
        self.remarks[name] = [f"{tokens.how}; {longer}"]
        return tokens.vocabulary

    def _append(self, column_input: ColumnInput, column: TableColumn) -> list[str]:
        told = Told(self.table, self.wrong)
        self.blocks.append(column_input.values(column, told))
        self.columns.append(column_input)
        return told.notes

    def _remark(self, how: str, name: str) -> None:
        self.remarks.setdefault(how, []).append(name)

    def _remark_missing(self, how: str, name: str, column: TableColumn) -> None:
        count = int((~column.known).sum())
        if count:
            self._remark(how, f"{name} ({count:,})")

    def _date(self, name: str, column: TableColumn, pattern: str | None) -> None:
        if not column.known.any():
            self._append(DateInput(name), column)
            return
        first = np.nanmin(column.values.astype("datetime64[us]")).astype("datetime64[D]")
        has_time = bool(np.nanmax(circles_of(column)["time of day"]) > 0)
        dates = DateInput(name, str(first), has_time, pattern, name == str(self.choices.time))
        self._append(dates, column)
        check_told_apart(name, dates.days(column), dates.days(column).astype(np.float32), self.wrong)
        trend = "without their trend: " if dates.orders else "as days since the first, and "
        self._remark(f"dates {trend}season, weekday and time of day as sine and cosine", name)

    def _categories(self, name: str, column: TableColumn) -> None:
        words, codes = words_of(column), name in self.choices.codes
        categories = tuple(sorted(set(words)))
        if not is_many(len(categories), len(words)):
            self._append(CategoryInput(name, categories, codes), column)
            self._remark_missing("missing categories as a category of their own", name, column)
            return
        how = self.choices.high_cardinality
        if how == "drop":
            self._remark("left out for too many categories", name)
        elif how == "hash":
            hashed = HashedInput(name, self.choices.hash_features, codes)
            self._append(hashed, column)
            self._remark(f"categories hashed to {hashed.count} indicators each (CRC-32)", name)
        elif how == "target":
            start = len(self.features)
            self.encoded += [TargetEncoded(start + mean, len(categories), mean) for mean in range(len(self.means))]
            self._append(TargetEncodedInput(name, categories, codes, tuple(self.means)), column)
            self._remark("categories as the mean target of the training rows, of other fifths for these rows", name)
        else:
            first = np.arange(len(words)) == int(np.argmax(column.known))
            self.wrong.append(
                f"text column {name!r} has {len(categories)} different values in {len(words)} rows, more than"
                f" {MAX_CATEGORIES} or than half of them, such as {self.table.listed_values(name, first)}: leave it"
                f" out with dataset.drop=[{name}], or say dataset.high_cardinality=hash or target,"
                f" dataset.text=[{name}], or the format of its dates by dataset.dates"
            )
