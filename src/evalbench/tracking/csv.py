"""Write plain files: a table of all runs, and a file per curve."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.names import from_cell, to_cell
from evalbench.tracking.tracker import Conclusion, Run, flat


class CsvTracker:
    """Write `runs.csv` with a row per run, `curves/ID.csv` with a row per validation, and reports in `evaluations/`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def record(self, run: Run) -> None:
        """Write the run's curve, and its row once it has ended."""
        _write(self.folder / "curves" / f"{run.id}.csv", run.curve)
        if run.running:
            return
        row = {
            "id": run.id,
            "name": run.name,
            "group": run.group,
            "job_type": run.job_type,
            "tags": json.dumps(run.tags),
            "notes": run.notes,
            **{f"config.{key}": json.dumps(value) for key, value in flat(run.config)},
            **{f"summary.{key}": json.dumps(value) for key, value in run.summary.items() if value is not None},
        }
        kept = []
        for known in read_rows(self.folder / "runs.csv"):
            if known["id"] != run.id and (known["group"], known.get("name")) == (run.group, run.name):
                (self.folder / "curves" / f"{known['id']}.csv").unlink(missing_ok=True)  # the same seed, other settings
            elif known["id"] != run.id:
                kept.append(known)
        _write(self.folder / "runs.csv", [*kept, row])

    def conclude(self, conclusion: Conclusion) -> None:
        """Copy the report and its table."""
        folder = self.folder / "evaluations" / conclusion.evaluation
        folder.mkdir(parents=True, exist_ok=True)
        for path in conclusion.files:
            (folder / path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        """Do nothing, because no file stays open."""

    def how_to_see(self) -> str | None:
        """Return the paths of the files."""
        return f"CSV      {self.folder / 'runs.csv'}, curves in {self.folder / 'curves'}"


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file without empty cells, or no rows if the file does not exist."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{from_cell(k): from_cell(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that may differ in their columns; a crash leaves the previous file intact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer.writerow([to_cell(column) for column in columns])
        writer.writerows([to_cell(row.get(column)) for column in columns] for row in rows)
    temporary.replace(path)
