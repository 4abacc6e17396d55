"""Show the measurements in words and tables, on the terminal and as Markdown."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.rounds import Timing, ratios
from benchmarks.work import DEVICE, Work

TOLERANCE = 0.01
"""Largest difference of the mean test accuracy over the same seeds; only the order of sums differs."""
OWN_DRAWS_TOLERANCE = 0.06
"""The limit for scikit-learn, which draws weights and order by itself and is tested at the end."""
PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "scikit-learn", "joblib", "ray", "numpy")
Timings = Mapping[Work, Mapping[str, Timing]]


@dataclass(frozen=True)
class Aim:
    """A ratio of trials per second: an engine to a peer or to the bound."""

    engine: str
    peer: str
    least: float

    def measured(self, timings: Mapping[str, Timing]) -> list[float]:
        """Return the ratio, one number per round; no numbers if a side was not measured."""
        engine = timings.get(self.engine)
        if engine is None or engine.reason:
            return []
        if self.peer == "bound":
            return engine.bound_shares
        peer = timings.get(self.peer)
        return [] if peer is None or peer.reason else ratios(engine, peer)


AIMS = (
    Aim("sweep", "lightning", 30.0),
    Aim("cell-64", "lightning", 30.0),
    Aim("cohort-64", "lightning", 30.0),
    Aim("cell-10", "lightning", 10.0),
    Aim("sweep", "loop", 4.0),
    Aim("cell-64", "loop", 4.0),
    Aim("cell-1", "lightning", 1.0),
    Aim("cell-64", "bound", 0.5),
    Aim("cohort-64", "bound", 0.5),
)
NOTES = (
    "**trials/s**: trials trained, validated and tested per second, median over the rounds (lowest–highest).",
    "**µs/step**: this time per optimizer step and trial, everything included.",
    "**× (a)**, **× (b)**: speed relative to Lightning + Hydra and to the bare PyTorch loop: the median of the ratios "
    "within the rounds (lowest–highest).",
    "**of bound**: the speed relative to the least time that the machine allows: every matrix product of forward "
    "and backward pass as one `torch.bmm` over the cohort, measured alone, plus the optimizer's bytes at measured "
    "memory speed. Activations, loss, scaling, validation and Python are not counted, so nothing reaches 1.",
    "**threads**: intra-op threads: 1 or all cores, the faster number in a warm-up of each engine.",
    "**accuracy**: mean test accuracy over the engine's trials; (a) to (c) and evalbench have the same initial "
    f"weights, rows and order, and must agree within {TOLERANCE} over the seeds that they share; scikit-learn draws "
    f"its own weights and order, does not validate and is tested at the end, and must agree within "
    f"{OWN_DRAWS_TOLERANCE}.",
    "A *cohort* is `training.train`: splits, networks, training, validation, test metrics. A *whole cell* is the "
    "work of a sweep for one cell: compose, plan, check, link, train, reference rows, store; no tracker, no report. A "
    "*whole sweep* is the command line from its start to its report, imports, cells side by side in processes of one "
    "thread, reference rows and isolated costs included; no tracker.",
    "Peer (a) follows the common Lightning+Hydra template: a multirun with the basic launcher, a Trainer with "
    "ModelCheckpoint, EarlyStopping and CSVLogger per trial, torchmetrics, DataLoaders in the same process, the best "
    "checkpoint tested. Peer (b) keeps the data as tensors, indexes batches and uses the fused optimizer.",
    "Starting processes and importing libraries is in no number but the whole sweep's, nor is the first, warm-up "
    "use of an engine.",
)


@dataclass(frozen=True)
class Chapter:
    """A heading with text and an optional table."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def chapters(timings: Timings, skipped: Mapping[str, str], parts: Mapping[str, float], command: str) -> list[Chapter]:
    """Return all chapters."""
    headline = next(iter(timings), None)
    pages = [Chapter("evalbench and its peers", (*_circumstances(command), *_disagreement_lines(timings)))]
    if headline is not None:
        pages.append(Chapter(f"Against the aims ({headline.name})", head=AIM_HEAD, rows=_aims(timings[headline])))
        pages.append(_parts(headline, parts))
    pages += [_timings(work, by_engine) for work, by_engine in timings.items()]
    if skipped:
        pages.append(Chapter("Left out", tuple(f"{name}: {reason}" for name, reason in skipped.items())))
    return [*pages, Chapter("Meaning of the numbers", NOTES)]


