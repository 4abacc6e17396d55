"""Published tables, judged: the numbers of docs/published.md."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench import formats
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


def write_peft(folder: Path) -> None:
    """Write PEFT's published accuracies as its program does: a file per experiment."""
    folder.mkdir(parents=True)
    table = pd.read_csv(PUBLISHED / "peft.csv")
    for number, (name, accuracy) in enumerate(zip(table["technique"], table["accuracy"], strict=True)):
        result = {
            "run_info": {"experiment_name": name},
            "train_info": {"status": "success", "metrics": [{"step": 5000, "test accuracy": accuracy}]},
            "meta_info": {"dataset_info": {"metamath": {}, "gsm8k": {}}},
        }
        (folder / f"{number}.json").write_text(json.dumps(result))


@pytest.mark.slow
def test_one_rank_of_pefts_table_is_confirmed(tmp_path: Path) -> None:
    write_peft(tmp_path / "MetaMathQA" / "results")
    reading = formats.read([str(tmp_path / "MetaMathQA" / "results")])
    report = judge(reading.frame, reading.frame["technique"][0], metric="accuracy")
    table = report.verdicts
    known = table[table["best_rank"] == table["worst_rank"]]
    assert (len(table), known["technique"].tolist()) == (70, ["prompt_tuning/llama-3.2-3B-default"])
    first = table.iloc[0]
    assert first["technique"] == "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0"
    assert (first["best_rank"], first["worst_rank"]) == (1, 23)
    assert (table["tied_with_the_best"].sum(), (table["best_rank"] == 1).sum()) == (19, 23)
    assert set(table["ring"]) == {"INSUFFICIENT EVIDENCE"}
    assert "The test set cannot tell 18 techniques from it: `lora/llama-3.2-3B-rank64-rslora`" in report.markdown
    assert "The noise of seeds is not in this" in report.markdown
    assert "**The test set confirms 1 of 70 ranks**" in report.markdown
    assert "half of the techniques may have 35 ranks or more" in report.markdown
    assert "1,375 of 2,415 pairs (57 %)" in report.markdown
    assert report.markdown.count("\n") < 115
