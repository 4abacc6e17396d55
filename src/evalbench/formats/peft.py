"""PEFT's method comparison: a JSON file per experiment in `method_comparison/*/results/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported

TEST_ROWS = {"MetaMathQA": 1319}
"""Test examples by task: the test split of GSM8K, on which the runs of MetaMathQA are tested."""
SCORE = "test accuracy"


def recognizes(document: Document) -> bool:
    """Return whether a file is the result of an experiment."""
    return {"run_info", "train_info", "meta_info"} <= document.columns


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per experiment: its last test accuracy, seconds of training, and memory.

    Raises:
        TableError: a file is not the result of an experiment.
    """
    frame = pd.DataFrame([_row(document) for document in documents])
    counts = sorted({int(count) for count in frame["num_test"].dropna()})
    said = [f"the score of an experiment is its last `{SCORE}`, its cost the seconds of `train_time`"]
    if counts:
        said.append(
            f"PEFT's files do not say how many rows they were tested on: {counts[0]:,}, the test split of GSM8K"
        )
    return Imported(frame, tuple(said), {"metric": "accuracy", "direction": "maximize", "unit": "run"})


def _row(document: Document) -> dict[str, Any]:
    try:
        about, training = document.content["run_info"], document.content["train_info"]
        status, metrics = training.get("status", ""), training["metrics"]
        group = document.path.resolve().parent.parent.name
        scores = [entry[SCORE] for entry in metrics if isinstance(entry, Mapping) and SCORE in entry]
        return {
            "technique": about["experiment_name"],
            "workload": group or "results",
            "seed": about.get("train_config", {}).get("seed", 0),
            "score": scores[-1] if scores else None,
            "state": "COMPLETE" if scores and status == "success" else "FAILED",
            "message": about.get("error_msg", "") or ("" if status == "success" else f"status {status}"),
            "num_test": TEST_ROWS.get(group),
            "cost_seconds": training.get("train_time"),
            "parameters": training.get("num_trainable_params"),
            "memory": training.get("cuda_memory_max"),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise TableError(
            f"{document.path.name} is no result of PEFT's method comparison: {type(error).__name__} {error}"
        ) from None


PEFT = Format("peft", "PEFT's method comparison", recognizes, read)
