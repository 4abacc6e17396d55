"""The sentences of the verdicts: one per technique, its next step, and the comparison at equal work."""

from __future__ import annotations

import math

import numpy as np

from evalbench.names import code, plain
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.cost import Matched
from evalbench.report.analysis.findings import Findings, JudgedFindings, searched
from evalbench.report.render.units import counted, flops, listed, percent, plural, ratio, ratio_interval, times
from evalbench.report.sections import tuning
from evalbench.report.sections.generality import named_words, on_these_rows, price, second_verdict, watch
from evalbench.report.sections.interactions import sentence as sentence_on
from evalbench.statistics.design import used
from evalbench.statistics.interactions import Dependence
from evalbench.statistics.judging import Verdict
from evalbench.statistics.power import MOST_DATASETS, MOST_SEEDS
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation

ADVISED = (Recommendation.ADOPT, Recommendation.TRIAL, Recommendation.ASSESS, Recommendation.HOLD)


def scope(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return what a first verdict is about: `new rows of these 5 data sets (10 seeds each)`."""
    number = "one score each"
    if not findings.one_score:
        each = " each" if len(findings.data_sets) > 1 else ""
        counts = [number for e in verdict.sets if e.workload in _decisive(findings) for number in e.runs]
        ends = f"{min(counts):,} to {max(counts):,} {findings.evaluation.repeated[1]}"
        equal = plural(verdict.num_pairs, *findings.evaluation.repeated)
        each = each if findings.judged.design.paired else f"{each} and side" if each else " each"
        number = f"{equal if min(counts) == max(counts) else ends}{each}"
    return f"{rows_of(findings)}{where_words(findings)} ({number})"


def where_words(findings: JudgedFindings) -> str:
    """Return the workloads of the first verdict: `these 5 data sets`."""
    names = _decisive(findings)
    if findings.one_score:
        return f"data sets like these {len(names)}"
    if not findings.data_sets:
        return f"generated data alone, {listed([code(name) for name in names])}"
    kind = "workloads" if set(names) - set(findings.data_sets) else sets_of(findings)
    return f"these {len(names)} {kind}" if len(names) > 1 else code(names[0])


def sets_of(findings: JudgedFindings) -> str:
    """Return what the workloads are: data sets, or the parts of one test set."""
    return "subsets" if findings.judged.design.fixed_sets else "data sets"


def _decisive(findings: JudgedFindings) -> list[str]:
    """Return the names of the workloads of the first verdict."""
    return [list(findings.units)[index] for index in used(findings.judged.design)]


def rows_of(findings: JudgedFindings) -> str:
    """Return which rows the first verdict is about, as words before the workloads; empty if data sets are the unit."""
    if findings.one_score:
        return ""
    words = {RowScope.NEW_ROWS: "new rows of ", RowScope.THESE_ROWS: "the test rows of "}
    return words.get(findings.scope.words, "these rows of ")


def repeated(findings: JudgedFindings) -> str:
    """Return what the interval of the first verdict counts."""
    if len(used(findings.judged.design)) > 1:
        return sets_of(findings).removesuffix("s")
    return "pair" if findings.judged.design.paired else findings.evaluation.repeated[0]


def said(findings: JudgedFindings) -> list[list[str]]:
    """Return the lines about each technique but the baseline, in the order of the table; the first decides."""
    verdicts = {verdict.challenger: verdict for verdict in findings.judged.verdicts}
    others = [name for name in order(findings) if name != findings.judged.baseline]
    return [lines(findings, verdicts[name]) if name in verdicts else [_unjudged(findings, name)] for name in others]


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
    """Return the techniques in the order of the page: by shared rank, then by effect; unjudged ones last."""
    judged = findings.judged
    known = {verdict.challenger for verdict in judged.verdicts} | {judged.baseline}
    effects = {verdict.challenger: verdict.effect.mean for verdict in judged.verdicts}
    return sorted(findings.evaluation.techniques, key=lambda n: (n not in known, judged.ranks[n], -effects.get(n, 0.0)))


def lines(findings: JudgedFindings, verdict: Verdict) -> list[str]:
    """Return the verdict on one technique, then the second verdict, then what else is known, a line each."""
    remarks = [
        _failures(findings, verdict),
        _unmatched(findings, verdict),
        _budget(findings),
        work(findings, verdict.challenger),
        *(_matched(findings, match) for match in findings.matched if match.candidate == verdict.challenger),
        _survivors(findings, verdict),
        _conditional(findings, verdict),
        _sensitive(verdict),
    ]
    every = [
        first_verdict(findings, verdict),
        second_verdict(findings, verdict),
        on_these_rows(findings, verdict),
        *watch(findings, verdict),
        " ".join(remark for remark in remarks if remark),
        " ".join(text for text in (next_step(findings, verdict), price(findings, verdict)) if text),
    ]
    return [line for line in every if line]


def first_verdict(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the verdict on the workloads of the evaluation."""
    unit, baseline = findings.common, str(findings.evaluation.baseline)
    effect = verdict.effect
    interval = unit.in_sentence(effect, repeated(findings)) or f"no interval: {effect.why_not}"
    rope = f"ROPE ±{unit.size(findings.judged.design.rope)}"
    way = f"{words}; " if (words := unit.words(effect.mean)) else ""
    size = f"{unit.change(effect.mean)} {plain(unit.difference)} ({way}{interval}; {rope})"
    pairs = verdict.wins + verdict.ties + verdict.losses
    noun = "pair" if findings.judged.design.paired else "pair of runs"
    wins = f"better in {verdict.wins:,} of {plural(pairs, noun, noun.replace('pair', 'pairs'))}"
    caps = listed(list(dict.fromkeys(cap.reason for cap in verdict.advice.caps)))
    limited = ""
    if verdict.recommendation in (Recommendation.INVALID, Recommendation.INSUFFICIENT) and caps:
        limited = f" ({reason_invalid(findings, verdict) or caps})"
    elif caps:
        limited = f" (at most {verdict.recommendation}: {caps})"
    where = f" on {where_words(findings)}" if verdict.recommendation in ADVISED else ""
    return (
        f"On {scope(findings, verdict)}, {code(verdict.challenger)} vs {code(baseline)}: {size}, {wins},"
        f" {_cost(verdict)}. {verdict.quality} ({_why(verdict)}), cost {verdict.cost_class}"
        f" → **{verdict.recommendation}**{where}{limited}."
    )


def _why(verdict: Verdict) -> str:
    """Say what the class means, which workloads are named, and that failures decided, if they did."""
    if verdict.failures.side and verdict.recommendation is not Recommendation.INVALID:
        return f"{'works' if verdict.failures.side > 0 else 'fails'} where the other does not, whatever the scores"
    return "; ".join([verdict.quality.words, *named_words(verdict.better_on, verdict.worse_on)])


def _failures(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say how often each side alone failed, if the numbers differ: EQUIVALENT is not given then."""
    gone = verdict.failures
    if math.isclose(gone.more, 0, abs_tol=1e-12):
        return ""
    sides = ((gone.challenger, verdict.challenger), (gone.baseline, findings.evaluation.baseline))
    (more, first), (less, second) = sorted(sides, key=lambda side: -side[0])
    size = " The size of the effect rests on the score that stands for a failed run." if gone.side else ""
    if not findings.judged.design.paired:
        rates = [
            f"{code(name)} failed in {count:g} of {plural(runs, 'run')}"
            for count, runs, name in (
                (gone.challenger, gone.num_pairs, verdict.challenger),
                (gone.baseline, gone.num_pairs_baseline, findings.judged.baseline),
            )
        ]
        return f"{listed(rates)}.{size}"
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
    interval = ratio_interval(cost.low, cost.high, cost.count)
    if not interval.startswith("["):
        return f"at {ratio(cost.value)}× cost ({interval})"
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
    if not count:
        return ""
    if not findings.judged.design.paired:
        return (
            f"{plural(count, 'run')} of either side {'has' if count == 1 else 'have'} no score, and count for nothing."
        )
    runs = "run of either side has" if count == 1 else "runs of either side have"
    return f"{count:,} {runs} no partner with the same {findings.evaluation.repeated[0]}, and count for nothing here."


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
    run = "A run that failed" if findings.evaluation.foreign else "A diverged run"
    return (
        f"{run} counts as {findings.evaluation.failed_score}; without them:"
        f" {unit.change(other.effect.mean)} {unit.change_interval(other.effect)}, {other.quality}."
    )


def _conditional(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say on which other factors the effect depends."""
    mine = [interaction for interaction in findings.interactions if interaction.candidate == verdict.challenger]
    return " ".join(sentence_on(findings, each) for each in mine if each.answer is Dependence.DEPENDS)


def next_step(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the next step, in one sentence."""
    step = verdict.next_step
    if verdict.recommendation is Recommendation.INVALID:
        if findings.evaluation.foreign:
            return "Next: add the missing scores to the table."
        return "Next: run the missing trials again. The same command runs only those."
    if verdict.recommendation is not Recommendation.INSUFFICIENT:
        return _confirm(verdict)
    if step.what == "look":
        return f"Next: the look at {step.count} seeds."
    if step.what == "pairs":
        return f"Next: at least {repetitions(findings, step.count)} on each, the fewest for a verdict."
    if step.what == "seeds":
        key = "search.num_studies" if findings.evaluation.num_studies > 1 else "num_seeds"
        new = "" if findings.evaluation.foreign else f" (evaluation.name=OTHER {key}={step.count})"
        return f"Next: a new evaluation with {repetitions(findings, step.count)}{new}."
    if step.what == "datasets":
        if not step.count:
            return f"No number of data sets below {MOST_DATASETS} would settle it."
        return f"Next: add {plural(step.count - verdict.num_datasets, 'data set')}."
    if step.what == "rows":
        ends = findings.common.change_interval(verdict.effect, repeated(findings))
        within = f"any true difference lies in {ends}" if ends.startswith("[") else ends
        many = findings.evaluation.repeated[1]
        instead = f"not more {many}" if verdict.finest > 0 else f"since fewer than {MOST_SEEDS:,} {many} will not do"
        return f"Next: more rows or more data sets, {instead}; {within}."
    if step.what == "failures":
        return f"Next: find out why runs of {code(verdict.challenger)} fail."
    return _copies(findings, verdict)


def _copies(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say what to check if nothing differs."""
    if verdict.next_step.what == "spread" and _none_works(findings, verdict):
        return "All runs of both failed. There is nothing to compare before one of them works."
    if not findings.judged.design.paired:
        return "The runs of a side do not differ. Check that they are not copies of each other."
    return "All pairs differ by the same amount. Check that the runs are not copies of each other."


def repetitions(findings: Findings, count: int) -> str:
    """Return a number of seeds, or of what else a table repeats: `142 folds`; of both sides without pairs."""
    sides, splits = "" if findings.evaluation.paired else " of each side", findings.evaluation.splits
    again = splits.get("method") == "kfold" and count > splits["folds"]  # one round of folds has no more seeds
    return f"{plural(count, *findings.evaluation.repeated)}{sides}{' of split=repeated_kfold' if again else ''}"


def rows_decide(findings: JudgedFindings, verdict: Verdict) -> str:
    """Say that rows or data sets can decide, and what more repetitions can do."""
    many = findings.evaluation.repeated[1]
    if not verdict.finest > 0:  # repetitions share no rows: some number would do
        return f"more rows or data sets can decide it, or more than {MOST_SEEDS:,} {many}"
    return f"more rows or data sets can decide it, more {many} cannot"


def _none_works(findings: JudgedFindings, verdict: Verdict) -> bool:
    sides = [findings.judged.failed[name].values for name in (verdict.challenger, findings.judged.baseline)]
    return all((side[np.isfinite(side)] == 1).all() for side in sides)


def _confirm(verdict: Verdict) -> str:
    if verdict.recommendation is Recommendation.HOLD:
        return "Next: nothing. There is no reason to switch."
    steps = []
    if verdict.quality is Quality.MIXED:
        steps.append("choose by data set")
    if verdict.cost_class is CostClass.UNCLEAR:
        steps.append("measure the cost in isolation")
    if not verdict.guards.tuned:
        steps.append("tune both sides alike")
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
