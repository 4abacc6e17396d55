"""A report from Python: `judge` a data frame of results, or `read` the folder of an evaluation."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evalbench.errors import InputError, TableError
from evalbench.record.elsewhere import read_folder
from evalbench.record.foreign import frame_to_folder
from evalbench.record.options import Options, rope_of
from evalbench.record.repetitions import repetition_column
from evalbench.report import page
from evalbench.report.analysis.findings import Findings, find
from evalbench.report.render.html import fragment
from evalbench.report.section import Drawing


class Report:
    """What the results say: verdicts, tables, figures, and the page that is made of them.

    Shown in a notebook as the first part of the page.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    @property
    def verdicts(self) -> pd.DataFrame:
        """Return a row per technique, the baseline first: rank, `ring` (the recommendation), quality, effect, cost.

        Effects, `low`, `high` and `rope` are in the unit in the column `unit` (percentage points of an accuracy,
        not fractions); `cost_ratio` is the cost relative to the baseline's. Empty if the evaluation has no baseline.
        """
        return self._tables.get("verdicts", pd.DataFrame())

    @property
    def frames(self) -> tuple[str, ...]:
        """Return the names that `frame` takes."""
        return tuple(dict.fromkeys([*self._tables, *self.figures, *(f"figures/{name}" for name in self.figures)]))

    @property
    def figures(self) -> tuple[str, ...]:
        """Return the names that `figure` takes."""
        return tuple(self._drawings)

    def frame(self, name: str) -> pd.DataFrame:
        """Return the content of a CSV file of the report, such as `effects` (`numbers/effects.csv`).

        The numbers behind a figure have its name, such as `curves_epochs`; `figures/ranks` is the one for the figure
        if there is a table of the same name.

        Raises:
            InputError: this report has no such table.
        """
        if name not in self.frames:
            raise InputError(f"this report has no table {name!r}: it has {', '.join(self.frames)}")
        table = self._tables.get(name)
        return self._drawings[name.removeprefix("figures/")].numbers() if table is None else table.copy()

    def figure(self, name: str) -> Figure:
        """Return a figure of the report, such as `tradeoff`, to be shown or saved (`figure.savefig`).

        Raises:
            InputError: this report has no such figure.
        """
        if name not in self.figures:
            raise InputError(f"this report has no figure {name!r}: it has {', '.join(self.figures)}")
        return self._drawings[name].figure()

    @property
    def markdown(self) -> str:
        """Return the text of `report.md`, whose links lead to the files that `save` writes."""
        return page.markdown(self.findings)

    def save(self, folder: str | Path, standalone: bool = False) -> Path:
        """Write `report.md`, `report.html`, `summary.json`, `figures/` and `numbers/`; return the path of `report.md`.

        The folder is made if it is missing. The same findings give the same bytes. The figures of `report.html` need
        the library Plotly.js: a copy is written into the folder, or once into the folder above if reports lie together
        there (below an `index.md`). A standalone page has it inside, 5 MB, and can be sent as one file.

        Raises:
            InputError: there is a file of that name.
        """
        path = Path(folder)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, and a report needs a folder: give another name")
        return page.save(self.findings, path, standalone)

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        return page.frames(self.findings)

    @cached_property
    def _drawings(self) -> dict[str, Drawing[Any]]:
        return page.drawings(self.findings)

    def _repr_markdown_(self) -> str:
        # The files that links and figures lead to lie in no folder yet.
        text = re.sub(r"!\[.*\]\(.*\)\n\n\*.*\*\n\n", "", page.first_screen(self.findings))
        return re.sub(r" ?Numbers: \[.*\]\(.*\)\.", "", text)

    def _repr_html_(self) -> str:
        return fragment(self._repr_markdown_())


def read(folder: str | Path) -> Report:
    """Return the report of an evaluation's folder, such as `reports/optimizers`, from its JSON and CSV files.

    Raises:
        InputError: the folder or one of its tables cannot be used; the message is one line.
    """
    path = Path(folder)
    if not path.is_dir():
        raise TableError(f"{path} is not a folder: give the folder of an evaluation, such as reports/optimizers")
    return Report(find(read_folder(path)))


def write(folder: str | Path, standalone: bool = False) -> Path:
    """Write the report of an evaluation's folder into it, and return the path of `report.md`; errors as in `read`.

    A pure function of `evaluation.json` and the tables beside it: the same folder gives the same bytes.
    """
    return read(folder).save(folder, standalone)


