"""The first screen: the answer in a few sentences, one figure, one table, and the next step with its price."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalbench.names import code, plain
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.units import duration, listed, percent, plural, times
from evalbench.report.section import Section
from evalbench.report.sections.advice import order, rows_of, where_words
from evalbench.report.sections.generality import ONLY_THE_MEAN, collapsed_on_one_side
from evalbench.report.sections.next_steps import next_steps
from evalbench.report.sections.ranking import legend, ranking
from evalbench.report.sections.tradeoff import CHART as TRADEOFF
from evalbench.statistics.interactions import Dependence
from evalbench.statistics.judging import Verdict
from evalbench.statistics.power import MOST_DATASETS
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation

MOST_CLAUSES = 4  # techniques of a recommendation that get a clause of their own; more are counted by quality
MOST_NAMES = 4  # in one list of the answer
LOSSES = (Quality.WORSE, Quality.INFERIOR)


def sentences(findings: JudgedFindings) -> list[str]:
    """Return the answer in Markdown: what to do, what is known of each technique, and how sure that is."""
    verdicts = {verdict.challenger: verdict for verdict in findings.judged.verdicts}
    known = [verdicts[name] for name in order(findings) if name in verdicts]
    unjudged = [name for name in order(findings) if name not in verdicts and name != findings.judged.baseline]
    unjudged += [v.challenger for v in known if v.recommendation is Recommendation.INVALID]
    known = [v for v in known if v.recommendation is not Recommendation.INVALID]
    said = [*_first(findings, known), *_rest(findings, known)]
    if unjudged:
        said.append(f"{some(unjudged)} cannot be judged.")
    return [*said, *_beyond(findings, known), *_sure(findings, known), *_linear(findings)]


def some(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Join names, at most `most` of them: `a, b, c and 2 others`."""
    rest = [plural(len(names) - most, "other")] if len(names) > most else []
    return listed([*(code(name) for name in names[:most]), *rest])


def _first(findings: JudgedFindings, known: Sequence[Verdict]) -> list[str]:
    """Return the sentence that answers the question: use a technique, try one, or stay with the baseline."""
    where, baseline = f"On {_scope(findings)}", code(findings.judged.baseline)
    for recommendation, verb in ((Recommendation.ADOPT, "use"), (Recommendation.TRIAL, "try")):
        chosen = _by_effect(findings, known, recommendation)
        if len(chosen) == 1:
            return [f"{where}, **{verb} {code(chosen[0].challenger)}**: {reason(findings, chosen[0])}."]
        if chosen:
            names = [code(v.challenger) for v in chosen[:MOST_NAMES]]
            choice = f"{where}, **{verb} {', '.join(names[:-1])} or {names[-1]}**"
            if len(chosen) <= MOST_CLAUSES:
                return [f"{choice}. {' '.join(_clauses(findings, chosen))}"]
            others = f"{choice}, or one of {plural(len(chosen) - len(names), 'other')}"
            same = len({v.quality for v in chosen}) == 1
            said = _class(findings, chosen[0].quality) if same else "better, or not worse"
            return [f"{others}: all are {said}."]
    if all(v.recommendation is Recommendation.INSUFFICIENT for v in known):
        return [f"{where}, **nothing is decided yet**; until then, keep {baseline}."]
    return [f"{where}, **keep {baseline}**: nothing else is shown to be worth a switch."]


def _scope(findings: JudgedFindings) -> str:
    """Return what the answer speaks of: `new rows of these 5 data sets, at default settings`."""
    evaluation = findings.evaluation
    models = " and these trained models" if evaluation.unit == "item" else ""
    tuned = ", with tuned settings" if evaluation.tuned else "" if evaluation.foreign else ", at default settings"
    over = f", averaged over {listed([code(factor) for factor in evaluation.factors])}" if evaluation.factors else ""
    return f"{rows_of(findings)}{where_words(findings)}{models}{tuned}{over}"


def _by_effect(findings: JudgedFindings, known: Sequence[Verdict], *which: Recommendation) -> list[Verdict]:
    return sorted((v for v in known if v.recommendation in which), key=lambda v: -v.effect.mean)


def _rest(findings: JudgedFindings, known: Sequence[Verdict]) -> list[str]:
    """Say what is known of the techniques that the first sentence does not speak of."""
    advised = {v.recommendation for v in known} & {Recommendation.ADOPT, Recommendation.TRIAL}
    first = Recommendation.ADOPT if Recommendation.ADOPT in advised else Recommendation.TRIAL
    groups = [r for r in Recommendation if r is not Recommendation.INVALID and not (advised and r is first)]
    return [clause for group in groups for clause in _clauses(findings, _by_effect(findings, known, group))]


