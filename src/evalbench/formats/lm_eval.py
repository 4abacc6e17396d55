"""lm-evaluation-harness: `MODEL/samples_TASK_DATE.jsonl`, a line per test item (`--log_samples`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from evalbench.errors import TableError
from evalbench.formats.reading import Document, Format, Imported

NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d:.\-]+$")
PREFERRED = ("acc", "exact_match", "acc_norm")


def recognizes(document: Document) -> bool:
    """Return whether a file holds samples."""
    return {"doc_id", "doc_hash", "metrics", "filter"} <= document.columns


def read(documents: Sequence[Document]) -> Imported:
    """Return a row per model, task and item: the item's score by the first of the metrics that all items have.

    Raises:
        TableError: the files share no metric with one number per item.
    """
    rows = pd.concat([_items(document) for document in documents], ignore_index=True)
    shared = set.intersection(*(set(names) for names in rows["metrics"]))
    usable = [str(name) for name in rows if name in shared and pd.to_numeric(rows[name], errors="coerce").notna().all()]
    if not usable:
        raise TableError("the samples share no metric with a number per item: give files of one task")
    metric = next((name for name in PREFERRED if name in usable), str(usable[0]))
    filters = list(dict.fromkeys(rows["filter"]))
    rows = rows[rows["filter"] == filters[0]]
    said = [f"the score of an item is its `{metric}`; the files also have {', '.join(usable)}"]
    if len(filters) > 1:
        said.append(f"of the filters {', '.join(filters)} the first counts")
    frame = rows[["technique", "workload"]].assign(
        seed=rows["doc_id"].astype(int), score=pd.to_numeric(rows[metric]).astype(float)
    )
    return Imported(frame, tuple(said), {"metric": metric, "direction": "maximize", "unit": "item"})


def _items(document: Document) -> pd.DataFrame:
    named = NAME.fullmatch(document.path.stem)
    task = named["task"] if named else document.path.stem.removeprefix("samples_")
    frame = pd.DataFrame(document.content).drop(
        columns=["doc", "arguments", "resps", "filtered_resps"], errors="ignore"
    )
    return frame.assign(technique=document.path.resolve().parent.name, workload=task)


LM_EVAL = Format("lm-eval", "lm-evaluation-harness", recognizes, read)
