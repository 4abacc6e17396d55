"""What `summary.json` says of findings: see `record/summary.schema.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from evalbench.record.declared import Declaration, Workload
from evalbench.record.summary import VERSION, exact, settings_hash
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.analysis.resources import Taken, devices
from evalbench.report.analysis.scaling import Law
from evalbench.report.render.units import RatioUnit, Unit
from evalbench.report.sections.advice import next_step, order, rows_of, spent, where_words
from evalbench.report.sections.decision import sentences
from evalbench.report.sections.next_steps import next_steps
from evalbench.report.sections.singles import singles_of
from evalbench.statistics.design import used
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import Recommendation


def summary_of(findings: Findings) -> dict[str, Any]:
    """Return the content of `summary.json`; numbers that are not known are None."""
    decided = judged(findings)
    evaluation = findings.evaluation
    single = singles_of(findings) is not None
    compared = decided is not None and not single
    kind = "single runs" if single else "description" if decided is None else "verdicts"
    content = {
        **bare(kind, evaluation.name, evaluation.question),
        "date": evaluation.provenance.get("trained_until"),
        "declared": evaluation.declared,
        "factor": evaluation.factor,
        "baseline": evaluation.baseline,
        "answer": sentences(decided) if decided is not None and compared else [],
        "next": next_steps(decided) if decided is not None and compared else [],
        "unit": _unit(findings.common) if compared else None,
        "rope": _rope(decided) if decided is not None and compared else None,
        "confidence": evaluation.confidence,
        "scope": _scope(findings, decided),
        "techniques": [_technique(findings, decided if compared else None, name) for name in _names(findings)],
        "scores": _scores(findings),
        **({"scaling": [_law(law) for law in findings.laws]} if findings.laws else {}),
        "conditions": _conditions(evaluation),
        "provenance": _provenance(evaluation),
    }
    return dict(exact(content))


def bare(kind: str, name: str, question: str) -> dict[str, Any]:
    """Return a summary that names the report, and says nothing of techniques."""
    return {
        "version": VERSION,
        "evalbench": version("evalbench-dl"),
        "kind": kind,
        "name": name,
        "question": question,
        "date": None,
        "factor": None,
        "baseline": None,
        "answer": [],
        "next": [],
        "unit": None,
        "rope": None,
        "scope": {"rows": None, "words": "", "workloads": []},
        "techniques": [],
        "scores": [],
        "conditions": {},
        "provenance": {"versions": {}},
    }


def lone(name: str, recommendation: Recommendation | None, words: str, is_baseline: bool = False) -> dict[str, Any]:
    """Return a technique of which only a recommendation is known, if that."""
    return {
        "name": name,
        "settings_hash": None,
        "tuned": None,
        "is_baseline": is_baseline,
        "rank": None,
        "recommendation": None if recommendation is None else str(recommendation),
        "quality": None,
        "words": words,
        "effect": None,
        "cost": None,
    }


def _names(findings: Findings) -> Sequence[str]:
    decided = judged(findings)
    return findings.evaluation.techniques if decided is None else order(decided)


def _unit(unit: Unit) -> dict[str, Any]:
    return {
        "name": unit.difference,
        "short": unit.short,
        "better": "lower" if unit.sign < 0 else "higher",
        "ratio": isinstance(unit, RatioUnit),
        "decimals": unit.finer,
        "largest": math.nan if isinstance(unit, RatioUnit) else abs(unit.shown_size(unit.reach)),
    }


def _rope(findings: JudgedFindings) -> dict[str, Any]:
    width = float(findings.common.shown_size(findings.judged.design.rope))
    return {"width": width, "declared": findings.evaluation.rope_declared}


def _scope(findings: Findings, decided: JudgedFindings | None) -> dict[str, Any]:
    counted = set(findings.units) if decided is None else {list(findings.units)[i] for i in used(decided.judged.design)}
    workloads = findings.evaluation.workloads.values()
    return {
        "rows": "data sets" if findings.one_score else str(findings.scope.words),
        "words": "" if decided is None else f"{rows_of(decided)}{where_words(decided)}".replace("`", ""),
        "workloads": [_workload(workload, workload.name in counted) for workload in workloads],
    }


def _workload(workload: Workload, counted: bool) -> dict[str, Any]:
    return {
        "name": workload.name,
        "kind": workload.kind or None,
        "metric": workload.measure,
        "direction": workload.direction,
        "unit": workload.unit,
        "rows": workload.rows or None,
        "fingerprint": workload.fingerprint or None,
        "generated": workload.generated,
        "counted": counted,
    }


def _technique(findings: Findings, decided: JudgedFindings | None, name: str) -> dict[str, Any]:
    """Return one technique, with its verdict if there is one."""
    evaluation = findings.evaluation
    settings = _settings(evaluation, name)
    tuning = evaluation.tuning or {}
    code = (evaluation.provenance.get("code") or {}).get((settings or {}).get("_target_"))
    one: dict[str, Any] = {
        **lone(name, None, "", is_baseline=name == evaluation.baseline),
        "settings": settings,
        "settings_hash": settings_hash(settings, tuning.get("space", {}).get(name), code),
        "tuned": evaluation.tuned,
    }
    if decided is None:
        return one
    one["rank"] = decided.judged.ranks[name]
    one["work"] = _work(decided, name)
    verdict = next((v for v in decided.judged.verdicts if v.challenger == name), None)
    if verdict is not None:
        return {**one, **_verdict(decided, verdict)}
    if one["is_baseline"]:
        return {**one, "words": "baseline", "cost": {"ratio": 1.0, "low": 1.0, "high": 1.0}}
    return {**one, "recommendation": str(Recommendation.INVALID), "words": "no pairs with the baseline"}


def _settings(evaluation: Declaration, name: str) -> dict[str, Any] | None:
    """Return the settings of a technique if they are known: of a `model.depth`, those of the only model with it."""
    group, _, key = (evaluation.factor or "").partition(".")
    choices = evaluation.settings.get(group, {})
    if not key:
        return dict(choices[name]) if name in choices else None
    return {**next(iter(choices.values())), key: name} if len(choices) == 1 else None


def _work(findings: JudgedFindings, name: str) -> dict[str, float]:
    mine = spent(findings, name)
    return {"updates": mine["steps"], "examples": mine["examples"], "flops": mine["flops"]}


def _verdict(findings: JudgedFindings, v: Verdict) -> dict[str, Any]:
    unit = findings.common
    return {
        "recommendation": str(v.recommendation),
        "quality": str(v.quality),
        "words": v.quality.words,
        "cost_class": str(v.cost_class),
        "effect": {
            "mean": unit.shown(v.effect.mean),
            **_ends(unit, v.effect.low, v.effect.high),
            "confidence": v.effect.confidence,
            "freedom": v.freedom,
        },
        "wins": v.wins,
        "ties": v.ties,
        "losses": v.losses,
        "better_on": list(v.better_on),
        "worse_on": list(v.worse_on),
        "generality": None if v.generality is None else v.generality.words,
        "cost": {"ratio": v.cost.value, "low": v.cost.low, "high": v.cost.high} if v.cost.value > 0 else None,
        "caps": [cap.reason for cap in v.advice.caps],
        "next": next_step(findings, v),
        "workloads": [
            {
                "name": e.workload,
                "mean": unit.shown(e.interval.mean),
                **_ends(unit, e.interval.low, e.interval.high),
                "confidence": e.interval.confidence,
                "runs": [int(number) for number in e.runs],
            }
            for e in v.sets
        ],
    }


def _ends(unit: Unit, low: float, high: float) -> dict[str, float]:
    ends = unit.ends(low, high)
    return {"low": float(ends[0]), "high": float(ends[1])}


def _scores(findings: Findings) -> list[dict[str, Any]]:
    scores = [score for score in findings.scores if not score.reference]
    measured = devices(findings.folder, findings.costs)
    taken = {(one.workload, one.technique): one for one in (measured.taken if measured else ())}
    return [
        {
            "technique": score.name,
            "workload": score.workload,
            "mean": unit.shown_score(score.interval.mean),
            "low": unit.shown_score(score.interval.low),
            "high": unit.shown_score(score.interval.high),
            "runs": int(score.interval.count),
            "unit": unit.label,
            **({"resources": _resources(one)} if (one := taken.get((score.workload, score.name))) else {}),
        }
        for score in scores
        for unit in (findings.units[score.workload],)
    ]


def _resources(taken: Taken) -> dict[str, float]:
    return {name: value for name, value in asdict(taken).items() if name not in ("workload", "technique")}


def _law(law: Law) -> dict[str, Any]:
    """Return a power law, with None in the place of what is not known."""
    fitted = law.fitted
    held = None if fitted is None else fitted.held_out
    return {
        "workload": law.workload,
        "setting": dict(law.setting),
        "sizes": list(law.axes),
        "exponents": [_estimate(*fitted.exponent(axis)) for axis in range(len(law.axes))] if fitted else [],
        "floor": _estimate(*fitted.floor) if fitted and fitted.has_floor else None,
        "held_out": held
        and {**_estimate(held.loss, held.low, held.high), "measured": held.measured, "held": held.held},
        "fits_badly": fitted.fits_badly if fitted and math.isfinite(fitted.p_value) else None,
        "left_out": list(law.left_out),
        "why_not": law.why_not,
    }


def _estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def _conditions(evaluation: Declaration) -> dict[str, Any]:
    return {
        "budget": dict(evaluation.budget),
        "splits": dict(evaluation.splits),
        "root_seed": evaluation.root_seed,
        "looks": list(evaluation.looks),
        "rope": dict(evaluation.rope),
        "tuning": evaluation.tuning,
        "settings": {group: dict(choices) for group, choices in evaluation.settings.items()},
        "factors": {factor: list(levels) for factor, levels in evaluation.factors.items()},
        "repeated": evaluation.repeated[0],
    }


def _provenance(evaluation: Declaration) -> dict[str, Any]:
    provenance: Mapping[str, Any] = evaluation.provenance
    known = ("command", "commit", "machines", "trained_from", "trained_until", "training_version", "code")
    versions = {str(name): str(version) for name, version in provenance.get("versions", {}).items()}
    return {"versions": versions, **{name: provenance[name] for name in known if name in provenance}}
