"""Plain files: a table of all runs, and a file per curve."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.names import from_cell, to_cell
from evalbench.tracking.tracker import Conclusion, Run, flat


class CsvTracker:
    """`runs.csv` with a row per run, `curves/ID.csv` with a row per validation, `evaluations/NAME/` with the report."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def record(self, run: Run) -> None:
        """Write the run's curve, and its row once it has ended."""
        _write(self.folder / "curves" / f"{run.id}.csv", run.curve)
        if run.running:
            return
        row = {
            "id": run.id,
            "group": run.group,
            "job_type": run.job_type,
            "tags": json.dumps(run.tags),
            "notes": run.notes,
            **{f"config.{key}": json.dumps(value) for key, value in flat(run.config)},
            **{f"summary.{key}": json.dumps(value) for key, value in run.summary.items() if value is not None},
        }
        others = [other for other in read_rows(self.folder / "runs.csv") if other["id"] != run.id]
        _write(self.folder / "runs.csv", [*others, row])

    def conclude(self, conclusion: Conclusion) -> None:
        """Copy the report and its table."""
        folder = self.folder / "evaluations" / conclusion.evaluation
        folder.mkdir(parents=True, exist_ok=True)
        for path in conclusion.files:
            (folder / path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        """Nothing stays open."""

    def how_to_see(self) -> str | None:
        """Return where the files are."""
        return f"CSV      {self.folder / 'runs.csv'}, curves in {self.folder / 'curves'}"


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none where there is no file; empty cells are left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{from_cell(k): from_cell(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that may differ in their columns; a crash on the way leaves the previous file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer.writerow([to_cell(column) for column in columns])
        writer.writerows([to_cell(row.get(column)) for column in columns] for row in rows)
    beside.replace(path)
