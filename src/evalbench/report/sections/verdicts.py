"""The table that decides: a row per technique, and a sentence for each."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import UNKNOWN, percent, ratio, ratio_interval
from evalbench.report.section import Section, numbers_of
from evalbench.report.sections.advice import lines, next_step, order, repeated, said, sets_of, spent, work_cells
from evalbench.statistics.judging import Verdict

WORK = ("updates", "examples", "FLOPs")  # columns that a foreign table may know nothing of


def table(findings: JudgedFindings) -> str:
    """Return the table that decides: a row per technique, best rank first."""
    judged = findings.judged
    baseline = judged.baseline
    base = ["", code(baseline), "*baseline*", "", "", "1", *work_cells(findings, baseline), "", "", ""]
    base[0] = str(judged.ranks[baseline])
    rows = []
    for name in order(findings):
        verdict = next((v for v in judged.verdicts if v.challenger == name), None)
        if name == baseline:
            rows.append(base)
        elif verdict is not None:
            rows.append(_verdict_row(findings, verdict))
        else:
            reason = "no pairs with the baseline"
            rows.append(["–", code(name), "**INVALID**", reason, "", "–", *work_cells(findings, name), "", "", "0"])
    headers = [
        "rank", "technique", "recommendation",
        f"effect ({plain(findings.common.difference)}) [{percent(findings.level)} CI]", "wins", "cost ratio", *WORK,
        "other data sets", sets_of(findings), "runs" if findings.one_score else findings.evaluation.repeated[1],
    ]  # fmt: skip
    known = [
        index
        for index, name in enumerate(headers)
        if name not in (*WORK, "other data sets") or any(row[index] not in ("", "–", UNKNOWN) for row in rows)
    ]
    return markdown([headers[index] for index in known], [[row[index] for index in known] for row in rows], 3)


def _verdict_row(findings: JudgedFindings, verdict: Verdict) -> list[str]:
    unit = findings.common
    pairs = verdict.wins + verdict.ties + verdict.losses
    tied = f" ({verdict.ties} tied)" if verdict.ties else ""
    return [
        str(findings.judged.ranks[verdict.challenger]),
        code(verdict.challenger),
        f"**{verdict.recommendation}**",
        f"{unit.change(verdict.effect.mean)} {unit.change_interval(verdict.effect, repeated(findings))}",
        f"{verdict.wins}/{pairs}{tied}",
        _ratio(verdict),
        *work_cells(findings, verdict.challenger),
        "–" if findings.one_score else _generality(verdict),
        str(verdict.num_datasets),
        "1" if findings.one_score else _counts(verdict),
    ]


def _generality(verdict: Verdict) -> str:
    general = verdict.generality
    if general is None or not general.tested:
        return "–"
    return general.words


def _counts(verdict: Verdict) -> str:
    """Return the fewest and the most runs of a side on a workload that counts."""
    counts = [number for effect in verdict.sets if effect.counted for number in effect.runs] or [verdict.num_pairs]
    return " to ".join(dict.fromkeys((f"{min(counts):,}", f"{max(counts):,}")))


def _ratio(verdict: Verdict) -> str:
    cost = verdict.cost
    if not math.isfinite(cost.value):
        return "not measured"
    ends = f" {ratio_interval(cost.low, cost.high, cost.count)}" if math.isfinite(cost.low) else ""
    return f"{ratio(cost.value)}{ends}"


def how_to_read(findings: JudgedFindings) -> str:
    """Explain how to read the table of verdicts."""
    rope = findings.common.size(findings.judged.design.rope)
    baseline = code(findings.judged.baseline)
    number = len(findings.comparisons)
    family = f", which allows for {number} comparisons" if number > 1 else ""
    source = "declared beforehand" if findings.evaluation.rope_declared else "evalbench's default, as none was declared"
    pairs = len(findings.judged.pairs)
    stricter = f". Ranks allow for all {pairs} pairs, so they are stricter than the verdicts" if pairs > 1 else ""
    unit = (
        f"{plain(findings.common.difference)}, averaged over the {sets_of(findings)} with equal weight"
        if len(findings.data_sets) > 1
        else ""
    )
    return (
        f"Effect: technique minus {baseline} in {unit or plain(findings.common.difference)}, with the"
        f" {percent(findings.level)} interval{family}{findings.common.better}. A difference within ±{rope} (the ROPE,"
        f" {source}) is too small to matter. Techniques that cannot be told apart share a rank{stricter}. Cost: time"
        f" relative to {baseline}."
    )


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return a row per technique; effects in the unit that the report prints (`unit`)."""
    baseline = findings.judged.baseline
    rows: list[dict[str, Any]] = [
        {
            "technique": baseline,
            "rank": findings.judged.ranks[baseline],
            "ring": "baseline",
            **_spent(findings, baseline),
        }
    ]
    rows += [_verdict(findings, verdict) for verdict in findings.judged.verdicts]
    return pd.DataFrame(rows)


