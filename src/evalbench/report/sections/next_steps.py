"""What to do next, and its price: one short line for all techniques."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evalbench.names import code
from evalbench.report.analysis.findings import JudgedFindings
from evalbench.report.analysis.prices import Bill, Price
from evalbench.report.render.units import listed, plural, span_of_time
from evalbench.report.sections.advice import repetitions
from evalbench.statistics.judging import Verdict
from evalbench.statistics.power import MOST_DATASETS
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation

MOST_STEPS = 3
MOST_NAMES = 3


def next_steps(findings: JudgedFindings) -> list[str]:
    """Return what to do next in Markdown, the most urgent first, at most three steps, each with its price if known."""
    verdicts = findings.judged.verdicts
    judged = {v.challenger for v in verdicts if v.recommendation is not Recommendation.INVALID}
    lacking = [n for n in findings.evaluation.techniques if n not in judged and n != findings.judged.baseline]
    steps = []
    if lacking:
        again = "add the missing scores" if findings.evaluation.foreign else "run the same command again"
        steps.append(f"{again}, to judge {_names(lacking)}")
    open_ = [v for v in verdicts if v.recommendation is Recommendation.INSUFFICIENT]
    open_.sort(key=lambda v: -v.effect.mean)
    for what in dict.fromkeys(v.next_step.what for v in open_):
        mine = [v for v in open_ if v.next_step.what == what]
        each = [[v] for v in mine] if what in ("seeds", "datasets") and len(mine) < MOST_STEPS else [mine]
        steps += [_decide(findings, what, verdicts) for verdicts in each]
    steps += [step for step in (_confirm(findings), _elsewhere(findings)) if step]
    steps = steps[:MOST_STEPS] or ["nothing: there is no reason to switch"]
    return [f"{step[0].upper()}{step[1:]}" for step in steps]


def _names(names: Sequence[str]) -> str:
    rest = [plural(len(names) - MOST_NAMES, "other")] if len(names) > MOST_NAMES else []
    return listed([*(code(name) for name in names[:MOST_NAMES]), *rest])


def _decide(findings: JudgedFindings, what: str, verdicts: Sequence[Verdict]) -> str:
    """Return what would decide on techniques that are open for the same reason."""
    names = _names([v.challenger for v in verdicts])
    count = max(v.next_step.count for v in verdicts)
    if what == "look":
        return f"for {names}, the look at {count} seeds (the same command goes on)"
    if what == "pairs":
        return f"for {names}, at least {repetitions(findings, count)} on each data set, the fewest for a verdict"
    if what == "failures":
        return f"find out why runs of {names} fail"
    if what == "spread":
        return f"find out why nothing differs between the runs of {names}: they may be copies, or all have failed"
    if what == "seeds":
        price = _price(findings, verdicts, lambda b: b.seeds_for_rope) or _price(
            findings, verdicts, lambda b: b.seeds_for_sign
        )
        return f"for {names}, {repetitions(findings, count)}{_effort(price)}{_would(findings, verdicts, 'seeds')}"
    if what == "datasets":
        if not all(v.next_step.count for v in verdicts):
            return f"no number of data sets up to {MOST_DATASETS} decides on {names}"
        more = max(v.next_step.count - v.num_datasets for v in verdicts)
        price = _price(findings, verdicts, lambda b: b.datasets_for_rope) or _price(
            findings, verdicts, lambda b: b.datasets_for_sign
        )
        would = _would(findings, verdicts, "datasets")
        return f"for {names}, {plural(more, 'more data set')}{_effort(price)}{would}"
    sign = _price(findings, verdicts, lambda b: b.datasets_for_sign)
    more = max((sign.needed or 0) - v.num_datasets for v in verdicts) if sign is not None else 0
    instead = f"more {findings.evaluation.repeated[1]} cannot decide on {names}: take larger test sets"
    if more <= 0:
        return f"{instead} or more data sets"
    return f"{instead}, or {plural(more, 'more data set')}{_effort(sign)} to see the sign of the effect if it stays"


def _would(findings: JudgedFindings, verdicts: Sequence[Verdict], what: str) -> str:
    """Say what a number gives: a decision whatever the effect, or its sign alone if it stays as it is."""
    whatever = [getattr(findings.bills[v.challenger], f"{what}_for_rope").needed for v in verdicts]
    return " would decide" if None not in whatever else " would show the sign of the effect if it stays as it is"


def _price(findings: JudgedFindings, verdicts: Sequence[Verdict], *kinds: Callable[[Bill], Price]) -> Price | None:
    """Return the highest price over the techniques of the first kind that all of them can have."""
    for kind in kinds:
        prices = [kind(findings.bills[v.challenger]) for v in verdicts]
        if all(price.needed is not None for price in prices):
            return max(prices, key=lambda price: price.needed or 0)
    return None


def _effort(price: Price | None) -> str:
    if price is None or not price.trials:
        return ""
    time = f", {span_of_time(price.seconds)}" if math.isfinite(price.seconds) else ""
    return f" ({plural(price.trials, 'more trial')}{time})"


def _confirm(findings: JudgedFindings) -> str:
    """Return what to do before a technique is used that is recommended in some way."""
    advised = (Recommendation.ADOPT, Recommendation.TRIAL, Recommendation.ASSESS)
    mine = [v for v in findings.judged.verdicts if v.recommendation in advised]
    if not mine:
        return ""
    mixed = [v.challenger for v in mine if v.quality is Quality.MIXED]
    if mixed:
        return f"choose {_names(mixed)} by data set"
    if any(v.cost_class is CostClass.UNCLEAR for v in mine):
        if findings.evaluation.foreign:
            return "add each run's seconds as a column `cost_seconds`"
        return "measure the cost " + ("(`cost.rounds=5`)" if findings.folder.costs.empty else "again, alone")
    if not all(v.guards.tuned for v in mine):
        return "tune all techniques alike" + ("" if findings.evaluation.foreign else " (`+search=random`)")
    adopted = [v.challenger for v in mine if v.recommendation is Recommendation.ADOPT]
    return f"use {_names(adopted[:1])}" if adopted else ""


def _elsewhere(findings: JudgedFindings) -> str:
    """Return how many more data sets would show that the verdicts hold beyond these."""
    missing = [
        v for v in findings.judged.verdicts if v.generality is not None and v.generality.side and not v.generality.shown
    ]
    if findings.one_score or not missing:
        return ""
    best = _price(findings, missing, lambda bill: bill.datasets_for_sign)
    more = max((best.needed or 0) - v.num_datasets for v in missing) if best is not None else 0
    if more <= 0:
        return ""
    return f"to speak of other data sets, {plural(more, 'more data set')}{_effort(best)}"
