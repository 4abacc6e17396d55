"""The first screen: the answer, one figure, one table, the next step."""

from __future__ import annotations

from evalbench.report.analysis.findings import judged
from evalbench.report.section import Section
from evalbench.report.sections.summary import text
from evalbench.report.sections.tradeoff import CHART

DECISION = Section(judged, text, charts=(CHART,))
