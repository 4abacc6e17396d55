"""Progress at the terminal: a bar for the trials, a line for every wait. Output that is no terminal gets neither."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from evalbench import tuning
from evalbench.errors import StorageError
from evalbench.evaluation import variance
from evalbench.evaluation.plan import Plan
from evalbench.store import Store


def plain_console() -> Console:
    """Return a console that prints names of the user's as text, never as markup."""
    return Console(markup=False, emoji=False, highlight=False)


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Show the reason of a wait."""
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextmanager
def progress(console: Console, plan: Plan, store: Store, period_seconds: float = 0.5) -> Iterator[None]:
    """Show a live bar of the trials in the store, right under any launcher."""
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials"),
        _Rate(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    phases = _phases(plan, store)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=60) as bars:
        tasks = [
            (bars.add_task(description, total=total, completed=count()), count) for description, total, count in phases
        ]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(period_seconds):
                for task, count in tasks:
                    with suppress(StorageError):  # the jobs will say so
                        bars.update(task, completed=count())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} trials/s", style="progress.data.speed")


def _phases(plan: Plan, store: Store) -> list[tuple[str, int, Callable[[], int]]]:
    """Return each phase: its description, its number of trials, and a function that counts those that ended.

    A search has two phases: its candidates, then the measured trials at the default and at the best settings.
    """
    number = 1 + plan.looks.index(max(plan.seeds.values())) if len(plan.looks) > 1 else None
    look = f", look {number} of {len(plan.looks)}" if number else ""
    name = f"{plan.name}{look}: {len(plan.cells)} {'cell' if len(plan.cells) == 1 else 'cells'}"
    measured = sum(len(cell.trials) for cell in plan.cells)
    studies = [study for cell in plan.cells for study in tuning.studies(cell)]
    if not studies:
        return [(name, measured, lambda: _ended(plan, store))]
    ids = [study.id for study in studies]
    measured += sum(study.cell.config.num_seeds for study in studies)
    return [
        (f"{name}, tune", tuning.num_trials(plan.cells), lambda: store.count_tried(ids)),
        ("measure".rjust(len(name) + len(", tune")), measured, lambda: _ended(plan, store)),
    ]


def _ended(plan: Plan, store: Store) -> int:
    return variance.count_states(plan, store).total()
