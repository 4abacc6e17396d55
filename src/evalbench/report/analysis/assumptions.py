"""Every assumption of the method, with its check in this evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalbench.record.declared import Declaration
from evalbench.record.folder import Folder
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.scope import scope_of
from evalbench.report.analysis.verdicts import Judgment
from evalbench.report.render.units import UNKNOWN
from evalbench.statistics.design import used
from evalbench.statistics.intervals import Floats
from evalbench.statistics.judging import SKEWED, Verdict
from evalbench.statistics.unpaired import TwoSamples


@dataclass(frozen=True)
class Check:
    """One assumption, how it was checked, and what came out."""

    assumption: str
    check: str
    outcome: str
    holds: str  # yes, no, or not known: a check that was not made claims nothing


def checks(folder: Folder, judged: Judgment) -> tuple[Check, ...]:
    """Return every assumption of the method with its check in this evaluation."""
    return (
        _complete(judged),
        _pairing(judged),
        _outliers(judged),
        _symmetry(judged),
        _independence(folder, judged),
        _different_data(folder.evaluation),
        _failures(folder),
        _floors(folder.evaluation, judged),
        _span(folder.evaluation),
        _stopping(folder.evaluation),
        _hardware(folder.evaluation),
    )


def _complete(judged: Judgment) -> Check:
    missing = "partner" if judged.design.paired else "score"
    gaps = {
        **judged.incomplete,
        **{name: f"{count} runs without a {missing}" for name, count in judged.unmatched.items()},
    }
    return Check(
        "every cell is there once",
        "pairs matched by workload, seed and factors" if judged.design.paired else "a row per technique and workload",
        "; ".join(f"{name}: {gap}" for name, gap in gaps.items()) or "all complete",
        "no" if gaps else "yes",
    )


def _pairing(judged: Judgment) -> Check:
    if not judged.design.paired:
        return Check(
            "runs are independent", "pairs that were declared", "none: nothing rests on their numbers", UNKNOWN
        )
    known = [x for x in (_run_correlation(judged, v) for v in judged.verdicts) if math.isfinite(x)]
    return Check(
        "pairing helps",
        "correlation of the paired runs, averaged over the workloads",
        f"at least {min(known):.2f}" if known else "too few runs",
        ("yes" if min(known) > 0 else "no") if known else UNKNOWN,
    )


def _outliers(judged: Judgment) -> Check:
    known = [x for x in (_outlier(judged, verdict) for verdict in judged.verdicts) if math.isfinite(x)]
    return Check(
        "the t interval is not ruled by one value",
        "largest distance of a difference from their mean, in standard deviations (below 3)",
        f"{max(known):.1f}" if known else "too few values",
        ("yes" if max(known) < 3 else "no") if known else UNKNOWN,
    )


def _symmetry(judged: Judgment) -> Check:
    p_values = [verdict.asymmetry for verdict in judged.verdicts]
    known = [p for p in p_values if math.isfinite(p)]
    return Check(
        "differences are about symmetric",
        f"D'Agostino's test of skewness, pooled over the workloads (p of at least {SKEWED})",
        f"p of at least {min(known):.2g}" if known else "too few values",
        ("yes" if min(known) >= SKEWED else "no") if known else UNKNOWN,
    )


def _independence(folder: Folder, judged: Judgment) -> Check:
    """State how repetitions share rows: declared in evalbench's own evaluations, by `--unit` in foreign tables."""
    evaluation, results = folder.evaluation, folder.results
    scope = scope_of(evaluation, results[results["score"].notna()])
    what = "repetitions are independent, or the rows that they share are allowed for"
    if judged.design.one_score:
        return Check(what, "one score per data set", "nothing is repeated", UNKNOWN)
    names = [name for index, name in enumerate(evaluation.workloads) if index in used(judged.design)]
    outcomes = {
        RowScope.NEW_ROWS: "the rows that repetitions share widen the intervals"
        if any(scope.rho.get(name, 0.0) for name in names)
        else "repetitions share no rows",
        RowScope.THESE_ROWS: "test rows are the same for all: intervals hold for them",
        RowScope.UNKNOWN: "what rows repetitions share is not known: nothing is added",
    }
    kinds = {scope.rows[name] for name in names}
    check = "unit that was declared for the table" if evaluation.foreign else "splits that were declared"
    said = "; ".join(words for rows, words in outcomes.items() if rows in kinds)
    return Check(what, check, said, UNKNOWN if RowScope.UNKNOWN in kinds else "yes")


