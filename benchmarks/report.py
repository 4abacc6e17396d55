"""Time the writing of a report: `python benchmarks/report.py`. Only the trials and curves are made up.

The limits are 10 seconds for 1,000 trials and 60 for 10,000 (100 cells of 100) on 2 cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.report import write

EPOCHS = 20
SIZES = ((10, 10, 10), (10, 10, 50), (10, 10, 100))  # techniques, workloads, seeds


def make(folder: Path, num_techniques: int, num_workloads: int, num_seeds: int) -> None:
    """Write the folder of an evaluation of that size, with curves."""
    generator = np.random.default_rng(0)
    techniques = [f"technique{i}" for i in range(num_techniques)]
    workloads = [f"workload{i}" for i in range(num_workloads)]
    metric = {"metric": "test/accuracy", "direction": "maximize", "unit": "fraction"}
    keys = pd.MultiIndex.from_product(
        [techniques, workloads, range(num_seeds)], names=["technique", "workload", "seed"]
    )
    results = keys.to_frame(index=False)
    rank = results["technique"].str.removeprefix("technique").astype(int)
    results = results.assign(
        look=1, state="COMPLETE", **metric, score=0.9 + 0.002 * rank + generator.normal(0, 0.01, len(results)),
        num_train=600, num_test=200, steps=400, examples=12_000, flops=10**9, parameters=5000, best_epoch=9,
        diverged_step="", message="",
    )  # fmt: skip
    epochs = pd.DataFrame({"epoch": range(1, EPOCHS + 1)})
    curves = results[["technique", "workload", "seed", "score"]].merge(epochs, "cross")
    curves["val_score"] = curves["score"] * (1 - 0.5 ** curves["epoch"])
    curves = curves.assign(step=20 * curves["epoch"], train_loss=0.1, val_loss=0.1).drop(columns="score")
    references = pd.DataFrame(
        {"reference": name, "workload": w, "seed": s, **metric, "score": score}
        for name, score in (("trivial", 0.5), ("linear", 0.85))
        for w in workloads
        for s in range(num_seeds)
    )
    rounds = pd.MultiIndex.from_product([techniques, workloads, range(5)], names=["technique", "workload", "round"])
    costs = rounds.to_frame(index=False).assign(steps=400)
    costs["step_seconds"] = 1e-3 * generator.uniform(0.95, 1.05, len(costs))
    about = {"kind": "binary", "generated": False, "rows": 1000, "features": 8, "classes": 2, "description": ""}
    evaluation = {
        "name": "speed", "question": "How fast?", "factor": "optimizer", "baseline": techniques[0],
        "techniques": techniques, "factors": {}, "settings": {}, "budget": {"epochs": EPOCHS},
        "workloads": {w: {**about, **metric, "fingerprint": w, "target": 0.85} for w in workloads},
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2}, "num_seeds": num_seeds, "root_seed": 0,
        "confidence": 0.95, "rope": {"accuracy": 0.005}, "failures": [],
        "provenance": {"command": "", "commit": None, "versions": {}, "machines": [], "trained_from": "",
                       "trained_until": "", "training_version": 1},
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    for name, table in (("results", results), ("curves", curves), ("references", references), ("costs", costs)):
        table.to_csv(folder / f"{name}.csv", index=False)


def main() -> None:
    """Time every size and print one line for each."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), *size)
            start, busy = time.perf_counter(), time.process_time()
            write(Path(folder))
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
        num_trials = size[0] * size[1] * size[2]
        print(f"report of {num_trials:6,} trials with curves: {seconds:5.1f} s, {busy:5.1f} s of CPU")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
