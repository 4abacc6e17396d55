"""The cost of a trial that is fitted at once: one step of the budget."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from evalbench.energy import Instruments, Rest
from evalbench.engines.contract import Measurement

UNIT_SECONDS = 0.04
"""The minimal duration of a measurement."""


class TimedFit:
    """Time whole fits of an estimator, and one example through it."""

    device = torch.device("cpu")

    def __init__(self, fit: Callable[[], Any], example: Any = None, steps: int = 1) -> None:
        """Take a function that returns a fitted estimator, and inputs `(1, D)`; None: it cannot be asked for one.

        `steps` are those of a fit.
        """
        self._fit, self._example, self._steps = fit, example, steps
        self._fits = 1

    def warm_up(self) -> None:
        """Fit once, so that libraries are loaded, and choose the number of fits to time at once."""
        self._fitted, seconds = self._timed(self._fit)
        self._fits = max(1, math.ceil(UNIT_SECONDS / max(seconds, 1e-6)))

    def measure(self, number: int, instruments: Instruments, rest: Rest) -> Measurement:
        """Time some fits."""
        _, seconds = self._timed(self._run_unit)
        joules = instruments.step_joules(self._run_unit)
        asked = range(9 if self._example is not None else 0)
        examples = [self._timed(lambda: self._fitted.predict(self._example))[1] for _ in asked]
        return Measurement(
            round=number,
            steps=self._steps,
            step_seconds=seconds / self._fits / self._steps,
            samples_per_second=self._fits / seconds,
            inference_seconds=statistics.median(examples) if examples else None,
            flops_per_step=None,
            parameters=None,
            optimizer_state_bytes=None,
            checkpoint_bytes=None,
            peak_memory_bytes=None,
            measured_on="CPU",
            alone=rest.is_alone,
            gpu_step_joules=joules.get("gpu"),
            cpu_step_joules=joules.get("cpu"),
            gpu_idle_watts=rest.watts.get("gpu"),
            cpu_idle_watts=rest.watts.get("cpu"),
        )

    def _run_unit(self) -> int:
        for _ in range(self._fits):
            self._fit()
        return self._fits * self._steps

    @staticmethod
    def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
        started = time.perf_counter()
        result = run()
        return result, time.perf_counter() - started
