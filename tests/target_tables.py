"""A small table of every task with a class, labels or numbers per row, and something to learn."""

from typing import Any

import numpy as np

from evalbench.tasks import Kind, Task
from evalbench.workloads import Dataset

ROWS = 80
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(ROWS, 3)).astype(np.float32)
SIGNALS = INPUTS @ np.array([[2, 0, 1], [0, 2, 0], [1, 0, 2]], dtype=np.float32) + GENERATOR.normal(size=(ROWS, 3)) / 2
"""Three numbers per row, `(80, 3)`, that a linear model predicts well."""
RANKS = np.digitize(SIGNALS[:, 0], [-2, 0, 2])
COUNTS = GENERATOR.poisson(np.exp(SIGNALS[:, 0] / 3 + 1)).astype(np.float32)


QUERIES = np.arange(ROWS) // 5


def table(kind: Task, targets: Any, classes: tuple[str, ...] = ()) -> Dataset:
    """Return a table of `INPUTS`."""
    groups = QUERIES if kind is Kind.RANKING else None
    return Dataset("t", kind, INPUTS, targets, ("a", "b", "c"), np.ones(3, bool), classes, groups=groups)


TABLES = {
    "binary": table(Kind.BINARY, (SIGNALS[:, 0] > 0).astype(np.int64), ("no", "yes")),
    "multiclass": table(Kind.MULTICLASS, RANKS, ("p", "q", "r", "s")),
    "ordinal": table(Kind.ORDINAL, RANKS, ("low", "mid", "high", "top")),
    "multilabel": table(Kind.MULTILABEL, (SIGNALS > 0.5).astype(np.int64), ("rain", "snow", "fog")),
    "regression": table(Kind.REGRESSION, (100 + 9 * SIGNALS[:, 0]).astype(np.float32)),
    "multi_output": table(Kind.MULTI_OUTPUT, (SIGNALS * [1, 10, 100] + 5).astype(np.float32), ("x", "y", "z")),
    "count": table(Kind.COUNT, COUNTS),
    "ranking": table(Kind.RANKING, np.column_stack([RANKS, QUERIES]).astype(np.float32)),
}
"""By the name of the task."""
