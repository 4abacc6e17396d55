"""Time one optimizer step in every way that evalbench and plain PyTorch have: `python -m benchmarks.steps`.

All ways of a row take the same steps, in interleaved rounds. On a CUDA device there are more ways, and one round of a
fit is profiled: which share of it is kernels, and which share is gaps?
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import profile

from benchmarks import records
from benchmarks.chapters import Chapter
from benchmarks.fast_loops import CapturedLoop, StackedNetworks
from benchmarks.peers import BareLoop
from benchmarks.records import Circumstances
from benchmarks.work import DEVICE, WORKLOADS, Work
from evalbench.engine import training
from evalbench.engine.cohort import Cohort
from evalbench.engine.graphs import TIMED, WARM_UP
from evalbench.engine.profile import busy_share, device_events, spans

CUDA = DEVICE.type == "cuda"
ROWS = (("mlp", 1), ("mlp", 64), ("mlp", 1024), ("cnn", 1), ("cnn", 64), ("transformer", 1), ("transformer", 64))
"""Models and members on a CUDA device, and more of them that are measured after the fits."""
MORE_ROWS = (("cnn", 256), ("mlp", 4096))
CPU_ROWS = (("mlp", 1), ("mlp", 10), ("mlp", 64), ("cnn", 1), ("cnn", 5), ("transformer", 1), ("transformer", 5))
COMPILED_ROWS = (("mlp", 64), ("cnn", 64), ("transformer", 64), ("mlp", 1024), ("mlp", 1))
COMPILED_ROWS_ON_CPU = (("mlp", 1), ("mlp", 10), ("mlp", 64))
MOST_LONE = 64
"""The most members whose lone steps are timed."""
MOST_STACKED = 1024
"""The most networks that are built for `torch.func`."""
FITS = (64, 1024)
"""Members of the mlp cohorts whose fit is timed and profiled on a CUDA device."""
EPOCHS = 20
"""Epochs of a timed fit."""
BEFORE = {
    ("mlp", 1): 1095,
    ("mlp", 64): 1211,
    ("mlp", 1024): 1177,
    ("mlp", 4096): 1412,
    ("cnn", 1): 3999,
    ("cnn", 64): 3449,
    ("cnn", 256): 10820,
    ("transformer", 1): 4249,
    ("transformer", 64): 10426,
}
"""Microseconds of a step of evalbench on an H200 before it had graphs, by model and members."""
COLUMNS = ("direct", "replayed", "lone", "compiled", "torch.func + vmap", "bare loop", "bare loop as a graph")
ROUNDS = 7
ROUND_SECONDS = 0.05
Take = Callable[[int], None]
"""Take a number of steps."""


@dataclass
class StepTimes:
    """The seconds per step of one cohort, one number per round."""

    name: str
    members: int
    columns: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Return the time of a direct step by that of the fastest path, one number per round."""
        return [a / b for a, b in zip(self.columns["direct"], self.columns[self.fastest], strict=True)]

    @property
    def fastest(self) -> str:
        """Return the fastest of the paths for all members at once."""
        measured = [name for name in ("replayed", "compiled") if name in self.columns]
        return min(measured, key=lambda name: statistics.median(self.columns[name]))

    @property
    def ratio(self) -> float:
        """Return the median of the ratios."""
        return statistics.median(self.ratios)


@dataclass(frozen=True)
class FitTimes:
    """The times of one fit of mlps."""

    members: int
    way: str
    seconds: float
    epoch_seconds: float
    """The median of the second half of the epochs."""
    busy: float
    """The share of a profiled epoch in which a kernel or a copy runs on the device."""


@dataclass
class Steps:
    """All measurements of this program."""

    circumstances: Circumstances
    times: list[StepTimes] = field(default_factory=list)
    fits: list[FitTimes] = field(default_factory=list)


def read(folder: Path) -> Steps | None:
    """Return the measurements in a folder, or None."""
    tree: Any = records.read_json(folder / "steps.json")
    if tree is None:
        return None
    times, fits = [StepTimes(**row) for row in tree["times"]], [FitTimes(**row) for row in tree["fits"]]
    return Steps(Circumstances(**tree["circumstances"]), times, fits)


def compare_steps(name: str, members: int) -> StepTimes:
    """Time the steps of a cohort in every way but compiled, and the peers' beside a cohort of one."""
    work = work_of(name)
    takes = direct_and_replayed(on_path(work, "batched"), members)
    if has_paths() and members <= MOST_LONE:
        takes["lone"] = list(direct_and_replayed(on_path(work, "lone"), members).values())[-1]
    if members <= MOST_STACKED:
        takes["torch.func + vmap"] = stacked_steps(work, members)
    if members == 1:
        takes["bare loop"] = bare_steps(work)
        if CUDA:
            takes["bare loop as a graph"] = captured_steps(work)
    return StepTimes(name, members, in_rounds(takes))


