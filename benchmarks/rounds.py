"""Time engines in interleaved rounds, so that other load of the machine affects all engines alike."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks import bound
from benchmarks.peers import CORES
from benchmarks.work import Work

Train = Callable[[Work, Sequence[int], Path], list[float]]
"""Train one trial per seed, with a folder for files; return the test accuracies in the order of the seeds."""


@dataclass(frozen=True)
class Engine:
    """A way to train trials, and the number of its timed trials."""

    key: str
    label: str
    num_trials: int
    cohort: int | None = None
    """Members per cohort, for evalbench's engines."""
    threads: int | None = None
    """Intra-op threads, if the number is fixed."""
    warm: bool = True
    """Whether a few steps are trained before the first round; a program that starts anew each time needs none."""


@dataclass
class Timing:
    """The measurements of one engine on one work."""

    engine: Engine
    threads: int = 1
    seconds: list[float] = field(default_factory=list)
    """Seconds of all trials together, one number per round."""
    bound_seconds: list[float] = field(default_factory=list)
    """The bound for a cohort, measured in the same rounds."""
    accuracies: dict[int, float] = field(default_factory=dict)
    """Test accuracy by seed."""
    reason: str | None = None
    """The reason if the engine was not measured."""

    failed: bool = False
    """Whether it raised, which is the reason then."""

    def fail(self, error: Exception) -> None:
        """Note an error, and forget all measurements."""
        text = (str(error).strip().splitlines() or [""])[0]
        self.reason, self.failed = f"failed: {type(error).__name__}: {text}", True
        self.seconds, self.bound_seconds, self.accuracies = [], [], {}

    @property
    def rates(self) -> list[float]:
        """Return the trials per second, one number per round."""
        return [self.engine.num_trials / seconds for seconds in self.seconds]

    @property
    def bound_shares(self) -> list[float]:
        """Return the share of the bound's speed, one number per round."""
        return [least / seconds for least, seconds in zip(self.bound_seconds, self.seconds, strict=True)]

    @property
    def accuracy(self) -> float:
        """Return the mean test accuracy over the seeds."""
        return statistics.fmean(self.accuracies.values())


def ratios(engine: Timing, peer: Timing) -> list[float]:
    """Return the speed of an engine relative to a peer, one number per round."""
    return [rate / peer_rate for rate, peer_rate in zip(engine.rates, peer.rates, strict=False)]


def run(
    work: Work,
    engines: Mapping[Engine, Train],
    num_rounds: tuple[int, int],
    until: float,
    unavailable: Callable[[str, Work], str | None],
    say: Callable[[str], None],
    keep: Callable[[Mapping[str, Timing]], None] = lambda _: None,
    threads: int | None = None,
) -> dict[str, Timing]:
    """Time the engines in rounds and return the timings by key.

    Args:
        num_rounds: the smallest and the largest number of rounds.
        until: the time of `time.perf_counter()` at which the rounds end; a cohort that would take longer is left out.
        keep: takes all timings after each measurement, so that an interrupted run loses little.
        threads: intra-op threads; None takes one thread or all cores, the faster number for each engine.
    """
    timings = {engine.key: Timing(engine, reason=unavailable(engine.key, work)) for engine in engines}
    longest, number = 0.0, 0
    while number < num_rounds[0] or (number < num_rounds[1] and time.perf_counter() + longest < until):
        start = time.perf_counter()
        for timing in timings.values():
            train = engines[timing.engine]
            try:
                if number == 0 and timing.reason is None:
                    timing.reason = _too_long(timing.engine, work, timings, until)
                if number == 0 and timing.reason is None:
                    say(f"{work.name}: warming up {timing.engine.label}")
                    warming = time.perf_counter()
                    timing.threads = _warm_up(timing.engine, train, work, timing.engine.threads or threads)
                    start += time.perf_counter() - warming  # later rounds need no warm-up
                if timing.reason is None:
                    say(f"{work.name}: round {number + 1}, {timing.engine.label}")
                    measure(timing, train, work)
                    if timing.engine.cohort is not None:
                        timing.bound_seconds.append(work.num_steps * bound.step_seconds(work, timing.engine.cohort))
            except Exception as error:  # the others go on
                timing.fail(error)
            keep(timings)
        longest = max(longest, time.perf_counter() - start)
        number += 1
    return timings


def measure(timing: Timing, train: Train, work: Work) -> None:
    """Train an engine's trials once."""
    seeds = range(timing.engine.num_trials)
    torch.set_num_threads(timing.threads)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        accuracies = train(work, seeds, Path(folder))
        timing.seconds.append(time.perf_counter() - start)
    timing.accuracies = dict(zip(seeds, accuracies, strict=True))


def _warm_up(engine: Engine, train: Train, work: Work, threads: int | None) -> int:
    """Train a few steps and return the faster number of intra-op threads."""
    if not engine.warm:
        return threads or 1
    short, seconds = work.short(), {}
    for number in dict.fromkeys((threads,) if threads else (1, CORES)):
        warm = Timing(engine, number)
        for _ in range(1 if threads else 2):
            measure(warm, train, short)
        seconds[number] = min(warm.seconds)
    return min(seconds, key=lambda number: seconds[number])


def _too_long(engine: Engine, work: Work, timings: Mapping[str, Timing], until: float) -> str | None:
    """Return a reason if a cohort would take too long, extrapolated from the two cohorts before it."""
    measured = [t for t in timings.values() if engine.cohort and t.engine.cohort and t.seconds]
    if len(measured) < 2:
        return None
    (few, short), (more, long) = ((t.engine.num_trials, t.seconds[0]) for t in measured[-2:])
    if more <= few:
        return None
    expected = long + max(0.0, long - short) / (more - few) * (engine.num_trials - more)
    expected *= 1 + 4 * work.short().num_steps / work.num_steps
    return f"would take {expected:.0f} s" if time.perf_counter() + expected > until else None
