"""Writes a report: reads the folder, computes, draws, and fills the template."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from evalbench import names
from evalbench.errors import TableError
from evalbench.record.folder import load
from evalbench.report import advice, answer, caveats, explanations, html, numbers, proofs, tables, tuning_page
from evalbench.report.curves import curve_table
from evalbench.report.figures import NAMES, draw, drawable
from evalbench.report.findings import Findings, find

TEMPLATE = Path(__file__).with_name("report.md.jinja")


def write(folder: Path) -> Path:
    """Write `report.md`, `report.html`, `figures/` and `numbers/` into the folder of an evaluation.

    A pure function of `evaluation.json` and the tables beside it: the same folder gives the same bytes.

    Returns:
        The path of `report.md`.

    Raises:
        TableError: the folder or one of its tables cannot be used; the message is one line.
    """
    return write_findings(read(folder), folder)


def write_findings(findings: Findings, folder: Path) -> Path:
    """Write the report of findings into a folder, which is made if need be; see `write`."""
    curves = curve_table(findings.folder, findings.rho)
    folder.mkdir(parents=True, exist_ok=True)
    for name, suffix in product(NAMES, ("png", "csv")):
        # A figure of an earlier report must not outlive its numbers.
        (folder / "figures" / f"{name}.{suffix}").unlink(missing_ok=True)
    draw(findings, curves, folder / "figures")
    numbers.write(findings, folder / "numbers")
    report = folder / "report.md"
    said = _fill(findings, drawable(findings, curves))
    report.write_text(said, encoding="utf-8", newline="\n")
    (folder / "report.html").write_text(html.page(said, folder), encoding="utf-8", newline="\n")
    return report


def text(folder: Path) -> str:
    """The text of the report alone, without a figure drawn or a file written; errors as in `write`."""
    return text_of(read(folder))


def text_of(findings: Findings) -> str:
    """The same of findings."""
    return _fill(findings, drawable(findings, curve_table(findings.folder, findings.rho)))


def read(folder: Path) -> Findings:
    """Every number of a folder's report, as data; errors as in `write`."""
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder: give the folder of an evaluation, such as reports/optimizers")
    return find(load(folder))


def _fill(findings: Findings, figures: tuple[str, ...]) -> str:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    filled = template.render(
        found=findings,
        names=names,
        say=answer,
        advise=advice,
        explain=explanations,
        limits=caveats,
        table=tables,
        proof=proofs,
        tune=tuning_page,
        figures=figures,
    )
    return re.sub(r"\n{3,}", "\n\n", filled)  # parts that are absent leave no gap
