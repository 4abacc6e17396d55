"""`radar.json` and two CSV files: a row per verdict, and the format of the *build your own radar* tool."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pandas as pd

from evalbench.names import one_line
from evalbench.radar.history import BANDS, PastVerdict, TechnologyRadar, TrackedTechnique
from evalbench.radar.reading import PastEvaluation
from evalbench.record.summary import exact

VERSION = 1
QUADRANTS = 4  # that the tool takes: neither fewer nor more
NOTHING = "nothing judged yet"
IN_SUMMARY = ("name", "settings", "settings_hash", "tuned", "is_baseline", "work", "workloads")
"""Fields of a technique that `radar.json` has once, or leaves to `summary.json`."""
COLUMNS = ["name", "ring", "quadrant", "isNew", "description"]


def as_json(radar: TechnologyRadar) -> str:
    """Return the content of `radar.json`."""
    numbers = {one.identity: number for number, one in enumerate(radar.blips, 1)}
    content = {
        "version": VERSION,
        "moves": radar.since,
        "evaluations": [_evaluation(one) for one in radar.evaluations],
        "techniques": [_technique(one, numbers.get(one.identity), radar) for one in radar.techniques],
        "left_out": [{"folder": folder, "reason": reason} for folder, reason in radar.left_out],
    }
    return json.dumps(exact(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _evaluation(one: PastEvaluation) -> dict[str, Any]:
    same = ("name", "kind", "question", "date", "factor", "baseline", "answer", "next", "scope")
    versions = one.summary["provenance"]["versions"]
    return {**{key: one.summary[key] for key in same}, "source": one.source, "report": one.link, "versions": versions}


def _technique(one: TrackedTechnique, number: int | None, radar: TechnologyRadar) -> dict[str, Any]:
    indices = {id(evaluation): index for index, evaluation in enumerate(radar.evaluations)}
    return {
        "id": one.identity.key,
        "number": number,
        **vars(one.identity),
        "label": one.label,
        "recommendation": str(one.now.recommendation),
        "status": one.status,
        "before": None if one.before is None else str(one.before),
        "settings": dict(one.now.settings),
        "tuned_settings": list(one.now.searched),
        "elsewhere": [
            {
                "evaluation": indices[id(other.verdict.evaluation)],
                "recommendation": str(other.verdict.recommendation),
                "conditions": list(other.conditions),
            }
            for other in one.elsewhere
        ],
        "history": [
            {
                "evaluation": indices[id(verdict.evaluation)],
                **{key: value for key, value in verdict.technique.items() if key not in IN_SUMMARY},
            }
            for verdict in one.history
        ],
        "contradictions": [
            {
                "older": indices[id(c.older.evaluation)],
                "newer": indices[id(c.newer.evaluation)],
                "data_sets": list(c.data_sets),
                "differing": list(c.differing),
            }
            for c in one.contradictions
        ],
    }


def verdict_table(radar: TechnologyRadar) -> pd.DataFrame:
    """Return `radar.csv`: a row per verdict, with the technique that it is about."""
    numbers = {one.identity: number for number, one in enumerate(radar.blips, 1)}
    rows = [_row(one, verdict, numbers.get(one.identity)) for one in radar.techniques for verdict in one.history]
    return pd.DataFrame(rows).astype({"number": "Int64"}) if rows else pd.DataFrame(columns=["factor", "technique"])


def _row(one: TrackedTechnique, verdict: PastVerdict, number: int | None) -> dict[str, Any]:
    evaluation, technique = verdict.evaluation, verdict.technique
    effect, cost = technique["effect"] or {}, technique["cost"] or {}
    last = verdict is one.now
    newer = [c.newer.evaluation.name for c in one.contradictions if c.older is verdict]
    return {
        "factor": one.identity.factor,
        "technique": one.identity.name,
        "label": one.label,
        "settings_hash": one.identity.settings_hash,
        "tuned": one.identity.tuned,
        "number": number,
        "last": last,
        "status": one.status if last else "",
        "recommendation": str(verdict.recommendation),
        "quality": technique["quality"],
        "cost_class": technique.get("cost_class"),
        "effect": effect.get("mean"),
        "low": effect.get("low"),
        "high": effect.get("high"),
        "unit": (evaluation.summary["unit"] or {}).get("name"),
        "cost_ratio": cost.get("ratio"),
        "baseline": evaluation.summary["baseline"],
        "scope": evaluation.summary["scope"]["words"],
        "data_sets": "; ".join(name for name, _ in evaluation.data_sets),
        "other_data_sets": technique.get("generality"),
        "date": evaluation.date,
        "evaluation": evaluation.name,
        "report": evaluation.link,
        "versions": evaluation.versions,
        "contradicted_by": "; ".join(newer),
    }


def build_your_own_radar(radar: TechnologyRadar) -> pd.DataFrame:
    """Return the blips in the format of the tool *build your own radar* of ThoughtWorks.

    The tool draws exactly four quadrants: the factors with most techniques get one each, the others share the fourth.
    If there are fewer factors, a row named `nothing judged yet` stands for each that is missing.

    Source: https://github.com/thoughtworks/build-your-own-radar
    """
    counts: dict[str, int] = {}
    for one in radar.blips:
        counts[one.identity.factor] = counts.get(one.identity.factor, 0) + 1
    largest = sorted(counts, key=lambda factor: (-counts[factor], factor))
    own = largest if len(largest) <= QUADRANTS else largest[: QUADRANTS - 1]
    rows = []
    for one in sorted(radar.blips, key=lambda one: BANDS.index(one.now.recommendation)):  # the tool keeps this order
        factor, name = one_line(one.identity.factor), one_line(one.label)
        shared = one.identity.factor not in own
        rows.append(
            {
                "name": f"{factor}: {name}" if shared else name,
                "ring": one.now.recommendation.title(),
                "quadrant": "other factors" if shared else factor,
                "isNew": str(one.is_new).upper(),
                "description": escape(_description(one)),
            }
        )
    missing = range(len(own) + 1, QUADRANTS + 1) if len(own) == len(largest) else ()
    blank = {"ring": "Hold", "isNew": "FALSE", "description": "The tool needs four quadrants."}
    rows += [{**blank, "name": NOTHING, "quadrant": f"factor {number}"} for number in missing]
    return pd.DataFrame(rows, columns=COLUMNS)


def _description(one: TrackedTechnique) -> str:
    verdict = one.now
    scope = verdict.evaluation.summary["scope"]["words"]
    date = f" ({verdict.evaluation.date})" if verdict.evaluation.date else ""
    where = f" on {scope}" if scope else ""
    return one_line(f"{verdict.words}{where}, against {verdict.evaluation.summary['baseline']}:"
                    f" {verdict.evaluation.name}{date}")  # fmt: skip
