"""How a column of a table becomes inputs of a network: numbers, indicators, parts of dates, hashes of words.

Each class is fitted once, to the table of a data set (`fitting`). Applied to other rows it gives the same columns. It
consists of plain values, so that it can be kept beside a trained model.

Shapes: `N` rows.
"""

import zlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalbench.workloads.numerals import readings
from evalbench.workloads.table import RawTable, TableColumn, listed, mapped
from evalbench.workloads.written import TRUTH, are_numbers, as_date, as_date_like, as_number, as_text

Numbers = NDArray[np.float32] | NDArray[np.int64]
DAY = np.timedelta64(1, "D")
MISSING_CATEGORY = "(missing)"


@dataclass
class Told:
    """What is said of rows when they are encoded."""

    table: RawTable
    """The rows."""
    wrong: list[str]
    """Gets what refuses them."""
    notes: list[str] = field(default_factory=list)
    """Gets what is done to some of them."""
    first_tokens: list[list[int]] = field(default_factory=list)
    """Gets for each row the index of each word's first token, -1 for a word without; empty if tokens are words."""

    def refuse(self, name: str, must: str, odd: NDArray[np.bool_]) -> None:
        """Refuse values of a column in some rows."""
        self.wrong.append(
            f"column {name!r} must hold {must}, as in training, not {self.table.listed_values(name, odd)}"
        )


@dataclass(frozen=True)
class ColumnInput:
    """The inputs that one column of a table becomes."""

    kind: ClassVar[str]
    numeric: ClassVar[bool] = False
    """Whether the inputs are scaled."""
    name: str

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [self.name]

    def typed(self, told: Told) -> TableColumn:
        """Return the column of other rows with the type that it was fitted to; one of another type is refused."""
        raise NotImplementedError

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the inputs of a typed column, one column for each feature."""
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class NumberInput(ColumnInput):
    """A number."""

    kind = "number"
    numeric = True
    mark: str = "."
    """The decimal mark, where it is written."""
    unit: str = ""
    """The unit, currency or sign that it is written with."""

    def typed(self, told: Told) -> TableColumn:
        """Return numbers, written under the same convention as those of the training."""
        column = told.table.columns[self.name]
        if column.form == "number" or not column.known.any():
            return TableColumn("number", np.where(column.known, column.values, np.nan).astype(float), column.known)
        if column.form == "date":
            told.refuse(self.name, "numbers", column.known)
            return TableColumn("number", np.full(len(column.known), np.nan), column.known)
        reading = readings(column.values, column.known, self.mark)[self.mark]
        if reading.odd.any():
            told.refuse(self.name, f"numbers with a decimal {self._mark}", reading.odd)
        elif reading.unit != self.unit:
            must = f"numbers in {self.unit}" if self.unit else "numbers without a unit"
            told.refuse(self.name, must, column.known)
        return as_number(column, reading, self.mark)

    @property
    def _mark(self) -> str:
        return "point" if self.mark == "." else "comma"

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the numbers `(N, 1)`, NaN where they are missing."""
        return narrow(told.table, self.name, column, told.wrong)[:, None]