def compiled_steps(name: str, members: int) -> list[float]:
    """Time the steps of a compiled program, replayed where that is faster."""
    takes = direct_and_replayed(on_path(work_of(name), "compiled"), members)
    return list(in_rounds(takes).values())[-1]


def in_rounds(takes: Mapping[str, Take]) -> dict[str, list[float]]:
    """Return the seconds per step in each way, one number per round."""
    for take in takes.values():
        take(WARM_UP + 2 * TIMED + 1)
    num_steps = max(4, min(200, int(ROUND_SECONDS / seconds_per_step(next(iter(takes.values())), 4))))
    columns: dict[str, list[float]] = {key: [] for key in takes}
    for _ in range(ROUNDS):
        for key, take in takes.items():
            columns[key].append(seconds_per_step(take, num_steps))
    return columns


def work_of(name: str, epochs: int | None = None) -> Work:
    """Return a workload with batches of 32."""
    work = Work(name, "32", WORKLOADS[name]["32"])
    return replace(work, overrides=(*work.overrides, f"budget.epochs={epochs}")) if epochs else work


def on_path(work: Work, path: str) -> Work:
    """Return the work with steps of one kind, where this evalbench has a choice."""
    return replace(work, overrides=(*work.overrides, f"trainer.path={path}")) if has_paths() else work


@cache
def has_paths() -> bool:
    """Return whether this evalbench can compile the program of a cohort."""
    try:
        replace(work_of("mlp"), overrides=("dataset=digits", "trainer.path=compiled")).composed(1)
    except Exception:
        return False
    return True


def direct_and_replayed(work: Work, members: int) -> dict[str, Take]:
    """Return the steps of a cohort: direct, and on a CUDA device also replayed as a graph if that is faster."""
    config = replace(work.cell.config, num_seeds=members)  # what is planned, not what trains, chooses the path
    cohort, _ = training.make_cohort(config, work.cell.dataset, work.cell.entrants(*range(members)))
    cohort.to(DEVICE)
    device = cohort.replay.device
    full_batches = cohort.batches.steps_per_epoch - 1
    on_device = [rows.to(DEVICE) for rows in cohort.batches.chunks(0, full_batches, cohort.steps_in_chunk())]

    def taking(replayed: bool) -> Take:
        def take(num_steps: int) -> None:
            cohort.replay.device = device if replayed else None
            done = 0
            for chunk in cycle(on_device):
                with torch.no_grad():
                    cohort.train_chunk(chunk[: num_steps - done], done)
                done += len(chunk)
                if done >= num_steps:
                    return

        return take

    takes = {"direct": taking(replayed=False)}
    return {**takes, "replayed": taking(replayed=True)} if CUDA else takes


def stacked_steps(work: Work, members: int) -> Take:
    """Return the steps of stacked networks through `torch.func` and `vmap`."""
    trials = [work.trial(seed) for seed in range(members)]
    rows = [torch.stack(batch).to(DEVICE) for batch in zip(*(trial.epoch(0) for trial in trials), strict=True)]
    return over(StackedNetworks(work, trials).step, rows[:-1])


def bare_steps(work: Work) -> Take:
    """Return the steps of one network in plain PyTorch."""
    trial = work.trial(0)
    return over(BareLoop(work, trial).step, [rows.to(DEVICE) for rows in trial.epoch(0)][:-1])


def captured_steps(work: Work) -> Take:
    """Return the steps of one network in plain PyTorch, captured as a CUDA graph."""
    trial = work.trial(0)
    return over(CapturedLoop(work, trial).step, [rows.to(DEVICE) for rows in trial.epoch(0)][:-1])


def over(step: Callable[[Tensor], None], epoch: Sequence[Tensor]) -> Take:
    """Return steps that go over the batches of an epoch again and again."""

    def take(num_steps: int) -> None:
        for rows in islice(cycle(epoch), num_steps):
            step(rows)

    return take


def seconds_per_step(take: Take, num_steps: int) -> float:
    """Take steps and return the seconds of each until the device has ended them."""
    synchronize()
    start = time.perf_counter()
    take(num_steps)
    synchronize()
    return (time.perf_counter() - start) / num_steps


def synchronize() -> None:
    """Wait until the device has ended its work."""
    if CUDA:
        torch.cuda.synchronize()


