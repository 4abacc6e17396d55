"""A table as its source has it: typed columns, and the words that tell people what is wrong with it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import DataError

MOST = 5
"""The most lines, values or names that are listed of each fault."""

Form = Literal["written", "text", "category", "number", "date", "list"]
"""How a column's values are meant: written, as in a text file, may become a number, a date or text."""


@dataclass(frozen=True, eq=False)
class TableColumn:
    """A column of a table; all arrays are `(N,)`."""

    form: Form
    values: NDArray[Any]
    """Numbers: float64. Dates: datetime64. Lists: tuples. Others: `str` objects without a meaning where they are not
    known."""
    known: NDArray[np.bool_]
    texts: NDArray[np.object_] | None = None
    """Numbers as they were written; None: they were not."""
    mark: str = "."
    """The decimal mark of numbers that were written."""
    number_unit: str = ""
    """Their currency, per cent sign or unit."""
    order: tuple[str, ...] = ()
    """Categories from the lowest to the highest, if their type has an order, with those that no row has."""

    def take(self, rows: NDArray[np.bool_]) -> "TableColumn":
        """Return the column of some rows."""
        texts = None if self.texts is None else self.texts[rows]
        return replace(self, values=self.values[rows], known=self.known[rows], texts=texts)


@dataclass(frozen=True, eq=False)
class RawTable:
    """Columns of `N` rows each."""

    source: str
    """The path or name that faults begin with."""
    columns: Mapping[str, TableColumn]
    numbers: NDArray[np.int64]
    """The number of each row, as people find it: its line in a text file."""
    unit: str = "row"
    """What the numbers count."""
    comma: bool = False
    """Commas separate the values of the file."""

    def take(self, rows: NDArray[np.bool_]) -> "RawTable":
        """Return the table of some rows."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return replace(self, columns=columns, numbers=self.numbers[rows])

    def listed_values(self, name: str, rows: NDArray[np.bool_]) -> str:
        """List the values of a column in some rows, with the numbers of the rows."""
        column, positions = self.columns[name], np.flatnonzero(rows)
        values = column.values if column.texts is None else column.texts
        texts = [f"{_short(str(values[row]))!r} in {self.unit} {self.numbers[row]}" for row in positions[:MOST]]
        return listed(texts, MOST, len(positions))

    def listed_rows(self, rows: NDArray[np.bool_]) -> str:
        """List the numbers of some rows."""
        numbers = self.numbers[rows]
        return f"{self.unit}{'s' * (len(numbers) > 1)} {listed(map(str, numbers[:MOST]), MOST, len(numbers))}"


def refuse(source: str, wrong: Sequence[str]) -> None:
    """Raise one `DataError` for all that is wrong with a table, if anything is."""
    if len(wrong) == 1:
        raise DataError(f"{source}: {wrong[0]}")
    if wrong:
        told = [f"({number}) {text}" for number, text in enumerate(wrong[: 2 * MOST], 1)]
        more = f"; and {len(wrong) - len(told)} more" if len(wrong) > len(told) else ""
        raise DataError(f"{source}: {len(wrong)} things are wrong: {'; '.join(told)}{more}")


def listed(texts: Iterable[str], most: int = MOST, total: int | None = None) -> str:
    """Join the first texts, and say how many more there are."""
    every = list(texts)
    more = (len(every) if total is None else total) - len(every[:most])
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def mapped(values: NDArray[np.object_], change: Callable[[str], Any]) -> NDArray[np.object_]:
    """Return what a function makes of texts; it is called once for each different text."""
    import pandas as pd

    codes, distinct = pd.factorize(values)
    return np.array([change(text) for text in distinct], dtype=object)[codes]


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
