"""Progress at the terminal: one line that moves within cells and says how long it will take; in a pipe a few lines.

It reads the store alone, so it is right under any launcher, and also for what another process on the store trains.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.live import Live
from rich.text import Text

from evalbench import tuning
from evalbench.console import is_live, say
from evalbench.errors import StorageError
from evalbench.evaluation.plan import Plan
from evalbench.store import ENDED, Store
from evalbench.terminal.failures import FailureLines
from evalbench.terminal.forecast import Chore, Forecast
from evalbench.terminal.line import Progressed, in_words, line
from evalbench.terminal.work import CellWork, work_of
from evalbench.trial import Position, State

PERIOD_SECONDS, LONGEST_PERIOD_SECONDS = 0.5, 5.0
MOST_TIME = 0.1
"""The share of the time that may be spent on reading a large store, down to the longest period."""
FIRST_LINE_SECONDS, LINE_SHARE = 60.0, 0.1
"""In a pipe: how long nothing is printed, and the share of the work between two lines."""


@contextmanager
def waiting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the reason of a wait; yield a function that shows a count of it."""
    if not is_live(console):
        yield lambda done, total: None
        return

    def shown(text: str) -> Text:
        return Text(text, overflow="ellipsis", no_wrap=True)

    with console.status(shown(what)) as status:
        yield lambda done, total: status.update(shown(f"{what}: {done:,} of {total:,}"))


