"""TabArena and AutoGluon: a frame with a row per method, data set and fold, and its `metric_error`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evalbench.formats.reading import Document, Format, Imported, numeric, together

DATA, METHOD = ("dataset", "task", "tid"), ("method", "framework")
FOLD = ("fold", "split", "seed")


def recognizes(document: Document) -> bool:
    """Return whether a table has the errors of methods."""
    return "metric_error" in document.columns and bool(document.columns & set(METHOD))


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per method, data set and fold; lower `metric_error` is better, in a unit of each data set."""
    table = numeric("the table", together(documents), ["metric_error", "time_train_s", *FOLD])
    data, method, fold = (next((n for n in names if n in table.columns), "") for names in (DATA, METHOD, FOLD))
    metric = table["metric"].astype(str) + " error" if "metric" in table.columns else "metric_error"
    frame = pd.DataFrame(
        {
            "technique": table[method].astype(str),
            "workload": table[data].astype(str),
            "seed": table[fold].astype(int) if fold else 0,
            "score": table["metric_error"],
            "metric": metric,
            "direction": "minimize",
            "cost_seconds": table["time_train_s"] if "time_train_s" in table.columns else None,
        }
    )
    said = ["the score is `metric_error`: lower is better, and data sets have errors of different sizes"]
    if "imputed" in table.columns and table["imputed"].astype(str).isin(["True", "1", "1.0"]).any():
        imputed = table["imputed"].astype(str).isin(["True", "1", "1.0"])
        said.append(
            f"{int(imputed.sum())} rows were filled in by TabArena for methods that failed: they count as FAILED"
        )
        frame["state"] = imputed.map({True: "FAILED", False: "COMPLETE"})
    return Imported(frame, tuple(said), {"unit": "split", "effect": "ratio"})


TABARENA = Format("tabarena", "TabArena", recognizes, read)
