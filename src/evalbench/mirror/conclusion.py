"""What an evaluation came to, read from the folder of its report."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.names import code, from_cell, plain
from evalbench.tracking import Conclusion, Table

TABLES = {"results": "results.csv", "verdicts": "numbers/verdicts.csv"}
FILES = ("report.md", "results.csv")


def identity(folder: Path) -> str | None:
    """Return a hash of the report, or None where none is written."""
    paths = [folder / name for name in FILES]
    if not all(path.is_file() for path in paths):
        return None
    return "conclusion-" + hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:20]


def read(folder: Path, evaluation: str, asked: Mapping[str, Any], run_ids: Sequence[str]) -> Conclusion:
    """Return what the report says; `asked` is the question, the factor and the baseline."""
    tables = {name: _table(folder / path) for name, path in TABLES.items() if (folder / path).is_file()}
    summary: dict[str, float | int | str] = {"trials": len(tables["results"].rows)}
    if "verdicts" in tables:
        columns = tables["verdicts"].columns
        for row in tables["verdicts"].rows:
            verdict = dict(zip(columns, row, strict=True))
            if verdict.get("ring") not in (None, "baseline"):
                summary[f"ring/{verdict['technique']}"] = str(verdict["ring"])
    return Conclusion(
        evaluation=evaluation,
        notes=f"{plain(asked.get('question') or 'What came of it')}\n{code(asked['command'])}",
        config={key: value for key, value in asked.items() if value is not None},
        summary=summary,
        tables=tables,
        figures={path.stem: path for path in sorted(folder.glob("figures/*.png"))},
        files=[folder / name for name in FILES],
        run_ids=list(run_ids),
    )


def _table(path: Path) -> Table:
    """Columns of numbers are numbers, and what is missing is None; columns without any value are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = ([*map(from_cell, row)] for row in csv.reader(file))
    columns = {name: _column([row[place] for row in rows]) for place, name in enumerate(header)}
    kept = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    return Table(tuple(kept), list(zip(*kept.values(), strict=True)))


def _column(texts: Sequence[str]) -> list[float | int | str | None]:
    for kind in (int, float):
        try:
            return [kind(text) if text else None for text in texts]
        except ValueError:
            continue
    return [text or None for text in texts]
