"""Joint criteria: several metrics at once, each with a role and a ROPE, and one verdict per technique."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.names import code, file_name, plain
from evalbench.record.foreign import frame_to_folder
from evalbench.record.options import Options, PercentRope, rope_of
from evalbench.record.summary import write_summary
from evalbench.record.tables import write_table
from evalbench.report.analysis.findings import JudgedFindings, find, judged
from evalbench.report.api import Report
from evalbench.report.render import html, library
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, percent
from evalbench.report.section import numbers_of
from evalbench.report.summary import bare, lone
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import Recommendation
from evalbench.tasks.metric import canonical, guessed_direction
from evalbench.tasks.metric import find as find_metric

TIMES = {"time", "seconds", "runtime", "latency", "duration"}
"""Words of metrics that are smaller if something is faster."""


class MetricRole(StrEnum):
    """What a metric must be, for a technique to be adopted."""

    BETTER = "better"
    NOT_WORSE = "not-worse"
    SAME = "same"


class Fulfilment(StrEnum):
    """Whether a requirement is met."""

    MET = "met"
    BROKEN = "broken"
    OPEN = "open"


@dataclass(frozen=True)
class Requirement:
    """One metric with its role; `rope` is a share of the score if it was given in percent."""

    metric: str
    role: MetricRole
    rope: float | None = None


@dataclass(frozen=True)
class JointVerdict:
    """What the metrics say together about one technique."""

    technique: str
    outcomes: tuple[Fulfilment, ...]  # of the requirements, in their order
    words: tuple[str, ...]

    @property
    def recommendation(self) -> Recommendation:
        """Return ADOPT if all requirements are met, HOLD if one is broken, else INSUFFICIENT EVIDENCE."""
        if all(outcome is Fulfilment.MET for outcome in self.outcomes):
            return Recommendation.ADOPT
        return Recommendation.HOLD if Fulfilment.BROKEN in self.outcomes else Recommendation.INSUFFICIENT

    @property
    def sentence(self) -> str:
        """Return the verdict in one line: `not worse in loss, 1.3 % faster: adopt`."""
        verb = {Recommendation.ADOPT: "adopt", Recommendation.HOLD: "keep the baseline"}
        return f"{', '.join(self.words)}: {verb.get(self.recommendation, 'leave it open')}"


class JointReport:
    """The verdicts on several metrics together, and the report of each metric."""

    def __init__(self, requirements: Sequence[Requirement], reports: Mapping[str, Report], name: str) -> None:
        self.requirements, self.reports, self.name = tuple(requirements), dict(reports), name

    @property
    def joint(self) -> tuple[JointVerdict, ...]:
        """Return the verdict on each technique but the baseline."""
        findings = [_judged(self.reports[one.metric]) for one in self.requirements]
        return tuple(_verdict(name, self.requirements, findings) for name in _challengers(findings[0]))

    @property
    def verdicts(self) -> pd.DataFrame:
        """Return a row per technique: recommendation, sentence, and the outcome of each requirement."""
        return pd.DataFrame(
            {
                "technique": one.technique,
                "ring": str(one.recommendation),
                "sentence": one.sentence,
                **{r.metric: str(outcome) for r, outcome in zip(self.requirements, one.outcomes, strict=True)},
            }
            for one in self.joint
        )

    @property
    def markdown(self) -> str:
        """Return the text of `report.md`."""
        first = _judged(self.reports[self.requirements[0].metric])
        lines = [f"- {code(one.technique)}: {one.sentence} → **{one.recommendation}**." for one in self.joint]
        rows = [[code(one.technique), *map(str, one.outcomes), str(one.recommendation)] for one in self.joint]
        wanted = listed([f"{r.role.replace('-', ' ')} in {code(r.metric)}" for r in self.requirements])
        links = "\n".join(
            f"- {code(r.metric)} ({_rope_words(_judged(self.reports[r.metric]))}):"
            f" [report]({file_name(r.metric)}/report.md)"
            for r in self.requirements
        )
        level = percent(first.judged.verdicts[0].effect.confidence) if first.judged.verdicts else "95 %"
        return (
            "\n\n".join(
                [
                    f"# {plain(self.name)}",
                    f"**Which technique is {wanted} than {code(first.judged.baseline)}?**",
                    "\n".join(lines),
                    markdown(["technique", *(code(r.metric) for r in self.requirements), "together"], rows, 1),
                    f"A technique is adopted if its {level} interval meets every requirement. Each is tested at the"
                    " full level, uncorrected for the others: all must hold, so a false adoption needs a false claim on"
                    " the very requirement that is not met (intersection-union test: Berger, 1982; Berger and Hsu,"
                    f" 1996). {numbers_of('joint')}",
                    f"## Each metric\n\n{links}",
                ]
            )
            + "\n"
        )

    @property
    def summary(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        findings = _judged(self.reports[self.requirements[0].metric])
        wanted = listed([f"{r.role.replace('-', ' ')} in {r.metric}" for r in self.requirements])
        baseline = findings.judged.baseline
        return {
            **bare("joint", self.name, f"Which technique is {wanted} than {baseline}?"),
            "factor": findings.evaluation.factor,
            "baseline": baseline,
            "answer": [f"{code(one.technique)}: {one.sentence}" for one in self.joint],
            "techniques": [
                lone(baseline, None, "baseline", is_baseline=True),
                *(lone(one.technique, one.recommendation, one.sentence) for one in self.joint),
            ],
        }

    def save(self, folder: str | Path, standalone: bool = False) -> Path:
        """Write `report.md`, its page, `summary.json`, `numbers/joint.csv` and a folder per metric.

        The pages of the metrics share one copy of the library of their figures, unless they are standalone.
        """
        path = Path(folder)
        (path / "numbers").mkdir(parents=True, exist_ok=True)
        if not standalone:
            library.put(path)
        for metric, report in self.reports.items():
            report.save(path / file_name(metric), standalone)
        write_table(self.verdicts, path / "numbers" / "joint.csv")
        (path / "report.md").write_text(self.markdown, encoding="utf-8", newline="\n")
        (path / "report.html").write_text(html.page(self.markdown, path), encoding="utf-8", newline="\n")
        write_summary(path, self.summary)
        return path / "report.md"


def requirement(text: str) -> Requirement:
    """Return a requirement from a text such as `loss:not-worse:0.002` or `time:better:1%`.

    Raises:
        TableError: it has another form, or the role is unknown.
    """
    metric, _, rest = text.partition(":")
    role, _, rope = rest.partition(":")
    if not metric or role not in set(MetricRole):
        raise TableError(
            f"--require takes METRIC:ROLE or METRIC:ROLE:ROPE, such as loss:not-worse:0.002, with a role of"
            f" {', '.join(MetricRole)}, not {text!r}"
        )
    try:
        return Requirement(metric, MetricRole(role), rope_of(rope) if rope else None)
    except Exception:
        raise TableError(f"the ROPE of {metric} must be a number above 0 or a share such as 2%, not {rope!r}") from None


def judge_jointly(
    table: pd.DataFrame, requirements: Sequence[Requirement], options: Options, name: str = "results"
) -> JointReport:
    """Judge every technique on several metrics of one table.

    Args:
        table: technique, workload, seed, and a column per metric of the requirements.
        requirements: the metrics with their roles.
        options: what all metrics share.
        name: of the report.

    Raises:
        TableError: a metric has no column, is required twice, or its table cannot be judged.
    """
    metrics = [one.metric for one in requirements]
    if len(set(metrics)) < len(metrics):
        raise TableError(f"--require names a metric twice ({', '.join(metrics)}): give each metric one role")
    reports = {}
    for one in requirements:
        if one.metric not in table.columns:
            known = ", ".join(map(str, table.columns))
            raise TableError(f"the table has no column {one.metric}, which --require names: it has {known}")
        others = [m for m in metrics if m != one.metric]
        mine = table.drop(
            columns=[*others, *({"score", "metric", "direction", "unit"} & set(table.columns) - {one.metric})]
        )
        mine = mine.rename(columns={one.metric: "score"})
        reports[one.metric] = Report(find(frame_to_folder(name, mine, _options(one, mine, options))))
    return JointReport(requirements, reports, name)


def _options(one: Requirement, table: pd.DataFrame, options: Options) -> Options:
    """Return the options of one metric: a ROPE in percent, and a metric without a ROPE that only must be better."""
    if options.direction is not None:
        raise TableError(f"--direction is for one score: leave it out, since {one.metric} has its own")
    if guessed_direction(one.metric) is None:
        raise TableError(f"which direction of {one.metric} is better is not known: rename it (loss, time, accuracy, …)")
    scores = pd.to_numeric(table["score"], errors="coerce")
    known = find_metric(canonical(one.metric)) is not None or bool(scores.between(0, 1).all())
    ratio = isinstance(one.rope, PercentRope) or (one.rope is None and one.role is MetricRole.BETTER and not known)
    if one.rope is None and one.role is not MetricRole.BETTER and not known:
        raise TableError(f"{one.metric} needs a ROPE: write {one.metric}:{one.role}:0.01, or :2% for a share of it")
    return replace(
        options,
        metric=one.metric,
        effect="ratio" if ratio else "difference",
        rope=one.rope,
        span=None,
        read=(*options.read, f"`{one.metric}` must be {one.role.replace('-', ' ')}"),
    )


def _judged(report: Report) -> JudgedFindings:
    findings = judged(report.findings)
    assert findings is not None  # a lone table has a baseline
    return findings


def _challengers(findings: JudgedFindings) -> list[str]:
    return [verdict.challenger for verdict in findings.judged.verdicts]


def _verdict(name: str, requirements: Sequence[Requirement], findings: Sequence[JudgedFindings]) -> JointVerdict:
    outcomes, words = [], []
    for one, mine in zip(requirements, findings, strict=True):
        verdict = next((v for v in mine.judged.verdicts if v.challenger == name), None)
        outcome = Fulfilment.OPEN if verdict is None else _outcome(one.role, verdict, mine.judged.design.rope)
        outcomes.append(outcome)
        words.append(_said(one, outcome, mine, verdict))
    return JointVerdict(name, tuple(outcomes), tuple(words))


def _outcome(role: MetricRole, verdict: Verdict, rope: float) -> Fulfilment:
    """Return whether the interval of one metric meets its role; failures that decide alone break or meet every role."""
    low, high = verdict.effect.low, verdict.effect.high
    if verdict.recommendation is Recommendation.INVALID:
        return Fulfilment.OPEN
    if verdict.failures.side:
        return Fulfilment.MET if verdict.failures.side > 0 and role is not MetricRole.SAME else Fulfilment.BROKEN
    if not math.isfinite(low):
        return Fulfilment.OPEN
    if role is MetricRole.BETTER:
        return Fulfilment.MET if low > 0 else Fulfilment.BROKEN if high < 0 else Fulfilment.OPEN
    if role is MetricRole.NOT_WORSE:
        return Fulfilment.MET if low > -rope else Fulfilment.BROKEN if high < -rope else Fulfilment.OPEN
    within = verdict.equivalence[0] > -rope and verdict.equivalence[1] < rope
    return Fulfilment.MET if within else Fulfilment.BROKEN if low > rope or high < -rope else Fulfilment.OPEN


def _said(one: Requirement, outcome: Fulfilment, findings: JudgedFindings, verdict: Verdict | None) -> str:
    """Return one metric in words: `not worse in loss`, `1.3 % faster`, `whether it is faster is open`."""
    metric, unit = plain(one.metric), findings.common
    if verdict is None:
        return f"{metric} cannot be judged"
    if outcome is Fulfilment.OPEN:
        return f"whether it is {one.role.replace('-', ' ')} in {metric} is open"
    if outcome is Fulfilment.MET and one.role is not MetricRole.BETTER:
        return (
            f"{one.role.replace('-', ' ')} in {metric}" if one.role is MetricRole.NOT_WORSE else f"the same in {metric}"
        )
    gain = verdict.effect.mean > 0
    size = f"{unit.size(verdict.effect.mean) if unit.short != '%' else unit.change(verdict.effect.mean).lstrip('+−')}"
    amount = f"{size} %" if unit.short == "%" else size if unit.short == one.metric else f"{size} {unit.short}"
    if TIMES & set(one.metric.lower().replace("_", " ").split()):
        return f"{amount} {'faster' if gain else 'slower'}"
    lower = (unit.sign < 0) == gain
    return (
        f"{amount} {'lower' if lower else 'higher'} {metric}"
        if unit.short == "%"
        else (f"{metric} {'lower' if lower else 'higher'} by {amount}")
    )


def _rope_words(findings: JudgedFindings) -> str:
    unit = findings.common
    return f"ROPE ±{unit.size(findings.judged.design.rope)} {plain(unit.short)}"
