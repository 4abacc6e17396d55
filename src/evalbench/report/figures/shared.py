"""What several figures share."""

from __future__ import annotations

from matplotlib.axes import Axes

from evalbench.names import one_line, short
from evalbench.report.findings import Findings

ROUND_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten


def workload_label(findings: Findings, workload: str) -> str:
    """The name of a workload, marked where it was generated."""
    name = short(one_line(workload))
    return f"{name} (generated)" if findings.folder.evaluation.workloads[workload].generated else name


def columns(axes: list[Axes]) -> int:
    """How many panels stand side by side."""
    spec = axes[0].get_subplotspec()
    assert spec is not None  # the panels come from `subplots`
    return spec.get_gridspec().ncols
