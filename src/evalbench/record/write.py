"""The folder of an evaluation: everything that its report is made from, as JSON and CSV."""

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.mirror.runs import run_id
from evalbench.record.declared import declaration
from evalbench.record.schema import INTEGERS, NUMBERS, VERSION
from evalbench.record.tables import write_table
from evalbench.seeds import look_of
from evalbench.space import spanned
from evalbench.store import Link, StoredTrial
from evalbench.tasks import MEASURED, OwnTask
from evalbench.tasks.metric import find
from evalbench.trial import TRAINING_VERSION, State
from evalbench.tuning import Study, TriedCandidate
from evalbench.workloads import Dataset, NamedWorkload

REFERENCE_COLUMNS = ["reference", "workload", "seed", "metric", "direction", "unit", "score"]


@dataclass(frozen=True)
class Searched:
    """One study with its candidates and the best of them; its link names no trial."""

    link: Link
    study: Study
    history: Sequence[TriedCandidate]
    best: TriedCandidate | None


def write_folder(
    folder: Path,
    design: Mapping[str, Any],
    datasets: Mapping[str, Dataset],
    about: Mapping[str, Mapping[str, Any]],
    measured: Sequence[Sequence[Link]],
    trials: Mapping[str, StoredTrial],
    references: Mapping[str, Mapping[tuple[int, str], Mapping[str, float]]],
    searched: Sequence[Searched] = (),
) -> tuple[Mapping[str, Any], ...]:
    """Write `evaluation.json`, `results.csv`, `curves.csv` and `references.csv`; return the failed cells.

    `about` has what is declared of each workload beside its data set: target, split, equal rows. `measured` has the
    trials that techniques are judged by: one list, or one for each study, and then `tuning.csv` and `studies.json` are
    written too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(study, link, trials[link.trial_id]) for study, links in enumerate(measured) for link in links]
    failures = _failures([(link, trial) for _, link, trial in pairs])
    content = {
        "version": VERSION,
        **{key: value for key, value in design.items() if key not in ("command", "versions")},
        "workloads": {name: {**_describe(dataset), **about[name]} for name, dataset in datasets.items()},
        "num_seeds": design["looks"][-1],
        "tuning": _tuning(searched),
        "failures": failures,
        **_elsewhere(datasets),
        "provenance": _provenance(design, [trial for _, _, trial in pairs]),
    }
    content["declared"] = declaration(content)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    looks = design["looks"]
    results = [
        {
            **_result_row(link, trial, datasets[trial.workload], looks),
            **(_of_study(searched, s) or {"tracker_run": run_id(design["name"], link, trial.workload, trial.seed)}),
        }
        for s, link, trial in pairs
    ]
    _write_csv(folder / "results.csv", results)
    curves = [{**row, **_of_study(searched, study)} for study, link, trial in pairs for row in _curve_rows(link, trial)]
    columns = ["technique", "workload", *design["factors"], *NUMBERS["curves.csv"], *_of_study(searched, 0)]
    _write_csv(folder / "curves.csv", curves, columns)  # its header also if every trial failed
    seeds = {trial.seed for _, _, trial in pairs}
    _write_csv(folder / "references.csv", _reference_rows(datasets, references, seeds), REFERENCE_COLUMNS)
    _write_studies(folder, searched)
    return tuple(failures)


def _of_study(searched: Sequence[Searched], study: int) -> dict[str, int]:
    """Return the column that tells the trials of studies apart, if there are studies."""
    return {"study": study} if searched else {}


def write_defaults(
    folder: Path,
    design: Mapping[str, Any],
    datasets: Mapping[str, Dataset],
    links: Sequence[Link],
    trials: Mapping[str, StoredTrial],
) -> None:
    """Write `defaults.csv`: like `results.csv`, of the settings that nobody tuned."""
    pairs = [(link, trials[link.trial_id]) for link in links]
    rows = [_result_row(link, trial, datasets[trial.workload], design["looks"]) for link, trial in pairs]
    _write_csv(folder / "defaults.csv", rows)


def _tuning(searched: Sequence[Searched]) -> dict[str, Any] | None:
    """Return the settings that all studies share, and each technique's search space."""
    if not searched:
        return None
    from evalbench.search import batch_size  # Optuna: only if something was searched

    search = searched[0].study.search
    tried = {sum(one.result is not None and one.result.values is not None for one in s.history) for s in searched}
    space = {
        technique: spanned(_space(s) for s in searched if s.link.technique == technique)
        for technique in dict.fromkeys(s.link.technique for s in searched)
    }
    objectives = {s.study.cell.workload: list(s.study.objectives) for s in searched}
    return {
        "parity": len(tried) == 1,
        "sampler": search.sampler.target,
        "batch": batch_size(search),
        "num_trials": search.num_candidates,
        "num_seeds": search.num_seeds,
        "num_studies": search.num_studies,
        "development": search.development,
        "pruning": None if search.pruning is None else search.pruning.spec(),
        "objectives": objectives,
        "directions": {name: s.study.direction(name) for s in searched for name in s.study.objectives},
        "space": space,
    }


