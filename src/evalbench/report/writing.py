"""Writes a report: reads the folder, computes, draws, and fills the template."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from evalbench.errors import TableError
from evalbench.report import sentences, tables
from evalbench.report.curves import curve_table
from evalbench.report.figures import draw, drawable
from evalbench.report.findings import Findings, find
from evalbench.report.folder import load

TEMPLATE = Path(__file__).with_name("report.md.jinja")


def write(folder: Path) -> Path:
    """Write `report.md` and `figures/` into the folder of an evaluation, and return the path of the report.

    A pure function of `evaluation.json` and the three tables: the same folder gives the same bytes.

    Raises:
        TableError: the folder or one of its tables cannot be used; the message is one line.
    """
    findings, curves = _read(folder)
    draw(findings, curves, folder / "figures")
    report = folder / "report.md"
    report.write_text(_fill(findings, drawable(findings, curves)), encoding="utf-8", newline="\n")
    return report


def text(folder: Path) -> str:
    """The text of the report alone, without a figure drawn or a file written; errors as in `write`."""
    findings, curves = _read(folder)
    return _fill(findings, drawable(findings, curves))


def _read(folder: Path) -> tuple[Findings, pd.DataFrame]:
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder: give the folder of an evaluation, such as reports/optimizers")
    findings = find(load(folder))
    return findings, curve_table(findings.folder, findings.rho)


def _fill(findings: Findings, figures: tuple[str, ...]) -> str:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    filled = template.render(found=findings, say=sentences, table=tables, figures=figures)
    return re.sub(r"\n{3,}", "\n\n", filled)  # parts that are absent leave no gap
