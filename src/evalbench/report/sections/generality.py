"""Beside the first verdict: data sets like these, exactly these rows, what to watch, and the price of an answer."""

from __future__ import annotations

import math

from evalbench.names import code, plain
from evalbench.report.analysis.collapsed import Collapse
from evalbench.report.analysis.findings import JudgedFindings
from evalbench.report.analysis.prices import Bill, Price
from evalbench.report.render.units import listed, p_is, percent, plural, span_of_time
from evalbench.statistics.judging import SKEWED, Verdict
from evalbench.statistics.looks import Stop
from evalbench.statistics.power import MOST_DATASETS, MOST_SEEDS
from evalbench.statistics.verdicts import Quality, Recommendation

ONLY_THE_MEAN = (Quality.MIXED, Quality.EQUIVALENT)  # of them, the second verdict tests another claim: the mean's side


def second_verdict(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say whether the effect generalizes to data sets like these; empty if the first verdict says so itself."""
    general, unit = verdict.generality, findings.common
    if general is None:
        return ""
    typical = ""
    if general.typical is not None:
        middle, p = general.typical
        typical = f" The typical data set differs by {unit.change(middle)} (signed rank, {p_is(p)})."
    if findings.one_score or not general.side:
        return typical.strip()
    if not general.tested:
        return f"Data sets like these: not tested, since {plural(general.num_datasets, 'data set')} cannot show it."
    interval = f"{percent(general.interval.confidence)} CI of the mean over data sets"
    ends = f"{unit.change(general.interval.mean)} {unit.change_interval(general.interval, 'data set')}, {interval}"
    if general.shown:
        limits = f" With care: {listed(list(general.limits))}." if general.limits else ""
        what = "the side of the mean GENERALIZES" if verdict.quality in ONLY_THE_MEAN else "GENERALIZES"
        return f"Data sets like these: {what} ({ends}).{limits}{typical}"
    bill = findings.bills[verdict.challenger]
    need = f"The sign would take {_sets(bill.datasets_for_sign)}, the ROPE {_sets(bill.datasets_for_rope)}."
    return f"Data sets like these: NOT SHOWN ({ends}). {need}{typical}"


def _sets(price: Price) -> str:
    return f"more than {MOST_DATASETS} data sets" if price.needed is None else plural(price.needed, "data set")


def on_these_rows(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say what holds on exactly these rows, if that is another class."""
    rows, unit = verdict.on_rows, findings.common
    if rows is None or rows.quality is verdict.quality or not math.isfinite(rows.low):
        return ""
    ends = f"{' to '.join(unit.end_texts(rows.low, rows.high))} {plain(unit.difference)}"
    said = "; ".join([rows.quality.words, *named_words(rows.better_on, rows.worse_on), ends])
    return f"Exactly these rows: {rows.quality} ({said}). That says nothing about new rows."


def named_words(better_on: tuple[str, ...], worse_on: tuple[str, ...]) -> list[str]:
    """Return the workloads that are named: `worse on digits and moons`."""
    sides = (("better on", better_on), ("worse on", worse_on))
    return [f"{words} {listed([code(name) for name in names])}" for words, names in sides if names]


def watch(findings: JudgedFindings, verdict: Verdict) -> list[str]:
    """Return what may mislead: runs that collapsed, a workload that rules the interval, seeds that stopped early."""
    return [line for line in (_stopped(findings, verdict), *_suspect(findings, verdict)) if line]


def _suspect(findings: JudgedFindings, verdict: Verdict) -> list[str]:
    return [_collapsed(findings, verdict), _skewed(verdict), _constant(verdict), _ruled(verdict)]


def _skewed(verdict: Verdict) -> str:
    if not verdict.asymmetry < SKEWED:
        return ""
    return "Watch: the differences are skewed, so errors are more likely than stated."


def _constant(verdict: Verdict) -> str:
    """Name workloads whose pairs all differ by the same amount, among others that spread."""
    same = [
        e.workload for e in verdict.sets if e.interval.count > 1 and math.isfinite(e.share) and not e.interval.sd > 0
    ]
    if not same or not verdict.effect.computed:
        return ""
    return (
        f"Watch: all pairs on {listed([code(name) for name in same])} differ by the same amount. Are the runs copies?"
    )


def _stopped(findings: JudgedFindings, verdict: Verdict) -> str:
    looks = findings.evaluation.looks
    if len(looks) < 2:
        return ""
    at = f"Look {verdict.looks.index + 1} of {len(looks)}, {plural(verdict.looks.num_seeds, 'seed')}"
    if verdict.looks.stopped is None:
        return f"{at}: open."
    if verdict.looks.stopped is Stop.DECIDED:
        return f"{at}: decided."
    floor = findings.common.size(verdict.finest)
    return f"{at}: stopped, since no number of seeds narrows the interval to less than ±{floor}."


def _collapsed(findings: JudgedFindings, verdict: Verdict) -> str:
    mine = _collapses(findings, verdict)
    if not mine:
        return ""
    rare = "Rare collapses of one side make errors more likely than stated, the more so the deeper they are."
    warning = f" {rare}" if collapsed_on_one_side(findings, verdict) else ""
    return f"Watch: {listed([_runs(c) for c in mine])} ended no better than the trivial predictor.{warning}"


def _collapses(findings: JudgedFindings, verdict: Verdict) -> list[Collapse]:
    sides = (verdict.challenger, findings.judged.baseline)
    return [c for c in findings.collapses or () if c.technique in sides and c.workload in findings.data_sets]


def collapsed_on_one_side(findings: JudgedFindings, verdict: Verdict) -> bool:
    """Return whether runs of one side alone ended no better than the trivial predictor."""
    return len({c.technique for c in _collapses(findings, verdict)}) == 1


def _runs(c: Collapse) -> str:
    diverged = f" ({c.diverged} diverged)" if c.diverged else ""
    return f"{c.collapsed} of {plural(c.num_runs, 'run')} of {code(c.technique)} on {code(c.workload)}{diverged}"


def _ruled(verdict: Verdict) -> str:
    shares = {effect.workload: effect.share for effect in verdict.sets if math.isfinite(effect.share)}
    ruled = [name for name, share in shares.items() if share > 0.5 and len(shares) > 1]
    if not ruled:
        return ""
    return f"Watch: {code(ruled[0])} carries {100 * shares[ruled[0]]:.0f} % of the squared standard error of the mean."


def price(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return what an answer would cost, for a verdict that is open."""
    if verdict.quality not in (Quality.INCONCLUSIVE, Quality.NON_INFERIOR) or not verdict.effect.computed:
        return ""
    if findings.one_score or verdict.recommendation is Recommendation.INVALID:
        return ""
    bill = findings.bills[verdict.challenger]
    return " ".join(text for text in (_in_seeds(findings, verdict, bill), _in_datasets(verdict, bill)) if text)


def _in_seeds(findings: JudgedFindings, verdict: Verdict, bill: Bill) -> str:
    """Return how many seeds the first verdict would take."""
    one, many = findings.evaluation.repeated
    without = f"no number of {many}, only more rows or more data sets"
    if not verdict.finest > 0:  # repetitions share no rows: some number would do
        without = f"more than {MOST_SEEDS:,} {many}"
    elif bill.seeds_for_sign.needed is None and bill.seeds_for_rope.needed is None:
        limit = findings.common.size(verdict.finest)
        return f"No number of {many} will do: they narrow the interval to ±{limit} at best."
    sign, rope = (
        without if price.needed is None else f"{plural(price.needed, one, many)} ({_effort(price)})"
        for price in (bill.seeds_for_sign, bill.seeds_for_rope)
    )
    return f"Price of the sign, if the effect stays as it is: {sign}. Price of the ROPE: {rope}."


def _in_datasets(verdict: Verdict, bill: Bill) -> str:
    """Return how many data sets the second verdict would take."""
    if verdict.num_datasets < 2:
        return ""
    sign, rope = (
        f"more than {MOST_DATASETS}" if price.needed is None else f"{price.needed} ({_effort(price)})"
        for price in (bill.datasets_for_sign, bill.datasets_for_rope)
    )
    return f"Data sets that would show the mean over others like these: {sign} for the sign, {rope} for the ROPE."


def _effort(price: Price) -> str:
    if price.had:
        return "there already"
    time = f", {span_of_time(price.seconds)} one by one" if math.isfinite(price.seconds) else ""
    return f"{plural(price.trials, 'more trial')}{time}"