def _write_studies(folder: Path, searched: Sequence[Searched]) -> None:
    """Write `tuning.csv`, a row per candidate, and `studies.json`; remove those of an earlier evaluation."""
    if not searched:
        for name in ("tuning.csv", "studies.json", "defaults.csv", "default_costs.csv"):
            (folder / name).unlink(missing_ok=True)
        return
    _write_csv(folder / "tuning.csv", [_candidate_row(s, one) for s in searched for one in s.history])
    studies = [
        {
            **_study_key(s),
            "name": s.study.name,
            "best": None if s.best is None else s.best.candidate.number,
            "space": _space(s),
            "default": {d.path: s.study.cell.config.value(d.path) for d in s.study.search.space},
            "chosen": None if s.best is None else dict(s.best.candidate.values),
            **_importance(s),
        }
        for s in searched
    ]
    text = json.dumps(studies, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "studies.json").write_text(text + "\n", encoding="utf-8")


def _space(s: Searched) -> dict[str, dict[str, Any]]:
    return {dimension.path: dimension.spec() for dimension in s.study.search.space}


def _study_key(s: Searched) -> dict[str, Any]:
    return {
        "technique": s.link.technique,
        "workload": s.study.cell.workload,
        **s.link.factors,
        "study": s.study.number,
    }


def _candidate_row(s: Searched, one: TriedCandidate) -> dict[str, Any]:
    """Return a candidate with its mean scores, the work of all its trials, and its hyperparameters."""
    values = None if one.result is None else one.result.values
    results = [trial.result for trial in one.trials]
    return {
        **_study_key(s),
        "candidate": one.candidate.number,
        "state": one.state.value,
        **dict(zip(s.study.objectives, values or [None] * len(s.study.objectives), strict=True)),
        "val_loss": one.val_loss if math.isfinite(one.val_loss) else None,
        "trials": len(results),
        "epochs": sum(len(result.curve) for result in results if result.state is not State.FAILED),
        "steps": _total([result.steps for result in results if result.state is not State.FAILED]),
        "flops": _total([result.flops for result in results if result.state is not State.FAILED]),
        "seconds": round(sum(trial.provenance.get("seconds", 0.0) for trial in one.trials), 4),
        "message": next((result.message for result in results if result.message), None),
        **one.candidate.values,
    }


def _total(counts: Sequence[int | None]) -> int | None:
    """Return the sum, None if a part of it is not known."""
    return None if None in counts else sum(count or 0 for count in counts)


def _importance(s: Searched) -> dict[str, dict[str, float]]:
    """Return each hyperparameter's share of the first objective's variance, over candidates that were not pruned.

    An infinite objective has no variance: its candidate is left out.
    """
    from evalbench.search import importance

    finished = [
        (one.candidate.values, one.result.values[0])
        for one in s.history
        if one.result is not None and one.result.values is not None and not one.result.pruned
        if math.isfinite(one.result.values[0])
    ]
    shares = importance(_space(s), finished, s.study.direction(s.study.objectives[0]) == "maximize")
    return {
        "importance": {path: round(share, 6) for path, (share, _) in shares.items()},
        "importance_error": {path: round(error, 6) for path, (_, error) in shares.items()},
    }


def failed_candidates(searched: Sequence[Searched]) -> list[dict[str, Any]]:
    """Return one entry per study that has both candidates that failed and one to measure, as for a failed cell."""
    failures = []
    for s in searched:
        failed = [
            trial for one in s.history if one.state is State.FAILED for trial in one.trials if trial.result.message
        ]
        count = sum(one.state is State.FAILED for one in s.history)
        if failed and s.best is not None:
            entry = {"technique": s.link.technique, "workload": s.study.cell.workload, "factors": dict(s.link.factors)}
            message = f"{count} of {len(s.history)} candidates: {failed[0].result.message}"
            failures.append({**entry, "message": message, "log": failed[0].result.log})
    return failures