@dataclass(frozen=True)
class DateInput(ColumnInput):
    """The days since the first date, and the season, weekday and time of day as points on a circle."""

    kind = "date"
    numeric = True
    first: str | None = None
    """None: there was no date."""
    has_time: bool = False
    """Whether some date had a time of day."""
    pattern: str | None = None
    """The format of written dates; None: that of ISO 8601."""
    orders: bool = False
    """Dates order the rows: then rows for the test are later than all that is learned from, so days are no input."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        if self.first is None:
            return [self.name]
        parts = ["season", "weekday", *(["time of day"] if self.has_time else [])]
        circles = [f"{self.name}: {part}, {function}" for part in parts for function in ("sine", "cosine")]
        return circles if self.orders else [f"{self.name}: days since {self.first}", *circles]

    def typed(self, told: Told) -> TableColumn:
        """Return dates, written in the same way as those of the training."""
        column, nothing = told.table.columns[self.name], np.full(len(told.table.numbers), np.datetime64("NaT", "us"))
        if column.form == "date" or not column.known.any():
            return TableColumn("date", np.where(column.known, column.values, nothing).astype("M8[us]"), column.known)
        if self.pattern is not None:
            return as_date_like(told.table, self.name, self.pattern, told.wrong)
        if column.form in ("written", "text"):
            texts = as_text(column)
            dates = as_date(texts)
            if dates is not None:
                return dates
            single_dates = mapped(texts.values, lambda text: as_date(_alone(text)) is not None).astype(bool)
            told.refuse(self.name, "dates like 2026-01-31", column.known & ~single_dates)
        else:
            told.refuse(self.name, "dates", column.known)
        return TableColumn("date", nothing, np.zeros(len(nothing), bool))

    def days(self, column: TableColumn) -> NDArray[np.float64]:
        """Return the days since the first date `(N,)`, NaN where the date is missing."""
        if self.first is None:
            return np.full(len(column.known), np.nan)
        days: NDArray[np.float64] = (column.values.astype("datetime64[us]") - np.datetime64(self.first, "D")) / DAY
        return np.where(column.known, days, np.nan)

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the parts of the dates, NaN where they are missing."""
        days = narrow(told.table, self.name, TableColumn("number", self.days(column), column.known), told.wrong)
        if self.first is None:
            return days[:, None]
        columns: list[NDArray[Any]] = [] if self.orders else [days]
        for turn in circles_of(column).values():
            columns += [np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)]
        return np.column_stack(columns[: len(self.features)]).astype(np.float32)


def _alone(text: str) -> TableColumn:
    return TableColumn("text", np.array([text], dtype=object), np.ones(1, bool))


def circles_of(column: TableColumn) -> dict[str, NDArray[np.float64]]:
    """Return the position of each date in the year, the week and the day, from 0 to 1."""
    dates = column.values.astype("datetime64[us]")
    whole, year = dates.astype("datetime64[D]"), dates.astype("datetime64[Y]")
    length = (year + 1).astype("datetime64[D]") - year.astype("datetime64[D]")
    return {
        "season": (dates - year.astype("datetime64[us]")) / length,
        "weekday": (whole - np.datetime64("1970-01-05")) / DAY % 7 / 7,
        "time of day": (dates - whole.astype("datetime64[us]")) / DAY,
    }


@dataclass(frozen=True)
class CategoryInput(ColumnInput):
    """An indicator for each category; a category that training did not have has none, so all are 0."""

    kind = "category"
    categories: tuple[str, ...]
    codes: bool = False
    """Whether numbers are codes of categories."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}={category}" for category in self.categories]

    def typed(self, told: Told) -> TableColumn:
        """Return categories; numbers are refused unless they are codes."""
        column = told.table.columns[self.name]
        known = [one for one in self.categories if one != MISSING_CATEGORY]
        truth = bool(known) and set(known) <= set(TRUTH.values())
        if column.form == "written" or (column.form == "text" and truth):
            texts = as_text(column, truth)
            are_new = known and not set(known) & set(texts.values[column.known])
            if are_new and not self.codes and are_numbers(texts.values[column.known]) and not are_numbers(known):
                told.refuse(self.name, "categories", column.known)
            return replace(texts, values=mapped(texts.values, self._as_code)) if self.codes else texts
        if column.form in ("number", "date") and column.known.any():
            if not self.codes:
                told.refuse(self.name, "categories", column.known)
            return as_category(column)
        return column

    def _as_code(self, text: str) -> str:
        """Return a code as training had it: 2.0 is 2, if there was no 2.0."""
        number = np.nan if text in self.categories or not are_numbers([text]) else float(text)
        return plain_number(number) if plain_number(number) in self.categories else text

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the indicators `(N, categories)`."""
        codes, words = self._codes(column), words_of(column)
        indicators, known = np.zeros((len(codes), len(self.categories)), np.float32), ~np.isnan(codes)
        indicators[np.flatnonzero(known), codes[known].astype(np.int64)] = 1
        self._note(words[~known], told, "all its indicators are 0")
        return indicators

    def _codes(self, column: TableColumn) -> NDArray[np.float32]:
        """Return the numbers of categories `(N,)`, NaN for one that training did not have."""
        number_of = {category: number for number, category in enumerate(self.categories)}
        return mapped(words_of(column), lambda word: number_of.get(word, np.nan)).astype(np.float32)

    def _note(self, unseen: NDArray[np.object_], told: Told, effect: str) -> None:
        if len(unseen):
            which = listed(map(repr, dict.fromkeys(unseen)))
            rows = f"{len(unseen):,} row{'s' * (len(unseen) > 1)}"
            told.notes.append(f"{self.name} has a category that training did not have in {rows} ({which}): {effect}")


