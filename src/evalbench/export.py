"""The folder of an evaluation: everything that its report is made from, as JSON and CSV."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.report.declared import declaration
from evalbench.store import Link, StoredTrial
from evalbench.trial import TRAINING_VERSION, State
from evalbench.workloads import Dataset

METRICS = (
    "test/accuracy",
    "test/macro_f1",
    "test/log_loss",
    "test/perplexity",
    "test/auroc",
    "test/r2",
    "test/rmse",
    "test/mae",
)
INTEGERS = ("seed", "num_train", "num_test", "steps", "examples", "flops", "parameters", "diverged_step", "step")


def write(
    folder: Path,
    design: Mapping[str, Any],
    datasets: Mapping[str, Dataset],
    targets: Mapping[str, float | None],
    links: Sequence[Link],
    trials: Mapping[str, StoredTrial],
    references: Mapping[str, Mapping[tuple[int, str], Mapping[str, float]]],
    num_seeds: int,
) -> tuple[Mapping[str, Any], ...]:
    """Write `evaluation.json`, `results.csv`, `curves.csv` and `references.csv`; return the failed cells."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(link, trials[link.trial_id]) for link in links]
    failures = _failures(pairs)
    content = {
        **{key: value for key, value in design.items() if key not in ("command", "versions")},
        "workloads": {name: {**_describe(dataset), "target": targets[name]} for name, dataset in datasets.items()},
        "num_seeds": num_seeds,
        "tuning": None,
        "failures": failures,
        "provenance": _provenance(design, [trial for _, trial in pairs]),
    }
    content["declared"] = declaration(content)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    pilot = int(design.get("pilot_seeds", num_seeds))
    results = [_result_row(link, trial, datasets[trial.workload], pilot) for link, trial in pairs]
    _write_csv(folder / "results.csv", results)
    curves = [row for link, trial in pairs for row in _curve_rows(link, trial)]
    columns = [
        "technique",
        "workload",
        *design["factors"],
        "seed",
        "epoch",
        "step",
        "train_loss",
        "val_loss",
        "val_score",
    ]
    _write_csv(folder / "curves.csv", curves, columns)  # its header also where every trial failed
    _write_csv(folder / "references.csv", _reference_rows(datasets, references, num_seeds))
    return tuple(failures)


def write_costs(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `costs.csv`, one row per cell and round; none where nothing was measured."""
    path = folder / "costs.csv"
    if rows:
        _write_csv(path, rows)
    else:
        path.unlink(missing_ok=True)


def _result_row(link: Link, trial: StoredTrial, dataset: Dataset, pilot_seeds: int) -> dict[str, Any]:
    result, metric = trial.result, dataset.metric
    return {
        **_key(link, trial),
        "stage": "pilot" if trial.seed < pilot_seeds else "extension",
        "state": result.state.value,
        "metric": metric.name,
        "direction": metric.direction,
        "unit": metric.unit,
        "score": result.metrics.get(metric.name),
        "num_train": result.num_train,
        "num_test": result.num_test,
        "steps": result.steps,
        "examples": result.examples,
        "flops": result.flops,
        "parameters": result.parameters,
        "best_epoch": result.best_epoch,
        "diverged_step": result.diverged_step,
        **{name: result.metrics.get(name) for name in METRICS},
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
    num_seeds: int,
) -> list[dict[str, Any]]:
    return [
        {
            "reference": reference,
            "workload": workload,
            "seed": seed,
            "metric": dataset.metric.name,
            "direction": dataset.metric.direction,
            "unit": dataset.metric.unit,
            "score": metrics[dataset.metric.name],
        }
        for workload, dataset in datasets.items()
        for (seed, reference), metrics in sorted(references[workload].items())
        if seed < num_seeds
    ]


def _key(link: Link, trial: StoredTrial) -> dict[str, Any]:
    return {"technique": link.technique, "workload": trial.workload, **link.factors, "seed": trial.seed}


def _failures(pairs: Sequence[tuple[Link, StoredTrial]]) -> list[dict[str, Any]]:
    """One entry per failed cell, however many of its trials failed."""
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
    return {
        "kind": dataset.kind.value,
        "generated": dataset.generated,
        "rows": len(dataset.targets),
        "features": dataset.inputs.shape[1],
        "classes": len(dataset.classes) or None,
        "fingerprint": dataset.fingerprint,
        "metric": dataset.metric.name,
        "direction": dataset.metric.direction,
        "unit": dataset.metric.unit,
        "description": dataset.description,
    }


def _provenance(design: Mapping[str, Any], trials: Sequence[StoredTrial]) -> dict[str, Any]:
    """Everything about the trials' making that is not the same for all is listed."""
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
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: list[str] | None = None) -> None:
    table = pd.DataFrame(list(rows), columns=columns)
    whole = {column: "Int64" for column in INTEGERS if column in table}  # an integer may be missing
    table.astype(whole).to_csv(path, index=False, lineterminator="\n")
