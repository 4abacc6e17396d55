"""What a `summary.json` says of its techniques, and two of them against each other, without the scores behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from scipy import stats

from evalbench.comparison.values import Change, Comparison
from evalbench.errors import TableError
from evalbench.statistics.verdicts import Quality, quality

Summary = Mapping[str, Any]


def recommendation(summary: Summary, name: str) -> str:
    """Return the recommendation on a technique, `baseline` for the baseline."""
    technique = _technique(summary, name)
    return "baseline" if technique["is_baseline"] else technique["recommendation"] or "INVALID"


def rank(summary: Summary, name: str) -> int:
    """Return the rank that a technique may share with others."""
    known = _technique(summary, name)["rank"]
    if known is None:
        raise TableError(f"the summary of {summary['name']} has no rank of {name}: write it again (evalbench report)")
    return int(known)


def cost(summary: Summary, name: str) -> float:
    """Return the cost relative to the baseline; nan if it was not measured."""
    known = _technique(summary, name)["cost"]
    return math.nan if known is None else float(known["ratio"])


def differing(old: Summary, new: Summary) -> dict[str, tuple[str, str]]:
    """Return what differs in how the two were made: old and new, by words for it."""
    sides = [_flat(side) for side in (old, new)]
    return {
        key: (sides[0].get(key, "–"), sides[1].get(key, "–"))
        for key in sorted(sides[0].keys() | sides[1].keys())
        if sides[0].get(key) != sides[1].get(key)
    }


def compare_summaries(old: Summary, new: Summary) -> Comparison:
    """Compare the effects against the baseline that two summaries report.

    The two effects count as independent. If both evaluations have the same seeds, the true interval is narrower: the
    gate then closes later than it would with the scores.

    Raises:
        TableError: the two judge in different units, against different baselines, or on different data sets.
    """
    _check(old, new)
    before, after = (_effects(side) for side in (old, new))
    names = tuple(name for name in after if name in before)
    if not names:
        raise TableError("the two summaries have no technique in common but the baseline: there is nothing to compare")
    unit, rope = new["unit"], new["rope"]["width"]
    scale = -1 if unit["better"] == "lower" else 1
    level = (1 - (new.get("confidence") or 0.95)) / len(names)
    return Comparison(
        changes=tuple(_change(old, new, name, rope, level) for name in names),
        only_old=tuple(name for name in before if name not in after),
        only_new=tuple(name for name in after if name not in before),
        workloads=tuple(_counted(new)),
        dropped=tuple(sorted(_workloads(old) ^ _workloads(new))),
        provenance=differing(old, new),
        rope=rope,
        unit=unit["name"],
        scale=scale,
        confidence=1 - level,
        reach=math.inf if unit["largest"] is None else unit["largest"],
        decimals=max(old["unit"]["decimals"], unit["decimals"]),
        of_effects=True,
    )


def _check(old: Summary, new: Summary) -> None:
    """Refuse summaries whose effects are not about the same."""
    for side in (old, new):
        if side["kind"] != "verdicts" or not side["unit"] or not side["rope"] or side["unit"]["ratio"]:
            raise TableError(
                f"the summary of {side['name']} must hold differences from a baseline to be compared: compare the"
                " folders, which have the scores"
            )
    for words, key in (("against other baselines", "baseline"), ("in different units", "unit")):
        a, b = (side[key]["name"] if key == "unit" else side[key] for side in (old, new))
        if a != b:
            raise TableError(f"the two summaries judge {words} ({a} and {b}): they cannot be compared")
    if _counted(old) != _counted(new):
        a, b = (", ".join(_counted(side)) for side in (old, new))
        raise TableError(f"the two summaries judge other data sets ({a} and {b}): compare the folders instead")


def _change(old: Summary, new: Summary, name: str, rope: float, level: float) -> Change:
    """Compare the effect of one technique: the difference of two means with Welch's interval."""
    scale = -1 if new["unit"]["better"] == "lower" else 1
    a, b = _effects(old)[name], _effects(new)[name]
    mean = scale * (b["mean"] - a["mean"])
    low = high = math.nan
    kind = Quality.EQUIVALENT if a == b else Quality.INCONCLUSIVE
    if a == b:
        low = high = mean = 0.0  # nothing was run anew, or everything is deterministic
    elif None not in (a["low"], a["high"], b["low"], b["high"]):
        error, freedom = _welch([_error(a), _error(b)])
        half, half_tost = (stats.t.ppf(1 - share, freedom) * error for share in (level / 2, level))
        low, high = mean - half, mean + half
        kind = quality(low, high, mean - half_tost, mean + half_tost, rope)
    return Change(
        technique=name,
        mean=mean,
        low=float(low),
        high=float(high),
        quality=kind,
        paired=False,
        recommendations=(recommendation(old, name), recommendation(new, name)),
        ranks=(rank(old, name), rank(new, name)),
        cost=(cost(old, name), cost(new, name)),
        worse_on=_worse_on(_technique(old, name), _technique(new, name), rope, scale),
    )


