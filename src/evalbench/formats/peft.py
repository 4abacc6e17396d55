"""PEFT's method comparison: a JSON file per experiment in `method_comparison/*/results/`.

Source: `log_results` in method_comparison/MetaMathQA/utils.py and method_comparison/processing.py of huggingface/peft.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported

GSM8K = 1319
"""Rows of the test split of GSM8K, on which the models that are trained on MetaMathQA are tested."""
ACCURACY = "test accuracy"
MEMORY = ("accelerator_memory_max", "cuda_memory_max")  # as it is called since June 2025, and before


def recognizes(document: Document) -> bool:
    """Return whether a file is the result of an experiment."""
    return {"run_info", "train_info", "meta_info"} <= document.columns


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per experiment: its last test score, seconds, bytes of memory and of the checkpoint, parameters.

    Of several files of one experiment the latest counts, as in PEFT's own table.

    Raises:
        TableError: a file is not the result of an experiment, or the files have different scores.
    """
    frame = pd.DataFrame([_row(document) for document in documents]).sort_values("created_at", kind="stable")
    again = frame.duplicated(["technique", "workload", "seed"], keep="last")
    scores = sorted(set(frame["metric"]) - {""})
    if len(scores) != 1:
        named = " and ".join(scores) or "no test score"
        raise TableError(f"the results have {named}: give the results of one task, such as MetaMathQA/results")
    said = [f"the score of an experiment is its last `{scores[0]}`, its cost the seconds of `train_time`"]
    if again.any():
        said.append(f"older runs of an experiment that are left out: {int(again.sum())}")
    if frame["num_test"].notna().any():
        said.append(f"PEFT's files do not say how many rows they were tested on: {GSM8K:,}, the test split of GSM8K")
    frame = frame[~again].drop(columns=["created_at", "metric"]).sort_index(ignore_index=True)
    metric = scores[0].removeprefix("test ")
    return Imported(frame, tuple(said), {"metric": metric, "direction": "maximize", "unit": "run"})


def _row(document: Document) -> dict[str, Any]:
    try:
        about, training = document.content["run_info"], document.content["train_info"]
        data = document.content["meta_info"].get("dataset_info", {})
        last, status = _tested(training["metrics"]), training.get("status", "")
        name = next((str(key) for key in last if str(key).startswith("test ")), "")
        failed = "" if name and status == "success" else about.get("error_msg") or f"status {status or 'not known'}"
        return {
            "technique": str(about["experiment_name"]),
            "workload": document.path.resolve().parent.parent.name or "results",
            "seed": int(about.get("train_config", {}).get("seed", 0)),
            "score": float(last[name]) if name else math.nan,
            "metric": name,
            "state": "FAILED" if failed else "COMPLETE",
            "message": str(failed).strip().split("\n")[-1],
            "num_test": GSM8K if name == ACCURACY and {"metamath", "gsm8k"} <= set(data) else None,
            "cost_seconds": training.get("train_time"),
            "parameters": training.get("num_trainable_params"),
            "peak_memory_bytes": next((training[key] for key in MEMORY if training.get(key)), None),
            "checkpoint_bytes": training.get("file_size"),
            "created_at": str(about.get("created_at", "")),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__} {error}"
        raise TableError(f"{document.path.name} is no result of PEFT's method comparison: {reason}") from None


def _tested(metrics: Sequence[Any]) -> Mapping[str, Any]:
    """Return the last entry of a run's metrics if it is that of the test rows, else nothing."""
    last = metrics[-1] if metrics else {}
    return last if isinstance(last, Mapping) else {}


PEFT = Format("peft", "PEFT's method comparison", recognizes, read)
