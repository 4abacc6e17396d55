"""Measure the cost of each technique: one trial at a time, interleaved with the techniques that it is compared with.

Members of a cohort share its time, so this time tells nothing about one technique. Here every cell gets a cohort of one
member. Each timing pass times all techniques in turn, so that a drift of the machine's speed affects all of them, and
costs are compared pass by pass. Steps run on the device and in the way that training runs them.
"""

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from evalbench import energy, models
from evalbench.config import Config
from evalbench.energy import Instruments, Rest
from evalbench.engine import graphs, training
from evalbench.engine.counting import count_parameters, flops_per_step
from evalbench.trial import Entrant
from evalbench.workloads import Dataset

log = logging.getLogger(__name__)

UNIT_SECONDS = 0.04
"""The minimal duration of a measurement: shorter ones are dominated by the noise of the clock and the scheduler."""
ENERGY_SECONDS = 0.5
"""The minimal duration of a measurement of energy, which begins and ends with an update of the counter."""
UPDATE_SECONDS = 0.3
"""The longest wait for an update."""
GRADIENTS = 1
"""The number of copies of the parameters that a step holds beside them."""


@dataclass(frozen=True)
class Measurement:
    """Hold the costs of one cell in one timing pass, in seconds, bytes and counts."""

    round: int
    """The number of the timing pass; stored under this name."""
    steps: int
    """The steps of the budget: the decisive cost is `steps` times `step_seconds`."""
    step_seconds: float
    samples_per_second: float
    inference_seconds: float
    """The time of one example through the plain network, without learning."""
    flops_per_step: int | None
    """None if they cannot be counted."""
    parameters: int
    optimizer_state_bytes: int
    peak_memory_bytes: int
    """Parameters, gradients, optimizer state and a step's peak; on CUDA what the allocator gave this trial at most."""
    measured_on: str
    """The name of the GPU, or CPU."""
    alone: bool | None
    """Whether nobody else used the GPU; None: not known."""
    gpu_step_joules: float | None
    """The energy of the GPU's board during a step, what it takes at rest included; None: not known."""
    cpu_step_joules: float | None
    """The energy of all packages of the CPU during a step."""
    gpu_idle_watts: float | None
    cpu_idle_watts: float | None
    """The power at rest, before the first timing pass."""


def no_instruments(_: torch.device) -> Instruments:
    """Return no meter, for a measurement of time alone."""
    return Instruments()


def instruments_of(device: torch.device) -> Instruments:
    """Return what can tell the energy of a device here."""
    on_gpu = device.type == "cuda"
    return energy.instruments(f"GPU-{torch.cuda.get_device_properties(device).uuid}" if on_gpu else None)


