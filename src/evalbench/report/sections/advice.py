"""The sentences of the verdicts: one per technique, its next step, and the comparison at equal work."""

from __future__ import annotations

import math

import numpy as np

from evalbench.names import code, plain
from evalbench.report.analysis.cost import Matched
from evalbench.report.analysis.findings import Findings, JudgedFindings, searched
from evalbench.report.render.units import counted, flops, listed, percent, plural, ratio, times
from evalbench.report.sections import tuning
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation


def scope(findings: JudgedFindings) -> str:
    """Return the scope of the verdicts: `5 data sets (10 seeds each)`."""
    evaluation = findings.evaluation
    seeds = f"({_seeds(findings)})"
    if len(findings.data_sets) > 1:
        return f"{plural(len(findings.data_sets), 'data set')} {seeds}"
    if findings.data_sets:
        return f"{code(findings.data_sets[0])} {seeds}"
    names = listed([code(name) for name in evaluation.workloads])
    return f"generated data alone, {names} {seeds}"


def _seeds(findings: JudgedFindings) -> str:
    if findings.one_score:
        return "one score each"
    counts = [verdict.num_pairs for verdict in findings.judged.verdicts] or [findings.evaluation.num_seeds]
    low, high = min(counts), max(counts)
    number = str(low) if low == high else f"{low} to {high}"
    one, many = ("study", "studies") if findings.evaluation.num_studies > 1 else ("seed", "seeds")
    return f"{number} {one if high == 1 else many}" + (" each" if len(findings.data_sets) > 1 else "")


def sentences(findings: JudgedFindings) -> list[str]:
    """Return a sentence for each technique but the baseline, in the order of the table."""
    verdicts = {verdict.challenger: verdict for verdict in findings.judged.verdicts}
    others = [name for name in order(findings) if name != findings.judged.baseline]
    return [sentence(findings, verdicts[name]) if name in verdicts else _unjudged(findings, name) for name in others]


def _unjudged(findings: JudgedFindings, name: str) -> str:
    lost = findings.left_out[
        (findings.left_out["candidate"] == name) & (findings.left_out["comparator"] == findings.judged.baseline)
    ]
    counts = {(d.workload, d.candidate): d.effect.count for d in findings.differences}
    where = [workload for workload in findings.units if not counts.get((workload, name))]
    why = list(dict.fromkeys(lost.loc[lost["workload"].isin(where), "reason"]))
    reasons = f" ({'; '.join(map(plain, why))})" if why else ""
    return (
        f"{code(name)} has no pair with {code(findings.judged.baseline)} on {listed([code(w) for w in where])}"
        f"{reasons}: it cannot be judged → **{Recommendation.INVALID}**."
    )


def order(findings: JudgedFindings) -> list[str]:
    """Return the techniques in the order of the page: by shared rank, then as declared; unjudged ones last."""
    judged = findings.judged
    known = {verdict.challenger for verdict in judged.verdicts} | {judged.baseline}
    return sorted(findings.evaluation.techniques, key=lambda n: (n not in known, judged.ranks[n]))


