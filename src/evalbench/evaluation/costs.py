"""What each technique costs alone: measured after the training, one row per round."""

import hashlib
import logging
import socket
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from evalbench import provenance, tuning
from evalbench.cell import Cell
from evalbench.evaluation.plan import Plan
from evalbench.store import Lease, Store

log = logging.getLogger(__name__)


def measure_costs(plan: Plan, store: Store) -> None:
    """Time every technique alone on every workload, unless the store has it for this machine; needs a quiet machine.

    Cells that failed are left out: what broke them would break this process.
    """
    rounds = plan.config.cost_rounds
    if plan.factor is None or rounds == 0:
        return
    trained = [cell for one in plan.cells for cell in _timed(one, store) if not store.missing(list(cell.specs))]
    with alone(store, f"costs on {socket.gethostname()}"):
        for workload in dict.fromkeys(cell.workload for cell in trained):
            here = {cell.id: cell for cell in trained if cell.workload == workload}
            known = store.costs(list(here), provenance.machine())
            if known is None or any(len(costs) < rounds for costs in known.values()):
                from evalbench import cost  # torch and Lightning: only where something is to be measured

                try:
                    measured = cost.measure([(cell.config, cell.dataset) for cell in here.values()], rounds)
                except Exception as error:  # the user's own code runs there: what it costs is then not known
                    log.warning("the cost on %s cannot be measured: %s: %s", workload, type(error).__name__, error)
                    continue
                by_cell = {name: [asdict(one) for one in costs] for name, costs in zip(here, measured, strict=True)}
                store.record_costs(by_cell, provenance.machine())


def alone(store: Store, what: str) -> AbstractContextManager[Lease]:
    """Let other processes on the store wait that do the same."""
    return store.lease(hashlib.sha256(what.encode()).hexdigest()[:40])


def _timed(cell: Cell, store: Store) -> list[Cell]:
    """Return the cells whose cost is one of a cell's: its own, and those at what its studies have chosen."""
    return [cell, *(tuned for tuned in (study.chosen(store) for study in tuning.studies(cell)) if tuned is not None)]


def cost_rows(plan: Plan, store: Store, tuned: bool) -> list[dict[str, Any]]:
    """Return a row per technique, workload, setting of the other factors and round; over studies the mean."""
    rows = []
    for cell in plan.cells:
        of = _timed(cell, store)[1:] if tuned else [cell]
        costs = [(store.costs([one.id], provenance.machine()) or {}).get(one.id, []) for one in of]
        key = {"technique": plan.technique(cell), "workload": cell.workload}
        factors = {name: cell.config.label(name) for name in plan.factors}
        for rounds in zip(*costs, strict=False):
            rows.append({**key, **factors, **mean_cost(rounds), "machine": provenance.machine()})
    return rows


def mean_cost(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one round's measurement of several settings as one, whose steps times seconds is their mean."""
    if len(rounds) == 1:
        return dict(rounds[0])
    mean = {
        key: None if any(one[key] is None for one in rounds) else statistics.fmean(one[key] for one in rounds)
        for key in rounds[0]
    }
    seconds = statistics.fmean(one["steps"] * one["step_seconds"] for one in rounds)
    steps = round(statistics.fmean(one["steps"] for one in rounds))
    return {**mean, "round": rounds[0]["round"], "steps": steps, "step_seconds": seconds / steps}
