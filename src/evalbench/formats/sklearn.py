"""scikit-learn's `cv_results_`: a row per candidate, a column per split."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported, numeric

SPLIT = re.compile(r"split(\d+)_test_(\w+)")


def recognizes(document: Document) -> bool:
    """Return whether a table has the columns of a search."""
    return "mean_fit_time" in document.columns and any(map(SPLIT.fullmatch, document.columns))


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per candidate and split: a candidate is named by its parameters, a file is a workload.

    Scores of scikit-learn are written so that larger is better (`neg_log_loss`).

    Raises:
        TableError: the search has several scores.
    """
    frames, names = [], set()
    for document in documents:
        table = document.frame
        splits = {int(m[1]): m for name in table.columns if (m := SPLIT.fullmatch(str(name)))}
        names |= {m[2] for name in table.columns if (m := SPLIT.fullmatch(str(name)))}
        if len(names) > 1:
            raise TableError(f"{document.path.name} has several scores ({', '.join(sorted(names))}): keep one of them")
        table = numeric(document.path.name, table, [m[0] for m in splits.values()] + ["mean_fit_time"])
        candidates = [_called(value) for value in _parameters(table)]
        frames += [
            pd.DataFrame(
                {
                    "technique": candidates,
                    "workload": document.path.stem,
                    "seed": split,
                    "score": table[m[0]],
                    "state": table[m[0]].notna().map({True: "COMPLETE", False: "FAILED"}),
                    "cost_seconds": table["mean_fit_time"],
                }
            )
            for split, m in splits.items()
        ]
    said = ("candidates are named by their parameters; their scores are of validation splits, which chose the best",)
    frame = pd.concat(frames, ignore_index=True)
    return Imported(frame, said, {"direction": "maximize", "unit": "fold", "folds": int(frame["seed"].nunique())})


def _parameters(table: pd.DataFrame) -> list[Any]:
    if "params" in table.columns:
        return list(table["params"])
    columns = [name for name in table.columns if str(name).startswith("param_")]
    return [dict(zip(columns, row, strict=True)) for row in table[columns].to_numpy().tolist()]


def _called(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{str(key).removeprefix('param_')}={json.dumps(v, default=str)}" for key, v in value.items())
    return str(value)


SKLEARN = Format("sklearn", "scikit-learn's cv_results_", recognizes, read)