@dataclass(frozen=True)
class TargetEncodedInput(CategoryInput):
    """The number of a category, which a split replaces by the mean target; NaN for one that training did not have."""

    kind = "target"
    means: tuple[str, ...] = ("target",)
    """The words for the inputs: one, or one for each of more than two classes, or for each column of targets."""

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}: {mean}" for mean in self.means]

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the numbers `(N, means)`."""
        codes = self._codes(column)
        self._note(words_of(column)[np.isnan(codes)], told, "it gets the mean of all training rows")
        repeated: Numbers = np.repeat(codes[:, None], len(self.means), axis=1)
        return repeated


@dataclass(frozen=True)
class HashedInput(ColumnInput):
    """Indicators of the hash of a category."""

    kind = "hash"
    count: int = 64
    codes: bool = False

    @property
    def features(self) -> list[str]:
        """Return the names of the inputs."""
        return [f"{self.name}#{number}" for number in range(self.count)]

    def typed(self, told: Told) -> TableColumn:
        """Return categories; numbers are refused unless they are codes."""
        return CategoryInput(self.name, (), self.codes).typed(told)

    def values(self, column: TableColumn, told: Told) -> Numbers:
        """Return the indicators `(N, count)`."""
        buckets = mapped(words_of(column), lambda word: bucket(word, self.count)).astype(np.int64)
        indicators: Numbers = np.eye(self.count, dtype=np.float32)[buckets]
        return indicators


def words_of(column: TableColumn) -> NDArray[np.object_]:
    """Return the categories of a column, with one for missing values."""
    words: NDArray[np.object_] = np.where(column.known, column.values, MISSING_CATEGORY)
    return words


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


def narrow(table: RawTable, name: str, column: TableColumn, wrong: list[str]) -> NDArray[np.float32]:
    """Return numbers in 32 bits, which must hold them."""
    infinite = np.isinf(column.values)
    with np.errstate(over="ignore"):
        narrowed = column.values.astype(np.float32)
    if infinite.any():
        wrong.append(
            f"column {name!r} has an infinite value, {table.listed_values(name, infinite)}: replace it or leave it"
            " empty"
        )
    elif np.isinf(narrowed).any():
        which = table.listed_values(name, np.isinf(narrowed))
        wrong.append(f"column {name!r} has numbers too large for 32 bits, {which}: divide them")
    return narrowed


def check_told_apart(name: str, numbers: NDArray[np.float64], narrowed: Numbers, wrong: list[str]) -> None:
    """Refuse a column of numbers whose differences are lost in 32 bits."""
    known = numbers[np.isfinite(numbers)]
    if np.isinf(narrowed).any() or not len(known) or not np.ptp(known) > 0:
        return
    error = np.nanmax(np.abs(narrowed - numbers))
    if error > 0.01 * known.std() and known.std() > 1e-14 * np.abs(known).max():
        wrong.append(
            f"column {name!r} has numbers near {known[0]:g} whose differences 32 bits cannot tell: subtract an offset"
        )


def single(table: RawTable, name: str, column: TableColumn, wrong: list[str]) -> NDArray[np.float32]:
    """Return numbers in 32 bits, which must keep different numbers apart."""
    narrowed = narrow(table, name, column, wrong)
    check_told_apart(name, column.values, narrowed, wrong)
    return narrowed
