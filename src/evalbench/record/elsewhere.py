"""The folder of an evaluation whose commands had the data themselves: it is judged like a table from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.record.declared import Declaration, read_evaluation
from evalbench.record.folder import Folder, load
from evalbench.record.foreign import frame_to_folder
from evalbench.record.options import Options

TOLD = (
    *("technique", "workload", "seed", "score", "state", "metric", "direction", "unit", "num_train", "num_test"),
    *("cost_seconds", "message"),
)
"""The columns of `results.csv` that such a table has, beside the other factors."""
KEPT = (
    *("name", "question", "factor", "settings", "num_seeds", "looks", "looks_declared", "root_seed", "judged_before"),
    *("declared", "failures", "engines", "elsewhere"),
)
"""What was declared before the results."""


def read_folder(path: Path) -> Folder:
    """Read and check the folder of an evaluation.

    If nothing is known of the rows behind the scores, they say what a foreign table says, with what was declared.

    Raises:
        TableError: it is missing, unreadable, or contradicts itself.
    """
    evaluation = read_evaluation(path / "evaluation.json")
    if evaluation.elsewhere is None:
        return load(path)
    table = pd.read_csv(path / "results.csv", keep_default_na=False, na_values=[""])
    columns = [name for name in (*TOLD, *evaluation.factors) if name in table and table[name].notna().any()]
    folder = frame_to_folder(evaluation.name, table[columns], _options(evaluation, evaluation.elsewhere))
    kept = {name: getattr(evaluation, name) for name in KEPT}
    provenance = {**folder.evaluation.provenance, **evaluation.provenance}
    return replace(folder, evaluation=replace(folder.evaluation, **kept, provenance=provenance))


def _options(evaluation: Declaration, elsewhere: Mapping[str, Any]) -> Options:
    metric = next(iter(evaluation.workloads.values())).measure
    return Options(
        evaluation.baseline or evaluation.techniques[0],
        metric=metric,
        rope=evaluation.rope.get(metric),
        confirm_rope=True,  # it was checked before the results
        failed_as="worst",
        unit=elsewhere.get("unit"),
        folds=elsewhere.get("folds"),
        pairing=elsewhere.get("pairing"),
        alone=evaluation.baseline is None,
    )
