"""Every number that the text prints, as data: one CSV per table in `numbers/`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.record.tables import write_table
from evalbench.report import tuning_page
from evalbench.report.advice import next_step, sentence, spent
from evalbench.report.findings import Findings
from evalbench.statistics.intervals import Interval
from evalbench.statistics.judging import Verdict


def tables(found: Findings) -> dict[str, pd.DataFrame]:
    """Return the tables that have a row, by name."""
    made = {
        "evaluation": evaluation(found),
        "verdicts": verdicts(found),
        "effects": effects(found),
        "pairs": pairs(found),
        "proofs": proofs(found),
        "ranks": ranks(found),
        "aggregates": aggregates(found),
        "shares": shares(found),
        "checks": pd.DataFrame([asdict(check) for check in found.checks]),
        "costs": costs(found),
        "matched": matched(found),
        "levels": levels(found),
        **tuning_page.tables(found),
    }
    return {name: table for name, table in made.items() if len(table)}


def write(found: Findings, folder: Path) -> None:
    """Write the tables that have a row."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(found).items():
        write_table(table, folder / f"{name}.csv", "%.10g")


def evaluation(found: Findings) -> pd.DataFrame:
    """One row: what the index of all evaluations lists."""
    e = found.folder.evaluation
    rope = found.judged.design.rope * found.common.scale if found.judged else math.nan
    row = {
        "name": e.name,
        "question": e.question,
        "date": e.provenance.get("trained_until", ""),
        "baseline": e.baseline or "",
        "unit": found.common.difference,
        "rope": rope,
        "declared": e.declared or "",
        "num_datasets": len(found.data_sets),
        "num_trials": len(found.folder.results),
    }
    return pd.DataFrame([row])


def verdicts(found: Findings) -> pd.DataFrame:
    """A row per technique; effects in the unit that the report prints (`unit`)."""
    if found.judged is None:
        return pd.DataFrame()
    baseline = found.judged.baseline
    rows: list[dict[str, Any]] = [
        {"technique": baseline, "rank": found.judged.ranks[baseline], "ring": "baseline", **_spent(found, baseline)}
    ]
    rows += [_verdict(found, verdict) for verdict in found.judged.verdicts]
    return pd.DataFrame(rows)


def _verdict(found: Findings, v: Verdict) -> dict[str, Any]:
    assert found.judged is not None  # there is a verdict
    unit, scale = found.common, found.common.scale
    (low, high), tost, ahead = (
        unit.ends(*ends) for ends in ((v.effect.low, v.effect.high), v.equivalence, v.prediction)
    )
    other = found.judged.survivors.get(v.candidate)
    return {
        "technique": v.candidate,
        "rank": found.judged.ranks[v.candidate],
        "ring": str(v.ring),
        "quality": str(v.quality),
        "cost_class": str(v.cost_class),
        "unit": found.common.difference,
        "effect": v.effect.mean * unit.oriented,
        "low": low,
        "high": high,
        "confidence": v.effect.confidence,
        "equivalence_low": tost[0],
        "equivalence_high": tost[1],
        "prediction_low": ahead[0],
        "prediction_high": ahead[1],
        "rope": found.judged.design.rope * scale,
        "ring_half_rope": str(v.half_rope),
        "ring_double_rope": str(v.double_rope),
        "wins": v.wins,
        "ties": v.ties,
        "losses": v.losses,
        "failed_alone": v.failures.candidate,
        "baseline_failed_alone": v.failures.baseline,
        "decided_by_failures": v.failures.side != 0,
        "cost_ratio": v.cost.value,
        "cost_low": v.cost.low,
        "cost_high": v.cost.high,
        **_spent(found, v.candidate),
        "num_datasets": v.num_datasets,
        "num_pairs": v.num_pairs,
        "caps": "; ".join(cap.reason for cap in v.advice.caps),
        "floor": v.floor * scale,
        "finest": v.finest * scale,
        "second_method": v.second.name,
        "second_p": v.second.p,
        "second_p_holm": v.second.p_holm,
        "second_agrees": v.second.agrees,
        "next_step": v.next_step.what,
        "next_count": v.next_step.count,
        "next": next_step(found, v),
        "effect_without_failed": math.nan if other is None else other.effect.mean * unit.oriented,
        "sentence": sentence(found, v),
    }


def _spent(found: Findings, technique: str) -> dict[str, float]:
    mine = spent(found, technique)
    return {"updates": mine["steps"], "examples": mine["examples"], "flops": mine["flops"]}


def effects(found: Findings) -> pd.DataFrame:
    """A row per candidate and workload, and per candidate without each data set."""
    if found.judged is None:
        return pd.DataFrame()
    unit, rows = found.common, []
    for v in found.judged.verdicts:
        for effect in v.sets:
            i = effect.interval
            low, high = unit.ends(i.low, i.high)
            rows.append(
                {
                    "candidate": v.candidate,
                    "workload": effect.workload,
                    "unit": found.common.difference,
                    "effect": i.mean * unit.oriented,
                    "low": low,
                    "high": high,
                    "sd": i.sd * unit.scale,
                    "pairs": i.count,
                    "confidence": i.confidence,
                    "quality": str(effect.quality),
                    "counted": effect.counted,
                    "overall_without_it": v.leave_one_out.get(effect.workload, math.nan) * unit.oriented,
                }
            )
    return pd.DataFrame(rows)


