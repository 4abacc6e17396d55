"""Bytes and latency stand in the report where compressions are compared, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from evalbench.report import read

BYTES = {"sgd": 4096.0, "adam": 1024.0}


@pytest.mark.parametrize("factor", ["compression", "optimizer"])
def test_what_is_kept_is_shown_beside_the_score(factor: str, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    costs = dict.fromkeys(BYTES, 0.001)
    folder = make_folder(tmp_path, tuple(BYTES), ("digits",), seeds=6, costs=costs, factor=factor)
    table = pd.read_csv(folder / "costs.csv")
    sizes = table["technique"].map(BYTES)
    seconds = {"inference_seconds": sizes * 1e-6, "graph_seconds": None}
    table.assign(model_bytes=sizes, compressed_bytes=sizes / 2, **seconds).to_csv(folder / "costs.csv", index=False)
    report = read(folder)
    assert ("Score, size and speed" in report.markdown) == ("sizes" in report.frames) == (factor == "compression")
    if factor == "compression":
        assert report.frame("sizes")["model_bytes"].tolist() == list(BYTES.values())
        row = next(line for line in report.markdown.splitlines() if line.startswith("|  | `adam` |") and "KiB" in line)
        assert row.endswith("| 1.00 KiB (0.25×) | 512 B (0.25×) | 1 ms (0.25×) | not known |")
