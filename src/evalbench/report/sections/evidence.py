"""From evidence to recommendation: the classes behind each verdict, the caps, and the effect without each data set."""

from __future__ import annotations

import math

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.section import Section, numbers_of


def how(findings: JudgedFindings) -> str:
    """Explain how a recommendation follows from the classes."""
    several = len(findings.data_sets) > 1
    overall = (
        " The mean over the data sets decides, each with the same weight. A data set is named if its own difference"
        " holds after Holm's correction for all data sets and techniques. One named better and another worse is MIXED."
        if several and not findings.one_score
        else ""
    )
    failures = (
        " If one side fails more often, EQUIVALENT is not given. A side that alone fails in more than half of the"
        " pairs, and more often by Fisher's exact test (p ≤ 0.05), has lost whatever the scores."
        if (findings.folder.results["failed"] > 0).any()
        else ""
    )
    return (
        "Quality comes from the interval and the ROPE, cost from the interval of the cost ratio (within 10 % is the"
        f" same). Together they give the recommendation, and caps lower it.{overall} EQUIVALENT is not given if the"
        f" ROPE is below the noise floor of the test set.{failures} The finest difference is half the interval that no"
        " number of seeds would narrow. The recommendations at half and at double the ROPE show whether the choice of"
        " the ROPE matters."
    )


def table(findings: JudgedFindings) -> str:
    """Return the classes behind each recommendation, the caps, and what half and double the ROPE would have given."""
    unit = findings.common
    rows = []
    for v in findings.judged.verdicts:
        rows.append(
            [
                code(v.challenger),
                str(v.quality),
                str(v.cost_class),
                "; ".join(cap.reason for cap in v.advice.caps) or "–",
                str(v.half_rope),
                str(v.recommendation),
                str(v.double_rope),
                unit.span(*v.prediction),
                unit.size(v.floor) if math.isfinite(v.floor) else "not known",
                unit.size(v.finest) if v.finest > 0 else "–",
            ]
        )
    headers = [
        "technique", "quality", "cost", "caps", "at ROPE/2", "recommendation", "at 2·ROPE",
        "prediction interval, a new data set", "noise floor", "finest difference",
    ]  # fmt: skip
    return markdown(headers, rows, 7)


def leave_one_out(findings: JudgedFindings) -> str:
    """Return the overall mean without each data set in turn."""
    verdicts = [v for v in findings.judged.verdicts if v.leave_one_out]
    if not verdicts:
        return ""
    unit = findings.common
    rows = [["*none*", *(unit.change(v.effect.mean) for v in verdicts)]]
    rows += [[code(n), *(unit.change(v.leave_one_out[n]) for v in verdicts)] for n in verdicts[0].leave_one_out]
    return markdown(["left out", *(code(v.challenger) for v in verdicts)], rows, 1)


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return a row per candidate and workload, and per candidate without each data set."""
    unit, rows = findings.common, []
    for v in findings.judged.verdicts:
        for effect in v.sets:
            i = effect.interval
            low, high = unit.ends(i.low, i.high)
            rows.append(
                {
                    "candidate": v.challenger,
                    "workload": effect.workload,
                    "unit": findings.common.difference,
                    "effect": unit.shown(i.mean),
                    "low": low,
                    "high": high,
                    "sd": unit.shown_size(i.sd),
                    "pairs": i.count,
                    "confidence": i.confidence,
                    "named": effect.named,
                    "p_holm": effect.p,
                    "share": effect.share,
                    "counted": effect.counted,
                    "overall_without_it": unit.shown(v.leave_one_out.get(effect.workload, math.nan)),
                }
            )
    return pd.DataFrame(rows)


def text(findings: JudgedFindings) -> str:
    """Return the table of the classes, and the effects without each data set."""
    parts = ["## From evidence to recommendation", f"{how(findings)} {numbers_of('verdicts')}", table(findings)]
    without = leave_one_out(findings)
    if without:
        unit = plain(findings.common.difference)
        said = f"The overall effect leaving one data set out, in {unit}. {numbers_of('effects')}"
        parts += [said, without]
    return "\n\n".join(parts)


EVIDENCE = Section(judged, text, {"effects": numbers})
