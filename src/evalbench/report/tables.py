"""The tables of a report, as markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalbench.names import code, plain
from evalbench.record.schema import REFERENCES
from evalbench.report.findings import Findings, LevelEffect, Score
from evalbench.report.units import counted, fixed, flops, percent, times


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A markdown table whose first `left` columns are text and whose others are numbers, set to the right."""
    marks = [":--" if place < left else "--:" for place in range(len(headers))]
    lines = [headers, marks, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def named(name: str) -> str:
    """A technique as code, a reference in plain words."""
    return name if name in REFERENCES.values() else code(name)


def workloads(found: Findings) -> str:
    """The workloads: what they are and what is measured on them."""
    if found.folder.evaluation.foreign:
        names: dict[str, list[str]] = {}
        for workload in found.folder.evaluation.workloads.values():
            names.setdefault(f"{code(workload.metric)}, {plain(workload.direction)}", []).append(code(workload.name))
        return markdown(["metric", "workloads"], [[metric, ", ".join(mine)] for metric, mine in names.items()], 2)
    rows = []
    for workload in found.folder.evaluation.workloads.values():
        noun = "tokens" if workload.kind == "language" else "classes"
        kind = (
            plain(workload.kind) if workload.classes is None else f"{plain(workload.kind)}, {workload.classes} {noun}"
        )
        made = "generated" if workload.generated else "data set"
        rho = found.rho.get(workload.name)
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
        "test / training rows",
    ]
    return markdown(headers, rows, 5)


def settings(found: Findings) -> list[tuple[str, str]]:
    """For each factor with declared settings, its name and a table with a column per choice."""
    made = []
    for factor, choices in found.folder.evaluation.settings.items():
        flat = {choice: _flat(values) for choice, values in choices.items()}
        names = list(dict.fromkeys(itertools.chain.from_iterable(flat.values())))
        rows = [
            [code(name), *(code(values[name]) if name in values else "–" for values in flat.values())] for name in names
        ]
        if rows:
            made.append((factor, markdown(["setting", *map(code, flat)], rows, 1 + len(flat))))
    return made


