"""The AutoML benchmark: `results.csv`, a row per task, framework and fold."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported, numeric, together

METRICS = ("auc", "logloss", "rmse", "acc")


def recognizes(document: Document) -> bool:
    """Return whether a file holds results of the benchmark."""
    return {"task", "framework", "fold", "result", "utc"} <= document.columns


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per framework, task and fold: `result`, in the metric of its task.

    A metric may be written as it is or negated, so that larger is better (`neg_logloss`); its column decides. A row
    without a result failed, for the reason in its column `info`.

    Raises:
        TableError: a result is no number, or a row lacks its fold.
    """
    table = numeric("results.csv", together(documents), ["result", "fold", "duration", *METRICS])
    if table["fold"].isna().any():
        raise TableError("results.csv has a row without a fold: leave it out")
    metric = _metrics(table)
    frame = pd.DataFrame(
        {
            "technique": table["framework"].astype(str),
            "workload": table["task"].astype(str),
            "seed": table["fold"].astype(int),
            "score": table["result"],
            "state": table["result"].notna().map({True: "COMPLETE", False: "FAILED"}),
            "message": table["info"].fillna("").astype(str) if "info" in table.columns else "",
            "metric": metric,
            "direction": metric.isin(["logloss", "rmse"]).map({True: "minimize", False: "maximize"}),
            "cost_seconds": table["duration"] if "duration" in table.columns else None,
        }
    )
    said = (
        f"the metric of each task is the column that `result` repeats: {', '.join(sorted(set(metric)))}",
        "the cost is `duration`: the whole run of a framework, which has a time limit",
    )
    return Imported(frame, said, {"unit": "fold", "folds": int(table["fold"].nunique())})


def _metrics(table: pd.DataFrame) -> pd.Series[str]:
    """Return the metric of each row's task: the column that equals the result, or minus it."""
    named = table["metric"].astype(str) if "metric" in table.columns else pd.Series("", table.index)
    result = table["result"]
    for name in reversed([name for name in METRICS if name in table.columns]):
        same, negated = (result - table[name]).abs() < 1e-9, (result + table[name]).abs() < 1e-9
        named = named.mask(table["task"].isin(table.loc[negated & ~same, "task"]), f"neg_{name}")
        named = named.mask(table["task"].isin(table.loc[same, "task"]), name)
    return named.mask(named == "", "result")


AMLB = Format("amlb", "the AutoML benchmark", recognizes, read)
