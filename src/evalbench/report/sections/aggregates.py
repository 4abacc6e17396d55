"""Interquartile means with bootstraps, and how often each technique ranks first."""

from __future__ import annotations

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import Unit
from evalbench.report.section import Section, numbers_of


def table(findings: JudgedFindings) -> str:
    """Return the interquartile mean with both bootstraps, and how often each technique ranks first."""
    unit, rows = findings.common, []
    for name, value in findings.robustness.iqm.items():
        these, like = value.these, value.like_these
        runs = not (findings.judged and findings.one_score)  # without them there is nothing to draw anew
        best = findings.robustness.best[name]
        rows.append(
            [
                code(name),
                unit.score(unit.sign * value.value),
                _interval(unit, these) if runs else "–",
                _interval(unit, like),
                f"{best[0]:.2f}" if runs else "–",
                f"{best[1]:.2f}",
            ]
        )
    headers = ["technique", f"IQM ({plain(unit.label)})", "these data sets", "data sets like these"]
    return markdown([*headers, "P(best), these", "P(best), like these"], rows, 1) if rows else ""


def _interval(unit: Unit, oriented: tuple[float, float]) -> str:
    return f"[{', '.join(unit.score(end) for end in sorted(unit.sign * end for end in oriented))}]"


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return the interquartile means and the chance to be best."""
    unit, rows = findings.common, []
    for name, value in findings.robustness.iqm.items():
        these, like, best = unit.ends(*value.these), unit.ends(*value.like_these), findings.robustness.best[name]
        rows.append(
            {
                "technique": name,
                "iqm": unit.shown(value.value),
                "these_low": these[0],
                "these_high": these[1],
                "like_these_low": like[0],
                "like_these_high": like[1],
                "best_these": best[0],
                "best_like_these": best[1],
            }
        )
    return pd.DataFrame(rows)


def text(findings: JudgedFindings) -> str:
    """Return the table with its explanation."""
    rows = table(findings)
    if not rows:
        return ""
    return (
        "Interquartile means with two bootstraps: the runs are redrawn on these data sets, or the data sets are redrawn"
        " too. P(best) is the share of such draws in which a technique has the best mean."
        f"{' Lower is better.' if findings.common.sign < 0 else ''} {numbers_of('aggregates')}\n\n{rows}"
    )


AGGREGATES = Section(judged, text, {"aggregates": numbers})
