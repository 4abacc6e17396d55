"""Shares of variance: how much of the variance of single trials each factor explains."""

from __future__ import annotations

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.section import Section, numbers_of


def table(findings: JudgedFindings) -> str:
    """Return the share of each factor."""
    many = findings.evaluation.repeated[1]
    rows = [[" × ".join(map(code, s.factors)), f"{100 * s.share:.1f} %"] for s in findings.robustness.shares]
    rows = [[text.replace("`rest`", f"rest ({many}, data sets' own effects)"), share] for text, share in rows]
    return markdown(["source", "share of the variance within data sets"], rows, 1) if rows else ""


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return the shares of the variance."""
    return pd.DataFrame({"source": " x ".join(s.factors), "share": s.share} for s in findings.robustness.shares)


def text(findings: JudgedFindings) -> str:
    """Return the table with its explanation."""
    rows = table(findings)
    if not rows:
        return ""
    return (
        "## Shares of variance\n\nShare of the variance of single trials within the data sets that each factor"
        f" explains. {numbers_of('shares')}\n\n{rows}"
    )


SHARES = Section(judged, text, {"shares": numbers})
