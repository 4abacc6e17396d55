"""How the rows of each workload were divided, what follows for the intervals, and rows that two parts share."""

from __future__ import annotations

from collections.abc import Sequence

from evalbench.names import code
from evalbench.record.declared import Workload
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.units import listed, percent, plural


def splits(findings: Findings) -> str:
    """Return the shares of the splits, how rows are divided, and the seeds that draw them."""
    workloads, parts = findings.evaluation.workloads, []
    drawn: dict[tuple[str | None, int | None], list[str]] = {}
    for name, workload in workloads.items():
        if workload.fixed_test_rows or workload.fixed_validation_rows:
            parts.append(_given(findings, workload))
        else:
            drawn.setdefault((workload.split, workload.folds), []).append(name)
    for (method, folds), names in drawn.items():
        of = f" of {_named(names)}" if len(drawn) > 1 else " of the other workloads" if parts else ""
        parts.append(_drawn(findings, method, folds, of))
    return "; ".join(parts)


def _how(findings: Findings, method: str | None) -> str:
    """Return how rows that no data set gives are divided, as words that follow "are"."""
    evaluation = findings.evaluation
    if method == "time":
        return "from the earliest to the latest, the same for every seed"
    if method == "fixed":
        return f"drawn once for all seeds (root seed {evaluation.root_seed})"
    seeds = max(findings.folder.num_seeds(technique) for technique in evaluation.techniques)
    many = f"each of {seeds} seeds" if seeds > 1 else "the one seed"
    rows = " from those that tuning saw" if findings.tuned is not None else ""
    kind = {"group": "whole groups each, ", "random": "whatever their class, "}.get(method or "", "")
    return f"{kind}drawn anew for {many}{rows} (root seed {evaluation.root_seed})"


def _given(findings: Findings, workload: Workload) -> str:
    """Describe the splits of a workload whose data set gives test rows, validation rows or both."""
    counts = {"test": workload.fixed_test_rows, "validation": workload.fixed_validation_rows}
    kept = listed([f"{rows:,} {part}" for part, rows in counts.items() if rows])
    given = f"{code(workload.name)} has the same {kept} rows for every seed, given by the data set"
    if all(counts.values()):
        return f"{given}; the others are for training"
    part = "test" if workload.fixed_validation_rows else "validation"
    share = percent(findings.evaluation.splits[part])
    drawn = f"{share} of its {workload.rows:,} rows for {'the test' if part == 'test' else part}"
    return f"{given}; {drawn} and the others for training are {_how(findings, workload.split)}"


def _drawn(findings: Findings, method: str | None, folds: int | None, others: str) -> str:
    """Describe the splits by a method; `others` names the workloads if there are more."""
    declared, how = findings.evaluation.splits, _how(findings, method)
    if folds is not None:
        again = f", each {folds} seeds draw the folds anew" if method == "repeated_kfold" else ""
        return (
            f"{folds} folds of the rows{others} (root seed {findings.evaluation.root_seed}), each seed is tested on one"
            f" of them{again}; {percent(declared['validation'])} of the rows for validation come from the other folds"
        )
    parts = [name for name in ("train", "validation", "test") if name in declared]
    rows = f"{', '.join(f'{percent(declared[name])} {name}' for name in parts)} of the rows{others}"
    if findings.tuned is not None and method not in ("time", "fixed"):
        return f"{rows}; the test rows are the same for all, training and validation rows are {how}"
    return f"{rows}, {how}"


def caveats(findings: Findings) -> list[str]:
    """Return what the splits mean for the intervals, and how many test rows equal training rows."""
    measured = {name: one for name, one in findings.evaluation.workloads.items() if name in findings.rho}
    groups = {
        _about_given: [name for name, one in measured.items() if one.fixed_test_rows],
        _about_same: [name for name, one in measured.items() if not one.fixed_test_rows and one.same_test_rows],
        _about_folds: [name for name, one in measured.items() if one.folds is not None],
    }
    drawn = [name for name in measured if not any(name in names for names in groups.values())]
    groups[_about_drawn] = drawn
    alone = sum(bool(names) for names in groups.values()) == 1
    notes = [about(findings, names, alone) for about, names in groups.items() if names]
    return [*notes, *_about_equal_rows(measured)]


def _about_given(findings: Findings, names: Sequence[str], alone: bool) -> str:
    return (
        f"All trials of {_named(names)} are tested on the same rows, which the data set gives: the intervals hold for"
        " these test rows. The spread over seeds misses what other test rows would have changed."
    )


def _about_same(findings: Findings, names: Sequence[str], alone: bool) -> str:
    by_time = all(findings.evaluation.workloads[name].split == "time" for name in names)
    which = "the latest ones" if by_time else "drawn once"
    return (
        f"All trials of {_named(names)} are tested on the same rows, {which}, and trained on the same rows: the"
        " intervals hold for these test rows. The spread over seeds misses what other rows would have changed."
    )


def _about_folds(findings: Findings, names: Sequence[str], alone: bool) -> str:
    of = "" if alone else f" of {_named(names)}"
    return (
        f"Every seed{of} is tested on a fold of one pool of rows and trained on the other folds, so the seeds are not"
        f" independent. The intervals add 1 / (folds − 1) (here {rho_words(findings, names)}) to 1/n for this (Nadeau"
        " and Bengio, 2003): more seeds cannot shrink them beyond that, only more rows can."
    )


def _about_drawn(findings: Findings, names: Sequence[str], alone: bool) -> str:
    if findings.tuned is not None:
        return (
            "All trials of a workload are tested on the same rows, and train on rows of one pool: the intervals hold"
            " for these test rows. Their spread misses what other rows would have changed."
        )
    of = "" if alone else f" of {_named(names)}"
    return (
        f"Every seed redraws its split{of} from one pool of rows, so the seeds are not independent. The intervals"
        f" add test rows / training rows (here {rho_words(findings, names)}) to 1/n for this (Nadeau and Bengio, 2003):"
        " more seeds cannot shrink them beyond that, only more rows can."
    )


def rho_words(findings: Findings, names: Sequence[str]) -> str:
    """Return the terms that are added to 1/n on some workloads: `0.25 to 0.33`."""
    ends = [f"{end(findings.rho[name] for name in names):.2f}" for end in (min, max)]
    return " to ".join(dict.fromkeys(ends))


def _about_equal_rows(workloads: dict[str, Workload]) -> list[str]:
    """Say how many test rows of the first split equal a training row; silent zeros would look like no check."""
    counts = {name: one.equal_rows for name, one in workloads.items() if one.equal_rows is not None}
    notes = []
    for name, count in counts.items():
        if count["inputs"]:
            tested = plural(count["test"], "test row")
            notes.append(
                f"{count['inputs']:,} of {tested} of {code(name)} equal a training row in all inputs,"
                f" {count['all']:,} of them in the target too (first split): a model may know these by heart."
            )
    if without := [name for name, count in counts.items() if not count["inputs"]]:
        which = "" if len(without) == len(workloads) else f" of {_named(without)}"
        notes.append(f"No test row{which} equals a training row in all inputs (first split).")
    if unknown := [name for name in workloads if name not in counts]:
        which = "" if len(unknown) == len(workloads) else f" of {_named(unknown)}"
        notes.append(f"Whether test rows{which} equal training rows is not known.")
    return notes


def _named(names: Sequence[str]) -> str:
    return listed([code(name) for name in names])