def pairs(found: Findings) -> pd.DataFrame:
    """Every pair of techniques, with Wilcoxon over the data sets where there are several."""
    if found.judged is None:
        return pd.DataFrame()
    omnibus = found.appendix.omnibus if found.appendix else None
    rows = []
    for pair in found.judged.pairs:
        raw, after = omnibus.pair_p.get((pair.a, pair.b), (math.nan, math.nan)) if omnibus else (math.nan, math.nan)
        low, high = found.common.ends(pair.low, pair.high)
        ends = {"difference": pair.mean * found.common.oriented, "low": low, "high": high}
        rows.append(
            {"a": pair.a, "b": pair.b, **ends, "quality": str(pair.quality), "wilcoxon_p": raw, "wilcoxon_holm": after}
        )
    return pd.DataFrame(rows)


def proofs(found: Findings) -> pd.DataFrame:
    """The second line of evidence, a row per candidate."""
    rows = []
    unit, scale = found.common, found.common.scale
    for p in found.appendix.proofs if found.appendix else ():
        pooled = {}
        if p.pooled is not None:
            (low, high), ahead = unit.ends(p.pooled.low, p.pooled.high), unit.ends(*p.pooled.prediction)
            pooled = {
                "random_effects_mean": p.pooled.mean * unit.oriented,
                "random_effects_low": low,
                "random_effects_high": high,
                "prediction_low": ahead[0],
                "prediction_high": ahead[1],
                "tau": math.sqrt(p.pooled.tau2) * scale,
                "i2": p.pooled.i2,
                "q": p.pooled.q,
            }
        found_here = {}
        if p.resolution is not None:
            found_here = {"smallest_p": p.resolution.smallest_p, "detectable": p.resolution.detectable * scale}
        rows.append(
            {
                "candidate": p.candidate,
                "t_p": p.p_t,
                "exact_test": p.test,
                "exact_p": p.p_exact,
                "exact_p_holm": p.p_holm,
                "equivalence_p": p.p_equivalence,
                "dz": p.size.dz * unit.sign,
                "hedges": p.size.hedges * unit.sign,
                "hodges_lehmann": p.hodges_lehmann * unit.oriented,
                "probability_better": p.improvement,
                "posterior": p.posterior_by,
                "posterior_worse": p.posterior.worse,
                "posterior_same": p.posterior.same,
                "posterior_better": p.posterior.better,
                **pooled,
                **found_here,
            }
        )
    return pd.DataFrame(rows)


def ranks(found: Findings) -> pd.DataFrame:
    """Ranks per data set and their averages, and the omnibus test in every row."""
    o = found.appendix.omnibus if found.appendix else None
    if o is None:
        return pd.DataFrame()
    test = {"chi2": o.test.chi2, "f": o.test.f, "df1": o.test.degrees[0], "df2": o.test.degrees[1], "p": o.test.p}
    more = {"kendalls_w": o.test.kendalls_w, "critical_difference": o.critical_difference}
    return pd.DataFrame(
        {
            "technique": name,
            "average_rank": o.test.average_ranks[i],
            **dict(zip(o.workloads, o.ranks[:, i], strict=True)),
            **test,
            **more,
        }
        for i, name in enumerate(o.techniques)
    )


def aggregates(found: Findings) -> pd.DataFrame:
    """Interquartile means and the chance to be best."""
    if found.appendix is None:
        return pd.DataFrame()
    unit, rows = found.common, []
    for name, value in found.appendix.iqm.items():
        these, like, best = unit.ends(*value.these), unit.ends(*value.like_these), found.appendix.best[name]
        rows.append(
            {
                "technique": name,
                "iqm": value.value * unit.oriented,
                "these_low": these[0],
                "these_high": these[1],
                "like_these_low": like[0],
                "like_these_high": like[1],
                "best_these": best[0],
                "best_like_these": best[1],
            }
        )
    return pd.DataFrame(rows)


def shares(found: Findings) -> pd.DataFrame:
    """Shares of the variance."""
    if found.appendix is None:
        return pd.DataFrame()
    return pd.DataFrame({"source": " x ".join(s.factors), "share": s.share} for s in found.appendix.shares)


def costs(found: Findings) -> pd.DataFrame:
    """What a completed trial spent, per technique and workload."""
    return pd.DataFrame([asdict(cost) for cost in found.costs])


def matched(found: Findings) -> pd.DataFrame:
    """The comparisons at equal work."""
    rows = []
    for m in found.matched:
        ends = _interval(found, m.effect) if m.effect else {}
        rows.append({"candidate": m.candidate, "equal": m.by, "overlap": " ".join(m.workloads), **ends})
    return pd.DataFrame(rows)


def levels(found: Findings) -> pd.DataFrame:
    """The effect at each level of the other factors."""
    return pd.DataFrame(
        {
            "factor": e.factor,
            "level": e.level,
            "workload": e.workload or "(mean over data sets)",
            "candidate": e.candidate,
            **_interval(found, e.interval),
        }
        for e in found.levels
    )


def _interval(found: Findings, interval: Interval) -> dict[str, float]:
    low, high = found.common.ends(interval.low, interval.high)
    return {"effect": interval.mean * found.common.oriented, "low": low, "high": high}
