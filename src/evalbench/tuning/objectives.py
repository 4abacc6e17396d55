"""The quantities that candidates are judged by, and their directions."""

from evalbench import cell as cells
from evalbench.cell import Cell
from evalbench.tasks.metric import Direction, base_name

COSTS = (
    "cost/step_seconds",  # one optimizer step, timed alone
    "cost/seconds",  # the same, times the steps of the budget
    "cost/flops",  # counted, of the whole trial
    "cost/parameters",
)
"""Objectives beside the metrics on validation rows; all are minimized."""
TIMED = ("cost/step_seconds", "cost/seconds")


def direction(objective: str, cell: Cell) -> Direction:
    """Return the direction of an objective of a cell's studies."""
    return "minimize" if objective in COSTS else cell.dataset.measured[base_name(objective)].direction


def objectives(cell: Cell) -> tuple[str, ...]:
    """Return the objectives of a cell's studies: the workload's own metric unless the search names others."""
    search = cell.config.search
    assert search is not None
    return search.objectives or (own_metric(cell),)


def own_metric(cell: Cell) -> str:
    """Return the workload's own metric on validation rows."""
    return cell.dataset.metric.on("val")


def measured_metrics(cell: Cell) -> list[str]:
    """Return the metrics that a cell's workload is measured by, on validation rows."""
    return [f"val/{base_name(name)}" for name in cells.REFERENCES["trivial"](cell.dataset, {0: cell.split(0)})[0]]
