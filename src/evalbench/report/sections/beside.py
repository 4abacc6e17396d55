"""Beside the first verdict: each workload's part in it, and the price of an answer."""

from __future__ import annotations

import math

from evalbench.names import code, plain
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.analysis.prices import Price
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import p_value, plural, span_of_time
from evalbench.report.section import Section, numbers_of
from evalbench.statistics.design import used


def where(findings: JudgedFindings) -> str:
    """Return the effect on each workload, whether it is named, and its share of the squared standard error."""
    unit = findings.common
    rows = []
    for v in findings.judged.verdicts:
        for effect in v.sets:
            if not math.isfinite(effect.share):
                continue
            named = {1: "**better**", -1: "**worse**"}.get(effect.named, "–")
            size = f"{unit.change(effect.interval.mean)}"
            rows.append(
                [
                    code(v.challenger),
                    code(effect.workload),
                    size,
                    p_value(effect.p),
                    named,
                    f"{100 * effect.share:.0f} %",
                ]
            )
    if len(used(findings.judged.design)) < 2 or not rows:
        return ""
    headers = ["technique", "workload", f"effect ({plain(unit.difference)})", "p (Holm)", "named", "share of SE²"]
    return markdown(headers, rows, 2)


def prices(findings: JudgedFindings) -> str:
    """Return what the sign and the ROPE cost, in seeds and in data sets."""
    rows, others = [], not findings.judged.design.fixed_sets
    for v in findings.judged.verdicts:
        bill = findings.bills[v.challenger]
        between = findings.common.size(v.between) if math.isfinite(v.between) else "not known"
        cells = [_cell(findings, price) for price in (bill.seeds_for_sign, bill.seeds_for_rope)]
        cells += [_cell(findings, price) for price in (bill.datasets_for_sign, bill.datasets_for_rope) if others]
        rows.append([code(v.challenger), *cells, *([between] if others else [])])
    many = findings.evaluation.repeated[1]
    headers = ["technique", f"{many} for the sign", f"{many} for the ROPE"]
    if others:
        headers += ["data sets for the sign", "data sets for the ROPE", "spread of the effect between data sets"]
    return markdown(headers, rows, 1)


def _cell(findings: JudgedFindings, price: Price) -> str:
    if price.needed is None:
        return "cannot be had"
    if price.had:
        return f"{price.needed} (there)"
    time = f", {span_of_time(price.seconds)}" if math.isfinite(price.seconds) else ""
    return f"{price.needed} ({plural(price.trials, findings.evaluation.one_result)}{time})"


def _rho(findings: JudgedFindings) -> str:
    """Say which term is added to 1/n, and where it comes from."""
    terms = sorted({f"{value:.2f}" for value in findings.rho.values() if value})
    if not terms:
        why = {
            RowScope.UNKNOWN: "it is not known whether the splits were redrawn",
            RowScope.THESE_ROWS: f"the test rows are the same for all {findings.evaluation.repeated[1]}",
        }.get(findings.scope.words, "the test rows of each repetition are new")
        return f"Nothing is added to 1/n, since {why}."
    ends = " to ".join(dict.fromkeys((terms[0], terms[-1])))
    folded = {one.folds is not None for name, one in findings.evaluation.workloads.items() if findings.rho.get(name)}
    sources = {False: "test rows / training rows", True: "1 / (folds − 1)"}
    source = " or ".join(words for own, words in sources.items() if own in folded)
    return f"The variance of a data set's mean is s² (1/n + {ends}): splits share rows ({source})."


def text(findings: JudgedFindings) -> str:
    """Return both tables."""
    if findings.one_score or not findings.judged.verdicts:
        return ""
    parts = ["## Beside the first verdict", f"{_rho(findings)} {numbers_of('effects')}", where(findings)]
    note = (
        f"The numbers of {findings.evaluation.repeated[1]}{_each_side(findings)} on each data set, and of data sets,"
        " after which the interval excludes zero if the effect stays as it is (the sign), or is no wider than the ROPE"
        f" on either side. In brackets: the {findings.evaluation.one_result}s still to be run, and their time one by"
        f" one{'' if findings.evaluation.foreign else ' (cohorts are faster)'}. {numbers_of('verdicts')}"
    )
    return "\n\n".join(part for part in [*parts, note, prices(findings)] if part)


def _each_side(findings: JudgedFindings) -> str:
    return "" if findings.judged.design.paired else " of each side"


BESIDE = Section(judged, text)
