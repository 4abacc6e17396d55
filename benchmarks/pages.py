"""Time a page of many techniques and workloads: `python -m benchmarks.pages`, with Debian's Chromium.

Prints the seconds to judge and to write each table, the size of its page without the library, and the seconds until the
page is open in Chromium and its first figures are drawn. A page should have at most 3 MB, and open in 5 seconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.report import judge

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium

SIZES = ((15, 40), (30, 100))  # techniques, workloads
SEEDS = 5


def table(techniques: int, workloads: int) -> pd.DataFrame:
    """Return accuracies and costs, drawn from normal numbers around a mean per technique and workload."""
    generator = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product(
        [range(techniques), range(workloads), range(SEEDS)], names=["technique", "workload", "seed"]
    )
    rows = keys.to_frame(index=False)
    level, spread = generator.uniform(0.6, 0.9, workloads), generator.uniform(0.2, 1.5, workloads)
    effect = np.linspace(-0.05, 0.05, techniques)[rows["technique"]] * spread[rows["workload"]]
    return rows.assign(
        accuracy=np.clip(level[rows["workload"]] + effect + generator.normal(0, 0.01, len(rows)), 0, 1),
        cost_seconds=(1 + 0.3 * rows["technique"]) * generator.lognormal(0, 0.05, len(rows)),
        technique=rows["technique"].map("technique {:02d}".format),
        workload=rows["workload"].map("data set {:03d}".format),
    )


def main() -> None:
    """Print a line per size."""
    print("techniques x workloads: judged, written, size, open in Chromium")
    for techniques, workloads in SIZES:
        rows = table(techniques, workloads)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            report = judge(rows, "technique 00", score="accuracy", pairing="seed", test_size=500)
            judged = time.perf_counter()
            page = report.save(folder).with_name("report.html")
            written = time.perf_counter()
            with chromium() as browser:
                shown = browser.new_page(viewport={"width": 1400, "height": 1600})
                begun = time.perf_counter()
                shown.goto(page.as_uri())
                shown.locator(".js-plotly-plot").nth(2).wait_for()
                opened = time.perf_counter() - begun
            size = page.stat().st_size / 1e6
        spent = f"{judged - start:.0f} s, {written - judged:.0f} s, {size:.1f} MB, {opened:.1f} s"
        print(f"{techniques} x {workloads}: {spent}", flush=True)


if __name__ == "__main__":
    main()