def write_costs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `costs.csv`, one row per cell and round; none if nothing was measured."""
    if rows:
        _write_csv(path, rows)
    else:
        path.unlink(missing_ok=True)


def _result_row(link: Link, trial: StoredTrial, dataset: Dataset, looks: Sequence[int]) -> dict[str, Any]:
    result, metric = trial.result, dataset.metric
    names = [measured.on("test") for measured in dict.fromkeys((*MEASURED, *dataset.measured.values()))]
    return {
        **_key(link, trial),
        "look": look_of(looks, trial.seed),
        "state": result.state.value,
        "metric": metric.on("test"),
        "direction": metric.direction,
        "unit": metric.unit,
        "score": result.metrics.get(metric.on("test")),
        "num_train": result.num_train,
        "num_test": result.num_test,
        "steps": result.steps,
        "examples": result.examples,
        "flops": result.flops,
        "parameters": result.parameters,
        **({"cost_seconds": trial.provenance["seconds"]} if isinstance(dataset, NamedWorkload) else {}),
        "best_epoch": result.best_epoch,
        "diverged_step": result.diverged_step,
        **{name: result.metrics.get(name) for name in names},
        "message": result.message,
    }


def _curve_rows(link: Link, trial: StoredTrial) -> list[dict[str, Any]]:
    return [
        {
            **_key(link, trial),
            "epoch": point.epoch,
            "step": point.step,
            "train_loss": point.train_loss,
            "val_loss": point.val_loss,
            "val_score": point.val_score,
        }
        for point in trial.result.curve
    ]


def _reference_rows(
    datasets: Mapping[str, Dataset],
    references: Mapping[str, Mapping[tuple[int, str], Mapping[str, float]]],
    seeds: Container[int],
) -> list[dict[str, Any]]:
    return [
        {
            "reference": reference,
            "workload": workload,
            "seed": seed,
            "metric": dataset.metric.on("test"),
            "direction": dataset.metric.direction,
            "unit": dataset.metric.unit,
            "score": metrics[dataset.metric.on("test")],
        }
        for workload, dataset in datasets.items()
        for (seed, reference), metrics in sorted(references[workload].items())
        if seed in seeds
    ]


def _key(link: Link, trial: StoredTrial) -> dict[str, Any]:
    return {"technique": link.technique, "workload": trial.workload, **link.factors, "seed": trial.seed}


def _failures(pairs: Sequence[tuple[Link, StoredTrial]]) -> list[dict[str, Any]]:
    """Return one entry per failed cell, however many of its trials failed."""
    failed: dict[tuple[str, ...], dict[str, Any]] = {}
    for link, trial in pairs:
        if trial.result.state is State.FAILED:
            entry = {
                "technique": link.technique,
                "workload": trial.workload,
                "factors": dict(link.factors),
                "message": trial.result.message,
                "log": trial.result.log,
            }
            failed.setdefault((link.technique, trial.workload, *link.factors.values()), entry)
    return list(failed.values())


def _describe(dataset: Dataset) -> dict[str, Any]:
    own_numbers = isinstance(dataset.kind, OwnTask) and not dataset.kind.is_classification
    return {
        "kind": dataset.kind.name,
        "generated": dataset.generated,
        "rows": len(dataset.targets),
        "features": dataset.inputs.shape[1],
        "classes": (None if own_numbers else len(dataset.classes)) or None,
        "fingerprint": dataset.fingerprint,
        "fixed_test_rows": None if dataset.fixed_test_rows is None else len(dataset.fixed_test_rows),
        "metric": dataset.metric.on("test"),
        "direction": dataset.metric.direction,
        "unit": dataset.metric.unit,
        "description": dataset.description,
        **({} if dataset.weights is None else {"weighted": True}),
        **_chosen(dataset),
    }


def _elsewhere(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return what is declared of repetitions whose rows are not known, the same for all workloads."""
    named = [dataset for dataset in datasets.values() if isinstance(dataset, NamedWorkload)]
    return {"elsewhere": named[0].declared} if named else {}


def _chosen(dataset: Dataset) -> dict[str, Any]:
    """Return the metrics that the user chose; empty for those of the task."""
    chosen: dict[str, Any] = {}
    if dataset.primary is not None:
        chosen["curve_metric"] = dataset.primary.on("val")
    if dataset.primary is not None and find(dataset.primary.name) is None:
        chosen |= {"best": dataset.primary.best, "words": dataset.primary.words}
    if dataset.monitor is not None:
        chosen["monitor"] = dataset.monitor.on("val")
    return chosen


def _provenance(design: Mapping[str, Any], trials: Sequence[StoredTrial]) -> dict[str, Any]:
    """Return how the trials were made; values that differ between trials are listed."""
    made = [trial.provenance for trial in trials]
    finished = sorted(str(entry["finished"]) for entry in made)
    return {
        "command": design["command"],
        "commit": ", ".join(sorted({str(entry["commit"]) for entry in made if entry["commit"]})) or None,
        "versions": {
            package: ", ".join(sorted({str(entry["versions"].get(package)) for entry in made}))
            for package in made[0]["versions"]
        },
        "machines": sorted({str(entry["machine"]) for entry in made}),
        "trained_from": finished[0],
        "trained_until": finished[-1],
        "training_version": TRAINING_VERSION,
        "code": {name: pieces for trial in trials for name, pieces in trial.settings.get("code", {}).items()},
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: list[str] | None = None) -> None:
    table = pd.DataFrame(list(rows), columns=columns)
    whole = {column: "Int64" for column in INTEGERS if column in table}  # an integer may be missing
    write_table(table.astype(whole), path)
