"""Compare steps that are replayed as CUDA graphs with direct ones: `python -m benchmarks.graphs`, on a CUDA device.

Both ways take the same steps of the same cohort, in interleaved rounds; each ratio is the median of the ratios within
the rounds. The peers take steps of one network: a bare PyTorch loop, and the same loop captured as a CUDA graph.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, pairwise
from pathlib import Path

import torch
from torch.profiler import profile

from benchmarks.work import DEVICE, WORKLOADS, Work
from evalbench.engine import training
from evalbench.engine.cohort import Cohort
from evalbench.engine.graphs import TIMED, WARM_UP

COHORTS = {"mlp": (1, 64, 1024), "cnn": (1, 64), "transformer": (1, 64)}
FITS = (64, 1024)
"""Members of the mlp cohorts whose fit is timed and profiled."""
EPOCHS = 20
"""Epochs of a timed fit."""
GOALS = {("cnn", 64): 5.0, ("transformer", 64): 1.8}
"""The least ratios of direct to replayed steps that are aimed at."""
COLUMNS = ("direct", "replayed", "bare loop", "bare loop as a graph")
ROUNDS = 7
ROUND_SECONDS = 0.05
RESULTS = Path(__file__).parent / "results-gpu.md"
Take = Callable[[int], None]
"""Take so many steps."""


@dataclass
class StepTimes:
    """The seconds per step of one cohort, one number per round."""

    name: str
    members: int
    columns: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Return the time of a direct step by that of a replayed one."""
        return statistics.median(a / b for a, b in zip(self.columns["direct"], self.columns["replayed"], strict=True))


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


def compare_steps(name: str, members: int) -> StepTimes:
    """Time direct and replayed steps of a cohort, and the peers' beside a cohort of one."""
    work = work_of(name)
    cohort, _ = training.make_cohort(work.cell.config, work.cell.dataset, work.cell.entrants(*range(members)))
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

    takes = {"direct": taking(replayed=False), "replayed": taking(replayed=True)}
    if members == 1:
        takes |= {"bare loop": bare_loop(work, as_graph=False), "bare loop as a graph": bare_loop(work, as_graph=True)}
    for take in takes.values():
        take(WARM_UP + 2 * TIMED + 1)
    num_steps = max(4, min(200, int(ROUND_SECONDS / seconds_per_step(takes["direct"], 4))))
    times = StepTimes(name, members, {key: [] for key in takes})
    for _ in range(ROUNDS):
        for key, take in takes.items():
            times.columns[key].append(seconds_per_step(take, num_steps))
    return times


def work_of(name: str, epochs: int | None = None) -> Work:
    """Return a workload with batches of 32."""
    work = Work(name, "32", WORKLOADS[name]["32"])
    return replace(work, overrides=(*work.overrides, f"budget.epochs={epochs}")) if epochs else work


