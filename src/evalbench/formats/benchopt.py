"""benchopt: `outputs/benchopt_run_DATE.parquet`, a row per solver, data set, repetition and stop."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported, numeric, together

VALUE = "objective_value"
KEYS = ["solver_name", "data_name", "objective_name", "idx_rep"]


def recognizes(document: Document) -> bool:
    """Return whether a file holds the runs of a benchmark."""
    return {"solver_name", "stop_val", "time"} <= document.columns


def read(documents: Sequence[Document]) -> Imported:
    """Return the curves: technique, workload, seed (the repetition), time, step (`stop_val`) and score.

    Raises:
        TableError: the benchmark has no `objective_value`.
    """
    table = together(documents).rename(columns={"dataset_name": "data_name"})
    if VALUE not in table.columns:
        known = ", ".join(name for name in map(str, table.columns) if name.startswith("objective_"))
        raise TableError(f"the benchmark has no {VALUE}: map score to one of {known} (--map score=NAME)")
    table = numeric("the benchmark", table, ["time", "stop_val", VALUE])
    several = "objective_name" in table.columns and table["objective_name"].nunique() > 1
    data = table["data_name"].astype(str)
    frame = pd.DataFrame(
        {
            "technique": table["solver_name"].astype(str),
            "workload": data + ", " + table["objective_name"].astype(str) if several else data,
            "seed": table["idx_rep"].astype(int) if "idx_rep" in table.columns else 0,
            "time": table["time"],
            "step": table["stop_val"],
            "score": table[VALUE],
        }
    )
    said = (f"the score is `{VALUE}`, which a solver minimizes, and the time is `time`, in seconds",)
    return Imported(frame, said, {"metric": VALUE, "direction": "minimize", "unit": "run"}, curves=True)


BENCHOPT = Format("benchopt", "benchopt", recognizes, read)
