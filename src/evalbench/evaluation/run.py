"""Run an evaluation: at each look link its trials, train those that are missing and judge; then time and conclude.

The caller decides how jobs are trained, and may show the stages and the looks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from evalbench import tuning
from evalbench.errors import StorageError
from evalbench.evaluation.conclude import Outcome, conclude, look
from evalbench.evaluation.costs import measure_costs
from evalbench.evaluation.counts import Count, uncounted
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.mirror import Mirrors
from evalbench.store import Store

DRAIN_SECONDS = 5.0
"""How long an interrupted evaluation waits for its trackers."""

Train = Callable[[Plan, Sequence[int]], Sequence[Exception | None]]
"""Trains the jobs of these numbers in a plan and returns for each the error that ended it early, or None."""
Stage = Callable[[str], AbstractContextManager[Count]]
"""Shows a stage of the run, such as `writing the report`, while it lasts, and a count if there is one."""


def unseen(stage: str) -> AbstractContextManager[Count]:
    """Show nothing."""
    return nullcontext(uncounted)


def untold(outcome: Outcome) -> None:
    """Say nothing of a look."""


def run(
    plan: Plan,
    store: Store,
    train: Train,
    command: str,
    log_folder: Path | None = None,
    stage: Stage = unseen,
    tell: Callable[[Outcome], None] = untold,
) -> Outcome:
    """Run a checked plan, at the look that it has reached, to its report; `train` is not called for nothing.

    `command` repeats the evaluation. `tell` is called after each look that another one follows. An interrupt ends the
    training only: the evaluation is still concluded if all its trials have ended, and the outcome tells whether it was
    interrupted.
    """
    interrupted = False
    with _mirrors(plan, log_folder) as mirrors:
        try:
            while True:
                link(plan, store, command)
                _train_missing(plan, store, train, mirrors)
                if min(plan.seeds.values()) == plan.looks[-1]:
                    break
                with stage("judging the trials so far"):
                    outcome = look(plan, store)
                if outcome.following is None:
                    break
                tell(outcome)
                plan = outcome.following
            with stage("waiting for the tracker"):
                mirrors.drain()
            with stage("timing each technique alone") as count:
                measure_costs(plan, store, count)
        except KeyboardInterrupt:
            interrupted = True
            mirrors.drain(DRAIN_SECONDS)
        with stage("writing the report"):
            outcome = conclude(plan, store)
        if not outcome.has_ended:
            return replace(outcome, interrupted=interrupted)
        with stage("waiting for the tracker"):
            mirrors.conclude()
        return replace(outcome, unmirrored=tuple(mirrors.problems()))


def train_here(store: Store) -> Train:
    """Return a function that trains in this process, one job after another."""

    def train(plan: Plan, jobs: Sequence[int]) -> list[Exception | None]:
        for number in jobs:
            tuning.run(plan.jobs[number], store)
        return [None] * len(jobs)

    return train


@contextmanager
def _mirrors(plan: Plan, log_folder: Path | None) -> Iterator[Mirrors]:
    """Yield the trackers of the evaluation, and stop them at the end."""
    tracker = plan.config.tracker
    mirrors = Mirrors(plan.config.store_url, plan.name, list(tracker.trackers), tracker.patience_seconds, log_folder)
    try:
        yield mirrors
    finally:
        mirrors.stop()


def _train_missing(plan: Plan, store: Store, train: Train, mirrors: Mirrors) -> None:
    """Train what the store lacks of the plan, while its trials are mirrored."""
    jobs = plan.untrained(store)
    if jobs:
        mirrors.start()
        _fail_lost(plan, store, jobs, train(plan, jobs))


def _fail_lost(plan: Plan, store: Store, jobs: Sequence[int], errors: Sequence[Exception | None]) -> None:
    """Record the missing trials of a job that died, or was killed, as FAILED."""
    for number, error in zip(jobs, errors, strict=True):
        if isinstance(error, StorageError):
            raise error  # the job has not failed: its results cannot be kept
        if error is not None:
            tuning.fail(plan.jobs[number], store, error)
