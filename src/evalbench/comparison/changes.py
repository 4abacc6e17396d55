"""What changed between two evaluations, technique by technique."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
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
from evalbench.statistics.decisions import Decisions, Evidence, Rule, decide
from evalbench.statistics.design import failures
from evalbench.statistics.intervals import Floats, t_interval, welch_intervals
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.verdicts import QUALITIES, Quality, after_failures, decided_by_failures, quality

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
    paired = _same_data(both) and bool(d.seeds) and min(d.counts) > 0
    mean, low, high, kind = (
        _decide(d, decided, both.rope, rho, floors, counted, both.level)
        if paired
        else _unpaired(new, old, failed, failed_before, counted, both.rope, rho, both.level)
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
        worse_on=_worse_on(d, decided, both.rope, rho, both.level) if paired else (),
    )


def _read(path: Path, options: Options | None) -> Findings:
    folder = path.parent if path.is_file() else path
    if (folder / "evaluation.json").is_file() and (path.is_dir() or path.name == "results.csv"):
        return find(load(folder))
    if not path.is_file():
        raise TableError(f"{path} is neither a table of results nor the folder of an evaluation")
    if options is None:
        raise TableError(f"{path} has no evaluation.json beside it: add --baseline NAME to read it as a lone table")
    return find(load_table(path, options))


def _same_data(both: _InCommon) -> bool:
    """Return whether seeds mean the same splits: the data are the same, and the root that seeds are derived from."""
    a, b = both.old.evaluation, both.new.evaluation
    same = all(a.workloads[w].fingerprint == b.workloads[w].fingerprint for w in both.workloads)
    return same and a.root_seed == b.root_seed and a.splits == b.splits


def _on(m: Matrix, workloads: tuple[str, ...]) -> Matrix:
    """Return the columns of some workloads."""
    return Matrix(m.values[:, [m.workloads.index(w) for w in workloads]], m.seeds, workloads)


def _decide(
    d: Matrix, decided: Matrix, rope: float, rho: Floats, floors: Floats, counted: Floats, level: float
) -> tuple[float, float, float, Quality]:
    if not max(np.nanmax(np.abs(m.values)) for m in (d, decided)) > 1e-12:
        # The same numbers twice: nothing was run anew, or everything is deterministic.
        return 0.0, 0.0, 0.0, Quality.EQUIVALENT
    evidence = Evidence(
        d.means[None],
        np.nan_to_num(d.sds)[None],
        np.array(d.counts)[None],
        rho=rho,
        floors=floors,
        lost=failures(decided, -1)[None],
        won=failures(decided, 1)[None],
    )
    use = counted.astype(bool) if counted.any() else np.ones(len(counted), dtype=bool)
    return _first(decide(evidence.on(use), Rule(rope, level)))


def _first(decisions: Decisions) -> tuple[float, float, float, Quality]:
    """Return mean, ends and class of the first candidate."""
    mean, low, high = (float(values[0]) for values in (decisions.mean, decisions.low, decisions.high))
    return mean, low, high, QUALITIES[int(decisions.quality[0])]


def _worse_on(d: Matrix, decided: Matrix, rope: float, rho: Floats, level: float) -> tuple[str, ...]:
    """Return the workloads that got worse by evidence of their own, Bonferroni over all: a mean may hide them."""
    counts = np.array(d.counts)
    broken = decided_by_failures(failures(decided, -1), counts, failures(decided, 1), counts) < 0
    worse = []
    for index, name in enumerate(d.workloads):
        interval = t_interval(d.column(name), 1 - level / len(d.workloads), float(rho[index]))
        if interval.high < -rope or broken[index]:
            worse.append(name)
    return tuple(worse)


def _unpaired(
    a: Matrix, b: Matrix, gone: Matrix, before: Matrix, counted: Floats, rope: float, rho: Floats, level: float
) -> tuple[float, float, float, Quality]:
    """Compare independent seeds on the same data sets, by Welch's interval of the mean over them."""
    use = [w for w, counts in zip(a.workloads, counted, strict=True) if counts] or list(a.workloads)
    x, y, failed, failed_before = ([m.column(w) for w in use] for m in (a, b, gone, before))
    mean = float(np.mean([new.mean() - old.mean() for new, old in zip(x, y, strict=True)]))
    if min(column.size for column in (*x, *y)) < 2:
        return mean, math.nan, math.nan, Quality.INCONCLUSIVE
    low, high, low_tost, high_tost = welch_intervals(x, y, level, [float(rho[a.workloads.index(w)]) for w in use])
    alike = all(math.isclose(f.mean(), g.mean()) for f, g in zip(failed, failed_before, strict=True))
    by_score = QUALITIES.index(quality(low, high, low_tost, high_tost, rope, alike))
    after, past = np.concatenate(failed), np.concatenate(failed_before)
    chosen = after_failures(by_score, after.sum(), after.size, past.sum(), past.size)
    return mean, low, high, QUALITIES[int(chosen)]


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
