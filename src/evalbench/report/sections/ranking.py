"""The table of the first screen: a row per technique, by effect."""

from __future__ import annotations

import math

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings
from evalbench.report.analysis.verdicts import recommended
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import duration, percent, ratio
from evalbench.report.section import numbers_of
from evalbench.report.sections.advice import repeated, sets_of
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import Quality, Recommendation

SHORT = {
    Quality.SUPERIOR: "better",
    Quality.BETTER: "better",
    Quality.EQUIVALENT: "as good",
    Quality.MIXED: "depends on the data",
    Quality.NON_INFERIOR: "not worse",
    Quality.INCONCLUSIVE: "",
    Quality.WORSE: "worse",
    Quality.INFERIOR: "worse",
}


def ranking(findings: JudgedFindings) -> str:
    """Return a row per technique, the best effect first and the baseline among them."""
    verdicts = {v.challenger: v for v in findings.judged.verdicts}
    baseline = findings.judged.baseline
    effects = {**{name: v.effect.mean for name, v in verdicts.items()}, baseline: 0.0}
    names = sorted(findings.evaluation.techniques, key=lambda n: (n not in effects, -effects.get(n, 0.0)))
    rows = [_row(findings, name, verdicts.get(name)) for name in names]
    unit = plain(findings.common.difference)
    headers = [
        "technique",
        "verdict",
        f"effect, {unit}",
        f"{percent(findings.level)} interval",
        "cost",
        "other data sets",
    ]
    known = [i for i, _ in enumerate(headers) if any(row[i] not in ("", "–") for row in rows)]
    return markdown([headers[i] for i in known], [[row[i] for i in known] for row in rows], 2)


def _row(findings: JudgedFindings, name: str, verdict: Verdict | None) -> list[str]:
    seconds = findings.seconds.get(name, math.nan)
    time = duration(seconds) if math.isfinite(seconds) else ""
    if name == findings.judged.baseline:
        return [code(name), "*baseline*", findings.common.change(0.0), "", time, ""]
    if verdict is None:
        return [code(name), "**INVALID**", "–", "no pairs with the baseline", time, ""]
    unit, cost = findings.common, verdict.cost.value
    relative = f"{ratio(cost)}×" if math.isfinite(cost) else ""
    return [
        code(name),
        said(verdict),
        unit.change(verdict.effect.mean),
        unit.change_interval(verdict.effect, repeated(findings)),
        f"{time} ({relative})" if time and relative else time or relative,
        "" if findings.one_score else _elsewhere(verdict),
    ]


def said(verdict: Verdict) -> str:
    """Return a verdict in two or three words: `**ADOPT**, as good`."""
    words = "" if verdict.recommendation is Recommendation.INVALID else SHORT[verdict.quality]
    return f"**{recommended(verdict)}**" + (f", {words}" if words else "")


def _elsewhere(verdict: Verdict) -> str:
    general = verdict.generality
    if general is None or not general.side:
        return "–"
    return general.words


def legend(findings: JudgedFindings) -> str:
    """Explain the columns in two sentences."""
    rope = findings.common.size(findings.judged.design.rope)
    baseline = code(findings.judged.baseline)
    mean = f", mean over {len(findings.data_sets)} {sets_of(findings)}" if len(findings.data_sets) > 1 else ""
    what = "a run" if findings.evaluation.foreign else "a training alone"
    cost = f" Cost: {what}, and relative to {baseline}." if findings.seconds else ""
    source = "" if findings.evaluation.rope_declared else ", evalbench's default"
    skill = " Skill is 0 for the trivial predictor and 100 for perfect predictions." if findings.common.is_skill else ""
    return (
        f"Effect: technique minus {baseline}{mean}{findings.common.better}. Within ±{rope} (the ROPE{source}) a"
        f" difference is too small to matter.{skill}{cost} {numbers_of('verdicts')}"
    )
