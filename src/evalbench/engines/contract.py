"""The door between a cell and what trains it: check once, train some trials, time one alone.

A new engine is a module of this package with an `ENGINE`, a line in `config.engines.ENGINES`, and a test class that
inherits `tests/contracts/engine.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evalbench.config import Config
from evalbench.energy import Instruments, Rest
from evalbench.live import Follow, Watch
from evalbench.trial import Entrant, TrialResult
from evalbench.workloads import Dataset

if TYPE_CHECKING:
    import torch

Trained = tuple[list[Entrant], list[TrialResult] | Exception]
"""Trials that ended together with their results, or one trial with its error."""


@dataclass(frozen=True)
class Outlets:
    """What trials give beside their results; None: nobody takes it."""

    keep_in: Path | None = None
    """The folder for the trained weights."""
    watch: Watch | None = None
    """Takes new points of learning curves while trials train."""
    follow: Follow | None = None
    """Takes what trains now, to read its position."""


NOWHERE = Outlets()


@dataclass(frozen=True)
class Measurement:
    """Hold the costs of one cell in one timing pass, in seconds, bytes and counts."""

    round: int
    """The number of the timing pass; stored under this name."""
    steps: int
    """The steps of the budget: the decisive cost is `steps` times `step_seconds`."""
    step_seconds: float
    samples_per_second: float
    inference_seconds: float | None
    """The time of one example through the plain network, without learning; None: not known."""
    flops_per_step: int | None
    """None if they cannot be counted."""
    parameters: int | None
    optimizer_state_bytes: int | None
    checkpoint_bytes: int | None
    """The tensors that are kept of a trial: those that train or that a step changes."""
    peak_memory_bytes: int | None
    """Weights, gradients, optimizer state and a step's peak; on CUDA what the allocator gave this trial at most."""
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
    model_bytes: int | None = None
    """The file of the whole network: safetensors, or ONNX if it is quantized."""
    compressed_bytes: int | None = None
    """The same file, compressed by DEFLATE at its fastest level, which makes little of zeros."""
    graph_seconds: float | None = None
    """The time of one example through the network in ONNX Runtime, if compressions are compared; None: not known."""


class TimedTrial(Protocol):
    """One trial of a cell that is timed repeatedly."""

    @property
    def device(self) -> torch.device:
        """Return the device that it trains on."""

    def warm_up(self) -> None:
        """Do what happens at the first step only, and choose the number of steps to time at once."""

    def measure(self, number: int, instruments: Instruments, rest: Rest) -> Measurement:
        """Return the costs in one timing pass."""


class Engine(Protocol):
    """What trains the trials of a cell."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Refuse settings with which no trial could train; raise `InputError`. Nothing is trained."""

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Train trials, and yield them with their results as they end, each once; an error ends one trial only.

        The results depend on the trial alone: on its seeds, rows and settings. In the tune phase the data set has no
        test rows, and metrics are those on validation rows.

        Args:
            config: the configuration of the cell.
            dataset: its data.
            entrants: the trials, with their seeds and roles.
            name: of the cell, for files to resume from.
            outlets: where weights and curves go.
        """

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return a trial of the cell to be timed alone."""
