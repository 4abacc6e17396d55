"""Every assumption of the method, with its check in this evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalbench.record.folder import Folder
from evalbench.report.analysis.verdicts import Judgment
from evalbench.statistics.judging import Verdict, used


@dataclass(frozen=True)
class Check:
    """One assumption, how it was checked, and what came out."""

    assumption: str
    check: str
    outcome: str
    holds: str  # yes, no, or not checked


def checks(folder: Folder, judged: Judgment) -> tuple[Check, ...]:
    """Every assumption of the method with its check in this evaluation."""
    evaluation, design = folder.evaluation, judged.design
    places = used(design)
    results = folder.results
    found = []
    complete = not judged.incomplete and not judged.unmatched
    gaps = {
        **judged.incomplete,
        **{name: f"{count} runs without a partner" for name, count in judged.unmatched.items()},
    }
    found.append(
        Check(
            "every cell is there once",
            "pairs matched by workload, seed and factors",
            "all complete" if complete else "; ".join(f"{name}: {gap}" for name, gap in gaps.items()),
            "yes" if complete else "no",
        )
    )
    correlations = [x for x in (_run_correlation(judged, v) for v in judged.verdicts) if math.isfinite(x)]
    worst = min(correlations, default=math.nan)
    found.append(
        Check(
            "pairing helps",
            "correlation of the paired runs, averaged over the workloads",
            f"at least {worst:.2f}" if correlations else "too few runs",
            ("yes" if worst > 0 else "no") if correlations else "not checked",
        )
    )
    skews = [_outlier(judged, verdict) for verdict in judged.verdicts]
    largest = max((x for x in skews if math.isfinite(x)), default=math.nan)
    found.append(
        Check(
            "the t interval is not ruled by one value",
            "largest distance of a difference from their mean, in standard deviations (below 3)",
            f"{largest:.1f}" if math.isfinite(largest) else "too few values",
            ("yes" if largest < 3 else "no") if math.isfinite(largest) else "not checked",
        )
    )
    widened = bool((np.asarray(design.rho)[places] > 0).any())
    drawn, fixed = bool(evaluation.redrawn), len(evaluation.redrawn) < len(evaluation.workloads)
    when = " or ".join(["every seed redraws its split"] * drawn + ["all trials share their test rows"] * fixed)
    how = " or ".join(["splits are redrawn"] * drawn + ["test rows are shared"] * fixed)
    found.append(
        Check(
            "seeds are independent",
            f"test rows / training rows added to 1/n where {when}",
            f"{how}: intervals of single data sets are widened"
            if widened
            else "test data are taken as fixed or fresh: nothing is added",
            "yes" if widened or evaluation.foreign else "not checked",
        )
    )
    fingerprints = [w.fingerprint for w in evaluation.workloads.values() if w.fingerprint]
    found.append(
        Check(
            "data sets are different ones",
            "fingerprints of the data",
            "not recorded"
            if not fingerprints
            else "all differ"
            if len(set(fingerprints)) == len(fingerprints)
            else "two are the same",
            ("yes" if len(set(fingerprints)) == len(fingerprints) else "no") if fingerprints else "not checked",
        )
    )
    lost = int(results["score"].isna().sum())
    gone = int((results["failed"] > 0).sum())
    counted = f", {gone} counted as losses" if evaluation.foreign and gone else ""
    found.append(
        Check(
            "no trial is missing by our fault",
            "states of the trials",
            f"{lost} FAILED{counted}",
            "no" if lost else "yes",
        )
    )
    below = [
        n for n, f in zip(evaluation.workloads, design.floors, strict=True) if math.isfinite(f) and design.rope < f
    ]
    known = [f for f in design.floors if math.isfinite(f)]
    found.append(
        Check(
            "the ROPE is not finer than the data",
            "noise floor of each test set against the ROPE",
            (f"finer on {', '.join(below)}: EQUIVALENT is not given there" if below else "coarser than every floor")
            if known
            else "no floor is known",
            ("no" if below else "yes") if known else "not checked",
        )
    )
    stages = "one stage" if design.num_pilot is None else f"pilot of seeds below {design.num_pilot}, extended once"
    found.append(Check("nobody stopped when it looked good", "stages of the trials", stages, "yes"))
    machines = evaluation.provenance.get("machines", [])
    found.append(
        Check(
            "one kind of hardware",
            "machines of the trials",
            f"{len(machines)} kinds" if len(machines) > 1 else "one kind" if machines else "not recorded",
            "not checked" if not machines else "yes" if len(machines) == 1 else "no",
        )
    )
    return tuple(found)


def _run_correlation(judged: Judgment, verdict: Verdict) -> float:
    a, b = judged.scores[verdict.candidate], judged.scores[judged.baseline]
    found = []
    for place in used(judged.design):
        shared = [seed for seed in a.seeds if seed in set(b.seeds)]
        x = np.array([a.values[a.seeds.index(seed), place] for seed in shared])
        y = np.array([b.values[b.seeds.index(seed), place] for seed in shared])
        if x.size > 2 and np.std(x) > 1e-12 and np.std(y) > 1e-12:
            found.append(float(np.corrcoef(x, y)[0, 1]))
    return float(np.mean(found)) if found else math.nan


def _outlier(judged: Judgment, verdict: Verdict) -> float:
    places = used(judged.design)
    d = judged.difference(verdict.candidate, judged.baseline)
    values = d.column(d.workloads[places[0]]) if len(places) == 1 else d.means[places]
    sd = float(np.std(values, ddof=1)) if values.size > 2 else 0.0
    return float(np.abs(values - values.mean()).max() / sd) if sd > 1e-12 else math.nan
