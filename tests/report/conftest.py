"""Small folders of an evaluation, made by formula: no chance, so that a golden report can hold every byte."""

import json
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalbench.report.analysis.findings import Findings, JudgedFindings

KINDS = {  # kind, metric, unit, score of the trivial predictor, of the linear model, of the baseline, generated
    "digits": ("multiclass", "test/accuracy", "fraction", 0.10, 0.92, 0.93, False),
    "wine": ("multiclass", "test/accuracy", "fraction", 0.40, 0.97, 0.95, False),
    "moons": ("binary", "test/accuracy", "fraction", 0.50, 0.85, 0.94, True),
    "diabetes": ("regression", "test/r2", "R²", -0.01, 0.45, 0.40, False),
}
GAIN = {"sgd": 0.0, "bgd": -0.05, "adam": 0.02}
STEPS = {"sgd": 60, "bgd": 1, "adam": 6}  # per epoch
EPOCHS = 3


def wave(*places: int) -> float:
    """A number between -1 and 1 that looks like noise and is always the same."""
    return math.sin(sum((index + 2) * 7.3 * (place + 1) for index, place in enumerate(places)))


def make(
    folder: Path,
    techniques: tuple[str, ...] = ("sgd", "bgd", "adam"),
    workloads: tuple[str, ...] = tuple(KINDS),
    factor: str | None = "optimizer",
    factors: dict[str, list[str]] | None = None,
    seeds: int = 4,
    diverged: tuple[str, str, int] | None = None,
    failed: tuple[str, str] | None = None,
    costs: dict[str, float] | None = None,
) -> Path:
    """Write the files. A diverged trial stops after its first epoch; a failed cell leaves no row at all.

    `costs` holds seconds per step by technique and makes a `costs.csv` of five rounds.
    """
    factors = factors or {}
    results: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    references: list[dict[str, Any]] = []
    declared = {}
    for w, workload in enumerate(workloads):
        kind, metric, unit, trivial, linear, base, generated = KINDS[workload]
        said = {"metric": metric, "direction": "maximize", "unit": unit}
        declared[workload] = {
            "kind": kind,
            "generated": generated,
            "rows": 100,
            "features": 8,
            "classes": None if kind == "regression" else 3,
            "fingerprint": f"{w}0ff1ce",
            "description": f"{workload} | for tests",
            "target": round(0.9 * base, 3),
            **said,
        }
        for seed in range(seeds):
            split = 0.02 * wave(w, seed)
            for name, score in (("trivial", trivial), ("linear", linear + split)):
                references.append({"reference": name, "workload": workload, "seed": seed, **said, "score": score})
            for (t, technique), (s, setting) in product(enumerate(techniques), enumerate(product(*factors.values()))):
                if failed == (technique, workload):
                    continue
                gone = diverged == (technique, workload, seed)
                score = base + GAIN[technique] + split + 0.005 * wave(w, seed, t, s)
                key = {"technique": technique, "workload": workload, **dict(zip(factors, setting, strict=True))}
                steps = STEPS[technique] * EPOCHS
                results.append(
                    {
                        **key,
                        "seed": seed,
                        "look": 1,
                        "state": "DIVERGED" if gone else "COMPLETE",
                        **said,
                        "score": trivial if gone else score,
                        "num_train": 60,
                        "num_test": 20,
                        "steps": steps,
                        "examples": 60 * EPOCHS,
                        "flops": 1.5e6,
                        "parameters": 99,
                        "best_epoch": 2,
                        "diverged_step": steps // 2 if gone else None,
                        "message": "",
                    }
                )
                for epoch in range(1, 2 if gone else EPOCHS + 1):
                    step = STEPS[technique] * epoch
                    value = trivial + (score - trivial) * (1 - 2.0**-epoch)
                    losses = {"train_loss": 1 - value, "val_loss": 1.1 - value, "val_score": value}
                    curves.append({**key, "seed": seed, "epoch": epoch, "step": step, **losses})
    failure = {"factors": {}, "message": "RuntimeError: no <memory>", "log": "logs/adam.log"}
    evaluation = {
        "name": "optimizers",
        "question": "Which optimizer is best?",
        "factor": factor,
        "baseline": techniques[0] if factor else None,
        "techniques": techniques,
        "workloads": declared,
        "factors": factors,
        "settings": {"optimizer": {name: {"lr": 0.01, "schedule": {"name": "constant"}} for name in techniques}},
        "budget": {"epochs": EPOCHS},
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "num_seeds": seeds,
        "looks": [seeds],
        "judged_before": [],
        "root_seed": 0,
        "confidence": 0.95,
        "rope": {"accuracy": 0.005, "skill": 0.01},
        "tuning": None,
        "failures": [{"technique": failed[0], "workload": failed[1], **failure}] if failed else [],
        "provenance": {
            "command": "evalbench +sweep=optimizers",
            "commit": None,
            "versions": {"torch": "2.13.0"},
            "machines": ["Linux x86_64, 2 cores, CPU"],
            "trained_from": "2026-01-01T00:00:00+00:00",
            "trained_until": "2026-01-01T00:01:00+00:00",
            "training_version": 1,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    if costs is not None:
        measured = [
            {
                "technique": technique,
                "workload": workload,
                **dict(zip(factors, setting, strict=True)),
                "round": turn,
                "step_seconds": seconds * (1 + 0.3 * wave(turn, w)) * (1 + 0.01 * wave(turn, w, t)),
                "steps": STEPS[technique] * EPOCHS,
            }
            for (w, workload), (t, (technique, seconds)) in product(enumerate(workloads), enumerate(costs.items()))
            for setting, turn in product(product(*factors.values()), range(5))
        ]
        pd.DataFrame(measured).to_csv(folder / "costs.csv", index=False)
    for name, rows in (("results", results), ("curves", curves), ("references", references)):
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder


def with_verdicts(findings: Findings) -> JudgedFindings:
    assert isinstance(findings, JudgedFindings)
    return findings


@pytest.fixture
def make_folder() -> Callable[..., Path]:
    return make