def measure(
    cells: Sequence[tuple[Config, Dataset]],
    rounds: int,
    instruments_of: Callable[[torch.device], Instruments] = no_instruments,
) -> list[list[Measurement]]:
    """Measure cells in turn, on one thread; return the timing passes of each cell, in the order of the cells.

    With instruments each pass also takes half a second per cell to measure energy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads that wait for each other would measure the scheduler
    try:
        if cells and training.device_of(cells[0][0]).type == "cuda":
            _TimedTrial(*cells[0]).warm_up()  # libraries take memory of their own at the first step
        trials = []
        for config, dataset in cells:
            trials.append(_TimedTrial(config, dataset))
            trials[-1].warm_up()
        instruments = {trial.device: instruments_of(trial.device) for trial in trials}
        rests = {device: tools.rest() for device, tools in instruments.items()}
        if any(rest.is_alone is False for rest in rests.values()):
            log.warning("another program uses the GPU: the measured seconds and joules are too high")
        measured: list[list[Measurement]] = [[] for _ in trials]
        for number in range(rounds):
            for trial, measurements in zip(trials, measured, strict=True):
                measurements.append(trial.measure(number, instruments[trial.device], rests[trial.device]))
        return measured
    finally:
        torch.set_num_threads(threads)


class _TimedTrial:
    """Hold one trial of a cell in a cohort of one member, whose steps are timed repeatedly."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.device = training.device_of(config)
        self.on_cuda = self.device.type == "cuda"
        self.allocated_before = torch.cuda.memory_allocated(self.device) if self.on_cuda else 0
        self.cohort, _ = training.make_cohort(config, dataset, [Entrant(0)])
        self.precision = config.precision
        self.cohort = self.cohort.to(self.device)
        self.network = models.build_seeded(0, config.model, config.activation, training.shape_of(dataset)).eval()
        self.batch_size = self.cohort.batches.batch_size
        self.flops = flops_per_step(
            self.network, dataset.kind, self.batch_size, dataset.inputs.shape[1], dataset.vocabulary is not None
        )
        self.parameters = count_parameters(self.network)
        if self.precision == "64-true":
            self.network = self.network.double()
        chunk_steps = self.cohort.steps_in_chunk()
        self.rows = next(self.cohort.batches.chunks(0, self.cohort.recipe.validation_steps[-1], chunk_steps))
        self.rows = self.rows.to(self.device)
        self.example = self.cohort.data.gather(self.rows[:1], self.cohort.member_indices)[0][0, 0, :1]

    def warm_up(self) -> None:
        """Trace, allocate, let replay choose its way, and choose the number of steps to time at once."""
        if self.on_cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        self.cohort.optimizer  # noqa: B018 - makes it
        for _ in range(1 if self.cohort.replay.device is None else graphs.WARM_UP + 2 * graphs.TIMED + 1):
            self._steps(self.rows[:1])
        self._choose_unit(self._time(lambda: self._steps(self.rows[:1])))
        if self.unit_steps > 1:
            self._choose_unit(self._time(self._run_unit) / self.unit_steps)
        if self.on_cuda:
            self.peak = torch.cuda.max_memory_allocated(self.device) - self.allocated_before
        else:
            step_bytes, state = self.cohort.trace_memory()[0], self.cohort.state_bytes
            self.peak = (1 + GRADIENTS) * state + self.cohort.optimizer.state_bytes + step_bytes
        self.network = self.network.to(self.device)

    def _choose_unit(self, step_seconds: float) -> None:
        """Choose the steps that are timed at once: those of a part of a chunk, repeated if a chunk is too short."""
        steps = max(1, math.ceil(UNIT_SECONDS / max(step_seconds, 1e-6)))
        self.unit = self.rows[: min(len(self.rows), steps)]
        self.repeats = math.ceil(steps / len(self.unit))
        self.unit_steps = self.repeats * len(self.unit)

    def measure(self, number: int, instruments: Instruments, rest: Rest) -> Measurement:
        """Time one unit of steps and one example through the network, and measure the energy of a step."""
        step_seconds = self._time(self._run_unit) / self.unit_steps
        joules = self._step_joules(instruments) if instruments.meters else {}
        return Measurement(
            round=number,
            steps=self.cohort.recipe.validation_steps[-1],
            step_seconds=step_seconds,
            samples_per_second=self.batch_size / step_seconds,
            inference_seconds=statistics.median(self._time(self._infer) for _ in range(9)),
            flops_per_step=self.flops,
            parameters=self.parameters,
            optimizer_state_bytes=self.cohort.optimizer.state_bytes,
            peak_memory_bytes=self.peak,
            measured_on=torch.cuda.get_device_name(self.device) if self.on_cuda else self.device.type.upper(),
            alone=rest.is_alone,
            gpu_step_joules=joules.get("gpu"),
            cpu_step_joules=joules.get("cpu"),
            gpu_idle_watts=rest.watts.get("gpu"),
            cpu_idle_watts=rest.watts.get("cpu"),
        )

    def _step_joules(self, instruments: Instruments) -> dict[str, float | None]:
        """Return the energy of a step by device, measured between two updates of the counters."""
        before, _ = self._next_reading(instruments)
        steps, end = 0, time.perf_counter() + ENERGY_SECONDS
        while time.perf_counter() < end:
            self._run_unit()
            self._synchronize()
            steps += self.unit_steps
        after, last_steps = self._next_reading(instruments)
        taken = {name: (after[name] - before[name]) / (steps + last_steps) for name in after}
        return {name: joules if joules > 0 else None for name, joules in taken.items()}

    def _next_reading(self, instruments: Instruments) -> tuple[dict[str, float], int]:
        """Train until every counter has changed; return their readings and the number of steps."""
        start, steps = instruments.joules(), 0
        reading: dict[str, float] = {}
        end = time.perf_counter() + UPDATE_SECONDS
        while not reading or (time.perf_counter() < end and any(reading[name] == start[name] for name in start)):
            self._run_unit()
            self._synchronize()
            steps, reading = steps + self.unit_steps, instruments.joules()
        return reading, steps

    def _run_unit(self) -> None:
        for _ in range(self.repeats):
            self._steps(self.unit)

    @torch.no_grad()
    def _steps(self, rows: Tensor) -> None:
        with self._autocast():
            self.cohort.train_chunk(rows, 0)

    @torch.no_grad()
    def _infer(self) -> None:
        with self.cohort.recipe.numbers(), self._autocast():
            self.network(self.example)

    def _autocast(self) -> AbstractContextManager[object]:
        mixed = self.precision == "bf16-mixed"
        # Like Lightning's: a cache would keep the weights of the first step, and skip work that training does.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False) if mixed else nullcontext()

    def _time(self, run: Callable[[], None]) -> float:
        """Return the seconds until the device has ended what runs, on CUDA by its own clock."""
        if self.on_cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3
        self._synchronize()
        started = time.perf_counter()
        run()
        self._synchronize()
        return time.perf_counter() - started

    def _synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
