"""The answer in sentences: what was compared on what, what came of it, how trials ended."""

from __future__ import annotations

import math

from evalbench.names import code, plain
from evalbench.report.analysis.differences import Difference, Overall
from evalbench.report.analysis.findings import Findings, judged
from evalbench.report.render.markdown import named
from evalbench.report.render.units import Unit, listed, percent, plural, times
from evalbench.report.section import Section
from evalbench.statistics.intervals import Interval


def _described(findings: Findings) -> Findings | None:
    return None if judged(findings) else findings


def answer(findings: Findings) -> str:
    """Return the answer to the question, in one paragraph."""
    sentences = [_scope(findings)]
    sentences += [_compared(findings, overall) for overall in findings.overall]
    if len(findings.comparisons) > 1:
        level = percent(findings.family)
        sentences.append(
            f"The {len(findings.comparisons)} comparisons share one error rate: each interval is at {level}."
        )
    sentences += [text for text in (unequal_updates(findings), _linear(findings)) if text]
    sentences.append(_endings(findings))
    return " ".join(sentences)


def context(findings: Findings) -> str:
    """Describe the scope, the linear model, and how trials ended."""
    return " ".join(text for text in (_scope(findings), _linear(findings), _endings(findings)) if text)


def budget(findings: Findings) -> str:
    """Return the budget of a trial: `20 epochs`."""
    parts = []
    for name, value in findings.evaluation.budget.items():
        amount = f"{value:,g}" if float(value) % 1 else f"{value:,.0f}"
        parts.append(f"{amount} {plain(name.rstrip('s') if value == 1 else name)}")
    return listed(parts)


def _scope(findings: Findings) -> str:
    evaluation = findings.evaluation
    trials = plural(len(findings.folder.results), findings.evaluation.one_result)
    single = code(next(iter(evaluation.workloads)))
    where = plural(len(evaluation.workloads), "workload") if len(evaluation.workloads) > 1 else single
    seeds = f"{_seeds(findings)} each ({trials})"
    if evaluation.factor is None:
        techniques = listed([code(name) for name in evaluation.techniques])
        verb = "was" if len(evaluation.techniques) == 1 else "were"
        length = f" for {budget(findings)}" if evaluation.budget else ""
        return f"{techniques} {verb} trained{length} on {where}, {seeds}."
    values = plural(len(evaluation.techniques), "value")
    if evaluation.foreign:
        sizes = [
            sum(len(findings.folder.cell(name, technique)) for technique in evaluation.techniques)
            for name in evaluation.workloads
        ]
        each = "one score each" if max(sizes) == len(evaluation.techniques) else f"{trials} in all"
        return f"{values} of {code(evaluation.factor)} were compared on {where}, {each}."
    given = f"At {budget(findings)} per trial and" if evaluation.budget else "At"
    return (
        f"{given} the settings listed below, {values} of {code(evaluation.factor)} were compared on {where}, {seeds}."
    )


def _seeds(findings: Findings) -> str:
    """Return the seeds of a technique on a workload: `10 seeds`, or `5 to 20 seeds` if some stopped early."""
    evaluation = findings.evaluation
    if len(evaluation.looks) < 2:
        return plural(evaluation.num_seeds, "seed")
    used = findings.folder.results.groupby(["technique", "workload"])["seed"].nunique()
    ends = dict.fromkeys([str(used.min()), str(used.max())])
    return f"{' to '.join(ends)} seeds"


def _compared(findings: Findings, overall: Overall) -> str:
    """Compare a candidate with its comparator: the overall effect, if there is one, then the counts."""
    candidate, comparator = _the(overall.candidate), _the(overall.comparator)
    mine = [d for d in findings.differences if (d.candidate, d.comparator) == (overall.candidate, overall.comparator)]
    if overall.interval is not None:
        data_sets = plural(len(overall.workloads), "data set")
        effect = _effect(findings.common, overall.interval, candidate, comparator, "data set")
        return f"Averaged over {data_sets}, {effect}; {_counts(mine)}."
    if len(mine) == 1:
        only = mine[0]
        effect = _effect(findings.units[only.workload], only.effect.interval, candidate, comparator, "pair")
        wins = f", better in {only.effect.wins} of {plural(only.effect.count, 'pair')}" if only.effect.count else ""
        return f"On {code(only.workload)}, {effect}{wins}."
    few = "there are too few data sets for a mean over them"
    return f"For {candidate} against {comparator}, {few}; {_counts(mine)}."


def _the(name: str) -> str:
    """Return a technique as code, a reference with its article."""
    return named(name) if named(name) != name else f"the {name}"


