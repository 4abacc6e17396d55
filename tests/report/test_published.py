"""Published tables, judged: the numbers of docs/published.md."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.record.reaching import reached
from evalbench.report import judge
from evalbench.report.analysis.reaching import race
from evalbench.statistics.algoperf import trapezoid_scores

PUBLISHED = Path(__file__).parent / "published"


def test_the_scores_of_algoperf_are_the_published_ones() -> None:
    table = pd.read_csv(PUBLISHED / "algoperf_steps.csv").set_index("submission")
    times = table.drop(columns="score")
    assert trapezoid_scores(times.to_numpy()) == pytest.approx(table["score"].to_numpy(), abs=1e-12)
    long = times.rename_axis("technique").reset_index().melt("technique", var_name="workload", value_name="step")
    mine = race(reached("steps", long.assign(seed=0), {}, None, None), None, 0.02)
    assert mine.scores == pytest.approx(table["score"].to_numpy(), abs=1e-12)
    assert mine.reached.unsolved == ("imagenet_resnet",)
    apart = [one for one in mine.pairs if np.isfinite(one.ratio.low) and not one.ratio.low <= 1 <= one.ratio.high]
    assert (len(mine.pairs), apart) == (91, [])


def test_the_automl_benchmark_leaves_the_mean_open() -> None:
    table = pd.read_csv(PUBLISHED / "amlb_auc.csv")
    best = table.set_index("task").idxmax(axis=1).value_counts()
    assert best["h2oautoml"] == 10
    row = judge(table, "randomforest", wide=True, metric="auc").verdicts.set_index("technique").loc["h2oautoml"]
    assert (row["quality"], row["wins"]) == ("NON-INFERIOR", 17)
    assert (row["effect"], row["low"], row["high"]) == pytest.approx((0.91, -0.31, 2.13), abs=0.01)


def test_demsars_table_says_what_it_said() -> None:
    table = pd.read_csv(Path(__file__).parents[1] / "statistics" / "data" / "demsar_auc.csv")
    verdicts = judge(table, "C4.5", wide=True, metric="auc", rope=0.01).verdicts.set_index("technique")
    assert verdicts.loc["C4.5+m+cf", "quality"] == "BETTER"
    assert verdicts.loc["C4.5+cf", "quality"] == "INCONCLUSIVE"
