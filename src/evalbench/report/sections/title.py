"""The title, the question, and what the index of all evaluations lists."""

from __future__ import annotations

import math

import pandas as pd

from evalbench.names import plain
from evalbench.report.analysis.findings import Findings, judged
from evalbench.report.section import Section, always


def numbers(findings: Findings) -> pd.DataFrame:
    """Return the row for the index of all evaluations."""
    e = findings.evaluation
    rope = findings.common.shown_size(verdicts.judged.design.rope) if (verdicts := judged(findings)) else math.nan
    row = {
        "name": e.name,
        "question": e.question,
        "date": e.provenance.get("trained_until", ""),
        "baseline": e.baseline or "",
        "unit": findings.common.difference,
        "rope": rope,
        "declared": e.declared or "",
        "num_datasets": len(findings.data_sets),
        "num_trials": len(findings.folder.results),
    }
    return pd.DataFrame([row])


def text(findings: Findings) -> str:
    """Return the title and the question."""
    return f"# {plain(findings.evaluation.name)}\n\n**{plain(findings.evaluation.question)}**"


TITLE = Section(always, text, {"evaluation": numbers})