def _error(effect: Mapping[str, Any]) -> tuple[float, float]:
    """Return the standard error behind an interval, and its degrees of freedom."""
    freedom = math.inf if effect["freedom"] is None else effect["freedom"]
    half = (effect["high"] - effect["low"]) / 2
    quantile = float(stats.t.ppf((1 + effect["confidence"]) / 2, freedom))
    return half / quantile if quantile > 0 else math.inf, freedom


def _welch(errors: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error of a difference, and its degrees of freedom. Source: Welch, Biometrika 34 (1947)."""
    total = math.hypot(*(error for error, _ in errors))
    if not 0 < total < math.inf:
        return total, math.inf
    spread = sum((error / total) ** 4 / freedom for error, freedom in errors)
    return total, 1 / spread if spread > 0 else math.inf


def _worse_on(old: Summary, new: Summary, rope: float, scale: int) -> tuple[str, ...]:
    """Return the workloads whose intervals lie apart by more than the ROPE, the new one on the worse side."""
    before = {one["name"]: _oriented(one, scale) for one in old.get("workloads", ())}
    after = {one["name"]: _oriented(one, scale) for one in new.get("workloads", ())}
    shared = [name for name in after if name in before and before[name] != after[name]]
    return tuple(name for name in shared if after[name][1] < before[name][0] - rope)


def _oriented(one: Mapping[str, Any], scale: int) -> tuple[float, float]:
    """Return the ends so that larger is better; nan if there are none."""
    if one["low"] is None or one["high"] is None:
        return (math.nan, math.nan)
    low, high = sorted((scale * one["low"], scale * one["high"]))
    return low, high


def _effects(summary: Summary) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one["effect"] for one in summary["techniques"] if one["effect"] is not None}


def _technique(summary: Summary, name: str) -> Mapping[str, Any]:
    one: Mapping[str, Any] = next(one for one in summary["techniques"] if one["name"] == name)
    return one


def _counted(summary: Summary) -> list[str]:
    return sorted(one["name"] for one in summary["scope"]["workloads"] if one["counted"])


def _workloads(summary: Summary) -> set[str]:
    return {one["name"] for one in summary["scope"]["workloads"]}


def _flat(summary: Summary) -> dict[str, str]:
    conditions, provenance = summary["conditions"], summary["provenance"]
    flat = {
        "baseline": str(summary["baseline"]),
        **{key: json.dumps(conditions.get(key), sort_keys=True) for key in ("budget", "rope", "splits")},
        "commit": str(provenance.get("commit")),
        "machines": "; ".join(provenance.get("machines", [])),
        "looks": ", ".join(map(str, conditions.get("looks", []))) + " seeds",
        "root_seed": str(conditions.get("root_seed")),
        "training_version": str(provenance.get("training_version")),
        **{f"version of {name}": str(version) for name, version in provenance["versions"].items()},
        **{f"code of {name}": json.dumps(pieces) for name, pieces in (provenance.get("code") or {}).items()},
        **{f"data of {one['name']}": one["fingerprint"] for one in summary["scope"]["workloads"] if one["fingerprint"]},
    }
    for factor, choices in conditions.get("settings", {}).items():
        flat |= {f"{factor}={choice}": json.dumps(values, sort_keys=True) for choice, values in choices.items()}
    return flat
