"""What is kept of a compressed network: its score beside the bytes of its file and the time of one example."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import duration, memory, times
from evalbench.report.section import Section, numbers_of

Content = tuple[Findings, pd.DataFrame]
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "model_bytes": ("file", memory),
    "compressed_bytes": ("file, compressed", memory),
    "inference_seconds": ("one example", lambda seconds: duration(seconds) if math.isfinite(seconds) else "not known"),
    "graph_seconds": ("in ONNX Runtime", lambda seconds: duration(seconds) if math.isfinite(seconds) else "not known"),
}
"""By the name of a number in `costs.csv`, its heading and how it is written."""
GROUP = "compression"


def content(findings: Findings) -> Content | None:
    """Return the median over the timing passes per technique and workload; None if no compressions are compared."""
    evaluation, costs = findings.evaluation, findings.folder.costs
    groups = [name.partition(".")[0] for name in (evaluation.factor, *evaluation.factors) if name]
    if GROUP not in groups or "model_bytes" not in costs or costs["model_bytes"].isna().all():
        return None
    table = costs.reindex(columns=["workload", "technique", *COLUMNS]).groupby(["workload", "technique"]).median()
    pairs = [(workload, name) for workload in evaluation.workloads for name in evaluation.techniques]
    return findings, table.loc[[pair for pair in pairs if pair in table.index]].astype(float)


def text(content: Content) -> str:
    """Return a row per technique and workload, with ratios to the baseline."""
    findings, table = content
    scores = {(score.workload, score.name): score.interval.mean for score in findings.scores if not score.reference}
    values: dict[Any, dict[Any, float]] = table.to_dict("index")
    rows = []
    for workload, group in itertools.groupby(values, key=lambda pair: pair[0]):
        unit, base = findings.units[workload], (workload, str(findings.evaluation.baseline))
        for index, pair in enumerate(group):
            row = [code(workload) if index == 0 else "", code(pair[1]), unit.score(scores.get(pair, math.nan))]
            for name, (_, written) in COLUMNS.items():
                value = values[pair][name]
                ratio = value / values[base][name] if base in values and pair != base else math.nan
                row.append(f"{written(value)} ({times(ratio)}×)" if math.isfinite(ratio) else written(value))
            rows.append(row)
    headers = ["workload", "technique", "score", *(heading for heading, _ in COLUMNS.values())]
    about = (
        "A file has the whole network, zeros too: 32-bit numbers as safetensors, or the ONNX graph of 8-bit numbers."
        " Compressed (DEFLATE), it shows what zeros save. One example is timed in PyTorch, and in ONNX Runtime if the"
        " network has 8-bit numbers. The last column has ONNX Runtime on the CPU for all, so that like is compared with"
        " like. In brackets: relative to the baseline."
    )
    return f"### Score, size and speed\n\n{about} {numbers_of('sizes')}\n\n{markdown(headers, rows, 2)}"


def numbers(content: Content) -> pd.DataFrame:
    """Return bytes and seconds per technique and workload."""
    return content[1].reset_index()


SIZES = Section(content, text, {"sizes": numbers})
