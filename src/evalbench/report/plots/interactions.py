"""The effect at each level of another factor, and the change between two levels."""

from __future__ import annotations

import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.analysis.findings import JudgedFindings
from evalbench.report.analysis.interactions import Interaction
from evalbench.report.render.plots import (
    Panel,
    Plot,
    Trace,
    all_or_chosen,
    label,
    line,
    points,
    rope,
    row_height,
    rows_axis,
    rule,
    whiskers,
)
from evalbench.statistics.interactions import Dependence


def interactions(findings: JudgedFindings, _: pd.DataFrame) -> Plot:
    """Return two panels per factor: the effects by level, and the changes with their intervals."""
    panels = []
    for factor in findings.evaluation.factors:
        group = [one for one in findings.interactions if one.factor == factor]
        panels += [_effects(findings, group), _changes(findings, group)]
    return all_or_chosen(panels, "factor")


def _effects(findings: JudgedFindings, group: list[Interaction]) -> Panel:
    unit, techniques = findings.common, list(findings.evaluation.techniques)
    levels = list(group[0].effects)
    traces = []
    for one in group:
        cards = [
            f"{one_line(one.factor)}={one_line(level)}\n{unit.change(effect)} {unit.difference}"
            for level, effect in one.effects.items()
        ]
        effects = [unit.shown(effect) for effect in one.effects.values()]
        look = {"mode": "lines+markers", "hover": cards}
        traces.append(line(range(len(levels)), effects, techniques.index(one.candidate), **look))
    layout = {
        "xaxis": {
            "tickvals": list(range(len(levels))), "ticktext": [label(level, 14) for level in levels],
            "range": [-0.4, len(levels) - 0.6], "title": {"text": label(group[0].factor, 60)},
        },
        "yaxis": {"title": {"text": f"effect ({label(unit.difference, 60)})"}, "nticks": 6},
        "shapes": [rope("y", unit.shown_size(findings.judged.design.rope)), rule("y", 0)],
    }  # fmt: skip
    return Panel(f"{short(one_line(group[0].factor))}: the effect at each level", traces, layout)


def _changes(findings: JudgedFindings, group: list[Interaction]) -> Panel:
    unit, techniques = findings.common, list(findings.evaluation.techniques)
    traces: list[Trace] = []
    labels: list[str] = []
    for one in group:
        for contrast in one.contrasts:
            low, high = unit.ends(contrast.low, contrast.high)
            middle, row = unit.shown(contrast.mean), len(labels)
            names = f"{short(one_line(contrast.first), 16)} − {short(one_line(contrast.second), 16)}"
            card = f"{names}\n{unit.change(contrast.mean)} {unit.span(contrast.low, contrast.high)}\n{contrast.answer}"
            open_ = contrast.answer is Dependence.UNKNOWN
            bars = whiskers([middle], [low], [high])
            index = techniques.index(one.candidate)
            traces.append(points([middle], [row], index, open=open_, hover=[card], error_x=bars))
            labels.append(names)
    layout = {
        "yaxis": rows_axis(labels),
        "xaxis": {"title": {"text": f"change ({label(unit.difference, 60)})"}, "nticks": 5},
        "shapes": [rope("x", unit.shown_size(findings.judged.design.rope)), rule("x", 0)],
    }
    return Panel(
        f"{short(one_line(group[0].factor))}: the change between two levels", traces, layout, row_height(len(labels))
    )
