"""Read the results of an evaluation from the folder of its report."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.names import code, from_cell, short
from evalbench.tracking import Conclusion, Table

TABLES = {"results": "results.csv", "verdicts": "numbers/verdicts.csv"}
FILES = ("report.md", "results.csv")
VERDICT_COLUMNS = (
    "technique", "ring", "effect", "low", "high", "unit", "confidence", "quality", "generality", "wins", "ties",
    "losses", "cost_ratio", "cost_low", "cost_high", "num_datasets", "num_pairs", "next",
)  # fmt: skip
"""The columns of the verdicts that trackers get, in their order; the file beside the report has more."""
LONGEST_NOTES = 4000
"""The largest number of characters of the report's first screen in notes; MLflow takes 8000."""


def identity(folder: Path) -> str | None:
    """Return a hash of the report, or None if there is no report."""
    paths = [folder / name for name in FILES]
    if not all(path.is_file() for path in paths):
        return None
    return "conclusion-" + hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:20]


def read(folder: Path, evaluation: str, design: Mapping[str, Any], run_ids: Sequence[str]) -> Conclusion:
    """Return the results in the report; `design` holds the question, the factor, the baseline and the command."""
    tables = {name: _table(folder / path) for name, path in TABLES.items() if (folder / path).is_file()}
    if "verdicts" in tables:
        tables["verdicts"] = _chosen(tables["verdicts"], VERDICT_COLUMNS)
    summary: dict[str, float | int | str] = {"trials": len(tables["results"].rows)}
    if "verdicts" in tables:
        columns = tables["verdicts"].columns
        for row in tables["verdicts"].rows:
            verdict = dict(zip(columns, row, strict=True))
            if verdict.get("ring") not in (None, "baseline"):
                summary[f"ring/{verdict['technique']}"] = str(verdict["ring"])
    return Conclusion(
        evaluation=evaluation,
        notes=f"{first_screen((folder / 'report.md').read_text(encoding='utf-8'))}\n\n{code(design['command'])}",
        config={key: value for key, value in design.items() if value is not None},
        summary=summary,
        tables=tables,
        figures={path.stem: path for path in sorted(folder.glob("figures/*.png"))},
        files=[folder / name for name in FILES],
        run_ids=list(run_ids),
    )


def first_screen(report: str) -> str:
    """Return the beginning of a report in Markdown: up to its first section or fold, without title and pictures."""
    lines = report.splitlines()
    end = next((number for number, line in enumerate(lines) if line.startswith(("## ", "<details"))), len(lines))
    kept = [line for line in lines[:end] if not line.startswith(("# ", "!["))]
    return short("\n".join(kept).strip(), LONGEST_NOTES)


def _chosen(table: Table, names: Sequence[str]) -> Table:
    """Return the named columns that a table has."""
    columns = [table.columns.index(name) for name in names if name in table.columns]
    return Table(tuple(table.columns[column] for column in columns), [[row[c] for c in columns] for row in table.rows])


def _table(path: Path) -> Table:
    """Return a CSV file as a table: numbers as numbers, missing values as None, without empty columns."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = ([*map(from_cell, row)] for row in csv.reader(file))
    columns = {name: _column([row[index] for row in rows]) for index, name in enumerate(header)}
    kept = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    return Table(tuple(kept), list(zip(*kept.values(), strict=True)))


def _column(texts: Sequence[str]) -> list[float | int | str | None]:
    for number in (int, float):
        try:
            return [number(text) if text else None for text in texts]
        except ValueError:
            continue
    return [text or None for text in texts]
