"""`reports/index.md`: all evaluations with their date, question and rings, the tracking page of a project."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evalbench.report.tables import code, markdown, plain

EMPTY = "No evaluation has a report here yet."


def write_index(reports: Path) -> Path:
    """Write `index.md` into a folder of reports, newest evaluation first, from the numbers beside each report."""
    rows = []
    for numbers in sorted(reports.glob("*/numbers/evaluation.csv")):
        about = pd.read_csv(numbers, dtype=str, keep_default_na=False).iloc[0]
        folder = numbers.parent.parent.name
        date = about["date"][:10]
        name = f"[{plain(about['name'])}]({folder.replace(' ', '%20')}/report.md)"
        rows.append(
            (
                date,
                folder,
                [
                    date or "–",
                    name,
                    plain(about["question"]),
                    code(about["baseline"]) if about["baseline"] else "–",
                    _rings(numbers),
                ],
            )
        )
    rows.sort(key=lambda row: row[1])
    rows.sort(key=lambda row: row[0], reverse=True)
    table = markdown(["date", "evaluation", "question", "baseline", "rings"], [row[2] for row in rows], 5)
    path = reports / "index.md"
    path.write_text(f"# Evaluations\n\n{table if rows else EMPTY}\n", encoding="utf-8", newline="\n")
    return path


def _rings(numbers: Path) -> str:
    path = numbers.with_name("verdicts.csv")
    if not path.is_file():
        return "–"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    judged = table[table["ring"] != "baseline"]
    return ", ".join(f"{code(row['technique'])} {row['ring']}" for row in judged.to_dict("records")) or "–"
