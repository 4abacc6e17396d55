"""Measure the cost of each technique: one trial at a time, interleaved with the techniques that it is compared with.

Members of a cohort share its time, so this time tells nothing about one technique. Here every cell gets a cohort of one
member. Each timing pass times all techniques in turn, so that a drift of the machine's speed affects all of them, and
costs are compared pass by pass.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from evalbench import models
from evalbench.config import Config
from evalbench.engine import training
from evalbench.engine.counting import count_parameters, flops_per_step
from evalbench.trial import Entrant
from evalbench.workloads import Dataset

UNIT_SECONDS = 0.04
"""The minimal duration of a measurement: shorter ones are dominated by the noise of the clock and the scheduler."""
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
    """Parameters, gradients, optimizer state and a step's peak; on CUDA the allocator's peak."""


def measure(cells: Sequence[tuple[Config, Dataset]], rounds: int) -> list[list[Measurement]]:
    """Measure cells in turn, on one thread; return the timing passes of each cell, in the order of the cells."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads that wait for each other would measure the scheduler
    try:
        trials = [_TimedTrial(config, dataset) for config, dataset in cells]
        for trial in trials:
            trial.warm_up()
        measured: list[list[Measurement]] = [[] for _ in trials]
        for number in range(rounds):
            for trial, measurements in zip(trials, measured, strict=True):
                measurements.append(trial.measure(number))
        return measured
    finally:
        torch.set_num_threads(threads)


class _TimedTrial:
    """Hold one trial of a cell in a cohort of one member, whose steps are timed repeatedly."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.cohort, _ = training.make_cohort(config, dataset, [Entrant(0)])
        wants_cpu = config.trainer.get("accelerator") == "cpu"
        self.device = torch.device("cuda" if torch.cuda.is_available() and not wants_cpu else "cpu")
        self.precision = config.precision
        self.cohort = self.cohort.to(self.device)
        self.network = models.build_seeded(0, config.model, config.activation, training.shape_of(dataset)).eval()
        self.network = self.network.to(self.device)
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
        """Trace, allocate, and choose the number of steps to time at once."""
        self.cohort.optimizer  # noqa: B018 - makes it
        self._time(lambda: self._steps(self.rows[:1]))
        seconds = self._time(lambda: self._steps(self.rows[:1]))
        self.unit = self.rows[: max(1, min(len(self.rows), round(UNIT_SECONDS / max(seconds, 1e-6))))]
        step_bytes = self.cohort.trace_memory()[0]
        state = self.cohort.state_bytes
        self.peak = (1 + GRADIENTS) * state + self.cohort.optimizer.state_bytes + step_bytes

    def measure(self, number: int) -> Measurement:
        """Time one unit of steps and one example through the network."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        step_seconds = self._time(lambda: self._steps(self.unit)) / len(self.unit)
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else self.peak
        return Measurement(
            round=number,
            steps=self.cohort.recipe.validation_steps[-1],
            step_seconds=step_seconds,
            samples_per_second=self.batch_size / step_seconds,
            inference_seconds=statistics.median(self._time(self._infer) for _ in range(9)),
            flops_per_step=self.flops,
            parameters=self.parameters,
            optimizer_state_bytes=self.cohort.optimizer.state_bytes,
            peak_memory_bytes=peak,
        )

    @torch.no_grad()
    def _steps(self, rows: Tensor) -> None:
        with self._autocast():
            self.cohort.train_chunk(rows, 0)

    @torch.no_grad()
    def _infer(self) -> None:
        with self._autocast():
            self.network(self.example)

    def _autocast(self) -> AbstractContextManager[object]:
        mixed = self.precision == "bf16-mixed"
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if mixed else nullcontext()

    def _time(self, run: Callable[[], None]) -> float:
        self._synchronize()
        start = time.perf_counter()
        run()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
