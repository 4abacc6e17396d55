"""Measure the time of each part of the engine in one cell; a part excludes the calls of other parts."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytorch_lightning as pl

from evalbench import cell, store
from evalbench.engine import cohort, data, initial, optimizers, tracing, training, validation

PARTS: dict[str, tuple[Any, str]] = {
    "forward and backward (the traced step), losses": (cohort.Cohort, "training_step"),
    "optimizer": (optimizers.CohortOptimizer, "step"),
    "gather and scaling": (data.Data, "gather"),
    "validation losses, best weights": (cohort.Cohort, "on_train_epoch_end"),
    "tracing": (tracing, "trace"),
    "Lightning's loop, order of rows": (pl.Trainer, "fit"),
    "initial weights": (initial, "draw_all"),
    "splits, scaling, stacking, results": (training, "train"),
    "forward passes of validation and test": (cohort.Cohort, "_evaluate"),
    "test metrics": (validation.Validation, "metrics"),
    "reference rows": (cell, "complete_references"),
    "store": (store.Store, "record"),
}


def of(action: Callable[[], Any]) -> dict[str, float]:
    """Run an action and return its seconds by part, the largest first."""
    with _timers() as seconds:
        action()
    return dict(sorted(seconds.items(), key=lambda part: -part[1]))


@contextmanager
def _timers() -> Iterator[dict[str, float]]:
    """Yield the seconds per part, which grow while the context lasts."""
    seconds: defaultdict[str, float] = defaultdict(float)
    running: list[str] = []
    since = time.perf_counter()

    def add_time() -> None:
        nonlocal since
        now = time.perf_counter()
        seconds[running[-1] if running else "compose, plan, check, link"] += now - since
        since = now

    def timed(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            add_time()
            running.append(label)
            try:
                return function(*args, **kwargs)
            finally:
                add_time()
                running.pop()

        return call

    with ExitStack() as stack:
        for label, (owner, name) in PARTS.items():
            stack.enter_context(mock.patch.object(owner, name, timed(label, getattr(owner, name))))
        yield seconds
        add_time()
