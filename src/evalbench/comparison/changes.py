"""What changed between two evaluations, technique by technique."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from evalbench.errors import TableError
from evalbench.record.folder import load
from evalbench.record.foreign import load_table
from evalbench.record.options import Options
from evalbench.report.analysis.findings import Findings, JudgedFindings, find, judged
from evalbench.report.analysis.verdicts import difference
from evalbench.statistics.decisions import Evidence, Rule, decide, per_set
from evalbench.statistics.design import evidence_of
from evalbench.statistics.intervals import Floats
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.unpaired import TwoSamples
from evalbench.statistics.verdicts import QUALITIES, Quality, decided_by_failures

WORSE = (Quality.INFERIOR,)
BETTER = (Quality.SUPERIOR,)


@dataclass(frozen=True)
class Change:
    """One technique, new minus old, in the common unit."""

    technique: str
    mean: float
    low: float
    high: float
    quality: Quality  # of new against old
    paired: bool  # the same seeds on the same data; otherwise seeds are independent and the interval is Welch's
    recommendations: tuple[str, str]  # old and new; "baseline" for the baseline
    ranks: tuple[int, int]
    cost: tuple[float, float]  # ratios to the baseline, old and new; nan if not measured
    worse_on: tuple[str, ...] = ()  # workloads on which it got worse beyond the ROPE, corrected for all of them

    @property
    def words(self) -> str:
        """Return the change in a few words."""
        if self.quality in WORSE:
            return "got worse"
        if self.worse_on:
            return f"got worse on {', '.join(self.worse_on)}"
        if self.quality in BETTER:
            return "got better"
        return {
            Quality.EQUIVALENT: "practically the same",
            Quality.MIXED: "better on some data sets, worse on others",
            Quality.BETTER: "slightly better",
            Quality.WORSE: "slightly worse",
        }.get(self.quality, "within noise")


@dataclass(frozen=True)
class Comparison:
    """Two evaluations against each other."""

    changes: tuple[Change, ...]
    only_old: tuple[str, ...]  # techniques
    only_new: tuple[str, ...]
    workloads: tuple[str, ...]  # those that both have
    dropped: tuple[str, ...]  # workloads that only one of them has
    provenance: Mapping[str, tuple[str, str]]  # what differs: old and new
    rope: float
    unit: str
    scale: float  # from a change of which larger is better to the printed one: below zero if lower is better
    confidence: float  # of each interval
    reach: float  # the largest possible change in size, infinite if it is not known
    decimals: int  # of a printed change

    @property
    def worse(self) -> tuple[str, ...]:
        """Return the techniques that evidently got worse beyond the ROPE, over the data sets or on one of them."""
        return tuple(change.technique for change in self.changes if change.quality in WORSE or change.worse_on)


def compare(old: str | Path, new: str | Path, options: Options | None = None) -> Comparison:
    """Compare two tables of results, `results.csv` in the folder of an evaluation or any others.

    A technique's scores are compared seed by seed if both evaluations have the same seeds on the same data, data set by
    data set otherwise; the intervals share one error rate over the techniques.

    Raises:
        TableError: a table cannot be used, or the two have no technique or workload in common.
    """
    both = _in_common(*(_read(Path(path), options) for path in (old, new)))
    before, after = (tuple(side.judged.scores) for side in (both.old, both.new))
    return Comparison(
        changes=tuple(_change(both, name) for name in both.techniques),
        only_old=tuple(name for name in before if name not in both.techniques),
        only_new=tuple(name for name in after if name not in both.techniques),
        workloads=both.workloads,
        dropped=tuple(sorted(set(both.old.evaluation.workloads) ^ set(both.new.evaluation.workloads))),
        provenance=_provenance(both.old, both.new),
        rope=both.rope,
        unit=both.new.common.difference,
        scale=both.new.common.oriented,
        confidence=1 - both.level,
        reach=both.new.common.reach,
        decimals=max(both.old.common.finer, both.new.common.finer),
    )


@dataclass(frozen=True)
class _InCommon:
    """Two evaluations, what both have, and how it is compared: as the new one declares."""

    old: JudgedFindings
    new: JudgedFindings
    techniques: tuple[str, ...]
    workloads: tuple[str, ...]

    @property
    def rope(self) -> float:
        return self.new.judged.design.rope

    @property
    def level(self) -> float:
        """Return the error rate of each technique."""
        return self.new.judged.design.alpha / len(self.techniques)

    @property
    def paired(self) -> bool:
        """Return whether seeds mean the same splits: the data are the same, and the root that seeds derive from."""
        a, b = self.old.evaluation, self.new.evaluation
        same = all(a.workloads[w].fingerprint == b.workloads[w].fingerprint for w in self.workloads)
        return same and a.root_seed == b.root_seed and a.splits == b.splits and a.paired and b.paired

    def of_workloads(self, values: Any) -> Any:
        """Return the values of a design for the shared workloads, shape (W,)."""
        names = list(self.new.evaluation.workloads)
        return np.array([np.asarray(values)[names.index(workload)] for workload in self.workloads])


def _in_common(old: Findings, new: Findings) -> _InCommon:
    """Return the common part of two evaluations; refuse evaluations that cannot be compared."""
    before, after = judged(old), judged(new)
    if before is None or after is None:
        raise TableError("only evaluations that compare techniques with a baseline can be compared with each other")
    if before.common.difference != after.common.difference:
        units = f"{before.common.difference} and {after.common.difference}"
        raise TableError(f"the two evaluations are in different units ({units}): they cannot be compared")
    techniques = tuple(name for name in after.judged.scores if name in before.judged.scores)
    workloads = tuple(name for name in after.evaluation.workloads if name in before.evaluation.workloads)
    if not techniques or not workloads:
        lacking = "technique" if not techniques else "workload"
        raise TableError(f"the two evaluations have no {lacking} in common: there is nothing to compare")
    for workload in workloads:
        declared = [side.evaluation.workloads[workload] for side in (before, after)]
        metrics = [f"{one.direction} {one.metric}" for one in declared]
        if metrics[0] != metrics[1]:
            raise TableError(
                f"workload {workload} has other metrics ({' and '.join(metrics)}): they cannot be compared"
            )
        for name, (age, side) in product(techniques, (("old", before), ("new", after))):
            if not side.judged.scores[name].column(workload).size:
                raise TableError(f"{name} has no score on workload {workload} in the {age} one: run or leave it out")
    return _InCommon(before, after, techniques, workloads)


def _change(both: _InCommon, name: str) -> Change:
    """Compare one technique."""
    design, sides = both.new.judged.design, (both.old, both.new)
    rho, floors, counted = (both.of_workloads(values) for values in (design.rho, design.floors, design.counted))
    old, new = (_on(side.judged.scores[name], both.workloads) for side in sides)
    failed_before, failed = (_on(side.judged.failed[name], both.workloads) for side in sides)
    decided = difference(failed_before, failed)
    d = difference(new, old, decided)
    paired = both.paired and bool(d.seeds) and min(d.counts) > 0
    compared = (d, decided) if paired else (TwoSamples(new, old), TwoSamples(failed, failed_before))
    evidence = evidence_of([compared], rho, floors)
    same = paired and not max(np.nanmax(np.abs(m.values)) for m in (d, decided)) > 1e-12
    mean, low, high, kind = (
        (0.0, 0.0, 0.0, Quality.EQUIVALENT)  # nothing was run anew, or everything is deterministic
        if same
        else _decide(evidence, counted, Rule(both.rope, both.level, paired=paired))
    )
    return Change(
        technique=name,
        mean=mean,
        low=low,
        high=high,
        quality=kind,
        paired=paired,
        recommendations=(_recommendation(both.old, name), _recommendation(both.new, name)),
        ranks=(both.old.judged.ranks[name], both.new.judged.ranks[name]),
        cost=(_cost(both.old, name), _cost(both.new, name)),
        worse_on=_worse_on(evidence, both.workloads, both.rope, both.level),
    )


def _read(path: Path, options: Options | None) -> Findings:
    folder = path.parent if path.is_file() else path
    if (folder / "evaluation.json").is_file() and (path.is_dir() or path.name == "results.csv"):
        return find(load(folder))
    if not path.is_file():
        raise TableError(f"{path} is neither a table of results nor the folder of an evaluation")
    if options is None:
        raise TableError(f"{path} has no evaluation.json beside it: add --baseline NAME to read it as a lone table")
    if options.effect != "difference":
        raise TableError(f"two evaluations are compared by differences of scores: leave --effect {options.effect} out")
    return find(load_table(path, replace(options, alone=True)))


def _on(m: Matrix, workloads: tuple[str, ...]) -> Matrix:
    """Return the columns of some workloads."""
    return Matrix(m.values[:, [m.workloads.index(w) for w in workloads]], m.seeds, workloads)


def _decide(evidence: Evidence, counted: Floats, rule: Rule) -> tuple[float, float, float, Quality]:
    """Return mean, ends and class of the only candidate."""
    use = counted.astype(bool) if counted.any() else np.ones(len(counted), dtype=bool)
    decisions = decide(evidence.on(use), rule)
    mean, low, high = (float(values[0]) for values in (decisions.mean, decisions.low, decisions.high))
    return mean, low, high, QUALITIES[int(decisions.quality[0])]


def _worse_on(evidence: Evidence, workloads: Sequence[str], rope: float, level: float) -> tuple[str, ...]:
    """Return the workloads that got worse by evidence of their own, Bonferroni over all: a mean may hide them."""
    lost, runs, won, runs_baseline = (evidence.broadcast(name)[0] for name in ("lost", "runs", "won", "runs_baseline"))
    broken = decided_by_failures(lost, runs, won, runs_baseline) < 0
    _, high = per_set(evidence, 1 - level / len(workloads))
    return tuple(name for name, worse in zip(workloads, (high[0] < -rope) | broken, strict=True) if worse)


def _recommendation(side: JudgedFindings, name: str) -> str:
    if name == side.judged.baseline:
        return "baseline"
    return next((str(v.recommendation) for v in side.judged.verdicts if v.challenger == name), "INVALID")


def _cost(side: JudgedFindings, name: str) -> float:
    if name == side.judged.baseline:
        return 1.0
    return next((v.cost.value for v in side.judged.verdicts if v.challenger == name), math.nan)


def _provenance(old: JudgedFindings, new: JudgedFindings) -> dict[str, tuple[str, str]]:
    """Return the provenance that differs between the two."""
    sides = [_flat(side) for side in (old, new)]
    return {
        key: (sides[0].get(key, "–"), sides[1].get(key, "–"))
        for key in sorted(sides[0].keys() | sides[1].keys())
        if sides[0].get(key) != sides[1].get(key)
    }


def _flat(side: JudgedFindings) -> dict[str, str]:
    e = side.folder.evaluation
    versions: Mapping[str, Any] = e.provenance.get("versions", {})
    flat = {
        "baseline": str(e.baseline),
        "budget": json.dumps(dict(e.budget), sort_keys=True),
        "commit": str(e.provenance.get("commit")),
        "machines": "; ".join(e.provenance.get("machines", [])),
        "looks": ", ".join(map(str, e.looks)) + " seeds",
        "root_seed": str(e.root_seed),
        "rope": json.dumps(dict(e.rope), sort_keys=True),
        "splits": json.dumps(dict(e.splits), sort_keys=True),
        "training_version": str(e.provenance.get("training_version")),
        **{f"version of {name}": str(version) for name, version in versions.items()},
        **{f"code of {name}": json.dumps(pieces) for name, pieces in e.provenance.get("code", {}).items()},
        **{f"data of {name}": w.fingerprint for name, w in e.workloads.items() if w.fingerprint},
    }
    for factor, choices in e.settings.items():
        flat |= {f"{factor}={choice}": json.dumps(values, sort_keys=True) for choice, values in choices.items()}
    return flat
