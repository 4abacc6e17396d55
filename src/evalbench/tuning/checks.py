"""The checks of a search before anything trains."""

from collections.abc import Sequence
from typing import Any

from evalbench import cell as cells
from evalbench.cell import Cell
from evalbench.config import COHORT
from evalbench.errors import ConfigError, DataError
from evalbench.seeds import STUDY_SEEDS, Phase
from evalbench.space import Dimension
from evalbench.tasks.metric import METRICS
from evalbench.tuning.objectives import COSTS, measured_metrics, objectives, own_metric
from evalbench.tuning.study import num_validations


def check(cell: Cell) -> None:
    """Build the cell's networks and optimizers at the corners of its search space; raise `InputError`."""
    cells.check(cell)
    config = cell.config.search
    if config is None:
        return
    from evalbench import search

    search.check(config)
    for name in objectives(cell):
        known = [*(metric.on("val") for metric in {**METRICS, **cell.dataset.measured}.values()), *COSTS]
        if name not in known:
            raise ConfigError("search.objectives", "must be known quantities", name, "there are " + ", ".join(known))
        if name.startswith("val/") and name not in measured_metrics(cell):
            remedy = "there are " + ", ".join(measured_metrics(cell))
            raise ConfigError("search.objectives", f"must be measured on {cell.workload}", name, remedy)
    first, own = objectives(cell)[0], own_metric(cell)
    if not first.startswith("val/"):
        rule = "must start with the validation metric that selects the measured candidate"
        raise ConfigError("search.objectives", rule, first, f"put {own} or val/log_loss first")
    if config.pruning is not None and first not in (own, "val/log_loss"):
        rule = f"must be {own} or val/log_loss if candidates are pruned"
        raise ConfigError("search.objectives", rule, first, "halving compares these after each validation")
    if config.pruning is not None and not config.pruning.rungs(num_validations(cell)):
        rule = f"must be below the number of validations of a trial, which is {num_validations(cell)}"
        remedy = "lower it, raise the budget, or leave search.pruning out: no candidate would end early"
        raise ConfigError("search.pruning.first_rung", rule, config.pruning.first_rung, remedy)
    if config.num_studies > 1 and cell.config.num_seeds > STUDY_SEEDS:
        rule = f"must be at most {STUDY_SEEDS} if search.num_studies is above 1"
        raise ConfigError(
            "num_seeds", rule, cell.config.num_seeds, "each study has seeds of its own: repeat it instead"
        )
    try:
        cell.development  # noqa: B018 - builds it
    except DataError as error:
        rule = "must leave enough rows of every class"
        raise ConfigError("search.development", rule, config.development, str(error)) from error
    for values in _corners(config.space, cell.config.schedule is not None):
        cells.check(cell.at(values, Phase.TUNE))
    _check_counts(cell)


def _check_counts(cell: Cell) -> None:
    """Refuse objectives that cannot be counted."""
    asked = {"cost/flops", "cost/parameters"} & set(objectives(cell))
    if asked and cell.config.engine != COHORT:
        rule, remedy = "must be known of all techniques", "use cost/seconds: only networks in cohorts are counted"
        raise ConfigError("search.objectives", rule, ", ".join(sorted(asked)), remedy)
    if "cost/flops" in asked and not _counts_flops(cell):
        rule, remedy = "must be countable for this model", "use cost/parameters or cost/seconds"
        raise ConfigError("search.objectives", rule, "cost/flops", remedy)


def _counts_flops(cell: Cell) -> bool:
    from evalbench.engine import counting, training

    config, data = cell.config, cell.dataset
    network = training.network_of(config, data)
    rows, tokens = config.optimizer.rows_per_step(len(data.targets)), data.vocabulary is not None
    return counting.flops_per_step(network, data.kind, rows, data.inputs.shape[1], tokens) is not None


def _corners(space: Sequence[Dimension], scheduled: bool) -> list[dict[str, Any]]:
    """Return the candidates that are built in advance: both ends of all ranges, and every choice.

    If learning rates are scheduled, each end of a range that the schedule depends on is tried by itself, because it may
    break the schedule.
    """
    points = {dimension.path: dimension.points(2) for dimension in space}
    first, last = ({path: values[end] for path, values in points.items()} for end in (0, -1))
    alone = {path for path in points if scheduled and path.split(".")[0] in ("schedule", "optimizer")}
    own = {path: values[1:] if path in alone else values[1:-1] for path, values in points.items()}
    return [first, last, *({**first, path: value} for path, values in own.items() for value in values)]
