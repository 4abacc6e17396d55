"""What one trial takes, beside its score: parameters, bytes, seconds and joules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.resources import Devices, Taken, devices, differ, knows_energy
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import counted, duration, joules, listed, memory, times
from evalbench.report.section import Section, numbers_of

Content = tuple[Findings, Devices]
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("trained parameters", counted),
    "checkpoint_bytes": ("checkpoint", memory),
    "peak_memory_bytes": ("peak memory", memory),
    "seconds": ("time", duration),
    "gpu_joules": ("GPU energy", joules),
    "cpu_joules": ("CPU energy", joules),
}
"""By the name of a number, its heading and how it is written; a number that is known of no technique has no column."""


def content(findings: Findings) -> Content | None:
    """Return the findings and what trials take; None if techniques take the same, as far as it is known."""
    measured = devices(findings.folder, findings.costs)
    if measured is None or not (differ(measured.taken) or knows_energy(findings.folder)):
        return None
    return findings, measured


def how(measured: Devices) -> str:
    """Say what was measured, on what, and whether it was alone; and what is not known."""
    parts = [f"One trial by itself{_on(measured)}, without its validations."]
    if _is_known(measured, "checkpoint_bytes"):
        parts.append("A checkpoint has the tensors that `save=best` keeps of a trial: those that training changes.")
    if _is_known(measured, "peak_memory_bytes"):
        allocated = "measured: the most that PyTorch's allocator gave the trial"
        computed = "computed: all weights, gradients, optimizer state and the largest sum of a step's tensors"
        parts.append(f"Peak memory is {allocated if measured.names else computed}.")
    watts = {"the GPU": measured.gpu_idle_watts, "the CPU": measured.cpu_idle_watts}
    rests = [f"{device} takes {value:.0f} W" for device, value in watts.items() if math.isfinite(value)]
    if _is_known(measured, "gpu_joules") or _is_known(measured, "cpu_joules"):
        at_rest = f"; at rest {listed(rests)}" if rests else ""
        parts.append(f"Energy is what the whole device took, rest included{at_rest}.")
    if measured.names:
        unknown = "Whether another program used the GPU is not known."
        used = "**Another program used the GPU**, so seconds and joules are too high."
        parts.append({True: "No other program used the GPU.", False: used, None: unknown}[measured.alone])
    missing = [COLUMNS[name][0] for name in ("checkpoint_bytes", "peak_memory_bytes") if not _is_known(measured, name)]
    return " ".join([*parts, *([f"Not known: {listed(missing)}."] if missing else [])])


def _on(measured: Devices) -> str:
    return f" on {listed(list(measured.names))}" if measured.names else ""


def text(content: Content) -> str:
    """Return a row per technique and workload; a column for what is known."""
    findings, measured = content
    base = {taken.workload: taken for taken in measured.taken if taken.technique == findings.evaluation.baseline}
    scores = {(score.workload, score.name): score for score in findings.scores if not score.reference}
    columns = {name: column for name, column in COLUMNS.items() if _is_known(measured, name)}
    rows = []
    for workload, group in itertools.groupby(measured.taken, key=lambda taken: taken.workload):
        unit = findings.units[workload]
        for index, taken in enumerate(group):
            score = scores.get((workload, taken.technique))
            rows.append(
                [
                    *((code(workload), unit.label) if index == 0 else ("", "")),
                    code(taken.technique),
                    unit.score(math.nan if score is None else score.interval.mean),
                    *(_written(taken, base.get(workload), name) for name in columns),
                ]
            )
    headers = ["workload", "unit", "technique", "score", *(heading for heading, _ in columns.values())]
    return f"### Score and resources\n\n{how(measured)} {numbers_of('resources')}\n\n{markdown(headers, rows, 3)}"


def _is_known(measured: Devices, name: str) -> bool:
    return any(math.isfinite(getattr(taken, name)) for taken in measured.taken)


def _written(taken: Taken, base: Taken | None, name: str) -> str:
    """Return a number, of energy with its ratio to the baseline's."""
    value = getattr(taken, name)
    shown = COLUMNS[name][1](value)
    if not name.endswith("joules") or base is None or base is taken:
        return shown
    return f"{shown} ({times(value / getattr(base, name))}×)"


def numbers(content: Content) -> pd.DataFrame:
    """Return what one trial takes, per technique and workload, in seconds, joules and bytes."""
    measured = content[1]
    rows = pd.DataFrame([asdict(taken) for taken in measured.taken])
    known = rows["peak_memory_bytes"].notna()
    return rows.assign(peak_memory=known.map({True: "measured" if measured.names else "computed", False: "not known"}))


RESOURCES = Section(content, text, {"resources": numbers})
