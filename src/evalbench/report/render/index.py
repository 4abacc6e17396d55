"""`reports/index.md`: all evaluations with their date, question and recommendations, the tracking page of a project."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from evalbench.names import code, plain
from evalbench.record.tables import read_table
from evalbench.report.render.markdown import markdown

EMPTY = "No evaluation has a report here yet."


def write_index(reports: Path) -> Path:
    """Write `index.md` into a folder of reports, newest evaluation first, from the numbers beside each report."""
    rows = []
    for numbers in sorted(reports.glob("*/numbers/evaluation.csv")):
        about = read_table(numbers, ("name", "question", "date", "baseline"), ()).iloc[0]
        folder = numbers.parent.parent.name
        date = about["date"][:10]
        name = f"[{plain(about['name'])}]({quote(folder)}/report.md)"
        rows.append(
            (
                date,
                folder,
                [
                    plain(date) or "–",
                    name,
                    plain(about["question"]),
                    code(about["baseline"]) if about["baseline"] else "–",
                    _recommendations(numbers),
                ],
            )
        )
    rows.sort(key=lambda row: row[1])
    rows.sort(key=lambda row: row[0], reverse=True)
    table = markdown(["date", "evaluation", "question", "baseline", "recommendations"], [row[2] for row in rows], 5)
    path = reports / "index.md"
    path.write_text(f"# Evaluations\n\n{table if rows else EMPTY}\n", encoding="utf-8", newline="\n")
    return path


def _recommendations(numbers: Path) -> str:
    path = numbers.with_name("verdicts.csv")
    if not path.is_file():
        return "–"
    table = read_table(path, ("technique", "ring"), ())
    judged = table[table["ring"] != "baseline"]
    return ", ".join(f"{code(row['technique'])} {plain(row['ring'])}" for row in judged.to_dict("records")) or "–"
