"""Cells that failed: a line for each, once, as soon as the store knows of it, and the path of its log."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from evalbench.console import say_problem
from evalbench.evaluation.plan import Plan
from evalbench.names import one_line
from evalbench.store import Store
from evalbench.trial import State

MOST_TOLD = 5


class FailureLines:
    """Prints each failed cell once, and at most a few."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: set[tuple[str, str | None]] = set()
        self._num_told = self._num_failed = 0
        self.num_silent = 0
        """The failed cells that were not printed, because there are many."""

    def begin(self, plan: Plan, store: Store) -> None:
        """Remember what had failed before: it is tried again."""
        self._plan, self._store = plan, store
        self._known |= {key for key, _ in self._failed()}
        self._num_failed = 0

    def look(self, num_failed: int) -> None:
        """Print the cells that have failed since the last look, if the number of failed trials has changed."""
        if num_failed == self._num_failed:
            return
        self._num_failed = num_failed
        for key, failure in self._failed():
            self._tell(key, failure)

    def tell(self, failures: Iterable[Mapping[str, Any]]) -> None:
        """Print the failed cells of an ended evaluation that were not printed yet."""
        for failure in failures:
            where = ", ".join([failure["technique"], failure["workload"], *failure["factors"].values()])
            self._tell((where, failure["log"]), failure)

    def _failed(self) -> list[tuple[tuple[str, str | None], Mapping[str, Any]]]:
        links = {link.trial_id: link for link in self._store.links(self._plan.name)}
        states = self._store.states(list(links))
        failed = self._store.trials([trial_id for trial_id, state in states.items() if state is State.FAILED])
        entries: list[tuple[tuple[str, str | None], Mapping[str, Any]]] = []
        for trial in failed.values():
            link = links[trial.id]
            where = ", ".join([link.technique, trial.workload, *link.factors.values()])
            entries.append(((where, trial.result.log), {"message": trial.result.message, "log": trial.result.log}))
        return entries

    def _tell(self, key: tuple[str, str | None], failure: Mapping[str, Any]) -> None:
        if key in self._known:
            return
        self._known.add(key)
        if self._num_told == MOST_TOLD:
            self.num_silent += 1
            return
        self._num_told += 1
        say_problem(self._console, "FAILED", one_line(f"{key[0]}: {failure['message']}"))
        if failure["log"]:
            say_problem(self._console, "", f"log: {_here(failure['log'])}", whole=True)


def _here(path: str) -> str:
    """Return a path as seen from the working folder if it is inside."""
    whole, here = Path(path).absolute(), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else path