def _flat(values: Any, prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted names; a lone value is named `value`."""
    if not isinstance(values, Mapping):
        return {prefix or "value": values}
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def scores(found: Findings) -> str:
    """Mean and interval of each technique on each workload, the references in italics under them."""
    rows = []
    for workload, group in itertools.groupby(found.scores, key=lambda score: score.workload):
        unit = found.units[workload]
        for place, score in enumerate(group):
            mean = unit.score(score.interval.mean)
            cells = [named(score.name), mean, unit.score_interval(score.interval), _trials(score)]
            if score.best:
                cells[1] = f"**{mean}**"
            if score.reference:
                cells = [f"*{cell}*" for cell in cells]
            rows.append([code(workload) if place == 0 else "", plain(unit.label) if place == 0 else "", *cells])
    confidence = percent(found.folder.evaluation.confidence)
    return markdown(["workload", "unit", "technique", "mean", f"{confidence} t interval", "trials"], rows, 3)


def _trials(score: Score) -> str:
    notes = []
    if score.num_diverged:
        notes.append(f"{score.num_diverged} diverged")
    if score.num_failed:
        notes.append(f"{score.num_failed} failed")
    return f"{score.num_trials - score.num_left_out}" + (f" ({', '.join(notes)})" if notes else "")


def differences(found: Findings, candidate: str, comparator: str) -> str:
    """The paired differences of one comparison on each workload, and over the data sets."""
    level = percent(found.family)
    mixed = found.common.metric == "skill"
    rows = []
    for difference in found.differences:
        if (difference.candidate, difference.comparator) != (candidate, comparator):
            continue
        unit, effect = found.units[difference.workload], difference.effect
        wins = f"{effect.wins}/{effect.count}" + (f" ({effect.ties} tied)" if effect.ties else "")
        low, high = effect.win_interval
        rows.append(
            [
                code(difference.workload),
                plain(unit.short) + unit.better,
                unit.change(effect.interval.mean),
                unit.change_interval(effect.interval),
                unit.change_interval(effect.rows_only),
                *([found.common.change(difference.common.mean)] if mixed else []),
                wins if effect.count else "–",
                f"[{low:.2f}, {high:.2f}]" if effect.count else "–",
                fixed(effect.correlation, 2),
            ]
        )
    for overall in found.overall:
        if (overall.candidate, overall.comparator) == (candidate, comparator) and overall.interval is not None:
            unit = found.common
            mean, ends = unit.change(overall.interval.mean), unit.change_interval(overall.interval)
            name = f"**mean over {len(overall.workloads)} data sets**"
            rows.append([name, plain(unit.short), mean, ends, "", *([mean] if mixed else []), "", "", ""])
    headers = ["workload", "unit", "difference", f"{level} interval", "these rows only"]
    headers += [*(["in skill"] if mixed else []), "wins", f"P(better), {level} exact", "run correlation"]
    return markdown(headers, rows, 2)


def levels(found: Findings, factor: str) -> str:
    """The difference at each level of one other factor."""
    mine = [effect for effect in found.levels if effect.factor == factor]
    cells = {(e.candidate, e.comparator, e.workload, e.level): e for e in mine}
    lines = list(dict.fromkeys((e.candidate, e.comparator, e.workload) for e in mine))
    lines.sort(key=lambda line: found.comparisons.index((line[0], line[1])))  # stable: overall comes last of each
    names = found.folder.evaluation.factors[factor]
    rows = []
    for candidate, comparator, workload in lines:
        name = f"**mean over {len(found.data_sets)} data sets**" if workload is None else code(workload)
        texts = [_level(found, cells.get((candidate, comparator, workload, level))) for level in names]
        rows.append([f"{named(candidate)} − {named(comparator)}", name, *texts])
    return markdown(["comparison", "workload", *(f"{code(factor)} = {code(level)}" for level in names)], rows, 2)


def _level(found: Findings, effect: LevelEffect | None) -> str:
    if effect is None or not effect.interval.count:
        return "–"
    return f"{found.common.change(effect.interval.mean)} {found.common.change_interval(effect.interval)}"


def costs(found: Findings) -> str:
    """What one trial spends: optimizer steps, examples and floating-point operations."""
    evaluation = found.folder.evaluation
    base = {cost.workload: cost for cost in found.costs if cost.technique == evaluation.baseline}
    ratios = evaluation.baseline is not None
    rows = []
    if not any(math.isfinite(cost.steps) or math.isfinite(cost.flops) for cost in found.costs):
        return ""
    for workload, group in itertools.groupby(found.costs, key=lambda cost: cost.workload):
        for place, cost in enumerate(group):
            row = [
                code(workload) if place == 0 else "",
                code(cost.technique),
                counted(cost.parameters),
                counted(cost.steps),
                counted(cost.examples),
                flops(cost.flops) if cost.num_trials else "–",
            ]
            if ratios:
                for name in ("steps", "flops"):
                    own, reference = getattr(cost, name), getattr(base[workload], name)
                    row.append(times(own / reference) if reference else "–")
            rows.append(row)
    headers = ["workload", "technique", "parameters", "optimizer steps", "examples", "FLOPs"]
    if ratios:
        headers += [f"steps relative to {code(evaluation.baseline)}", f"FLOPs relative to {code(evaluation.baseline)}"]
    return markdown(headers, rows, 2)


def left_out(found: Findings) -> str:
    """The pairs that could not be formed, and why."""
    rows = [
        [
            f"{named(row['candidate'])} − {named(row['comparator'])}",
            code(row["workload"]),
            plain(row["reason"]),
            str(row["count"]),
        ]
        for row in found.left_out.to_dict("records")
    ]
    return markdown(["comparison", "workload", "reason", "pairs left out"], rows, 3)


def failures(found: Findings) -> str:
    """The cells that failed, with their messages."""
    rows = []
    for failure in found.folder.evaluation.failures:
        factors = ", ".join(f"{name}={level}" for name, level in failure.factors.items())
        log = code(failure.log) if failure.log else "–"
        rows.append(
            [
                code(failure.technique),
                code(failure.workload),
                code(factors) if factors else "–",
                plain(failure.message),
                log,
            ]
        )
    return markdown(["technique", "workload", "other factors", "message", "log"], rows, 5)


def divergences(found: Findings) -> str:
    """The runs that failed and count: which, at which optimizer step, and why if a table says so."""
    evaluation, results = found.folder.evaluation, found.folder.results
    says_why = evaluation.foreign and "message" in results
    rows = []
    for row in results[results["failed"] == 1].to_dict("records"):
        step = row.get("diverged_step")
        rows.append(
            [
                code(row["technique"]),
                code(row["workload"]),
                *(code(row[factor]) for factor in evaluation.factors),
                str(row["seed"]),
                *([plain(row["state"])] if evaluation.foreign else []),
                f"{float(step):,.0f}" if step else "–",
                found.units[row["workload"]].score(row["score"]),
                *([plain(row["message"]) or "–"] if says_why else []),
            ]
        )
    headers = [
        "technique",
        "workload",
        *map(code, evaluation.factors),
        "seed",
        *(["state"] if evaluation.foreign else []),
        "at step",
        "counted as score",
        *(["message"] if says_why else []),
    ]
    return markdown(headers, rows, 2 + len(evaluation.factors))


def fingerprints(found: Findings) -> str:
    """The data, so that another reader can check to have the same."""
    rows = [[code(w.name), f"{w.rows:,}", code(w.fingerprint)] for w in found.folder.evaluation.workloads.values()]
    return markdown(["workload", "rows", "fingerprint of the data"], rows, 3)


def versions(found: Findings) -> str:
    """The versions of the software that trained."""
    rows = [[code(name), code(version)] for name, version in found.folder.evaluation.provenance["versions"].items()]
    return markdown(["package", "version"], rows, 2)
