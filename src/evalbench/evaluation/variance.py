"""The variance design of an evaluation: its trials, how they ended, and their table in the folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evalbench.evaluation.plan import Plan
from evalbench.record.variance import SEEDS, write_variance
from evalbench.seeds import SOURCES
from evalbench.store import Link, Store
from evalbench.trial import State, TrialSpec


def crossed(plan: Plan) -> list[tuple[Link, TrialSpec]]:
    """Return the trials of the variance design with their technique and setting; none if there is no design."""
    return [(plan.link(cell, trial_id), spec) for cell in plan.cells for trial_id, spec in cell.crossed.items()]


def count_states(plan: Plan, store: Store) -> Counter[State]:
    """Return the number of trials in each state, of the seeds and of the variance design, as far as they were trained.

    The evaluation is not linked to the trials of the design, so that trackers do not get them.
    """
    design = store.states([link.trial_id for link, _ in crossed(plan)])
    return Counter(store.count_states(plan.name)) + Counter(design.values())


def write(plan: Plan, store: Store, known: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Write `variance.csv`, and return an entry for each cell with a failed trial that is not a known failed cell."""
    design = crossed(plan)
    trials = store.trials([link.trial_id for link, _ in design])
    metrics = {cell.workload: cell.dataset.metric.on("test") for cell in plan.cells}
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for link, spec in design:
        result = trials[link.trial_id].result
        seeds = {column: spec.index(roles[0]) for column, roles in zip(SEEDS, SOURCES.values(), strict=True)}
        score = {"state": result.state.value, "score": result.metrics.get(metrics[spec.workload])}
        rows.append({"technique": link.technique, "workload": spec.workload, **link.factors, **seeds, **score})
        cell = {"technique": link.technique, "workload": spec.workload, "factors": dict(link.factors)}
        if result.state is State.FAILED and not any(cell.items() <= each.items() for each in (*known, *failures)):
            failures.append({**cell, "message": result.message, "log": result.log})
    write_variance(plan.folder, rows)
    return tuple(failures)