def _verdict(findings: JudgedFindings, v: Verdict) -> dict[str, Any]:
    unit = findings.common
    (low, high), tost, ahead = (
        unit.ends(*ends) for ends in ((v.effect.low, v.effect.high), v.equivalence, v.prediction)
    )
    other = findings.judged.survivors.get(v.challenger)
    return {
        "technique": v.challenger,
        "rank": findings.judged.ranks[v.challenger],
        "ring": str(v.recommendation),
        "quality": str(v.quality),
        "cost_class": str(v.cost_class),
        "unit": findings.common.difference,
        "effect": unit.shown(v.effect.mean),
        "low": low,
        "high": high,
        "confidence": v.effect.confidence,
        "equivalence_low": tost[0],
        "equivalence_high": tost[1],
        "prediction_low": ahead[0],
        "prediction_high": ahead[1],
        "rope": unit.shown_size(findings.judged.design.rope),
        "ring_half_rope": str(v.half_rope),
        "ring_double_rope": str(v.double_rope),
        "wins": v.wins,
        "ties": v.ties,
        "losses": v.losses,
        "failed_alone": v.failures.challenger,
        "baseline_failed_alone": v.failures.baseline,
        "decided_by_failures": v.failures.side != 0,
        "cost_ratio": v.cost.value,
        "cost_low": v.cost.low,
        "cost_high": v.cost.high,
        **_spent(findings, v.challenger),
        "num_datasets": v.num_datasets,
        "num_pairs": v.num_pairs,
        **_beside(findings, v),
        "caps": "; ".join(cap.reason for cap in v.advice.caps),
        "floor": unit.shown_size(v.floor),
        "finest": unit.shown_size(v.finest),
        "second_method": v.second.name,
        "second_p": v.second.p,
        "second_p_holm": v.second.p_holm,
        "second_agrees": v.second.agrees,
        "next_step": v.next_step.what,
        "next_count": v.next_step.count,
        "next": next_step(findings, v),
        "effect_without_failed": math.nan if other is None else unit.shown(other.effect.mean),
        **_words(findings, v),
    }


def _words(findings: JudgedFindings, v: Verdict) -> dict[str, str]:
    sentence, *beside = lines(findings, v)
    return {"sentence": sentence, "beside": " ".join(beside)}


def _beside(findings: JudgedFindings, v: Verdict) -> dict[str, Any]:
    """Return what stands beside the first verdict."""
    return {
        "better_on": "; ".join(v.better_on),
        "worse_on": "; ".join(v.worse_on),
        "quality_on_these_rows": "" if v.on_rows is None else str(v.on_rows.quality),
        **_second_verdict(findings, v),
        "look": v.looks.index + 1,
        "stopped": v.looks.stopped or "",
        **_prices(findings, v),
        "asymmetry_p": v.asymmetry,
        "between": findings.common.shown_size(v.between),
    }


def _second_verdict(findings: JudgedFindings, v: Verdict) -> dict[str, Any]:
    unit, general = findings.common, v.generality
    if general is None:
        return {}
    low, high = unit.ends(general.interval.low, general.interval.high)
    said = "not tested" if not general.tested else "GENERALIZES" if general.shown else "NOT SHOWN"
    return {"generality": said, "generality_low": low, "generality_high": high}


def _prices(findings: JudgedFindings, v: Verdict) -> dict[str, Any]:
    prices = vars(findings.bills[v.challenger])
    needed = {name: price.needed for name, price in prices.items()}
    return {**needed, **{f"trials_{name}": price.trials for name, price in prices.items() if price.needed is not None}}


def _spent(findings: JudgedFindings, technique: str) -> dict[str, float]:
    mine = spent(findings, technique)
    return {"updates": mine["steps"], "examples": mine["examples"], "flops": mine["flops"]}


def text(findings: JudgedFindings) -> str:
    """Return the table and the sentences."""
    items = [f"- {first}\n" + "".join(f"  - {line}\n" for line in rest) for first, *rest in said(findings)]
    return f"{table(findings)}\n\n{how_to_read(findings)} {numbers_of('verdicts')}\n\n{''.join(items).rstrip()}"


VERDICTS = Section(judged, text, {"verdicts": numbers})