def bare_loop(work: Work, as_graph: bool) -> Take:
    """Return the steps of one network in plain PyTorch, run directly or captured as one graph."""
    trial = work.trial(0)
    network, inputs, targets = trial.network.to(DEVICE).train(), trial.inputs.to(DEVICE), trial.targets.to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), fused=True, capturable=as_graph)
    epoch = [rows.to(DEVICE) for rows in trial.epoch(0) if len(rows) == int(work.batch_size)]
    static = epoch[0].clone()

    def step() -> None:
        optimizer.zero_grad()
        work.loss(network(inputs[static]), targets[static]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    graph = captured(step) if as_graph else None

    def take(num_steps: int, kept: Callable[[], None] = step) -> None:  # a graph keeps nothing alive that it reads
        for rows in islice(cycle(epoch), num_steps):
            static.copy_(rows)
            if graph is None:
                kept()
            else:
                graph.replay()

    return take


def captured(step: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Return the graph of a step, after the steps on a side stream that torch asks for."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def seconds_per_step(take: Take, num_steps: int) -> float:
    """Take steps and return the seconds of each until the device has ended them."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    take(num_steps)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / num_steps


def time_fit(members: int, way: str) -> FitTimes:
    """Time the epochs of a fit of mlps, and profile the one after them."""
    cell = work_of("mlp", EPOCHS + 2).cell
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(members)))
    if way == "direct":
        cohort.replay.device_of = lambda _: None
    ends: list[float] = []
    profiler = profile()

    def note(_: Cohort, next_interval: int) -> None:
        torch.cuda.synchronize()
        ends.append(time.perf_counter())
        if next_interval == EPOCHS:
            profiler.start()
        if next_interval == EPOCHS + 1:
            profiler.stop()

    cohort.on_interval_end = note
    torch.cuda.synchronize()
    start = time.perf_counter()
    training._fit(cohort, cell.config)
    epochs = [end - begin for begin, end in pairwise(ends[:EPOCHS])]
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()  # type: ignore[no-untyped-call]
        if str(event.device_type).endswith("CUDA")
        and not event.is_user_annotation
        and event.name != "Activity Buffer Request"
    ]
    second_half = epochs[len(epochs) // 2 :]
    return FitTimes(members, way, ends[EPOCHS - 1] - start, statistics.median(second_half), busy_share(spans))


def busy_share(spans: Iterable[tuple[float, float]]) -> float:
    """Return the share of the time between the first start and the last end that lies in any span."""
    ordered = sorted(spans)
    busy, until = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / (until - ordered[0][0])


def page(device: str, steps: Sequence[StepTimes], fits: Sequence[FitTimes]) -> str:
    """Return the results in Markdown."""
    lines = [
        "# Replayed steps on a GPU",
        "",
        f"`python -m benchmarks.graphs` measured this on {device}, at its default precision and with batches",
        "of 32. A *direct* step is one without replay. A *replayed* step is what the engine chooses: the graph if the",
        "graph is faster.",
        "",
        "Microseconds per step of a cohort, medians:",
        "",
        "| model | members | " + " | ".join(COLUMNS) + " | direct / replayed |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [*map(step_row, steps), ""]
    for times in steps:
        goal = GOALS.get((times.name, times.members))
        if goal is not None:
            outcome = "reached" if times.ratio >= goal else "not reached"
            lines.append(f"- Goal for {times.name}, {times.members} members: {goal:g} times as fast. It was {outcome}.")
    lines += [
        "",
        f"A fit of mlps for {EPOCHS} epochs. The share of kernels is the share of one more epoch, order of rows and",
        "validation included, in which a kernel or a copy runs; the rest is gaps. The profiler, which records that",
        "epoch, lengthens the gaps.",
        "",
        "| members | steps | fit, s | an epoch, ms | kernels | gaps |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    return "\n".join([*lines, *map(fit_row, fits)]) + "\n"


def step_row(times: StepTimes) -> str:
    """Return a row of the table of steps."""
    medians = {key: f"{1e6 * statistics.median(seconds):.0f}" for key, seconds in times.columns.items()}
    cells = [times.name, str(times.members), *(medians.get(key, "") for key in COLUMNS), f"{times.ratio:.2f}"]
    return f"| {' | '.join(cells)} |"


def fit_row(fit: FitTimes) -> str:
    """Return a row of the table of fits."""
    shares = f"{fit.busy:.0%} | {1 - fit.busy:.0%}"
    return f"| {fit.members} | {fit.way} | {fit.seconds:.2f} | {1e3 * fit.epoch_seconds:.1f} | {shares} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the page; return 2 without a CUDA device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graphs", description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, help="the Markdown file to write")
    output = parser.parse_args(arguments).output
    if not torch.cuda.is_available():
        print("there is no CUDA device: run this on a machine with a GPU")
        return 2
    for name in ("pytorch_lightning", "lightning_fabric", "evalbench"):
        logging.getLogger(name).setLevel(logging.ERROR)
    steps = []
    for name, members in ((name, members) for name, cohorts in COHORTS.items() for members in cohorts):
        steps.append(compare_steps(name, members))
        print(step_row(steps[-1]), flush=True)
    time_fit(2, "direct")  # loads kernels and the profiler
    fits = []
    for members, way in ((members, way) for members in FITS for way in ("direct", "replayed")):
        fits.append(time_fit(members, way))
        print(fit_row(fits[-1]), flush=True)
    text = page(f"one {torch.cuda.get_device_name()} with PyTorch {torch.__version__}", steps, fits)
    print(text)
    output.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
