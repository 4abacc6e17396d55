"""What the engine aims at, and what was reached."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.chapters import Chapter, number, spread
from benchmarks.records import Record
from benchmarks.rounds import ratios
from benchmarks.steps import Steps

Records = Mapping[str, Record]
HEAD = ("engine", "against", "aim", "measured", "")


@dataclass(frozen=True)
class Aim:
    """A ratio of trials per second: an engine to a peer or to the bound, in one part of the bench."""

    part: str
    engine: str
    peer: str
    least: float

    def measured(self, record: Record) -> list[float]:
        """Return the ratio, one number per round; no numbers if a side was not measured."""
        engine = record.timings.get(self.engine)
        if engine is None or engine.reason:
            return []
        if self.peer == "bound":
            return engine.bound_shares
        peer = record.timings.get(self.peer)
        return [] if peer is None or peer.reason else ratios(engine, peer)


AIMS = {
    "cpu": (
        Aim("sweep", "sweep", "lightning", 30.0),
        Aim("mlp-32", "cell-64", "lightning", 30.0),
        Aim("mlp-32", "cohort-64", "lightning", 30.0),
        Aim("mlp-32", "cell-10", "lightning", 10.0),
        Aim("sweep", "sweep", "loop", 4.0),
        Aim("mlp-32", "cell-64", "loop", 4.0),
        Aim("mlp-32", "cell-1", "lightning", 1.0),
        Aim("mlp-32", "cell-64", "bound", 0.25),
        Aim("mlp-32", "cohort-64", "bound", 0.5),
    ),
    "cuda": (
        Aim("mlp-32", "cohort-1024", "lightning", 5000.0),
        Aim("mlp-32", "cohort-1024", "loop", 300.0),
        Aim("mlp-32", "cell-64", "lightning", 400.0),
        Aim("sweep", "sweep", "lightning", 1500.0),
    ),
}
"""By device."""
STEP_AIMS = {("cnn", 64): 5.0, ("transformer", 64): 1.8}
"""The least ratios of direct steps to those of the fastest path on a CUDA device, by model and members."""
LEAST_AGAINST_LOOP = 0.95
"""The least speed of any cohort relative to the bare loop, on a CPU."""


def chapter(records: Records, steps: Steps | None, device: str) -> Chapter:
    """Return the table of the aims that were measured."""
    rows = [*_ratios(records, device)]
    if device == "cuda" and steps is not None:
        rows += _steps(steps)
    if device == "cpu":
        rows += _slowest(records)
    return Chapter("Against the aims", head=HEAD, rows=tuple(rows))


def _ratios(records: Records, device: str) -> Iterator[tuple[str, ...]]:
    for aim in AIMS[device]:
        record = records.get(aim.part)
        if record is not None and (values := aim.measured(record)):
            peer = "the bound" if aim.peer == "bound" else record.timings[aim.peer].engine.label
            label = f"{record.work}: {record.timings[aim.engine].engine.label}"
            yield label, peer, f"≥ {aim.least:g}", spread(values), _verdict(statistics.median(values), aim.least)


def _steps(steps: Steps) -> Iterator[tuple[str, ...]]:
    for times in steps.times:
        least = STEP_AIMS.get((times.name, times.members))
        if least is not None and {"direct", "replayed"} <= times.columns.keys():
            label = f"a step of {times.name}, {times.members} members, {times.fastest}"
            yield label, "a direct step", f"≥ {least:g}", spread(times.ratios), _verdict(times.ratio, least)


def _slowest(records: Records) -> Iterator[tuple[str, ...]]:
    """Yield the row of the cohort that is the slowest against the bare loop, over all works."""
    measured = [
        (statistics.median(ratios(timing, record.timings["loop"])), record, timing)
        for record in records.values()
        if "loop" in record.timings and record.timings["loop"].seconds
        for key, timing in record.timings.items()
        if key.startswith("cohort-") and timing.seconds
    ]
    if measured:
        ratio, record, timing = min(measured, key=lambda entry: entry[0])
        label = f"the slowest cohort ({record.work}: {timing.engine.label})"
        verdict = _verdict(ratio, LEAST_AGAINST_LOOP)
        yield label, "(b) PyTorch loop", f"≥ {LEAST_AGAINST_LOOP:g}", number(ratio), verdict


def _verdict(reached: float, least: float) -> str:
    return "reached" if reached >= least else f"missed: {reached / least:.0%} of the aim"