@dataclass
class Progress:
    """The progress of an evaluation over all its looks."""

    console: Console
    store: Store
    failures: FailureLines
    num_tried: int = 0
    """The trials that were missing when their look began."""
    _forecast: Forecast = field(default_factory=Forecast)

    @contextmanager
    def shown(self, plan: Plan) -> Iterator[None]:
        """Show the progress of one look while it trains."""
        watch = Watch(plan, self.store)
        self.num_tried += watch.num_missing
        self.failures.begin(plan, self.store)
        self._forecast.begin([work.chore for work in watch.works], time.monotonic(), _later(plan))
        shown = self._live if is_live(self.console) else self._in_lines
        stop = threading.Event()
        with shown() as show:
            thread = threading.Thread(target=self._follow, args=(watch, show, stop), daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    def _follow(self, watch: "Watch", show: Callable[[Progressed], None], stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            start = time.monotonic()
            with suppress(StorageError):  # the jobs will say so
                sight = watch.look()
                self._forecast.note(start, sight.shares, sight.running)
                self.failures.look(sight.num_failed)
                left, later = self._forecast.seconds_left(), self._forecast.seconds_later()
                show(
                    Progressed(
                        watch.name, self._forecast.share, sight.num_done, watch.num_trials, left, later, sight.now
                    )
                )
            pause = max(PERIOD_SECONDS, min(LONGEST_PERIOD_SECONDS, (time.monotonic() - start) / MOST_TIME))

    @contextmanager
    def _live(self) -> Iterator[Callable[[Progressed], None]]:
        """Yield a function that draws the line anew."""
        latest: list[Progressed] = []
        with Live(
            console=self.console,
            transient=True,
            refresh_per_second=4,
            get_renderable=lambda: line(latest[-1], self.console.width) if latest else Text(),
        ):
            yield lambda progressed: latest.__setitem__(slice(None), [progressed])

    @contextmanager
    def _in_lines(self) -> Iterator[Callable[[Progressed], None]]:
        """Yield a function that prints a line after the first minute, and whenever another tenth is done."""
        start, next_share = time.monotonic(), 0.0

        def show(progressed: Progressed) -> None:
            nonlocal next_share
            if time.monotonic() - start >= FIRST_LINE_SECONDS and progressed.share >= next_share:
                next_share = progressed.share + LINE_SHARE
                say(self.console, "Training", in_words(progressed))

        yield show


@dataclass(frozen=True)
class Sight:
    """What the store says of an evaluation's training at one moment."""

    shares: Sequence[float]
    """The share of each cell's work that is done."""
    running: Sequence[bool]
    """Whether a process works on the cell."""
    num_done: int
    num_failed: int
    now: Sequence[tuple[str, Position]]
    """The cells that train now, in words, with their positions."""


class Watch:
    """Reads the store for the progress of a plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self.works = work_of(plan)
        self.num_trials = sum(map(sum, map(_num_trials, self.works)))
        number = 1 + plan.looks.index(max(plan.seeds.values())) if len(plan.looks) > 1 else None
        self.name = plan.name + (f", look {number} of {len(plan.looks)}" if number else "")
        self._chosen: dict[str, str] = {}
        self._studies = {study.id: study for work in self.works for study in tuning.studies(work.cell)}
        self._crossed = {trial_id: work.cell.id for work in self.works for trial_id in work.cell.crossed}
        _, known, _ = self._counts()
        self.works = [replace(work, known=tuple(done)) for work, done in zip(self.works, known, strict=True)]
        self.num_missing = self.num_trials - sum(map(sum, known))

    def look(self) -> Sight:
        """Return what the store says now."""
        keys, counts, num_failed = self._counts()
        training = self._store.positions.of([key for each in keys for key in each if key])
        shares, now = [], []
        for work, each, done in zip(self.works, keys, counts, strict=True):
            positions = [training.get(key or "") for key in each]
            moving = [position.members * position.step / position.steps if position else 0.0 for position in positions]
            shares.append(work.share([n + part for n, part in zip(done, moving, strict=True)]))
            now += [(_words(self._plan, work), position) for position in positions if position]
        running = [any(key in training for key in each) for each in keys]
        return Sight(shares, running, sum(map(sum, counts)), num_failed, now)

    def _counts(self) -> tuple[list[list[str | None]], list[list[int]], int]:
        """Return the lease and the number of ended trials of each portion of each cell, and the number of failed ones.

        A failed trial is tried again, so it has not ended.
        """
        ended = self._store.positions.count_ended(self._plan.name)
        for trial_id, state in self._store.states(list(self._crossed)).items():
            ended.setdefault(self._crossed[trial_id], Counter())[state] += 1
        tried = self._store.positions.count_tried(list(self._studies))
        keys = [self._keys(work, tried) for work in self.works]
        counts = []
        for work, each in zip(self.works, keys, strict=True):
            states = [ended.get(key or "", Counter[State]()) for key in each]
            done = [
                tried[key or ""] + sum(one[state] for state in ENDED) for key, one in zip(each, states, strict=True)
            ]
            counts.append([min(n, most) for n, most in zip(done, _num_trials(work), strict=True)])
        return keys, counts, sum(states[State.FAILED] for states in ended.values())

    def _keys(self, work: CellWork, tried: Counter[str]) -> list[str | None]:
        """Return the lease under which each portion trains; None for the choice of a study that is not complete."""
        studies = tuning.studies(work.cell)
        for study, portion in zip(studies, work.portions, strict=False):
            if study.id not in self._chosen and tried[study.id] >= portion.num_trials:
                tuned = study.chosen(self._store)
                if tuned is not None:
                    self._chosen[study.id] = tuned.id
        own = work.portions[: len(work.portions) - len(studies)]
        return [*(portion.key for portion in own), *(self._chosen.get(study.id) for study in studies)]


def _num_trials(work: CellWork) -> tuple[int, ...]:
    return tuple(portion.num_trials for portion in work.portions)


def _words(plan: Plan, work: CellWork) -> str:
    link = plan.link(work.cell, "")
    return f"{', '.join([link.technique, *link.factors.values()])} on {work.cell.workload}"


def _later(plan: Plan) -> list[Chore]:
    """Return the work of all looks after this one, if no technique stops before the last look."""
    chores: list[Chore] = []
    before = {work.cell.id: _num_trials(work) for work in work_of(plan)}
    for num_seeds in (look for look in plan.looks if look > max(plan.seeds.values())):
        works = work_of(plan.with_seeds(dict.fromkeys(plan.techniques, num_seeds)))
        chores += [replace(work, known=before[work.cell.id]).chore for work in works]
        before = {work.cell.id: _num_trials(work) for work in works}
    return chores
