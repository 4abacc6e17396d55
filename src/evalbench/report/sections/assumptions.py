"""Every assumption of the method, with its check."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from evalbench.names import plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.section import Section, numbers_of


def table(findings: JudgedFindings) -> str:
    """Return every assumption with its check."""
    rows = [[c.assumption, c.check, plain(c.outcome), c.holds] for c in findings.checks]
    return markdown(["assumption", "how it was checked", "outcome", "holds"], rows, 4)


def text(findings: JudgedFindings) -> str:
    """Return the table of the checks."""
    return f"## Assumptions and their checks\n\n{table(findings)}\n\n{numbers_of('checks')}"


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return a row per assumption."""
    return pd.DataFrame([asdict(check) for check in findings.checks])


ASSUMPTIONS = Section(judged, text, {"checks": numbers})
