"""What was compared: factor, techniques, splits, workloads, settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from evalbench.names import code, plain
from evalbench.record.schema import LINEAR
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed
from evalbench.report.section import Section, always
from evalbench.report.sections.answer import budget
from evalbench.report.sections.splits import splits
from evalbench.tasks.linear import MOST_TRAINED


def declared(findings: JudgedFindings) -> str:
    """Say which ROPE and targets were fixed before the results."""
    rope = findings.common.size(findings.judged.design.rope)
    targets = [
        f"{code(name)} {findings.units[name].score(workload.target)}"
        for name, workload in findings.evaluation.workloads.items()
        if workload.target is not None and workload.curve_sign
    ]
    default = "" if findings.evaluation.rope_declared else " (evalbench's default)"
    text = f"ROPE ±{rope} {plain(findings.common.difference)}{default}"
    text += f"; targets {', '.join(targets)}" if targets else "; no targets"
    declaration = findings.evaluation.declared
    return text + (f" (declaration {code(declaration)})" if declaration else "")


def what_is_compared(findings: Findings) -> str:
    """Return the factor, techniques and baseline in one line."""
    evaluation = findings.evaluation
    techniques = ", ".join(code(name) for name in evaluation.techniques)
    if evaluation.factor is None:
        return f"Nothing is compared with a baseline: {techniques} is described, next to two references."
    line = f"{code(evaluation.factor)}: {techniques}."
    return (
        f"{line} The baseline is {code(evaluation.baseline)}."
        if evaluation.baseline
        else f"{line} No baseline was declared."
    )


def other_factors(findings: Findings) -> list[str]:
    """Return the other factors of the sweep with their levels."""
    return [f"{code(name)}: {', '.join(map(code, levels))}" for name, levels in findings.evaluation.factors.items()]


def workloads(findings: Findings) -> str:
    """Return a table of the workloads with their metrics."""
    if findings.evaluation.foreign:
        names: dict[str, list[str]] = {}
        for workload in findings.evaluation.workloads.values():
            names.setdefault(f"{code(workload.metric)}, {plain(workload.direction)}", []).append(code(workload.name))
        return markdown(["metric", "workloads"], [[metric, ", ".join(mine)] for metric, mine in names.items()], 2)
    rows = []
    for workload in findings.evaluation.workloads.values():
        noun = NOUNS.get(workload.kind, "classes")
        kind = (
            plain(workload.kind) if workload.classes is None else f"{plain(workload.kind)}, {workload.classes} {noun}"
        )
        made = "generated" if workload.generated else "data set"
        rho = findings.rho.get(workload.name)
        rows.append(
            [
                code(workload.name),
                plain(workload.description),
                kind,
                made,
                f"{code(workload.metric)}, {plain(workload.direction)}",
                f"{workload.rows:,}",
                f"{workload.features:,}",
                "–" if rho is None else f"{rho:.3f}",
            ]
        )
    headers = [
        "workload",
        "description",
        "kind",
        "rows come from",
        "metric",
        "rows",
        "features",
        "added to 1/n" if any(one.folds for one in findings.evaluation.workloads.values()) else "test / training rows",
    ]
    return markdown(headers, rows, 5)


def settings(findings: Findings) -> list[tuple[str, str]]:
    """Return, for each factor with declared settings, its name and a table with a column per choice."""
    made = []
    for factor, choices in findings.evaluation.settings.items():
        flat = {choice: _flat(values) for choice, values in choices.items()}
        names = list(dict.fromkeys(itertools.chain.from_iterable(flat.values())))
        rows = [
            [code(name), *(code(values[name]) if name in values else "–" for values in flat.values())] for name in names
        ]
        if rows:
            made.append((factor, markdown(["setting", *map(code, flat)], rows, 1 + len(flat))))
    return made


def _engines(findings: Findings) -> list[str]:
    """Return a sentence for each engine that trains techniques beside evalbench's own."""
    techniques: dict[str, list[str]] = {}
    for name, engine in findings.evaluation.engines.items():
        techniques.setdefault(engine, []).append(code(name))
    return [f"{listed(names)}: {ENGINES.get(engine, plain(engine))}." for engine, names in techniques.items()]


def _flat(values: Any, prefix: str = "") -> dict[str, object]:
    """Return the nested settings with dotted names; a lone value is named `value`."""
    if not isinstance(values, Mapping):
        return {prefix or "value": values}
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


ENGINES = {
    "sklearn": "an estimator, fitted at once to the same training rows; the budget plays no role",
    "lightning": "a LightningModule with its own steps and optimizers",
    "command": "a command, given the same rows, without the targets of the test rows; the budget plays no role",
}
"""What is different about the techniques of an engine, by its name."""


NOUNS = {
    "language": "tokens",
    "token_classification": "tags",
    "multilabel": "labels",
    "multi_output": "targets",
    "generation": "tokens of an answer",
    "next_token": "tokens of a row",
}
"""What the names of the classes of a task are; of the others they are classes."""
LINEAR_MODELS = {
    "language": "for text the shares of the tokens that follow the current one",
    "multilabel": "for labels a logistic regression each",
    "token_classification": "for tags the shares of each token's tags",
    "ordinal": "for ordered classes logistic regression, which does not know the order",
    "count": "for counts Poisson regression",
}
"""The linear model of the tasks where it is neither logistic nor ridge regression of all targets."""


def _references(findings: Findings) -> list[str]:
    """Say which references there are; a task of the user's own has no linear model, unless it names one."""
    references, workloads = findings.folder.references, findings.evaluation.workloads
    fitted = set(references[references["reference"] == LINEAR]["workload"])
    lacking = [code(name) for name in workloads if name not in fitted] if not references.empty else []
    kinds = {workload.kind for workload in workloads.values()}
    others = "".join(f"; {words}" for kind, words in LINEAR_MODELS.items() if kind in kinds)
    inputs = max((workload.rows * workload.features for workload in workloads.values()), default=0)
    many = (
        f"; of training rows with more than {MOST_TRAINED:,} inputs, evenly spaced ones"
        if inputs > MOST_TRAINED
        else ""
    )
    lines = []
    if len(lacking) < len(workloads):
        lines.append(
            "References on the same splits, outside the comparison: the linear model (logistic or ridge regression"
            f"{others}{many}) and the trivial predictor (majority class or training mean)."
        )
    if lacking:
        lines.append(
            f"The reference of {listed(lacking)} is the trivial predictor of its task; a linear model is not known."
        )
    return lines


def text(findings: Findings) -> str:
    """Return the compared techniques, the workloads, and the settings."""
    evaluation, judged_findings = findings.evaluation, judged(findings)
    points = [what_is_compared(findings), *(f"Also varied: {line}." for line in other_factors(findings))]
    if not evaluation.foreign:
        points += [
            *([f"Budget of a trial: {budget(findings)}."] if evaluation.budget else []),
            *_engines(findings),
            f"Splits: {splits(findings)}. Techniques share the split of a seed.",
            *_references(findings),
        ]
    if weighted := [code(name) for name, workload in evaluation.workloads.items() if workload.weighted]:
        points.append(
            f"The rows of {listed(weighted)} have weights, which count in the training loss alone: validation rows,"
            " metrics and references take each row once."
        )
    if judged_findings:
        points.append(f"Fixed beforehand: {declared(judged_findings)}.")
    made = [f"Settings of {code(factor)}:\n\n{values}" for factor, values in settings(findings)]
    listed_points = "\n".join(f"- {point}" for point in points)
    return "\n\n".join(["## What was compared", listed_points, workloads(findings), *made])


COMPARED = Section(always, text)