def disagreements(timings: Timings) -> list[str]:
    """Return a sentence for each engine that missed the bare loop's accuracy on the same seeds."""
    sentences = []
    for work, by_engine in timings.items():
        reference = by_engine["loop"].accuracies
        for timing in by_engine.values():
            shared = timing.accuracies.keys() & reference.keys()
            if not shared:
                continue
            reached, expected = (
                statistics.fmean(values[s] for s in shared) for values in (timing.accuracies, reference)
            )
            tolerance = OWN_DRAWS_TOLERANCE if timing.engine.key == "scikit_learn" else TOLERANCE
            if not abs(reached - expected) <= tolerance:
                sentences.append(
                    f"{work.name}: {timing.engine.label} reached {reached:.4f}, the bare loop {expected:.4f}"
                )
    return sentences


def show(console: Console, pages: Sequence[Chapter]) -> None:
    """Print the chapters."""
    for chapter in pages:
        console.print(f"\n[bold]{chapter.title}[/bold]")
        for line in chapter.lines:
            console.print(line, markup=False)
        if chapter.head:
            printed = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            for name in chapter.head:
                printed.add_column(name, no_wrap=name in (chapter.head[0], "trials/s"))
            for row in chapter.rows:
                printed.add_row(*row)
            console.print(printed)


def markdown(pages: Sequence[Chapter]) -> str:
    """Return the chapters as a Markdown page."""
    blocks = []
    for index, chapter in enumerate(pages):
        blocks.append(f"{'##' if index else '#'} {chapter.title}")
        blocks += ["\n".join(f"- {line}" for line in chapter.lines)] if chapter.lines else []
        if chapter.head:
            lines = [chapter.head, ("---",) * len(chapter.head), *chapter.rows]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks) + "\n"


AIM_HEAD = ("engine", "against", "aim", "measured", "")
HEAD = ("engine", "threads", "rounds", "trials/s", "µs/step", "× (a)", "× (b)", "of bound", "accuracy")


def _aims(timings: Mapping[str, Timing]) -> tuple[tuple[str, ...], ...]:
    rows = []
    for aim in AIMS:
        values = aim.measured(timings)
        if values:
            reached = statistics.median(values) / aim.least
            verdict = "reached" if reached >= 1 else f"missed: {reached:.0%} of the aim"
            peer = "the bound" if aim.peer == "bound" else timings[aim.peer].engine.label
            rows.append((timings[aim.engine].engine.label, peer, f"≥ {aim.least:g}", _spread(values), verdict))
    return tuple(rows)


def _parts(work: Work, parts: Mapping[str, float]) -> Chapter:
    total = sum(parts.values())
    rows = tuple((name, f"{seconds:.3f}", f"{seconds / total:.1%}") for name, seconds in parts.items())
    line = f"One more run of the largest whole cell of {work.name}, with timers around the parts: {total:.2f} s."
    return Chapter("Where the time goes", (line,), ("part", "seconds", "share"), rows)


def _timings(work: Work, timings: Mapping[str, Timing]) -> Chapter:
    rows, lines = [], [f"{work.num_steps} steps per trial: `{' '.join(work.overrides)}`"]
    for timing in timings.values():
        if timing.reason is not None:
            lines.append(f"{timing.engine.label}: {timing.reason}")
            continue
        per_step = 1e6 / statistics.median(timing.rates) / work.num_steps
        against = (_against(timing, timings["lightning"]), _against(timing, timings["loop"]))
        bound = _spread(timing.bound_shares) if timing.bound_seconds else ""
        rows.append(
            (
                *(timing.engine.label, str(timing.threads), str(len(timing.seconds)), _spread(timing.rates)),
                *(f"{per_step:.0f}", *against, bound, f"{timing.accuracy:.4f}"),
            )
        )
    return Chapter(work.name, tuple(lines), HEAD, tuple(rows))


def _against(timing: Timing, peer: Timing) -> str:
    return "" if timing is peer or peer.reason else _spread(ratios(timing, peer))


def _spread(values: Sequence[float]) -> str:
    middle, low, high = (_number(f(values)) for f in (statistics.median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _circumstances(command: str) -> tuple[str, ...]:
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return (
        f"Command: `{command}`, {datetime.now(UTC):%Y-%m-%d}",
        f"Machine: {_processor()}, {os.cpu_count()} cores; trained on {DEVICE.type}",
        f"Versions: Python {platform.python_version()}, {', '.join(versions)}",
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def _disagreement_lines(timings: Timings) -> tuple[str, ...]:
    sentences = disagreements(timings)
    return tuple(f"THE ENGINES DISAGREE: {text}" for text in sentences) or (
        "The engines agree on the test accuracies.",
    )