def judge(
    results: pd.DataFrame, baseline: str, *,
    technique: str = "technique", workload: str = "workload", seed: str | None = "seed", score: str = "score",
    metric: str | None = None, direction: str | None = None, score_unit: str = "",
    effect: str = "difference", rope: float | str | None = None, span: tuple[float, float] | None = None,
    confirm_rope: bool = False, unit: str | None = None, folds: int | None = None, pairing: str | None = None,
    clusters: str | None = None, failed_as: str | float | None = None, targets: Mapping[str, float] | None = None,
    test_size: int | None = None, tuned: bool = False, wide: bool = False, question: str | None = None,
    name: str = "results",
) -> Report:  # fmt: skip
    """Judge every technique of a table against the baseline.

    Args:
        results: a row per technique, workload and seed, or a wide table, whose first column names the workload
            (docs/tables.md lists all columns). An index with names counts as columns.
        baseline: the technique that all others are compared with.
        technique, workload, score: the name of this column.
        seed: the column that numbers or names the repetitions; by default also `fold` and the like. None: one run.
        metric, score_unit: the name (by default that of the column) and the unit of the score.
        direction: `maximize` or `minimize`. None: as the name of the metric tells, which the report says.
        effect: `difference`, or `ratio` for scores above 0 whose sizes differ between workloads, such as times.
        rope: the smallest difference that matters, in the unit of the score, or for ratios a share (`"2%"`). Needed
            unless all scores lie between 0 and 1. Above a tenth of the span, or 10 %, it needs `confirm_rope`.
        span: the lowest and the highest possible score, for metrics that evalbench does not know.
        unit, folds: what a row repeats: `split`, `seed`, `fold` (of that many folds), `run`, `item` or `study`, from
            which the intervals follow (docs/tables.md). None if nobody knows: they then hold for these rows only.
        pairing: what makes two runs a pair: `seed`, `item`, `fold`, or `none`. None: splits, folds and items do.
        clusters: the column that names what items belong together, such as a document.
        failed_as: the score of a run that failed, or that has none: `worst`, `trivial`, `censored`, or a number.
        targets: by workload, the score that counts as solved, declared beforehand; for tables with a column `step`.
        test_size: the number of test rows of every run, if the table has no column `num_test`.
        tuned, wide: whether all techniques were tuned with the same budget; whether the table has a column for each.
        question, name: the question that the report answers, and the name of the report.

    Raises:
        InputError: the table cannot be judged; the message is one line: the rule, the value, the remedy.
    """
    _check(results, rope := _rope(rope), direction)
    results = _with_index(results)
    if not wide:
        if seed == "seed" and ("seed" not in results.columns or unit not in (None, "seed")):
            seed = repetition_column(results.columns, unit) or "seed"
        results = _renamed(results, {technique: "technique", workload: "workload", seed: "seed", score: "score"})
    metric = metric or ("score" if wide else str(score))
    options = Options(
        str(baseline), metric, direction, score_unit, rope, question, wide, tuned, unit, folds, span=span,
        confirm_rope=confirm_rope, targets=dict(targets or {}), pairing=pairing, clusters=clusters, column=str(seed),
        failed_as=None if failed_as is None else str(failed_as), effect=effect, test_size=test_size,
    )  # fmt: skip
    return Report(find(frame_to_folder(name, results, options)))


def _rope(rope: float | str | None) -> float | None:
    if not (isinstance(rope, str) and rope.endswith("%")):
        return rope  # type: ignore[return-value]  # `_check` refuses other texts
    try:
        return rope_of(rope)
    except (ValueError, ArgumentTypeError):
        raise InputError(f"rope must be a number above 0, or one in percent such as '2%', not {rope!r}") from None


def _check(results: Any, rope: Any, direction: str | None) -> None:
    if not isinstance(results, pd.DataFrame):
        given = type(results).__name__
        raise InputError(f"results must be a pandas DataFrame, not {given}: read a file with pandas.read_csv")
    if rope is not None and not (isinstance(rope, int | float | np.floating) and 0 < rope < float("inf")):
        raise InputError(f"rope must be a number above 0, not {rope!r}: give the smallest difference that matters")
    if direction not in (None, "maximize", "minimize"):
        raise InputError(f"direction must be maximize or minimize, not {direction!r}: give one of them")


def _with_index(results: pd.DataFrame) -> pd.DataFrame:
    """Turn the named levels of an index, as `groupby` and `pivot` leave them, into columns."""
    names = [name for name in results.index.names if name is not None and name not in results.columns]
    return results.reset_index(names) if names else results


def _renamed(results: pd.DataFrame, names: dict[str | None, str]) -> pd.DataFrame:
    """Give the columns the names of the schema; one that has such a name already, and is not used, is left out."""
    if len(names) < 4:
        raise InputError("technique, workload, seed and score must be four different columns: name each of them")
    absent = [column for column in names if column is not None and column not in results.columns]
    if absent:
        columns = ", ".join(map(str, results.columns)) or "no columns"
        remedy = f"name the right one, such as {names[absent[0]]}='NAME'"
        remedy += ", or seed=None for one run each" if names[absent[0]] == "seed" else ""
        raise InputError(f"the table has no column {', '.join(map(str, absent))}: it has {columns}: {remedy}")
    unused = [name for column, name in names.items() if column != name and name in results.columns]
    table = results.drop(columns=unused).rename(columns=names)
    return table if None not in names else table.assign(seed=0)
