"""The trials of a cell as one batched model."""

from collections.abc import Iterator, Sequence

from evalbench.config import Config
from evalbench.engine import checks, training
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.timed_cohort import TimedCohort
from evalbench.trial import Entrant
from evalbench.workloads import Dataset


class CohortEngine:
    """Train networks, the seeds of a cell together."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Build network, optimizer and trainer once."""
        checks.check(config, dataset)

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Train cohorts that fit into memory."""
        return training.train_all(config, dataset, entrants, name, outlets.keep_in, outlets.watch, outlets.follow)

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return a cohort of one."""
        return TimedCohort(config, dataset)


ENGINE: Engine = CohortEngine()
