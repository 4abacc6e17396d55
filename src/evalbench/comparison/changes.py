"""What changed between two evaluations, technique by technique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from evalbench.comparison.summaries import Summary, compare_summaries, cost, differing, rank, recommendation
from evalbench.comparison.values import Change, Comparison
from evalbench.errors import TableError
from evalbench.record.elsewhere import read_folder
from evalbench.record.foreign import load_table
from evalbench.record.options import Options
from evalbench.record.summary import FILE, read_summary
from evalbench.report.analysis.findings import Findings, JudgedFindings, find, judged
from evalbench.report.analysis.verdicts import difference
from evalbench.report.summary import summary_of
from evalbench.statistics.decisions import Evidence, Rule, decide, per_set
from evalbench.statistics.design import evidence_of
from evalbench.statistics.intervals import Floats
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.unpaired import TwoSamples
from evalbench.statistics.verdicts import QUALITIES, Quality, decided_by_failures


def compare(old: str | Path, new: str | Path, options: Options | None = None) -> Comparison:
    """Compare two tables of results, `results.csv` in the folder of an evaluation or any others.

    A technique's scores are compared seed by seed if both evaluations have the same seeds on the same data, data set by
    data set otherwise; the intervals share one error rate over the techniques. If a side is a `summary.json` without
    its tables, the effects against the baseline are compared instead: see `compare_summaries`.

    Raises:
        TableError: a table cannot be used, or the two have no technique or workload in common.
    """
    paths = (Path(old), Path(new))
    if any(map(_is_summary, paths)):
        return compare_summaries(*(_summary(path, options) for path in paths))
    both = _in_common(*(_read(path, options) for path in paths))
    before, after = (tuple(side.judged.scores) for side in (both.old, both.new))
    return Comparison(
        changes=tuple(_change(both, name) for name in both.techniques),
        only_old=tuple(name for name in before if name not in both.techniques),
        only_new=tuple(name for name in after if name not in both.techniques),
        workloads=both.workloads,
        dropped=tuple(sorted(set(both.old.evaluation.workloads) ^ set(both.new.evaluation.workloads))),
        provenance=differing(*both.summaries),
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

    @cached_property
    def summaries(self) -> tuple[Summary, Summary]:
        """Return what the report of either evaluation says in `summary.json`."""
        return summary_of(self.old), summary_of(self.new)

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
    old_summary, new_summary = both.summaries
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
        recommendations=(recommendation(old_summary, name), recommendation(new_summary, name)),
        ranks=(rank(old_summary, name), rank(new_summary, name)),
        cost=(cost(old_summary, name), cost(new_summary, name)),
        worse_on=_worse_on(evidence, both.workloads, both.rope, both.level),
    )


def _is_summary(path: Path) -> bool:
    """Return whether a summary is named, or the folder of a report that came without its tables."""
    if path.is_dir():
        return (path / FILE).is_file() and not (path / "evaluation.json").is_file()
    return path.name == FILE


def _summary(path: Path, options: Options | None) -> Summary:
    """Return the summary of a report; older folders have none, so that it is made of their tables."""
    file = path / FILE if path.is_dir() else path
    if file.name == FILE and (_is_summary(path) or file.is_file()):
        return read_summary(file)
    return summary_of(_read(path, options))


def _read(path: Path, options: Options | None) -> Findings:
    folder = path.parent if path.is_file() else path
    if (folder / "evaluation.json").is_file() and (path.is_dir() or path.name == "results.csv"):
        return find(read_folder(folder))
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