def _different_data(evaluation: Declaration) -> Check:
    known = [workload.fingerprint for workload in evaluation.workloads.values() if workload.fingerprint]
    differ = len(set(known)) == len(known)
    return Check(
        "data sets are different ones",
        "fingerprints of the data",
        ("all differ" if differ else "two are the same") if known else "not recorded",
        ("yes" if differ else "no") if known else UNKNOWN,
    )


def _failures(folder: Folder) -> Check:
    lost = int(folder.results["score"].isna().sum())
    losses = int((folder.results["failed"] > 0).sum())
    what, check = "no trial is missing by our fault", "states of the trials"
    if folder.evaluation.foreign:
        return Check(what, check, f"{losses} counted as losses; missing runs are not recorded", UNKNOWN)
    return Check(what, check, f"{lost} FAILED", "no" if lost else "yes")


def _floors(evaluation: Declaration, judged: Judgment) -> Check:
    floors = dict(zip(evaluation.workloads, judged.design.floors, strict=True))
    known = {name: floor for name, floor in floors.items() if math.isfinite(floor)}
    below = [name for name, floor in known.items() if judged.design.rope < floor]
    outcome = f"finer on {', '.join(below)}: EQUIVALENT is not given there" if below else "coarser than every floor"
    return Check(
        "the ROPE is not finer than the data",
        "noise floor of each test set against the ROPE",
        outcome if known else "no floor is known",
        ("no" if below else "yes") if known else UNKNOWN,
    )


def _span(evaluation: Declaration) -> Check:
    """Check the ROPE against the possible scores, never against the observed ones."""
    unit, span = evaluation.rope_unit, evaluation.rope_span
    outcome = f"the span of {unit} is not known" if span is None else f"the span of {unit} is {span:g}"
    holds = UNKNOWN if span is None else "no" if evaluation.rope_wide else "yes"
    return Check("the ROPE is small", "at most a tenth of the span of the metric", outcome, holds)


def _stopping(evaluation: Declaration) -> Check:
    """Check the looks: nothing else says whether somebody looked at results and then went on."""
    seeds = ", ".join(map(str, evaluation.looks))
    outcome, holds = "not recorded", "not known"
    if evaluation.looks_declared:
        outcome, holds = f"at {seeds} seeds, declared before the results", "yes"
    if evaluation.judged_before:
        names = ", ".join(before.evaluation for before in evaluation.judged_before)
        outcome, holds = f"{outcome}; some trials had been judged in {names}", "no"
    if evaluation.extended_from is not None:
        outcome, holds = f"not declared: seeds were added after a look at {evaluation.extended_from}", "no"
    return Check("no optional stopping", "looks at the results", outcome, holds)


def _hardware(evaluation: Declaration) -> Check:
    count = len(evaluation.provenance.get("machines", []))
    outcome = "not recorded" if not count else "one kind" if count == 1 else f"{count} kinds"
    holds = UNKNOWN if not count else "yes" if count == 1 else "no"
    return Check("one kind of hardware", "machines of the trials", outcome, holds)


def _run_correlation(judged: Judgment, verdict: Verdict) -> float:
    a, b = judged.scores[verdict.challenger], judged.scores[judged.baseline]
    _, mine, theirs = np.intersect1d(a.seeds, b.seeds, assume_unique=True, return_indices=True)
    rows, correlations = (a.values[mine], b.values[theirs]), []
    for index in used(judged.design):
        x, y = rows[0][:, index], rows[1][:, index]
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        if x.size > 2 and np.std(x) > 1e-12 and np.std(y) > 1e-12:
            correlations.append(float(np.corrcoef(x, y)[0, 1]))
    return float(np.mean(correlations)) if correlations else math.nan


def _outlier(judged: Judgment, verdict: Verdict) -> float:
    indices = used(judged.design)
    d = judged.difference(verdict.challenger, judged.baseline)
    if len(indices) > 1:
        return _farthest(d.means[indices])
    if isinstance(d, TwoSamples):
        return max(_farthest(side) for side in d.sides(indices)[0])
    return _farthest(d.column(d.workloads[indices[0]]))


def _farthest(values: Floats) -> float:
    """Return the largest distance of a value from their mean, in standard deviations; nan for two values or fewer."""
    sd = float(np.std(values, ddof=1)) if values.size > 2 else 0.0
    return float(np.abs(values - values.mean()).max() / sd) if sd > 1e-12 else math.nan
