"""The files of an evaluation's folder: their version, their columns, and the values that a column may have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalbench.errors import TableError

VERSION = 1
"""Version of the files. It rises when a file of an older version must be read in another way."""
FIRST = 0
"""The version of folders that name none: those of evalbench 0.1.0."""

STATES = ("COMPLETE", "DIVERGED", "FAILED")
CANDIDATE_STATES = ("COMPLETE", "DIVERGED", "PRUNED", "FAILED")
# Named as in the sentences of the report: a technique could be called `linear`, none is called `linear model`.
REFERENCES = {"linear": "linear model", "trivial": "trivial predictor"}
LINEAR, TRIVIAL = REFERENCES["linear"], REFERENCES["trivial"]

COSTS = ("steps", "examples", "flops", "parameters")
NUMBERS = {
    "results.csv": ("seed", "score", "num_train", "num_test", *COSTS),
    "curves.csv": ("seed", "epoch", "step", "train_loss", "val_loss", "val_score"),
    "references.csv": ("seed", "score"),
    "costs.csv": ("round", "step_seconds", "steps"),
    "tuning.csv": ("study", "candidate", "val_loss", "trials", "steps", "flops", "seconds"),
}
MEASURED = (
    *("peak_memory_bytes", "checkpoint_bytes"),
    *("gpu_step_joules", "cpu_step_joules", "gpu_idle_watts", "cpu_idle_watts"),
    *("model_bytes", "compressed_bytes", "inference_seconds", "graph_seconds"),
)
"""Numbers of `costs.csv` that older folders lack, and that have no value if nothing could measure them.

Its columns `measured_on`, the name of the GPU or CPU, and `alone`, True or False, are texts of the same kind."""
TEXTS = {
    "results.csv": ("technique", "workload", "state", "metric", "direction"),
    "curves.csv": ("technique", "workload"),
    "references.csv": ("reference", "workload", "metric", "direction"),
    "costs.csv": ("technique", "workload"),
    "tuning.csv": ("technique", "workload", "state"),
}
"""Columns that a file must have, besides one for each factor; `references.csv` has no factors."""
INTEGERS = ("seed", "num_train", "num_test", "steps", "examples", "flops", "parameters", "diverged_step", "step")
"""Columns that hold integers or nothing."""
RESERVED = frozenset(
    {
        "technique", "workload", "seed", "score", "state", "look", "metric", "direction", "unit", "failed", "finished",
        "message", "reference", "trivial", "scale", "candidate", "baseline", "difference", "decided",
        "common", "found", "lost", "epoch", "step", "train_loss", "val_loss", "val_score", "round",
        "step_seconds", "steps", "cost_seconds", "name", "shown", "value", "low", "high", "count", "measured_on",
        "alone",
        *MEASURED,
        "_t", "_w",
    }
)  # fmt: skip
"""Names of columns in a report's tables: no factor may have one of these names."""


def check_version(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse `evaluation.json` of a version that this evalbench does not know.

    Raises:
        TableError: the version is newer, or is no version.
    """
    version = raw.get("version", FIRST)
    if version not in range(FIRST, VERSION + 1):
        raise TableError(
            f"{path}: version must be {FIRST} to {VERSION}, not {version!r}: use the evalbench that wrote it"
        )