def time_fit(members: int, way: str) -> FitTimes:
    """Time the epochs of a fit of mlps, and profile the one after them."""
    cell = work_of("mlp", EPOCHS + 2).cell
    config = replace(cell.config, num_seeds=members)
    cohort, _ = training.make_cohort(config, cell.dataset, cell.entrants(*range(members)))
    if way == "direct":
        cohort.replay.device_of = lambda _: None
    ends: list[float] = []
    profiler = profile()

    def note(_: Cohort, next_interval: int) -> None:
        synchronize()
        ends.append(time.perf_counter())
        if next_interval == EPOCHS:
            profiler.start()
        if next_interval == EPOCHS + 1:
            profiler.stop()

    cohort.on_interval_end = note
    synchronize()
    start = time.perf_counter()
    training._fit(cohort, config)
    epochs = [end - begin for begin, end in pairwise(ends[:EPOCHS])]
    events = device_events(profiler.events() or ())  # type: ignore[no-untyped-call]
    second_half = epochs[len(epochs) // 2 :]
    return FitTimes(members, way, ends[EPOCHS - 1] - start, statistics.median(second_half), busy_share(spans(events)))


def chapters(steps: Steps) -> list[Chapter]:
    """Return the tables of steps and of fits."""
    on_cuda = steps.circumstances.device == "cuda"
    columns = [name for name in COLUMNS if any(name in times.columns for times in steps.times)]
    head = ("model", "members", *(["before"] if on_cuda else []), *columns)
    lines = [
        "Microseconds per step of a cohort with batches of 32, medians. A *direct* step is a batched one without "
        "replay. The bare loops take steps of one network.",
        "*Before* is the step of evalbench on an H200 before it had graphs. *Replayed*, *lone* and *compiled* are its "
        "paths today, each a graph if a graph is faster.",
    ]
    rows = tuple(_step_row(times, columns, on_cuda) for times in steps.times)
    pages = [Chapter("A step", tuple(lines if on_cuda else lines[:1]), head, rows)]
    if steps.fits:
        text = (
            f"A fit of mlps for {EPOCHS} epochs. The share of kernels is the share of one more epoch, order of rows "
            "and validation included, in which a kernel or a copy runs; the rest is gaps. The profiler, which records "
            "that epoch, lengthens the gaps."
        )
        head = ("members", "steps", "fit, s", "an epoch, ms", "kernels", "gaps")
        pages.append(Chapter("A profile of one round", (text,), head, tuple(map(_fit_row, steps.fits))))
    return pages


def _step_row(times: StepTimes, columns: Sequence[str], on_cuda: bool) -> tuple[str, ...]:
    medians = {key: f"{1e6 * statistics.median(seconds):.0f}" for key, seconds in times.columns.items()}
    before = [str(BEFORE.get((times.name, times.members), ""))] if on_cuda else []
    return (times.name, str(times.members), *before, *(medians.get(key, "") for key in columns))


def _fit_row(fit: FitTimes) -> tuple[str, ...]:
    shares = f"{fit.busy:.0%}", f"{1 - fit.busy:.0%}"
    return (str(fit.members), fit.way, f"{fit.seconds:.2f}", f"{1e3 * fit.epoch_seconds:.1f}", *shares)


def measure_rows(steps: Steps, rows: Iterable[tuple[str, int]], keep: Callable[[Steps], None]) -> None:
    """Measure rows of steps; keep the results after each."""
    for name, members in rows:
        steps.times.append(compare_steps(name, members))
        print(*_step_row(steps.times[-1], COLUMNS, CUDA), sep=" | ", flush=True)
        keep(steps)


def add_compiled(steps: Steps, rows: Iterable[tuple[str, int]], keep: Callable[[Steps], None]) -> None:
    """Add the steps of compiled programs to rows that were measured; keep the results after each."""
    times = {(times.name, times.members): times for times in steps.times}
    for row in rows:
        if has_paths() and row in times:
            times[row].columns["compiled"] = compiled_steps(*row)
            print(*_step_row(times[row], COLUMNS, CUDA), sep=" | ", flush=True)
            keep(steps)


def measure_fits(steps: Steps, keep: Callable[[Steps], None]) -> None:
    """Measure fits; keep the results after each."""
    time_fit(2, "direct")  # loads kernels and the profiler
    for members in FITS:
        for way in ("direct", "replayed"):
            steps.fits.append(time_fit(members, way))
            print(*_fit_row(steps.fits[-1]), sep=" | ", flush=True)
            keep(steps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and keep the measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--small", action="store_true", help="few rows, to try this program")
    parser.add_argument("--compiled", action="store_true", help="add compiled steps to what was measured")
    parser.add_argument("--records", type=Path, default=records.FOLDER, help="the folder of the measurements")
    chosen = parser.parse_args(arguments)
    for name in ("pytorch_lightning", "lightning_fabric", "evalbench"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path: Path = chosen.records / "steps.json"

    def keep(steps: Steps) -> None:
        records.write_json(path, asdict(steps))

    steps = read(chosen.records) if chosen.compiled else None
    if steps is not None:
        add_compiled(steps, COMPILED_ROWS if CUDA else COMPILED_ROWS_ON_CPU, keep)
        return 0
    steps = Steps(Circumstances.here("python -m benchmarks.steps"))
    if chosen.small:
        measure_rows(steps, CPU_ROWS[:2], keep)
    elif CUDA:
        measure_rows(steps, ROWS, keep)
        measure_fits(steps, keep)
        measure_rows(steps, MORE_ROWS, keep)
    else:
        measure_rows(steps, CPU_ROWS, keep)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
