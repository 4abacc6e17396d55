"""The numbers and tables of docs/method.md are those of the program."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evalbench import judge
from evalbench.statistics.verdicts import MATRIX, QUALITIES, CostClass, classify

METHOD = (Path(__file__).parents[1] / "docs" / "method.md").read_text(encoding="utf-8")
GAINS = {"mine": [1.0, 2.0, 1.5, 0.5, 2.0], "yours": [0.2, 1.0, -0.4, 0.4, 0.8], "theirs": [2.5, 3.5, 3.0, 2.0, 4.0]}
OLD = [90.0, 90.5, 89.5, 91.0, 89.0]


def judged(unit: str, *workloads: str) -> Mapping[Hashable, Any]:
    """Judge the example of the page and return the row of `new`."""
    rows = [
        (workload, technique, seed, (score + gain * (technique == "new")) / 100)
        for workload in workloads
        for seed, (score, gain) in enumerate(zip(OLD, GAINS[workload], strict=True))
        for technique in ("old", "new")
    ]
    table = pd.DataFrame(rows, columns=["workload", "technique", "seed", "accuracy"])
    table = table.rename(columns={"seed": unit}).assign(num_train=300, num_test=100)
    pairing = "seed" if unit == "seed" else None
    return judge(table, "old", seed=unit, score="accuracy", rope=0.005, unit=unit, pairing=pairing).verdicts.to_dict(
        "records"
    )[1]


def interval(row: Mapping[Hashable, Any]) -> str:
    return f"{row['low']:+.2f} to {row['high']:+.2f}".replace("-", "−")


def test_the_intervals_of_the_method() -> None:
    gains = np.array(GAINS["mine"])
    rows_only, new_rows, three = judged("seed", "mine"), judged("split", "mine"), judged("split", *GAINS)
    assert (
        f"by {gains.std(ddof=1):.2f}\npoints (their standard deviation), while the scores of `old` vary by " in METHOD
    )
    assert f"vary by {np.std(OLD, ddof=1):.2f}." in METHOD
    factor = stats.t.ppf(0.975, 4)
    for row, share, shown in ((rows_only, 0, "√5"), (new_rows, 1 / 3, "√(1/5 + 1/3)")):
        half = factor * gains.std(ddof=1) * (1 / 5 + share) ** 0.5
        assert (row["low"], row["high"]) == pytest.approx((1.4 - half, 1.4 + half))
        assert re.search(rf"1\.4 ± {factor:.2f} × 0\.65 [×/] {re.escape(shown)} = 1\.4 ± {half:.2f}, so", METHOD)
        assert f"**{interval(row)}**" in METHOD
    assert (new_rows["quality"], new_rows["quality_on_these_rows"]) == ("BETTER", "SUPERIOR")
    assert [np.mean(gains) for gains in GAINS.values()] == pytest.approx([1.4, 0.4, 3.0])
    assert f"It is {three['effect']:+.2f}, from {interval(three)}:\n  SUPERIOR." in METHOD
    assert three["quality"] == "SUPERIOR"
    second = stats.t.ppf(0.975, 2) * np.std([1.4, 0.4, 3.0], ddof=1) / 3**0.5
    assert f"vary: +1.60, from {1.6 - second:+.2f} to {1.6 + second:+.2f}. NOT SHOWN.".replace("-", "−") in METHOD
    assert "NOT SHOWN" in three["beside"]
    assert f"that {three['datasets_for_sign']:.0f} data sets would show the sign" in METHOD
    assert f"and {three['datasets_for_rope']:.0f} that it exceeds" in METHOD


def test_the_classes_of_the_method() -> None:
    table = re.findall(r"^\| ([+−][\d.]+) to ([+−][\d.]+) \| ([A-Z-]+) \| (.*) \|$", METHOD, re.MULTILINE)
    assert len(table) == 7
    for low, high, quality, words in table:
        ends = [float(end.replace("−", "-")) for end in (low, high)]
        found = QUALITIES[int(classify(ends[0], ends[1], ends[0], ends[1], 0.5))]
        assert (found, found.words) == (quality, words)


def test_the_recommendations_of_the_method() -> None:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in METHOD.splitlines() if line[:2] == "| "]
    shown = {row[0]: row[1:] for row in cells if len(row) == 5 and row[0] in list(MATRIX)}
    assert shown == {quality: [MATRIX[quality][cost] for cost in CostClass] for quality in MATRIX}
