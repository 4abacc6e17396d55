"""Engines timed in interleaved rounds, so that whatever else the machine does hits all of them alike."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks import bound
from benchmarks.peers import CORES
from benchmarks.work import Work

Train = Callable[[Work, Sequence[int], Path], list[float]]
"""Trains one trial per seed, with a folder for what it writes; the test accuracies in the order of the seeds."""


@dataclass(frozen=True)
class Engine:
    """Something that trains trials, and how many of them it is timed on."""

    key: str
    label: str
    num_trials: int
    train: Train
    cohort: int | None = None
    """Members per cohort, of evalbench's engines."""
    threads: int | None = None
    """Intra-op threads, where there is no choice."""


@dataclass
class Timing:
    """What was measured of one engine on one work."""

    engine: Engine
    threads: int = 1
    seconds: list[float] = field(default_factory=list)
    """Of all trials together, one number per round."""
    bound_seconds: list[float] = field(default_factory=list)
    """The least that the machine allowed in the same round, of a cohort."""
    accuracies: dict[int, float] = field(default_factory=dict)
    """Test accuracy by seed."""
    reason: str | None = None
    """Why it was not measured."""

    @property
    def rates(self) -> list[float]:
        """Trials per second, one number per round."""
        return [self.engine.num_trials / seconds for seconds in self.seconds]

    @property
    def bound_shares(self) -> list[float]:
        """The part of the bound's speed that was reached, one number per round."""
        return [least / seconds for least, seconds in zip(self.bound_seconds, self.seconds, strict=True)]

    @property
    def accuracy(self) -> float:
        """The mean test accuracy over the seeds."""
        return statistics.fmean(self.accuracies.values())


def ratios(one: Timing, other: Timing) -> list[float]:
    """Return how many times as fast one engine is as another, one number per round."""
    return [mine / theirs for mine, theirs in zip(one.rates, other.rates, strict=False)]


def run(
    work: Work,
    engines: Iterable[Engine],
    num_rounds: tuple[int, int],
    until: float,
    unavailable: Callable[[str, Work], str | None],
    say: Callable[[str], None],
    threads: int | None = None,
) -> dict[str, Timing]:
    """Time the engines round after round, by key: at least and at most so many, and until `until` otherwise.

    Each uses `threads` intra-op threads; if None, whichever of one and all cores suits it better.

    `until` is a `time.perf_counter()`. A cohort that would pass it by itself, to judge by smaller ones, is left out.
    """
    timings = {engine.key: Timing(engine, reason=unavailable(engine.key, work)) for engine in engines}
    longest, number = 0.0, 0
    while number < num_rounds[0] or (number < num_rounds[1] and time.perf_counter() + longest < until):
        start = time.perf_counter()
        for timing in timings.values():
            if number == 0 and timing.reason is None:
                timing.reason = _too_long(timing.engine, work, timings, until)
            if number == 0 and timing.reason is None:
                say(f"{work.name}: warming up {timing.engine.label}")
                warming = time.perf_counter()
                timing.threads = _warm_up(timing.engine, work, timing.engine.threads or threads)
                start += time.perf_counter() - warming  # no later round has it
            if timing.reason is None:
                say(f"{work.name}: round {number + 1}, {timing.engine.label}")
                measure(timing, work)
                if timing.engine.cohort is not None:
                    timing.bound_seconds.append(work.num_steps * bound.step_seconds(work, timing.engine.cohort))
        longest = max(longest, time.perf_counter() - start)
        number += 1
    return timings


def measure(timing: Timing, work: Work) -> None:
    """Train an engine's trials once."""
    seeds = range(timing.engine.num_trials)
    torch.set_num_threads(timing.threads)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        accuracies = timing.engine.train(work, seeds, Path(folder))
        timing.seconds.append(time.perf_counter() - start)
    timing.accuracies = dict(zip(seeds, accuracies, strict=True))


def _warm_up(engine: Engine, work: Work, threads: int | None) -> int:
    """Train shortly, and return the number of intra-op threads with which that took less time, if there is a choice."""
    short, seconds = work.short(), {}
    for number in dict.fromkeys((threads,) if threads else (1, CORES)):
        warm = Timing(engine, number)
        for _ in range(1 if threads else 2):
            measure(warm, short)
        seconds[number] = min(warm.seconds)
    return min(seconds, key=lambda number: seconds[number])


def _too_long(engine: Engine, work: Work, timings: Mapping[str, Timing], until: float) -> str | None:
    """Say what a cohort would take with its warm-up, going by the two before it, if that is too long."""
    measured = [t for t in timings.values() if engine.cohort and t.engine.cohort and t.seconds]
    if len(measured) < 2:
        return None
    (few, short), (more, long) = ((t.engine.num_trials, t.seconds[0]) for t in measured[-2:])
    if more <= few:
        return None
    expected = long + max(0.0, long - short) / (more - few) * (engine.num_trials - more)
    expected *= 1 + 4 * work.short().num_steps / work.num_steps
    return f"would take {expected:.0f} s" if time.perf_counter() + expected > until else None
