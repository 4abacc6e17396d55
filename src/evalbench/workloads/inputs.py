"""Typed columns as inputs of a network: numbers, indicators, parts of dates, hashed categories and words."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.workloads import tokenizers
from evalbench.workloads.choices import Choices
from evalbench.workloads.table import RawTable, TableColumn, mapped
from evalbench.workloads.target_encoding import TargetEncoded
from evalbench.workloads.written import MAX_CATEGORIES, as_date, as_date_like, is_many

DAY = np.timedelta64(1, "D")
TOKEN = re.compile(r"\w+|[^\w\s]")
MISSING_CATEGORY = "(missing)"


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
    blocks: list[NDArray[np.float32]] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    encoded: list[TargetEncoded] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """How columns were encoded, and which."""

    def add(self, name: str) -> None:
        """Encode a column of the table."""
        column = self.table.columns[name]
        if name in self.choices.texts:
            return self._words(name, column)
        if name in self.choices.formats:
            column = as_date_like(self.table, name, self.choices.formats[name], self.wrong)
        if name in self.choices.codes:
            column = as_category(column)
        if column.form == "text":
            column = as_date(column) or column
        if column.form == "number" and name == str(self.choices.time):
            return self._remark("no input, because it only orders the rows in time", name)
        if column.form == "number":
            return self._append([name], single(self.table, name, column, self.wrong)[:, None], True)
        if column.form == "date":
            return self._date(name, column)
        return self._categories(name, column)

    def _append(self, names: Sequence[str], values: NDArray[np.float32], numeric: bool) -> None:
        self.blocks.append(values)
        self.features.extend(names)
        self.numeric.extend([numeric] * len(names))

    def _remark(self, how: str, name: str) -> None:
        self.remarks.setdefault(how, []).append(name)

    def _date(self, name: str, column: TableColumn) -> None:
        """Add the days since the first date, and the season, weekday and time of day as points on a circle."""
        dates = column.values.astype("datetime64[us]")
        if not column.known.any():
            return self._append([name], np.full((len(dates), 1), np.nan, np.float32), True)
        first = np.nanmin(dates).astype("datetime64[D]")
        days = np.where(column.known, (dates - first) / DAY, np.nan)
        whole = dates.astype("datetime64[D]")
        year = dates.astype("datetime64[Y]")
        length = (year + 1).astype("datetime64[D]") - year.astype("datetime64[D]")
        circles = {
            "season": (dates - year.astype("datetime64[us]")) / length,
            "weekday": (whole - np.datetime64("1970-01-05")) / DAY % 7 / 7,
            "time of day": (dates - whole.astype("datetime64[us]")) / DAY,
        }
        since = single(self.table, name, TableColumn("number", days, column.known), self.wrong)
        orders = name == str(self.choices.time)  # then rows for the test are later than all that is learned from
        parts = {} if orders else {f"{name}: days since {first}": since}
        for part, turn in circles.items():
            if part != "time of day" or np.nanmax(turn) > 0:
                parts[f"{name}: {part}, sine"] = np.sin(2 * np.pi * turn)
                parts[f"{name}: {part}, cosine"] = np.cos(2 * np.pi * turn)
        self._append(list(parts), np.column_stack(list(parts.values())).astype(np.float32), True)
        trend = "without their trend: " if orders else "as days since the first, and "
        self._remark(f"dates {trend}season, weekday and time of day as sine and cosine", name)
        return None

    def _categories(self, name: str, column: TableColumn) -> None:
        words = np.where(column.known, column.values, MISSING_CATEGORY)
        categories = sorted(set(words))
        if not is_many(len(categories), len(words)):
            indicators = (words[:, None] == np.array(categories, dtype=object)[None, :]).astype(np.float32)
            return self._append([f"{name}={category}" for category in categories], indicators, False)
        how = self.choices.high_cardinality
        if how == "drop":
            return self._remark("left out for too many categories", name)
        if how == "hash":
            return self._hashed(name, words)
        if how == "target":
            return self._target_encoded(name, words, len(categories))
        first = np.arange(len(words)) == int(np.argmax(column.known))
        self.wrong.append(
            f"text column {name!r} has {len(categories)} different values in {len(words)} rows, more than"
            f" {MAX_CATEGORIES} or than half of them, such as {self.table.listed_values(name, first)}: leave it out"
            f" with dataset.drop=[{name}], or say dataset.high_cardinality=hash or target, dataset.text=[{name}], or"
            " the format of its dates by dataset.dates"
        )
        return None

    def _hashed(self, name: str, words: NDArray[np.object_]) -> None:
        count = self.choices.hash_features
        buckets = mapped(words, lambda word: bucket(word, count)).astype(np.int64)
        names = [f"{name}#{number}" for number in range(count)]
        self._append(names, np.eye(count, dtype=np.float32)[buckets], False)
        self._remark(f"categories hashed to {count} indicators each (CRC-32)", name)

    def _target_encoded(self, name: str, words: NDArray[np.object_], count: int) -> None:
        codes = pd.factorize(words, sort=True)[0].astype(np.float32)
        start = len(self.features)
        self.encoded += [TargetEncoded(start + number, count, number) for number in range(len(self.means))]
        self._append(
            [f"{name}: {mean}" for mean in self.means], np.repeat(codes[:, None], len(self.means), axis=1), False
        )
        self._remark("categories as the mean target of the training rows, of other fifths for these rows", name)

    def _words(self, name: str, column: TableColumn) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        count = self.choices.text_features or 256
        texts = [str(text) if known else "" for text, known in zip(column.values, column.known, strict=True)]
        counter = HashingVectorizer(n_features=count, alternate_sign=False, norm=None, token_pattern=TOKEN.pattern)
        counts = np.log1p(counter.transform(texts).toarray())
        self._append([f"{name}: words {number}" for number in range(count)], counts.astype(np.float32), True)
        self._remark(f"texts as log(1 + count) of words and signs, hashed to {count} columns (MurmurHash3)", name)


def tokens(column: TableColumn, choices: Choices) -> tuple[NDArray[np.int64], int, str]:
    """Return texts as tokens `(N, length)`, filled up with padding, the vocabulary's size, and how it was done.

    Without a tokenizer they are hashed words, filled up with 0.
    """
    if choices.tokenizer is not None:
        texts = [str(text) if known else "" for text, known in zip(column.values, column.known, strict=True)]
        return tokenizers.tokens(texts, choices.tokenizer, choices.text_length)
    vocabulary, length = choices.text_features or 2048, choices.text_length
    rows = np.zeros((len(column.values), length), dtype=np.int64)
    cut = 0
    for row in np.flatnonzero(column.known):
        words = TOKEN.findall(str(column.values[row]).lower())
        cut += len(words) > length
        rows[row, : min(len(words), length)] = [1 + bucket(word, vocabulary - 1) for word in words[:length]]
    longer = f"{cut:,} of {len(rows):,} texts are longer"
    how = f"the first {length} words and signs of a text, hashed to {vocabulary:,} tokens (CRC-32); {longer}"
    return rows, vocabulary, how


def bucket(word: str, count: int) -> int:
    """Return the hash of a word, from 0 to `count` - 1: the same on every machine."""
    return zlib.crc32(word.encode()) % count


def as_category(column: TableColumn) -> TableColumn:
    """Return a column as categories; whole numbers are written without a fraction."""
    texts = column.values if column.texts is None else column.texts
    words = [plain_number(value) if isinstance(value, float) else str(value) for value in texts]
    return TableColumn("category", np.array(words, dtype=object), column.known)


def plain_number(value: float) -> str:
    """Return a number as text, a whole number without a fraction."""
    return str(int(value)) if np.isfinite(value) and value == int(value) else str(value)


def single(table: RawTable, name: str, column: TableColumn, wrong: list[str]) -> NDArray[np.float32]:
    """Return numbers in 32 bits, which must keep different numbers apart."""
    numbers = column.values
    infinite = np.isinf(numbers)
    known = numbers[np.isfinite(numbers)]
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    if infinite.any():
        wrong.append(
            f"column {name!r} has an infinite value, {table.listed_values(name, infinite)}: replace it or leave it"
            " empty"
        )
    elif np.isinf(narrow).any():
        which = table.listed_values(name, np.isinf(narrow))
        wrong.append(f"column {name!r} has numbers too large for 32 bits, {which}: divide them")
    elif len(known) and np.ptp(known) > 0:
        error = np.nanmax(np.abs(narrow - numbers))
        if error > 0.01 * known.std() and known.std() > 1e-14 * np.abs(known).max():
            wrong.append(
                f"column {name!r} has numbers near {known[0]:g} whose differences 32 bits cannot tell: subtract an"
                " offset"
            )
    return narrow