def _clauses(findings: JudgedFindings, verdicts: Sequence[Verdict]) -> list[str]:
    """Return a sentence per technique, or one per quality class if they are many."""
    if len(verdicts) <= MOST_CLAUSES:
        return [f"{code(v.challenger)} is {reason(findings, v)}." for v in verdicts]
    groups: dict[Quality, list[str]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.quality, []).append(verdict.challenger)
    return [
        f"{some(names)} {'is' if len(names) == 1 else 'are'} {_class(findings, quality)}."
        for quality, names in groups.items()
    ]


def _class(findings: JudgedFindings, quality: Quality) -> str:
    """Return a quality class in words, without a number."""
    rope = _rope(findings)
    return {
        Quality.SUPERIOR: f"better by more than {rope}",
        Quality.BETTER: "better",
        Quality.EQUIVALENT: f"as good within {rope}",
        Quality.MIXED: "better on some data sets and worse on others",
        Quality.NON_INFERIOR: f"not worse by more than {rope}",
        Quality.INCONCLUSIVE: "open",
        Quality.WORSE: "worse",
        Quality.INFERIOR: f"worse by more than {rope}",
    }[quality]


def reason(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return what a verdict says, in words that follow "it is": `0.5 points better, and 15 times cheaper`."""
    baseline, quality = code(findings.judged.baseline), verdict.quality
    if verdict.failures.side:
        said = f"{'better: it works' if verdict.failures.side > 0 else 'worse: it fails'} where the other does not"
    else:
        said = {
            Quality.SUPERIOR: sized(findings, verdict),
            Quality.BETTER: sized(findings, verdict),
            Quality.EQUIVALENT: f"as good as {baseline} within {_rope(findings)}",
            Quality.MIXED: f"better on {some(verdict.better_on)} and worse on {some(verdict.worse_on)}",
            Quality.NON_INFERIOR: f"not worse than {baseline} by more than {_rope(findings)}",
            Quality.INCONCLUSIVE: f"open ({_between(findings, verdict)})",
            Quality.WORSE: sized(findings, verdict),
            Quality.INFERIOR: sized(findings, verdict),
        }[quality]
    if verdict.worse_on and quality is not Quality.MIXED and not verdict.failures.side:
        said += f", clearly on {some(verdict.worse_on)}"
    cost = cost_words(findings, verdict)
    worse, gains = quality in LOSSES, {CostClass.CHEAPER: True, CostClass.DEARER: False}.get(verdict.cost_class)
    against = quality is not Quality.INCONCLUSIVE and gains is worse
    joined = f"{said}, {'but' if against else 'and'} {cost}" if cost else said
    mine = [one for one in findings.interactions if one.candidate == verdict.challenger]
    depends = [code(one.factor) for one in mine if one.answer is Dependence.DEPENDS]
    return f"{joined}; that depends on {listed(depends)}" if depends else joined


def sized(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the effect in words: `worse by 5.3 skill points [−8.1, −2.5]`, `better by 0.96 s (lower) [−1.2, −0.7]`."""
    unit, mean = findings.common, verdict.effect.mean
    way = f" ({'lower' if mean > 0 else 'higher'})" if unit.sign < 0 else ""
    number = unit.change(mean).lstrip("+−") if unit.short == "%" else unit.size(mean)
    ends = f" [{', '.join(unit.end_texts(verdict.effect.low, verdict.effect.high))}]" if verdict.effect.computed else ""
    return f"{'better' if mean > 0 else 'worse'} by {number} {plain(unit.difference)}{way}{ends}"


def cost_words(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the cost relative to the baseline: `15 times cheaper (0.13 s against 2.0 s a training)`; may be empty."""
    cost = verdict.cost.value
    if not math.isfinite(cost):
        return ""
    seconds = findings.seconds
    mine, base = seconds.get(verdict.challenger, math.nan), seconds.get(findings.judged.baseline, math.nan)
    run = "a run" if findings.evaluation.foreign else "a training"
    both = f" ({duration(mine)} against {duration(base)} {run})" if math.isfinite(mine + base) else ""
    if verdict.cost_class is CostClass.CHEAPER:
        return f"{times(1 / cost)} times cheaper{both}" if cost <= 0.5 else f"{100 * (1 - cost):.0f} % cheaper{both}"
    if verdict.cost_class is CostClass.DEARER:
        return f"{times(cost)} times as costly{both}" if cost >= 2 else f"{100 * (cost - 1):.0f} % costlier{both}"
    return "at the same cost" if verdict.cost_class is CostClass.SAME else ""


def _rope(findings: JudgedFindings) -> str:
    return f"{findings.common.size(findings.judged.design.rope)} {plain(findings.common.difference)}"


def _between(findings: JudgedFindings, verdict: Verdict) -> str:
    unit = findings.common
    if not verdict.effect.computed:
        return f"no interval: {verdict.effect.why_not}"
    low, high = unit.end_texts(verdict.effect.low, verdict.effect.high)
    return f"{unit.change(verdict.effect.mean)} {plain(unit.difference)}, between {low} and {high}"


def _beyond(findings: JudgedFindings, known: Sequence[Verdict]) -> list[str]:
    """Say whether the effects hold on other data sets, and how many more data sets would tell."""
    tested = [v for v in known if v.generality is not None and v.generality.side and not findings.one_score]
    shown = [v for v in tested if v.generality is not None and v.generality.shown]
    said = []
    if names := [v.challenger for v in shown if v.quality not in ONLY_THE_MEAN]:
        which = "This" if len(shown) == len(known) else f"The verdict on {some(names)}"
        limits = dict.fromkeys(limit for v in shown if v.generality is not None for limit in v.generality.limits)
        care = f" (with care: {listed(list(limits))})" if limits else ""
        said.append(f"{which} generalizes to data sets like these{care}.")
    for side, words in ((1, "better"), (-1, "worse")):  # of these two classes, the mean alone generalizes
        if mean := [v.challenger for v in shown if v.quality in ONLY_THE_MEAN and v.effect.side == side]:
            verb = "is" if len(mean) == 1 else "are"
            said.append(f"On average over data sets like these, {some(mean)} {verb} {words}.")
    if missing := [v for v in tested if v not in shown]:
        which = "this" if len(missing) == len(known) else f"the verdict on {some([v.challenger for v in missing])}"
        said.append(f"Whether {which} holds on other data sets is not shown{_would_tell(findings, missing)}.")
    return said


def _would_tell(findings: JudgedFindings, missing: Sequence[Verdict]) -> str:
    needed = [findings.bills[v.challenger].datasets_for_sign.needed for v in missing]
    if any(number is None for number in needed):
        return f" (no number up to {MOST_DATASETS} would tell)" if len(needed) == 1 else ""
    more = max(number - v.num_datasets for number, v in zip(needed, missing, strict=True) if number is not None)
    return f": about {plural(more, 'more data set')} would tell" if more > 0 else ""


def _sure(findings: JudgedFindings, known: Sequence[Verdict]) -> list[str]:
    """Say how often such an answer is wrong, and what makes it less sure."""
    if findings.scope.words is RowScope.UNKNOWN and not findings.one_score:
        why = f"nobody said whether splits were redrawn ({findings.evaluation.option('unit')})"
        why = why if findings.evaluation.unit is None else "num_train and num_test are not given"
        alone = [f"About new rows nothing is claimed: {why}."]
    else:
        alone = []
    if any(v.recommendation is not Recommendation.INSUFFICIENT for v in known):
        alpha = percent(findings.judged.design.alpha)
        alone.append(f"At most {alpha} of such evaluations mislead by chance.")
    if known and not any(math.isfinite(v.cost.value) for v in known):
        alone.append("Costs are not known.")
    if uneven := [v.challenger for v in known if collapsed_on_one_side(findings, v)]:
        alone.append(f"Errors are likelier than stated for {some(uneven)}: runs of one side collapsed.")
    if findings.evaluation.rope_wide:
        rope = findings.common.size(findings.judged.design.rope)
        alone.append(f"Mind the ROPE: ±{rope} is more than a tenth of the metric's span.")
    return alone


def _linear(findings: JudgedFindings) -> list[str]:
    """Say that the linear model has better means than every technique, if it has on more than half of the workloads."""
    ahead, total = findings.linear_ahead or (), len(findings.evaluation.workloads)
    if 2 * len(ahead) <= total:
        return []
    return [f"A linear model has better means on {len(ahead)} of {total} workloads."]


def answer(findings: JudgedFindings) -> str:
    """Return the answer as one paragraph."""
    return " ".join(sentences(findings))


def table(findings: JudgedFindings) -> str:
    """Return the table with its legend, and the next steps."""
    steps = next_steps(findings)
    items = "".join(f"\n- {step}." for step in steps)
    listed_steps = f"**Next:** {steps[0]}." if len(steps) == 1 else f"**Next:**\n{items}"
    return f"{ranking(findings)}\n\n{legend(findings)}\n\n{listed_steps}"


DECISION = (Section(judged, answer, charts=(TRADEOFF,)), Section(judged, table))
