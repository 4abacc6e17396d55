"""Record one validation interval of a cohort: a trace for TensorBoard and Perfetto, and the costliest operations."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from evalbench import ranks
from evalbench.config import Config
from evalbench.names import file_name

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it prints a line whenever it starts or stops

from torch.profiler import profile

NUM_OPERATIONS = 10
INTERVAL = 1
"""The recorded interval, or the only one: the first one also traces the step and chooses how it runs."""


def recorders(config: Config, workload: str, cell_id: str) -> list[pl.Callback]:
    """Return the recorder of a cell's next cohort if the user asks for a profile that is not there yet; else nothing.

    Of the ranks that train a cell together, rank zero records.
    """
    if not config.profile or ranks.current().index:
        return []
    name = file_name(config.technique, workload, cell_id[:8])
    path = config.reports / config.evaluation.name / "profile" / f"{name}.pt.trace.json.gz"
    return [] if path.exists() else [Profile(path, f"{config.technique} on {workload}")]


class Profile(pl.Callback):
    """Record an interval with `torch.profiler`, and write the trace and a page beside it."""

    def __init__(self, path: Path, title: str) -> None:
        """Take the path of the trace, whose name ends in `.pt.trace.json.gz`, as TensorBoard wants it."""
        self._path, self._title = path, title
        self._profiler: Any = None
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with the interval, or stop with the beginning of the next one, after the validation."""
        self._stop(pl_module)
        if trainer.current_epoch == min(INTERVAL, (trainer.max_epochs or 1) - 1):
            _wait(pl_module.device)
            self._profiler = profile()
            self._profiler.start()
            self._start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after the last validation."""
        self._stop(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop without a trace."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None

    def _stop(self, cohort: pl.LightningModule) -> None:
        if self._profiler is None:
            return
        _wait(cohort.device)
        seconds = time.perf_counter() - self._start
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self._path))
        page = self._path.with_name(self._path.name.removesuffix(".pt.trace.json.gz") + ".md")
        page.write_text(_page(self._title, self._path.name, list(profiler.events()), seconds), encoding="utf-8")


def device_events(events: Iterable[Any]) -> list[Any]:
    """Return the kernels and copies on a CUDA device among the profiler's events."""
    return [
        event
        for event in events
        if str(event.device_type).endswith("CUDA")
        and not event.is_user_annotation
        and event.name != "Activity Buffer Request"
    ]


def spans(events: Iterable[Any]) -> list[tuple[float, float]]:
    """Return the start and the end of each event, in microseconds."""
    return [(event.time_range.start, event.time_range.end) for event in events]


def busy_share(spans: Iterable[tuple[float, float]]) -> float:
    """Return the share of the time between the first start and the last end that lies in any span; 0 without spans."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    busy, until = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / (until - ordered[0][0])


def costliest(events: Iterable[Any]) -> list[tuple[str, int, float, float]]:
    """Return name, calls, milliseconds and share of the costliest operations, by their own time.

    Time is that of kernels on a CUDA device if there are any, else that of operations on the CPU without the operations
    that they call.
    """
    events = list(events)
    kernels = device_events(events)
    calls: defaultdict[str, int] = defaultdict(int)
    milliseconds: defaultdict[str, float] = defaultdict(float)
    for event in kernels or events:
        calls[event.name] += 1
        own = event.time_range.elapsed_us() if kernels else event.self_cpu_time_total
        milliseconds[event.name] += own / 1000
    total = sum(milliseconds.values()) or 1.0
    names = sorted(milliseconds, key=lambda name: -milliseconds[name])[:NUM_OPERATIONS]
    return [(name, calls[name], milliseconds[name], milliseconds[name] / total) for name in names]


def _page(title: str, trace: str, events: list[Any], seconds: float) -> str:
    kernels = device_events(events)
    where = "kernels and copies on the GPU" if kernels else "operations on the CPU"
    lines = [
        f"# Profile of {title}",
        "",
        f"One validation interval of the first cohort, its validation included: {1000 * seconds:.1f} ms while it was",
        f"recorded. `{trace}` opens in https://ui.perfetto.dev and in TensorBoard's profiler.",
        "",
    ]
    if kernels:
        busy = busy_share(spans(kernels))
        lines += [
            f"The GPU was busy for {busy:.0%} of the time from the first kernel to the last; {1 - busy:.0%} were gaps.",
            "",
        ]
    lines += [f"The costliest {where}:", "", "| operation | calls | own time, ms | share |", "|:--|--:|--:|--:|"]
    for name, calls, milliseconds, share in costliest(events):
        lines.append(f"| `{name.replace('|', '/')}` | {calls} | {milliseconds:.2f} | {share:.1%} |")
    return "\n".join(lines) + "\n"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
