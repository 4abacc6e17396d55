"""What one trial spends."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.cost import untimed
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.analysis.resources import knows_energy
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import counted, flops, listed, plural, times
from evalbench.report.section import Section, always, numbers_of


def how(findings: Findings) -> str:
    """Say whether time and energy were measured, and on which data sets time was not."""
    if findings.folder.costs.empty:
        return "No time was measured in isolation, so every cost class is UNCLEAR."
    rounds = plural(int(findings.folder.costs.groupby(["technique", "workload"])["round"].nunique().min()), "round")
    parts = [
        f" The cost ratio of {code(name)} leaves out {listed([code(w) for w in workloads])}: not every setting there"
        " was timed for both sides."
        for name, workloads in untimed(findings.folder).items()
    ]
    energy = "" if knows_energy(findings.folder) else " Energy: not known."
    return f"Seconds were measured in isolation, in {rounds} interleaved over the techniques.{''.join(parts)}{energy}"


def table(findings: Findings) -> str:
    """Return the work of one trial: optimizer steps, examples and floating-point operations."""
    evaluation = findings.evaluation
    base = {cost.workload: cost for cost in findings.costs if cost.technique == evaluation.baseline}
    ratios = evaluation.baseline is not None
    rows = []
    if not any(math.isfinite(cost.steps) or math.isfinite(cost.flops) for cost in findings.costs):
        return ""
    for workload, group in itertools.groupby(findings.costs, key=lambda cost: cost.workload):
        for index, cost in enumerate(group):
            row = [
                code(workload) if index == 0 else "",
                code(cost.technique),
                counted(cost.parameters),
                counted(cost.steps),
                counted(cost.examples),
                flops(cost.flops) if cost.num_trials else "–",
            ]
            if ratios:
                for name in ("steps", "flops"):
                    own, reference = getattr(cost, name), getattr(base[workload], name)
                    row.append(times(own / reference) if reference else "–")
            rows.append(row)
    headers = ["workload", "technique", "parameters", "optimizer steps", "examples", "FLOPs"]
    if ratios:
        headers += [f"steps relative to {code(evaluation.baseline)}", f"FLOPs relative to {code(evaluation.baseline)}"]
    return markdown(headers, rows, 2)


def numbers(findings: Findings) -> pd.DataFrame:
    """Return the mean work of a completed trial, per technique and workload."""
    return pd.DataFrame([asdict(cost) for cost in findings.costs])


def matched_numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return the comparisons at equal work."""
    rows = []
    for m in findings.matched:
        ends = findings.common.numbers(m.effect) if m.effect else {}
        rows.append({"candidate": m.candidate, "equal": m.by, "overlap": " ".join(m.workloads), **ends})
    return pd.DataFrame(rows)


def text(findings: Findings) -> str:
    """Return the table, and whether time was measured."""
    rows = table(findings)
    if not rows:
        return ""
    return (
        "## Cost of a trial\n\nMean of the completed trials, counted from the operations of the model."
        f" {how(findings)} {numbers_of('costs')}\n\n{rows}"
    )


COSTS = Section(always, text, {"costs": numbers})
MATCHED = Section(judged, tables={"matched": matched_numbers})
