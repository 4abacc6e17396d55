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
from evalbench.record.foreign import Options, load_table
from evalbench.report.findings import Findings, find
from evalbench.report.judgement import difference
from evalbench.statistics.decisions import decide
from evalbench.statistics.intervals import Floats, t_interval, welch_intervals
from evalbench.statistics.judging import failures
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
    rings: tuple[str, str]  # old and new; "baseline" for the baseline
    ranks: tuple[int, int]
    cost: tuple[float, float]  # ratios to the baseline, old and new; nan where not measured
    worse_on: tuple[str, ...] = ()  # workloads where it got worse beyond the ROPE, corrected for all of them

    @property
    def words(self) -> str:
        """The change in a few words."""
        if self.quality in WORSE:
            return "got worse"
        if self.worse_on:
            return f"got worse on {', '.join(self.worse_on)}"
        if self.quality in BETTER:
            return "got better"
        return {
            Quality.EQUIVALENT: "practically the same",
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
    scale: float  # from a change of which larger is better to the printed one: below zero where lower is better
    confidence: float  # of each interval

    @property
    def worse(self) -> tuple[str, ...]:
        """Techniques that got worse beyond the ROPE, over the data sets or on one of them, and evidently so."""
        return tuple(change.technique for change in self.changes if change.quality in WORSE or change.worse_on)


def compare(old: str | Path, new: str | Path, options: Options | None = None) -> Comparison:
    """Compare two tables of results, `results.csv` in the folder of an evaluation or any others.

    A technique's scores are compared seed by seed where both evaluations have the same seeds on the same data, data
    set by data set otherwise; the intervals share one error rate over the techniques.

    Raises:
        TableError: a table cannot be used, or the two have no technique or workload in common.
    """
    sides = [_read(path, options) for path in (Path(old), Path(new))]
    judged = [side.judged for side in sides if side.judged is not None]
    if len(judged) < 2:
        raise TableError("only evaluations that compare techniques with a baseline can be compared with each other")
    if sides[0].common.difference != sides[1].common.difference:
        units = " and ".join(side.common.difference for side in sides)
        raise TableError(f"the two evaluations are in different units ({units}): they cannot be compared")
    names = [tuple(j.scores) for j in judged]
    shared = [name for name in names[1] if name in names[0]]
    workloads = [w for w in sides[1].folder.evaluation.workloads if w in sides[0].folder.evaluation.workloads]
    if not shared or not workloads:
        what = "technique" if not shared else "workload"
        raise TableError(f"the two evaluations have no {what} in common: there is nothing to compare")
    for w in workloads:
        metrics = [f"{e.workloads[w].direction} {e.workloads[w].metric}" for e in (s.folder.evaluation for s in sides)]
        if metrics[0] != metrics[1]:
            raise TableError(f"workload {w} has other metrics ({' and '.join(metrics)}): they cannot be compared")
        for name, (age, scores) in product(shared, zip(("old", "new"), (j.scores for j in judged), strict=True)):
            if not scores[name].column(w).size:
                raise TableError(f"{name} has no score on workload {w} in the {age} one: run or leave it out")
    design = judged[1].design
    places = {w: place for place, w in enumerate(sides[1].folder.evaluation.workloads)}
    counting = {sides[1].folder.evaluation.workloads[w].name for w in workloads if design.counted[places[w]]}
    rho = np.array([design.rho[places[w]] for w in workloads])
    floors = np.array([design.floors[places[w]] for w in workloads])
    counted = np.array([w in counting for w in workloads])
    level = design.alpha / len(shared)
    changes = []
    for name in shared:
        a, b = (_on(j.scores[name], workloads) for j in (judged[1], judged[0]))
        gone, before = (_on(j.failed[name], workloads) for j in (judged[1], judged[0]))
        decided = difference(before, gone)
        d = difference(a, b, decided)
        paired = _same_data(sides[0], sides[1], workloads) and bool(d.seeds) and min(d.counts) > 0
        mean, low, high, kind = (
            _decide(d, decided, design.rope, rho, floors, counted, level)
            if paired
            else _unpaired(a, b, gone, before, counted, design.rope, rho, level)
        )
        worse_on = _worse_on(d, decided, design.rope, rho, level) if paired else ()
        rings = tuple(_ring(side, name) for side in sides)
        costs = tuple(_cost(side, name) for side in sides)
        ranks = (judged[0].ranks[name], judged[1].ranks[name])
        changes.append(
            Change(
                name,
                mean,
                low,
                high,
                kind,
                paired,
                (rings[0], rings[1]),
                ranks,
                (costs[0], costs[1]),
                worse_on,
            )
        )
    return Comparison(
        changes=tuple(changes),
        only_old=tuple(name for name in names[0] if name not in shared),
        only_new=tuple(name for name in names[1] if name not in shared),
        workloads=tuple(workloads),
        dropped=tuple(sorted(set(sides[0].folder.evaluation.workloads) ^ set(sides[1].folder.evaluation.workloads))),
        provenance=_provenance(sides[0], sides[1]),
        rope=design.rope,
        unit=sides[1].common.difference,
        scale=sides[1].common.oriented,
        confidence=1 - level,
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


def _same_data(old: Findings, new: Findings, workloads: list[str]) -> bool:
    """Whether the seeds mean the same splits: the data are the same, and so is the root that seeds are derived from."""
    a, b = old.folder.evaluation, new.folder.evaluation
    same = all(a.workloads[w].fingerprint == b.workloads[w].fingerprint for w in workloads)
    return same and a.root_seed == b.root_seed and a.splits == b.splits


def _on(m: Matrix, workloads: list[str]) -> Matrix:
    """Return the columns of some workloads."""
    return Matrix(m.values[:, [m.workloads.index(w) for w in workloads]], m.seeds, tuple(workloads))


def _decide(
    d: Matrix, decided: Matrix, rope: float, rho: Floats, floors: Floats, counted: Floats, level: float
) -> tuple[float, float, float, Quality]:
    if not max(np.nanmax(np.abs(m.values)) for m in (d, decided)) > 1e-12:
        # The same numbers twice: nothing was run anew, or everything is deterministic.
        return 0.0, 0.0, 0.0, Quality.EQUIVALENT
    found = decide(
        d.means[None],
        np.nan_to_num(d.sds())[None],
        np.array(d.counts)[None],
        rope,
        rho=rho,
        floors=floors,
        counted=counted.astype(bool),
        alpha=level,
        lost=failures(decided, -1)[None],
        won=failures(decided, 1)[None],
    )
    return float(found.mean[0]), float(found.low[0]), float(found.high[0]), QUALITIES[int(found.quality[0])]


def _worse_on(d: Matrix, decided: Matrix, rope: float, rho: Floats, level: float) -> tuple[str, ...]:
    """A mean over data sets hides what broke on one: the workloads with evidence of their own, Bonferroni over all."""
    counts = np.array(d.counts)
    broken = decided_by_failures(failures(decided, -1), counts, failures(decided, 1), counts) < 0
    worse = []
    for place, name in enumerate(d.workloads):
        interval = t_interval(d.column(name), 1 - level / len(d.workloads), float(rho[place]))
        if interval.high < -rope or broken[place]:
            worse.append(name)
    return tuple(worse)


def _unpaired(
    a: Matrix, b: Matrix, gone: Matrix, before: Matrix, counted: Floats, rope: float, rho: Floats, level: float
) -> tuple[float, float, float, Quality]:
    """Independent seeds: the data sets repeat where there are several, Welch's interval where there is one."""
    use = [w for w, counts in zip(a.workloads, counted, strict=True) if counts] or list(a.workloads)
    if len(use) > 1:
        new, old, lost, won = (np.array([[m.column(w).mean() for w in use]]) for m in (a, b, gone, before))
        means = new - old
        every = np.ones(len(use), dtype=bool)
        found = decide(
            means, np.zeros_like(means), np.ones_like(means), rope, counted=every, alpha=level, lost=lost, won=won
        )
        return float(found.mean[0]), float(found.low[0]), float(found.high[0]), QUALITIES[int(found.quality[0])]
    x, y = a.column(use[0]), b.column(use[0])
    mean = float(x.mean() - y.mean())
    if min(x.size, y.size) < 2:
        return mean, math.nan, math.nan, Quality.INCONCLUSIVE
    low, high, low_tost, high_tost = welch_intervals(x, y, level, float(rho[a.workloads.index(use[0])]))
    failed, failed_before = gone.column(use[0]), before.column(use[0])
    alike = math.isclose(failed.mean(), failed_before.mean())
    by_score = QUALITIES.index(quality(low, high, low_tost, high_tost, rope, alike))
    chosen = after_failures(by_score, failed.sum(), failed.size, failed_before.sum(), failed_before.size)
    return mean, low, high, QUALITIES[int(chosen)]


def _ring(side: Findings, name: str) -> str:
    assert side.judged is not None  # checked before
    if name == side.judged.baseline:
        return "baseline"
    return next((str(v.ring) for v in side.judged.verdicts if v.candidate == name), "INVALID")


def _cost(side: Findings, name: str) -> float:
    assert side.judged is not None  # checked before
    if name == side.judged.baseline:
        return 1.0
    return next((v.cost.value for v in side.judged.verdicts if v.candidate == name), math.nan)


def _provenance(old: Findings, new: Findings) -> dict[str, tuple[str, str]]:
    """Everything about the making of the two that is not the same."""
    sides = [_flat(side) for side in (old, new)]
    return {
        key: (sides[0].get(key, "–"), sides[1].get(key, "–"))
        for key in sorted(sides[0].keys() | sides[1].keys())
        if sides[0].get(key) != sides[1].get(key)
    }


def _flat(side: Findings) -> dict[str, str]:
    e = side.folder.evaluation
    versions: Mapping[str, Any] = e.provenance.get("versions", {})
    flat = {
        "baseline": str(e.baseline),
        "budget": json.dumps(dict(e.budget), sort_keys=True),
        "commit": str(e.provenance.get("commit")),
        "machines": "; ".join(e.provenance.get("machines", [])),
        "num_seeds": str(e.num_seeds),
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
