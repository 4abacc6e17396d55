"""The rows that an evaluation speaks of, and the share of rows that its repetitions have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from evalbench.record.declared import Declaration
from evalbench.record.repetitions import UNITS, RowScope


@dataclass(frozen=True)
class Scope:
    """By workload, the rows that its interval speaks of, and the term that is added to 1/n.

    rho: of the workloads that have a score; 0 where `rows` is not `NEW_ROWS`, which says whether 0 is known.
    """

    rho: Mapping[str, float]
    rows: Mapping[str, RowScope]

    @property
    def words(self) -> RowScope:
        """Return the rows that a sentence about all workloads may speak of: the narrowest of theirs."""
        narrowest = (RowScope.UNKNOWN, RowScope.THESE_ROWS, RowScope.NEW_ROWS)
        return min(self.rows.values(), key=narrowest.index)


def scope_of(evaluation: Declaration, results: pd.DataFrame) -> Scope:
    """Return the scope of an evaluation from its results with a score (columns workload, num_train, num_test).

    evalbench's own workloads: `NEW_ROWS` with num_test / num_train if every seed redraws its split, with 1 / (k - 1) if
    it has a fold of k of its own, also of repeated folds; otherwise `THESE_ROWS`. Of a foreign table, what `UNITS` says
    of the declared unit; `UNKNOWN` without a unit, and if the numbers of rows that it needs are missing.
    """
    shares = (results["num_test"] / results["num_train"]).groupby(results["workload"]).mean()
    terms = {str(name): _of_workload(evaluation, str(name), float(share)) for name, share in shares.items()}
    rows = {name: terms[name][1] if name in terms else RowScope.UNKNOWN for name in evaluation.workloads}
    return Scope({name: rho for name, (rho, _) in terms.items()}, rows)


def _of_workload(evaluation: Declaration, name: str, share: float) -> tuple[float, RowScope]:
    if not evaluation.foreign:
        k = evaluation.workloads[name].folds
        share = share if k is None else 1 / (k - 1)
        return (share, RowScope.NEW_ROWS) if name in evaluation.redrawn else (0.0, RowScope.THESE_ROWS)
    if evaluation.unit is None:
        return 0.0, RowScope.UNKNOWN
    unit = UNITS[evaluation.unit]
    rho = unit.rho(share, evaluation.folds or math.nan)
    return (rho, unit.rows) if math.isfinite(rho) else (0.0, RowScope.UNKNOWN)
