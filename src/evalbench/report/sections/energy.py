"""What one trial takes of its device: joules, and the peak memory of a GPU."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.energy import Devices, Taken, devices
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import joules, listed, memory, times
from evalbench.report.section import Section, numbers_of

Content = tuple[Findings, Devices]


def content(findings: Findings) -> Content | None:
    """Return the findings and what trials take; None if nothing was measured."""
    measured = devices(findings.folder)
    return None if measured is None else (findings, measured)


def how(measured: Devices) -> str:
    """Say what was measured, on what, and whether it was alone."""
    where = f" on {listed(list(measured.names))}" if measured.names else ""
    parts = [f"One trial by itself{where}, without its validations."]
    watts = {"the GPU": measured.gpu_idle_watts, "the CPU": measured.cpu_idle_watts}
    rests = [f"{device} takes {value:.0f} W" for device, value in watts.items() if math.isfinite(value)]
    if _is_known(measured, "gpu_joules") or _is_known(measured, "cpu_joules"):
        at_rest = f"; at rest {listed(rests)}" if rests else ""
        parts.append(f"Energy is what the whole device took, rest included{at_rest}.")
    if measured.names:
        parts.append("Memory is the most that PyTorch's allocator gave the trial.")
        unknown = "Whether another program used the GPU is not known."
        used = "**Another program used the GPU**, so seconds and joules are too high."
        parts.append({True: "No other program used the GPU.", False: used, None: unknown}[measured.alone])
    return " ".join(parts)


def text(content: Content) -> str:
    """Return a row per technique and workload; a column for what was measured."""
    findings, measured = content
    baseline = findings.evaluation.baseline
    base = {taken.workload: taken for taken in measured.taken if taken.technique == baseline}
    columns = [name for name in ("gpu_joules", "cpu_joules") if _is_known(measured, name)]
    headers = ["workload", "technique"]
    for name in columns:
        headers.append(f"{'GPU' if name == 'gpu_joules' else 'CPU'} energy")
        headers += [f"relative to {code(baseline)}"] if baseline is not None else []
    headers += ["peak GPU memory"] if _is_known(measured, "peak_gpu_bytes") else []
    rows = []
    for workload, group in itertools.groupby(measured.taken, key=lambda taken: taken.workload):
        for index, taken in enumerate(group):
            row = [code(workload) if index == 0 else "", code(taken.technique)]
            for name in columns:
                row.append(joules(getattr(taken, name)))
                row += [_relative(taken, base.get(workload), name)] if baseline is not None else []
            rows.append([*row, *([memory(taken.peak_gpu_bytes)] if headers[-1] == "peak GPU memory" else [])])
    return f"### Energy and memory\n\n{how(measured)} {numbers_of('energy')}\n\n{markdown(headers, rows, 2)}"


def _is_known(measured: Devices, name: str) -> bool:
    return any(math.isfinite(getattr(taken, name)) for taken in measured.taken)


def _relative(taken: Taken, base: Taken | None, name: str) -> str:
    return times(math.nan if base is None else getattr(taken, name) / getattr(base, name))


def numbers(content: Content) -> pd.DataFrame:
    """Return what one trial takes, per technique and workload, in joules and bytes."""
    return pd.DataFrame([asdict(taken) for taken in content[1].taken])


ENERGY = Section(content, text, {"energy": numbers})
