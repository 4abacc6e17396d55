"""The first lines of a report: what to do, on what it holds, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

from evalbench.names import code, plain
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.units import listed, percent, plural
from evalbench.report.section import Section
from evalbench.report.sections.advice import order, repetitions, rows_decide, rows_of, where_words
from evalbench.report.sections.generality import ONLY_THE_MEAN, collapsed_on_one_side
from evalbench.statistics.design import used
from evalbench.statistics.interactions import Dependence
from evalbench.statistics.judging import Verdict
from evalbench.statistics.power import MOST_DATASETS
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation

MOST_NAMES = 8  # in one sentence of the first lines


def text(findings: JudgedFindings) -> str:
    """Return the summary."""
    todo, scope, sure = summary(findings)
    todo_line = f"- **What to do:** {'; '.join(todo)}.{_wide(findings)}"
    return f"{todo_line}\n- **On what it holds:** {scope}.\n- **How sure:** {sure}"


def summary(findings: JudgedFindings) -> tuple[list[str], str, str]:
    """Return what to do about each technique, on what it holds, and how sure it is."""
    verdicts = {verdict.challenger: verdict for verdict in findings.judged.verdicts}
    known = [verdicts[name] for name in order(findings) if name in verdicts]
    unjudged = [name for name in order(findings) if name not in verdicts and name != findings.judged.baseline]
    todo = [_todo(findings, verdict) for verdict in known] if len(known) <= MOST_NAMES else _grouped(findings, known)
    todo += [f"{_some(unjudged)} cannot be judged"] if unjudged else []
    return todo, _scope(findings), " ".join(_sure(findings, known))


def _some(names: Sequence[str]) -> str:
    """Join names, at most eight of them: `a, b, c, d, e, f, g, h and 2 others`."""
    rest = [plural(len(names) - MOST_NAMES, "other")] if len(names) > MOST_NAMES else []
    return listed([*(code(name) for name in names[:MOST_NAMES]), *rest])


def _grouped(findings: JudgedFindings, verdicts: list[Verdict]) -> list[str]:
    """Return what to do about many techniques: those with the same recommendation and class together."""
    groups: dict[tuple[Recommendation, Quality], list[str]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.recommendation, verdict.quality), []).append(verdict.challenger)
    verbs = _verbs(code(findings.judged.baseline))
    return [
        f"{verbs[recommendation].format(_some(names))} ({quality.words})"
        for (recommendation, quality), names in groups.items()
    ]


def _wide(findings: JudgedFindings) -> str:
    """Flag a ROPE that hides differences which matter, although it was confirmed."""
    rope = findings.common.size(findings.judged.design.rope)
    wide = f" Mind the ROPE: ±{rope} is more than a tenth of the metric's span."
    return wide if findings.evaluation.rope_wide else ""


def _todo(findings: JudgedFindings, verdict: Verdict) -> str:
    name, baseline = code(verdict.challenger), code(findings.judged.baseline)
    quality = verdict.quality
    size = sized(findings, verdict)
    where = _some(verdict.worse_on)
    if verdict.recommendation is Recommendation.INSUFFICIENT:
        why = {
            "rows": rows_decide(findings, verdict),
            "look": f"the next look is at {verdict.next_step.count} seeds",
            "seeds": _would_do(verdict, repetitions(findings, verdict.next_step.count)),
            "pairs": f"a verdict needs {repetitions(findings, verdict.next_step.count)} at least",
            "datasets": _would_do(verdict, plural(verdict.next_step.count, "data set")),
            "spread": "nothing differs between the runs: are they copies of each other?",
            "failures": "find out why its runs fail",
        }.get(verdict.next_step.what, "see below")
        depends = [code(factor) for factor in _depends_on(findings, verdict.challenger)]
        why += f"; it depends on {listed(depends)}" if depends else ""
        return f"leave {name} open ({size}; {why})"
    if verdict.recommendation is Recommendation.INVALID:
        return f"{name} cannot be judged"
    reasons = {
        Quality.SUPERIOR: f"better by more than the ROPE, {size}",
        Quality.BETTER: f"better, {size}",
        Quality.EQUIVALENT: f"practically the same, {size}",
        Quality.MIXED: f"better on {_some(verdict.better_on)}, worse on {where}",
        Quality.NON_INFERIOR: f"not practically worse, {size}",
        Quality.WORSE: f"worse, {size}",
        Quality.INFERIOR: f"worse by more than the ROPE, {size}",
    }
    reason = reasons[quality]
    if verdict.failures.side:
        reason = f"{'it works' if verdict.failures.side > 0 else 'it fails'} where the other does not"
    elif where and quality is not Quality.MIXED:
        reason += f", worse on {where}"
    if depends := [code(factor) for factor in _depends_on(findings, verdict.challenger)]:
        reason += f", but that depends on {listed(depends)}"
    if verdict.cost_class is CostClass.CHEAPER:
        reason += ", but cheaper" if quality in (Quality.WORSE, Quality.INFERIOR) else ", and cheaper"
    elif verdict.cost_class is CostClass.DEARER:
        reason += ", at a higher cost"
    return f"{_verbs(baseline)[verdict.recommendation].format(name)} ({reason})"


def sized(findings: JudgedFindings, verdict: Verdict) -> str:
    """Return the effect with its unit: `−0.96 s (lower)` if lower is better."""
    unit, mean = findings.common, verdict.effect.mean
    way = unit.words(mean).partition(",")[0]
    return f"{unit.change(mean)} {plain(unit.difference)}{f' ({way})' if way else ''}"


def _would_do(verdict: Verdict, number: str) -> str:
    """Say what a number of seeds or data sets gives: a decision whatever the effect, or a sign if the effect stays."""
    prices = verdict.prices
    if not verdict.next_step.count:
        return f"no number of data sets below {MOST_DATASETS} would decide it"
    whatever = prices.datasets_for_rope if verdict.next_step.what == "datasets" else prices.seeds_for_rope
    if whatever is None:
        return f"if the effect stays as it is, about {number} would show its sign"
    return f"about {number} would decide it"


def _verbs(baseline: str) -> dict[Recommendation, str]:
    """Return what to do by recommendation, with a place for the names of the techniques."""
    baseline = baseline.replace("{", "{{").replace("}", "}}")
    return {
        Recommendation.ADOPT: "adopt {}",
        Recommendation.TRIAL: "try {}",
        Recommendation.ASSESS: "look closer at {}",
        Recommendation.HOLD: f"keep {baseline} rather than {{}}",
        Recommendation.INSUFFICIENT: "leave {} open",
        Recommendation.INVALID: "do not judge {}",
    }


def _scope(findings: JudgedFindings) -> str:
    names = [code(list(findings.units)[index]) for index in used(findings.judged.design)]
    which = f" ({listed(names)})" if 1 < len(names) <= MOST_NAMES else ""
    tuned = "" if findings.evaluation.foreign else ", at default settings"
    tuned = ", with tuned settings" if findings.evaluation.tuned else tuned
    unit = findings.evaluation.unit
    models = " and these trained models" if unit == "item" else ""
    unknown = findings.scope.words is RowScope.UNKNOWN and not findings.one_score
    why = (
        "nobody said whether the splits were redrawn (--unit)"
        if unit is None
        else "num_train and num_test are not given"
    )
    alone = f"; {why}, so nothing is claimed beyond them" if unknown else ""
    return f"{rows_of(findings)}{where_words(findings)}{which}{models}{tuned}{_over(findings)}{alone}"


def _over(findings: JudgedFindings) -> str:
    """Name the other factors that the effect is averaged over."""
    if not findings.evaluation.factors:
        return ""
    over = listed([code(factor) for factor in findings.evaluation.factors])
    return f", averaged over {over}"


def _depends_on(findings: JudgedFindings, candidate: str) -> list[str]:
    """Return the other factors that the choice of a technique depends on."""
    mine = [one for one in findings.interactions if one.candidate == candidate]
    return [one.factor for one in mine if one.answer is Dependence.DEPENDS]


def _sure(findings: JudgedFindings, verdicts: list[Verdict]) -> list[str]:
    alpha = percent(findings.judged.design.alpha)
    if all(v.recommendation in (Recommendation.INSUFFICIENT, Recommendation.INVALID) for v in verdicts):
        return ["nothing is claimed, so nothing is wrong by chance."]
    sure = [f"by chance, at most {alpha} of such reports say anything wrong in the first line."]
    if uneven := [v.challenger for v in verdicts if collapsed_on_one_side(findings, v)]:
        sure.append(f"It may be more for {_some(uneven)}: runs of one side collapsed.")
    tested = [v for v in verdicts if v.generality is not None and v.generality.side and not findings.one_score]
    shown = [v for v in tested if v.generality is not None and v.generality.shown]
    for side, words in ((1, "better"), (-1, "worse")):  # of these two classes, the mean alone generalizes
        if mean := [v.challenger for v in shown if v.quality in ONLY_THE_MEAN and v.effect.side == side]:
            sure.append(
                f"On average over data sets like these, {_some(mean)} {'is' if len(mean) == 1 else 'are'} {words}."
            )
    if names := [v.challenger for v in shown if v.quality not in ONLY_THE_MEAN]:
        sure.append(f"It generalizes to data sets like these for {_some(names)}.")
    if missing := [v.challenger for v in tested if v not in shown]:
        sure.append(f"Whether it holds on other data sets is not shown for {_some(missing)}.")
    return sure


SUMMARY = Section(judged, text)