def _effect(unit: Unit, interval: Interval, candidate: str, comparator: str, each: str) -> str:
    if not interval.count:
        return f"{candidate} and {comparator} have no pair to compare"
    size = f"{unit.change(interval.mean)} {plain(unit.difference)}"
    if not interval.computed:
        why = "they differ by the same in each" if interval.count > 1 else "one is not enough"
        return (
            f"{candidate} minus {comparator} is {size} over {plural(interval.count, each)}, without an interval ({why})"
        )
    ends = f"{size} ({percent(interval.confidence)} interval {unit.change_interval(interval)})"
    if interval.side == 0:
        return f"the difference between {candidate} and {comparator} is not resolved: {ends}"
    return f"{candidate} was {'better' if interval.side > 0 else 'worse'} than {comparator}: {ends}"


def _counts(differences: list[Difference]) -> str:
    intervals = [difference.effect.interval for difference in differences]
    sides = [interval.side for interval in intervals if interval.computed]
    parts = [f"better on {sides.count(1)}", f"worse on {sides.count(-1)}", f"neither on {sides.count(0)}"]
    if len(sides) < len(intervals):
        parts.append(f"not computed on {len(intervals) - len(sides)}")
    return f"by workload, the interval says {listed(parts)} of {len(intervals)}"


def unequal_updates(findings: Findings) -> str:
    """Return the largest ratio of optimizer steps (or of examples) between two techniques, if it is not one."""
    evaluation = findings.evaluation
    if evaluation.factor is None:
        return ""
    equal = "epochs" if "epochs" in evaluation.budget else "steps"
    several = len(evaluation.workloads) > 1
    parts = []
    for name, words in (("steps", "as many optimizer steps"), ("examples", "as many examples")):
        most = _largest_ratio(findings, name)
        if most is not None:
            ratio, workload, more, less = most
            much = f"{'up to ' if several else ''}{times(ratio)} times {words}"
            parts.append(f"{code(more)} took {much} as {code(less)}" + (f" (on {code(workload)})" if several else ""))
    return f"Equal {equal} are not equal work: {listed(parts)}." if parts else ""


def _largest_ratio(findings: Findings, name: str) -> tuple[float, str, str, str] | None:
    best: tuple[float, str, str, str] | None = None
    for workload in findings.evaluation.workloads:
        costs = [c for c in findings.costs if c.workload == workload and math.isfinite(getattr(c, name))]
        if len(costs) < 2:
            continue
        less = min(costs, key=lambda c: float(getattr(c, name)))
        more = max(costs, key=lambda c: float(getattr(c, name)))
        ratio = getattr(more, name) / getattr(less, name) if getattr(less, name) else math.nan
        if ratio > 1.01 and (best is None or ratio > best[0]):
            best = (ratio, workload, more.technique, less.technique)
    return best


def _linear(findings: Findings) -> str:
    """Say where the linear model has a better mean than every technique, and where intervals support it."""
    if findings.linear_ahead is None:
        return ""
    total = len(findings.evaluation.workloads)
    every = "every technique" if len(findings.evaluation.techniques) > 1 else "the network"
    if not findings.linear_ahead:
        return f"On no workload was the mean score of the linear model better than that of {every}."
    where = [code(ahead.workload) for ahead in findings.linear_ahead]
    sure = [code(ahead.workload) for ahead in findings.linear_ahead if ahead.supported]
    support = f"on {listed(sure)} the interval excludes zero" if sure else "on none does the interval exclude zero"
    return (
        f"The mean score of the linear model was better than that of {every}"
        f" on {len(where)} of {plural(total, 'workload')} ({listed(where)}), {support}."
    )


def _endings(findings: Findings) -> str:
    states = findings.folder.results["state"]
    diverged, failed = int((states == "DIVERGED").sum()), int((states == "FAILED").sum())
    score = findings.evaluation.failed_score
    if not diverged and not failed:
        return "No run failed." if findings.evaluation.foreign else "No trial diverged and none failed."
    if findings.evaluation.foreign:
        ended = [f"{plural(n, 'run')} {verb}" for n, verb in ((failed, "failed"), (diverged, "diverged")) if n]
        which = "it" if failed + diverged == 1 else "each"
        return f"{listed(ended)}: {which} counts as a loss, {score}."
    first = (
        f"{plural(diverged, 'trial')} diverged and counted with the score of {score}"
        if diverged
        else "No trial diverged"
    )
    second = f"{failed} failed and {'is' if failed == 1 else 'are'} left out" if failed else "none failed"
    return f"{first}; {second}."


ANSWER = Section(_described, answer)
CONTEXT = Section(judged, context)
