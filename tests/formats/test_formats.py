"""Files of other programs: recognized by their content, read as tables, judged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalbench import formats
from evalbench.errors import TableError
from evalbench.report.__main__ import main


def peft(folder: Path, name: str, score: float | None, **more: Any) -> Path:
    """Write the parts of a result of PEFT's method comparison that are read."""
    metric = more.pop("metric", "test accuracy")
    last = [] if score is None else [{"step": 5000, metric: score, "train loss": 0.6}]
    result = {
        "run_info": {
            "experiment_name": name,
            "created_at": more.pop("created_at", "2026-06-19T16:55:20+00:00"),
            "train_config": {"seed": 0},
            "error_msg": more.pop("error_msg", ""),
        },
        "train_info": {
            "train_time": 1796.2,
            "file_size": 73415408,
            "num_trainable_params": 9175040,
            "accelerator_memory_max": 22273851392,
            "status": "success" if score is not None else "failed",
            "metrics": [{"step": 250, "valid accuracy": 0.34}, *last],
            **more,
        },
        "meta_info": {"dataset_info": {"metamath": {}, "gsm8k": {}}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps(result))
    return folder


@pytest.mark.slow
def test_peft_is_judged_by_the_size_of_its_test_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "MetaMathQA" / "results"
    for name, accuracy in {"lora/rank64": 0.4821, "lora/rank32": 0.4806, "lora/old": 0.30}.items():
        peft(folder, name, accuracy)
    peft(folder, "lora/lost", None, error_msg="Traceback\nCUDA out of memory", train_time=3.0)
    peft(folder, "lora/rank64", 0.9, created_at="2025-06-01T00:00:00+00:00")
    peft(folder, "lora/stopped", 0.44, status="canceled")
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "The test set cannot tell 1 technique from it: `lora/rank32`. 1 are worse" in said
    assert "**The test set confirms 1 of 3 ranks**" in said
    assert "over 1,319 test rows" in said
    assert "Without a score: `lora/lost` and `lora/stopped`." in said
    assert (
        "| 1 (1 to 2) | `lora/rank64` | 48.2 (45.5 to 51.0) | tied | 30 min | 20.7 GiB | 70.0 MiB | 9.18 million |"
        in said
    )
    assert "older runs of an experiment that are left out: 1" in capsys.readouterr().err
    kept = formats.read([str(folder)]).frame
    failed = kept.loc[kept["state"] == "FAILED", ["technique", "message"]]
    assert failed.to_numpy().tolist() == [["lora/lost", "CUDA out of memory"], ["lora/stopped", "status canceled"]]
    ranks = pd.read_csv(tmp_path / "out" / "figures" / "possible_ranks.csv")
    assert ranks[["best_rank", "worst_rank"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]


def test_peft_reads_the_score_of_each_task_and_refuses_two(tmp_path: Path) -> None:
    images = peft(tmp_path / "image-gen" / "results", "ia3/default", 0.65, metric="test dino_similarity")
    old = {"accelerator_memory_max": None, "cuda_memory_max": 7}
    peft(images, "lora/default", 0.61, metric="test dino_similarity", **old)
    reading = formats.read([str(images)])
    assert reading.declared == {"metric": "dino_similarity", "direction": "maximize", "unit": "run"}
    assert reading.frame["num_test"].isna().all()
    peft(tmp_path / "MetaMathQA" / "results", "lora/default", 0.5)
    with pytest.raises(TableError, match="have test accuracy and test dino_similarity: give the results of one task"):
        formats.read([str(tmp_path)])
    with pytest.raises(TableError, match="have no test score"):
        formats.read([str(peft(tmp_path / "RLMath" / "results", "lora/x", None))])


@pytest.mark.parametrize("broken", ["train_info", "run_info"])
def test_peft_names_the_file_that_lacks_a_part(tmp_path: Path, broken: str) -> None:
    folder = peft(tmp_path / "MetaMathQA" / "results", "lora/x", 0.5)
    whole = json.loads((folder / "0.json").read_text())
    (folder / "0.json").write_text(json.dumps({**whole, broken: {}}))
    with pytest.raises(TableError, match=r"0\.json is no result of PEFT's method comparison: it lacks '"):
        formats.read([str(folder)])


def algoperf(folder: Path, submission: str, times: Sequence[float]) -> None:
    """Write the evaluations of three studies; the last of each reaches the target of `ogbg`."""
    for study, last in enumerate(times):
        trial = folder / submission / f"study_{study}" / "ogbg_jax" / "trial_1"
        trial.mkdir(parents=True)
        rows = {
            "accumulated_submission_time": [last / 2, last],
            "global_step": [100, 200],
            "preemption_count": [0, 0],
            "score": [last / 2, last],
            "validation/mean_average_precision": [0.1, 0.2810],
            "validation/num_examples": [43793, 43793],
        }
        pd.DataFrame(rows).to_csv(trial / "eval_measurements.csv", index=False)


@pytest.mark.slow
def test_algoperfs_logs_become_times(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    algoperf(logs, "fast", (100, 110, 105))
    algoperf(logs, "slow", (200, 230, 215))
    reading = formats.read([str(logs)])
    assert reading.curves
    assert set(reading.frame["workload"]) == {"ogbg"}
    assert set(reading.frame["target"]) == {0.28098}
    assert main([str(logs), "--baseline", "slow", "--out", str(tmp_path / "out")]) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "`fast` needs 0.49 times the time of `slow`" in said
    assert main([str(logs), "--protocol", "algoperf", "--out", str(tmp_path / "scored")]) == 0
    scores = pd.read_csv(tmp_path / "scored" / "numbers" / "scores.csv").set_index("technique")["exact_score"]
    assert scores["fast"] == 1
    assert scores["slow"] == pytest.approx((4 - 215 / 105) / 3)


@pytest.mark.slow
def test_benchopts_parquet_holds_curves(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [
        {"solver_name": solver, "dataset_name": "leukemia", "objective_name": "Lasso", "idx_rep": rep,
         "stop_val": stop, "time": stop * speed * (1 + 0.02 * rep), "objective_value": 2.0**-stop}
        for solver, speed in (("cd", 1.0), ("pgd", 3.0))
        for rep in range(5)
        for stop in range(1, 6)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "benchopt_run_2026.parquet")
    asked = [str(tmp_path / "benchopt_run_2026.parquet"), "--target", "0.1", "--baseline", "pgd"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    assert "`cd` needs 0.33 times the time of `pgd`" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def amlb() -> pd.DataFrame:
    generator = np.random.default_rng(4)
    rows = [
        {"id": f"openml.org/t/{task}", "task": task, "framework": framework, "fold": fold, "result": result,
         "utc": "2019-04-12T19:41:14", "duration": 3600.0, "info": "", "acc": 0.8, "auc": result, "seed": 331 + fold}
        for task in ("kc1", "adult", "car2")
        for framework, gain in (("rf", 0.0), ("tpot", 0.02))
        for fold in range(10)
        for result in [0.8 + gain + 0.01 * float(generator.normal())]
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_the_automl_benchmark_is_folds_and_failures(tmp_path: Path) -> None:
    table = amlb()
    lost = table.index == 3
    table.loc[lost, ["result", "auc"]] = np.nan
    table["info"] = np.where(lost, "Error: out of memory", "")
    table.to_csv(tmp_path / "results.csv", index=False)
    reading = formats.read([str(tmp_path / "results.csv")])
    assert set(reading.frame["metric"]) == {"auc"}
    assert reading.frame[["state", "message"]].to_numpy().tolist()[3] == ["FAILED", "Error: out of memory"]
    negated = table.assign(logloss=table["auc"], result=-table["auc"]).drop(columns="auc")
    negated.to_csv(tmp_path / "negated.csv", index=False)
    assert set(formats.read([str(tmp_path / "negated.csv")]).frame["metric"]) == {"neg_logloss"}
    assert main([str(tmp_path / "results.csv"), "--baseline", "rf", "--out", str(tmp_path / "out")]) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "AUROC" in said
    assert "the metric 'auc' was read as auroc" in said


@pytest.mark.slow
def test_tabarenas_errors_are_compared_by_ratio(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    rows = [
        {"method": method, "dataset": data, "fold": fold, "metric": metric, "time_train_s": 3.0,
         "metric_error": size * gain * float(np.exp(0.02 * generator.normal())), "imputed": False}
        for data, metric, size in (("a", "rmse", 1e4), ("b", "log_loss", 0.3), ("c", "roc_auc", 0.05))
        for method, gain in (("RF", 1.0), ("GBM", 0.9))
        for fold in range(9)
    ]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [str(tmp_path / "results.jsonl"), "--baseline", "RF", "--rope", "2%", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    verdicts = pd.read_csv(tmp_path / "out" / "numbers" / "verdicts.csv").set_index("technique")
    assert verdicts.loc["GBM", "effect"] == pytest.approx(-10, abs=1)
    assert verdicts.loc["GBM", "quality"] == "SUPERIOR"


@pytest.mark.slow
def test_a_search_of_scikit_learn_is_read(tmp_path: Path) -> None:
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3]}, cv=5)
    search.fit(*load_iris(return_X_y=True))
    pd.DataFrame(search.cv_results_).to_csv(tmp_path / "iris.csv", index=False)
    frame = formats.read([str(tmp_path / "iris.csv")]).frame
    means = frame.groupby("technique", sort=False)["score"].mean()
    assert means.tolist() == pytest.approx(search.cv_results_["mean_test_score"].tolist())
    best = str(frame["technique"].iloc[0])
    assert main([str(tmp_path / "iris.csv"), "--baseline", best, "--out", str(tmp_path / "out")]) == 0


@pytest.mark.slow
def test_studies_of_optuna_are_techniques(tmp_path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{tmp_path}/studies.db"
    for seed, name in enumerate(("random/quadratic", "grid/quadratic")):
        sampler = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(study_name=name, storage=url, sampler=sampler, direction="minimize")
        study.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.2) ** 2, n_trials=6)
    frame = formats.read([url]).frame
    assert set(frame["technique"]) == {"random", "grid"}
    assert (set(frame["workload"]), set(frame["direction"]), len(frame)) == ({"quadratic"}, {"minimize"}, 12)
    with pytest.raises(TableError, match="cannot be read as a storage of Optuna"):
        formats.read([f"sqlite:///{tmp_path}/none.db"])


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_a_table_reads_the_same_in_every_format(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    generator = np.random.default_rng(1)
    table = pd.DataFrame(
        {"method": name, "task": task, "fold": fold, "acc": round(0.8 + gain + 0.01 * generator.normal(), 4)}
        for name, gain in (("rf", 0.0), ("gbm", 0.03))
        for task in "abc"
        for fold in range(5)
    )
    writers: dict[str, Any] = {
        "csv": lambda path: table.to_csv(path, index=False),
        "json": lambda path: table.to_json(path, orient="records"),
        "jsonl": lambda path: table.to_json(path, orient="records", lines=True),
        "parquet": table.to_parquet,
    }
    path = tmp_path / f"t.{ending}"
    writers[ending](path)
    asked = [str(path), "--baseline", "rf", "--unit", "fold", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    verdicts = pd.read_csv(tmp_path / "out" / "numbers" / "verdicts.csv").set_index("technique")
    assert (verdicts.loc["gbm", "wins"], verdicts.loc["gbm", "unit"]) == (14, "accuracy points")
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "the column 'method' was taken for the technique" in said
    assert "larger accuracy was taken as better, as registered" in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", "[1, 2]", "t.json must hold a list of objects"),
        ("t.json", "{", "t.json cannot be read as JSON"),
        ("t.xlsx", "x", "the ending of a table must be one of"),
        ("t.json", '{"a": [1], "b": [1, 2]}', "has columns of different lengths"),
        ("t.csv", "method,model,task,fold,acc\na,b,c,0,0.5\n", "method or model could be it"),
        ("t.csv", "method,task,fold\na,c,0\n", "t.csv has no column score"),
        (
            "t.csv",
            "method,task,acc\na,c,0.5\na,c,0.6\nb,c,0.5\n",
            "t.csv has no column seed that tells the runs of a technique apart",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert main([str(tmp_path / name), "--baseline", "a", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip().split("\n")[-1]
    assert message in said
    assert not (tmp_path / "out").exists()
