"""Measure the cost of each technique alone, after the training: one row per round."""

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
from evalbench.evaluation.counts import Count, uncounted
from evalbench.evaluation.plan import Plan
from evalbench.store import Lease, Store
from evalbench.workloads import NamedWorkload

log = logging.getLogger(__name__)

PER_STEP = ("step_seconds", "gpu_step_joules", "cpu_step_joules")
"""Measurements of a step, whose decisive value is that of a training."""


def measure_costs(plan: Plan, store: Store, count: Count = uncounted) -> None:
    """Time every technique alone on every workload, unless the store has times of this machine.

    The machine must be quiet. Cells that failed are left out: their fault would break this process too.
    """
    rounds = plan.config.cost_rounds
    if plan.factor is None or rounds == 0:
        return
    trained = [
        cell
        for planned in plan.cells
        if not isinstance(planned.dataset, NamedWorkload)  # what a trial took is known, and takes as long again
        for cell in _timed(planned, store)
        if not store.missing(list(cell.specs))
    ]
    with alone(store, f"costs on {socket.gethostname()}"):
        workloads = list(dict.fromkeys(cell.workload for cell in trained))
        for number, workload in enumerate(workloads, 1):
            count(number, len(workloads))
            cells = {cell.id: cell for cell in trained if cell.workload == workload}
            machine = provenance.machine(plan.config.accelerator)
            known = store.costs(list(cells), machine)
            if known is None or any(len(costs) < rounds for costs in known.values()):
                from evalbench import cost  # torch and Lightning: only if something is measured

                try:
                    pairs = [(cell.config, cell.dataset) for cell in cells.values()]
                    measured = cost.measure(pairs, rounds, cost.instruments_of)
                except Exception as error:  # the user's own code runs there: its cost stays unknown
                    log.warning("the cost on %s cannot be measured: %s: %s", workload, type(error).__name__, error)
                    continue
                by_cell = {
                    name: [asdict(round_cost) for round_cost in costs]
                    for name, costs in zip(cells, measured, strict=True)
                }
                store.record_costs(by_cell, machine)


def alone(store: Store, task: str) -> AbstractContextManager[Lease]:
    """Hold a lease on a task, so that other processes on the store wait before they do the same."""
    return store.lease(hashlib.sha256(task.encode()).hexdigest()[:40])


def _timed(cell: Cell, store: Store) -> list[Cell]:
    """Return the cells that are timed for a cell: itself, and the choice of each of its studies."""
    return [cell, *(tuned for tuned in (study.chosen(store) for study in tuning.studies(cell)) if tuned is not None)]


def cost_rows(plan: Plan, store: Store, tuned: bool) -> list[dict[str, Any]]:
    """Return a row per technique, workload, setting of the other factors and round: the mean over studies."""
    rows = []
    machine = provenance.machine(plan.config.accelerator)
    for cell in plan.cells:
        timed_cells = _timed(cell, store)[1:] if tuned else [cell]
        costs = [(store.costs([timed.id], machine) or {}).get(timed.id, []) for timed in timed_cells]
        key = {"technique": plan.technique(cell), "workload": cell.workload}
        factors = {name: cell.config.label(name) for name in plan.factors}
        for rounds in zip(*costs, strict=False):
            rows.append({**key, **factors, **mean_cost(rounds), "machine": machine})
    return rows


def mean_cost(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of one round's measurements of several settings; its steps times seconds is their mean."""
    if len(rounds) == 1:
        return dict(rounds[0])
    mean = {key: _mean([cost.get(key) for cost in rounds]) for key in rounds[0]}
    steps = round(statistics.fmean(cost["steps"] for cost in rounds))
    totals = {key: _mean([_times(cost["steps"], cost.get(key)) for cost in rounds]) for key in mean if key in PER_STEP}
    per_step = {key: None if total is None else total / steps for key, total in totals.items()}
    return {**mean, "round": rounds[0]["round"], "steps": steps, **per_step}


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean, None if a value is not known; what is no number is the same everywhere, or true everywhere."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], bool):
        return all(values)
    return values[0] if isinstance(values[0], str) else statistics.fmean(values)


def _times(steps: int, value: float | None) -> float | None:
    return None if value is None else steps * value
