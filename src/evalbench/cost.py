"""What a technique costs by itself: timed alone, one trial at a time, interleaved with the others it is compared with.

Time in a cohort is shared, so it says nothing about one technique. Here every cell gets a cohort of one; rounds go over
the techniques in turn, so that a drift of the machine's speed hits them alike and costs are compared round by round.
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
"""At least so long is timed at once: shorter spans drown in the clock's and the scheduler's noise."""
GRADIENTS = 1
"""Copies of the parameters that a step holds beside them."""


@dataclass(frozen=True)
class Cost:
    """One round's measurement of one cell, in seconds, bytes and counts."""

    round: int
    steps: int
    """Of the budget: the deciding cost is these times the next."""
    step_seconds: float
    samples_per_second: float
    inference_seconds: float
    """One example through the plain network, nothing learned."""
    flops_per_step: int | None
    """None where they cannot be counted."""
    parameters: int
    optimizer_state_bytes: int
    peak_memory_bytes: int
    """Parameters, gradients, optimizer state, a step's worst moment; on CUDA the allocator's peak."""


def measure(cells: Sequence[tuple[Config, Dataset]], rounds: int) -> list[list[Cost]]:
    """Measure cells side by side, on one thread; return the rounds of each, in the order of the cells."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that wait for each other measure the scheduler
    try:
        alone = [_Alone(config, dataset) for config, dataset in cells]
        for one in alone:
            one.warm_up()
        measured: list[list[Cost]] = [[] for _ in alone]
        for number in range(rounds):
            for one, costs in zip(alone, measured, strict=True):
                costs.append(one.measure(number))
        return measured
    finally:
        torch.set_num_threads(threads)


class _Alone:
    """One trial of a cell, ready to be stepped through again and again."""

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
        """Trace, allocate, and find out how much to time at once."""
        self.cohort.optimizer  # noqa: B018 - makes it
        self._time(lambda: self._steps(self.rows[:1]))
        seconds = self._time(lambda: self._steps(self.rows[:1]))
        self.unit = self.rows[: max(1, min(len(self.rows), round(UNIT_SECONDS / max(seconds, 1e-6))))]
        step_bytes = self.cohort.trace_memory()[0]
        state = self.cohort.state_bytes
        self.peak = (1 + GRADIENTS) * state + self.cohort.optimizer.state_bytes + step_bytes

    def measure(self, number: int) -> Cost:
        """Time one unit of steps and one example through the network."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        step_seconds = self._time(lambda: self._steps(self.unit)) / len(self.unit)
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else self.peak
        return Cost(
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
