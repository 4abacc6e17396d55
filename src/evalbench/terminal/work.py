"""What a plan's cells have to train, and what that should cost: the weights of a forecast.

Only ratios count, since the forecast learns how fast this machine is. They hold within a factor of two or so for small
networks on a CPU: a step waits for Python, and takes longer the more numbers it moves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from evalbench import tuning
from evalbench.cell import Cell
from evalbench.config import COHORT
from evalbench.evaluation.plan import Plan
from evalbench.terminal.forecast import Chore

COHORT_SECONDS = 0.2
"""To build a cohort, to test it and to write its results."""
STEP_SECONDS = 4e-4
"""To call the operations of a step."""
NUMBER_SECONDS = 5e-8
"""For each row and each of its numbers, forward and backward."""
ALONE_SECONDS = 0.5
"""For a trial of another engine, of which nothing is known."""
HIDDEN_NUMBERS = 128
"""What hidden layers add to the numbers of a row."""


@dataclass(frozen=True)
class Portion:
    """Trials of a cell that are counted together."""

    key: str | None
    """The lease under which they train, of a cell or a study; None if a search has yet to choose their cell."""
    num_trials: int
    seconds: Callable[[int], float]
    """Roughly the seconds that a number of these trials takes."""


@dataclass(frozen=True)
class CellWork:
    """A cell, in the portions in which it trains, and what is missing of each."""

    cell: Cell
    labels: tuple[str, ...]
    portions: tuple[Portion, ...]
    known: tuple[int, ...]
    """The trials of each portion that were in the store before."""

    @cached_property
    def weights(self) -> list[float]:
        """The seconds that the missing trials of each portion take, roughly."""
        missing = [portion.num_trials - known for portion, known in zip(self.portions, self.known, strict=True)]
        return [portion.seconds(count) if count else 0.0 for portion, count in zip(self.portions, missing, strict=True)]

    @property
    def chore(self) -> Chore:
        """The missing trials as a forecast sees them."""
        return Chore(self.labels, sum(self.weights))

    def share(self, done: Sequence[float]) -> float:
        """Return the share of the missing work that is done, given the trials of each portion that are done."""
        parts = [
            weight * min(1.0, max(0.0, trials - known) / (portion.num_trials - known))
            for weight, portion, known, trials in zip(self.weights, self.portions, self.known, done, strict=True)
            if weight
        ]
        return min(1.0, sum(parts) / self.chore.weight) if parts else 1.0


def work_of(plan: Plan) -> list[CellWork]:
    """Return the work of every cell of a plan as if nothing was in the store."""
    works = []
    for cell in plan.cells:
        link, portions = plan.link(cell, ""), _portions(cell)
        labels = (f"technique {link.technique} {dict(link.factors)}", f"workload {cell.workload}", f"cell {cell.id}")
        works.append(CellWork(cell, labels, tuple(portions), (0,) * len(portions)))
    return works


def _portions(cell: Cell) -> list[Portion]:
    """Return the search of each study, the trials at the cell's own settings, and those at each study's choice."""
    studies, seconds = tuning.studies(cell), partial(_seconds, cell)
    searches = [
        Portion(study.id, tuning.num_candidates(study) * study.search.num_seeds, partial(_search_seconds, study))
        for study in studies
    ]
    tuned = [Portion(None, cell.config.num_seeds, seconds) for _ in studies]
    return [*searches, Portion(cell.id, len(cell.trials), seconds), *tuned]


def _search_seconds(study: tuning.Study, num_trials: int) -> float:
    """Return roughly the seconds of some trials of a study: as many cohorts as it asks for batches of candidates."""
    from evalbench import search  # Optuna: only if something is searched

    batch = min(num_trials, search.batch_size(study.search) * study.search.num_seeds)
    share_of_steps = 1.0 if study.search.pruning is None else _share_of_steps(study)
    return num_trials / batch * _seconds(study.cell, batch, share_of_steps)


def _share_of_steps(study: tuning.Study) -> float:
    """Return the share of the steps of all candidates that pruning leaves."""
    pruning, validations = study.search.pruning, len(study.cell.config.length.validation_steps(1))
    assert pruning is not None
    rungs = [*pruning.rungs(validations), validations]
    share, before, alive = 0.0, 0, 1.0
    for rung in dict.fromkeys(rungs):
        share, before, alive = share + alive * (rung - before) / validations, rung, alive / pruning.eta
    return share


def _seconds(cell: Cell, num_members: int, share_of_steps: float = 1.0) -> float:
    """Return roughly the seconds that some trials of a cell take together."""
    if cell.config.engine != COHORT:
        return num_members * ALONE_SECONDS
    split, num_features = cell.split(0), cell.dataset.inputs.shape[1]
    num_train = len(split.train)
    rows: int = cell.config.optimizer.rows_per_step(num_train)
    steps = cell.config.budget.validation_steps(-(-num_train // rows))
    numbers = NUMBER_SECONDS * num_members * (num_features + HIDDEN_NUMBERS)
    training = steps[-1] * (STEP_SECONDS + numbers * rows)
    validation = len(steps) * numbers * len(split.validation) / 3  # a forward pass without a backward pass
    return float(COHORT_SECONDS + share_of_steps * (training + validation))