def sentence(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the verdict on one technique, from the template."""
    unit, baseline = findings.common, str(findings.evaluation.baseline)
    effect = verdict.effect
    rope = f"ROPE ±{unit.size(findings.judged.design.rope)}"
    if effect.computed:
        interval = f"{percent(effect.confidence)} CI {' to '.join(unit.end_texts(effect.low, effect.high))}; {rope}"
    else:
        interval = f"no interval: {effect.why_not}; {rope}"
    size = f"{unit.change(effect.mean)} {plain(unit.difference)} ({interval})"
    pairs = verdict.wins + verdict.ties + verdict.losses
    wins = f"better in {verdict.wins} of {plural(pairs, 'pair')}"
    recommendation = f"**{verdict.recommendation}**"
    caps = listed(list(dict.fromkeys(cap.reason for cap in verdict.advice.caps)))
    limited = ""
    if verdict.recommendation in (Recommendation.INVALID, Recommendation.INSUFFICIENT) and caps:
        limited = f" ({reason_invalid(findings, verdict) or caps})"
    elif caps:
        limited = f" (at most {verdict.recommendation}: {caps})"
    parts = [
        f"On {scope(findings)}, {code(verdict.challenger)} vs {code(baseline)}: {size}, {wins}, {_cost(verdict)}.",
        f"{verdict.quality} ({_why(findings, verdict)}), cost {verdict.cost_class} → {recommendation}{limited}.",
        _failures(findings, verdict),
        _unmatched(findings, verdict),
        _budget(findings),
        work(findings, verdict.challenger),
        *(_matched(findings, match) for match in findings.matched if match.candidate == verdict.challenger),
        _survivors(findings, verdict),
        _conditional(findings, verdict),
        next_step(findings, verdict),
        _sensitive(verdict),
    ]
    return " ".join(part for part in parts if part)


def _why(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say what the class means, and that failures or a vote decided, if the interval did not."""
    words = verdict.quality.words
    if verdict.failures.side and verdict.recommendation is not Recommendation.INVALID:
        return f"{'works' if verdict.failures.side > 0 else 'fails'} where the other does not, whatever the scores"
    effect, rope = verdict.effect, findings.judged.design.rope
    decided = {Quality.BETTER: effect.low > 0, Quality.INFERIOR: effect.high < -rope}
    if decided.get(verdict.quality, True):
        return words
    claim = Quality.SUPERIOR if verdict.quality is Quality.BETTER else Quality.INFERIOR
    vote = f"the mean does not decide, but at least half of the data sets are {claim} and none says the opposite"
    return f"{words}; {vote}"


def _failures(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say how often each side alone failed, if the numbers differ: EQUIVALENT is not given then."""
    gone = verdict.failures
    if math.isclose(gone.challenger, gone.baseline):
        return ""
    sides = ((gone.challenger, verdict.challenger), (gone.baseline, findings.evaluation.baseline))
    (more, first), (less, second) = sorted(sides, key=lambda side: -side[0])
    size = " The size of the effect rests on the score that stands for a failed run." if gone.side else ""
    pairs = plural(gone.num_pairs, "pair")
    return f"{code(first)} alone failed in {more:g} of {pairs}, {code(second)} alone in {less:g}.{size}"


def reason_invalid(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say which cells are missing, if that makes a comparison invalid."""
    if verdict.recommendation is not Recommendation.INVALID or verdict.challenger not in findings.judged.incomplete:
        return ""
    reasons = findings.judged.incomplete[verdict.challenger].split("; ")
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"cells are missing: {plain(', '.join(reasons[:3]))}{more}"


def _cost(verdict: Verdict) -> str:
    cost = verdict.cost
    if not math.isfinite(cost.value):
        return "cost not measured in isolation"
    if not math.isfinite(cost.low):
        return f"at {ratio(cost.value)}× cost (no interval)"
    return f"at {ratio(cost.value)}× cost ({percent(cost.confidence)} CI {ratio(cost.low)} to {ratio(cost.high)})"


def work(findings: JudgedFindings, candidate: str) -> str:
    """Say how much work was unequal, if equal budgets were not equal work."""
    totals = {name: spent(findings, name) for name in (candidate, str(findings.evaluation.baseline))}
    mine, base = totals.values()
    unequal = []
    for key, words in (("steps", "optimizer updates"), ("examples", "examples"), ("flops", "FLOPs")):
        a, b = mine[key], base[key]
        if math.isfinite(a) and math.isfinite(b) and b > 0 and abs(a / b - 1) > 0.01:
            unequal.append(f"{times(a / b)} times the {words}")
    return f"Equal budgets were not equal work: it took {listed(unequal)}." if unequal else ""


def spent(findings: JudgedFindings, technique: str) -> dict[str, float]:
    """Return the mean updates, examples and FLOPs of a trial, averaged over the data sets; nan if not known."""
    where = findings.data_sets or tuple(findings.units)
    mine = [c for c in findings.costs if c.technique == technique and c.workload in where and c.num_trials]
    return {
        key: sum(getattr(cost, key) for cost in mine) / len(mine) if mine else math.nan
        for key in ("steps", "examples", "flops")
    }


def _unmatched(findings: JudgedFindings, verdict: Verdict) -> str:
    count = findings.judged.unmatched.get(verdict.challenger, 0)
    runs = "run of either side has" if count == 1 else "runs of either side have"
    return f"{count:,} {runs} no partner with the same seed, and count for nothing here." if count else ""


def _matched(findings: JudgedFindings, match: Matched) -> str:
    if match.effect is None:
        return (
            f"At equal {match.by} they cannot be compared: the shorter trial ended before the longer's first"
            " validation."
        )
    unit = findings.common
    where = "" if not match.missing else f" (not on {listed([code(name) for name in match.missing])}: no overlap)"
    interval = unit.change_interval(match.effect)
    size = f"{unit.change(match.effect.mean)} {plain(unit.difference)} {interval}"
    return f"At equal {match.by}, by validation scores on {plural(len(match.workloads), 'workload')}{where}: {size}."


def _survivors(findings: JudgedFindings, verdict: Verdict) -> str:
    other = findings.judged.survivors.get(verdict.challenger)
    if other is None:
        return ""
    unit = findings.common
    runs = "Runs that failed" if findings.evaluation.foreign else "Diverged runs"
    return (
        f"{runs} count as {findings.evaluation.failed_score}; without them:"
        f" {unit.change(other.effect.mean)} {unit.change_interval(other.effect)}, {other.quality}."
    )


def _conditional(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say at which levels of another factor the effect turns, by more than the ROPE on both sides."""
    rope = findings.judged.design.rope
    parts = []
    for factor in findings.evaluation.factors:
        mine = [e for e in findings.levels if e.factor == factor and e.candidate == verdict.challenger]
        overall = (
            [e for e in mine if e.workload is None] or [e for e in mine if e.workload in findings.data_sets] or mine
        )
        ahead = list(dict.fromkeys(code(e.level) for e in overall if e.interval.mean > rope))
        behind = list(dict.fromkeys(code(e.level) for e in overall if e.interval.mean < -rope))
        if ahead and behind:
            parts.append(f"ahead with {code(factor)} = {listed(ahead)}, behind with {listed(behind)}")
    return f"The conclusion is conditional: {'; '.join(parts)} (exploratory)." if parts else ""


def next_step(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the next step, in one sentence."""
    step, effect, unit = verdict.next_step, verdict.effect, findings.common
    if verdict.recommendation is Recommendation.INVALID:
        if findings.evaluation.foreign:
            return "Next: add the missing scores to the table."
        return "Next: run the missing trials again. The same command runs only those."
    if verdict.recommendation is not Recommendation.INSUFFICIENT:
        return _confirm(verdict)
    within = f"any true difference lies in {unit.span(effect.low, effect.high)}"
    have = verdict.num_pairs
    if step.what == "seeds":
        if findings.evaluation.num_studies > 1:
            more = plural(step.count, "more study", "more studies")
            return f"Next: run {more} (search.num_studies={have + step.count}), once, then decide."
        return f"Next: run {plural(step.count, 'more seed')} (num_seeds={have + step.count}), once, then decide."
    if step.what == "datasets":
        if findings.one_score:
            return f"Next: add {plural(step.count, 'data set')}."
        reason = "the effect varies more between data sets than seeds could average out"
        return f"Next: add {plural(step.count, 'data set')}, not seeds: {reason}."
    if step.what == "rows":
        return f"Not resolvable: more rows or more data sets, not more seeds; {within}."
    if step.what == "failures":
        return f"Next: find out why runs of {code(verdict.challenger)} fail."
    if step.what == "spread" and _none_works(findings, verdict):
        return "All runs of both failed. There is nothing to compare before one of them works."
    if step.what == "spread":
        return "All pairs differ by the same amount. Check that the runs are not copies of each other."
    things = "seeds" if len(findings.data_sets) < 2 else "data sets"
    why = f"it would take more than {step.count} {things}" if step.count else "seeds are added once only"
    return f"Not resolvable within budget ({why}): {within}."


def _none_works(findings: JudgedFindings, verdict: Verdict) -> bool:
    sides = [findings.judged.failed[name].values for name in (verdict.challenger, findings.judged.baseline)]
    return all((side[np.isfinite(side)] == 1).all() for side in sides)


def _confirm(verdict: Verdict) -> str:
    if verdict.recommendation is Recommendation.HOLD:
        return "Next: nothing. There is no reason to switch."
    steps = []
    if verdict.cost_class is CostClass.UNCLEAR:
        steps.append("measure the cost in isolation")
    if not verdict.guards.tuned:
        steps.append("tune both sides alike")
    if verdict.num_datasets < 6:
        steps.append(f"add {plural(6 - verdict.num_datasets, 'data set')}")
    if not verdict.guards.failures_ok or verdict.failures.side > 0:
        steps.append("find out why runs fail")
    return f"Next: {listed(steps)}." if steps else "Next: use it."


def _sensitive(verdict: Verdict) -> str:
    if not verdict.rope_sensitive:
        return ""
    return (
        f"ROPE-sensitive: with half of it the recommendation is {verdict.half_rope}, with double {verdict.double_rope}."
    )


def _budget(findings: Findings) -> str:
    tuned = searched(findings)
    return tuning.sentence(tuned) if tuned else ""


def work_cells(findings: JudgedFindings, technique: str) -> list[str]:
    """Return the updates, examples and FLOPs of one trial, as cells of the verdict table."""
    mine = spent(findings, technique)
    if not any(map(math.isfinite, mine.values())):
        return ["–"] * len(mine)
    return [counted(mine["steps"]), counted(mine["examples"]), flops(mine["flops"])]
