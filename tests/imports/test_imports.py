"""Runs that trackers hold become a report; offline and local sources are read for real."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from contracts.tracker import RUN
from evalbench.errors import TableError
from evalbench.imports import parse_map, select, write_table
from evalbench.report.__main__ import main
from evalbench.tracking import Tracker
from evalbench.tracking.mlflow import MlflowTracker
from evalbench.tracking.tensorboard import TensorBoardTracker
from evalbench.tracking.wandb import WandbTracker

SCORES = {"sgd": (0.90, 0.91, 0.92), "adam": (0.95, 0.97, 0.96)}


def fill(tracker: Tracker) -> None:
    """Log runs as another program might, named in its own way; one has failed."""
    for optimizer, scores in SCORES.items():
        for seed, score in enumerate(scores):
            config = {"opt": optimizer, "data": {"name": "digits"}, "random_seed": seed}
            summary = {"final/acc": score}
            tracker.record(replace(RUN, id=f"{optimizer}-{seed}", config=config, summary=summary))
    tracker.close()


MAP = ("--map", "technique=config.opt", "seed=config.random_seed", "score=summary.final/acc")


def judged(folder: Path) -> dict[str, list[float]]:
    table = pd.read_csv(folder / "judged" / "judged.csv")
    assert (folder / "judged" / "report.md").read_text().startswith("# ")
    assert set(table["workload"]) == {"digits"}
    return {str(name): rows.sort_values("seed")["score"].tolist() for name, rows in table.groupby("technique")}


@pytest.mark.slow
def test_offline_wandb_runs_become_a_report(workspace: Path) -> None:
    fill(WandbTracker("theirs", None, "offline", "runs"))
    arguments = ("--from", "wandb-offline", "runs", *MAP, "workload=config.data.name", "--baseline", "sgd")
    assert main([*arguments, "--out", "judged"]) == 0
    assert judged(workspace) == {name: list(scores) for name, scores in SCORES.items()}


def test_event_files_become_a_report(workspace: Path) -> None:
    fill(TensorBoardTracker("runs"))
    arguments = ("--from", "tensorboard", "runs", *MAP, "workload=const:digits", "--baseline", "sgd")
    assert main([*arguments, "--out", "judged"]) == 0
    assert judged(workspace) == {name: pytest.approx(scores) for name, scores in SCORES.items()}


@pytest.mark.parametrize("run_name", [".", None])  # beside the curve, or by default in a folder below it
def test_event_files_of_another_writer_are_read(workspace: Path, run_name: str | None) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for optimizer, scores in SCORES.items():
        for seed, score in enumerate(scores):
            with SummaryWriter(f"runs/{optimizer}/{seed}") as writer:
                writer.add_scalar("final/acc", score, 1)
                writer.add_hparams({"opt": optimizer, "random_seed": seed}, {"hparam/acc": score}, run_name=run_name)
    arguments = ("--from", "tensorboard", "runs", *MAP, "workload=const:digits", "--baseline", "sgd")
    assert main([*arguments, "--out", "judged"]) == 0
    assert judged(workspace) == {name: pytest.approx(scores) for name, scores in SCORES.items()}
    assert pd.read_csv("judged/judged.csv")["seed"].dtype == "int64"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's use of SQLAlchemy
def test_an_mlflow_experiment_becomes_a_report(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(MlflowTracker("sqlite:///runs.db", "theirs", "artifacts"))
    arguments = (*MAP, "workload=const:digits", "--baseline", "sgd", "--out", "judged")
    assert main(["--from", "mlflow", "sqlite:///runs.db/theirs", *arguments]) == 0
    assert judged(workspace) == {name: list(scores) for name, scores in SCORES.items()}
    assert main(["--from", "mlflow", "sqlite:///runs.db/others", *arguments]) == 2
    assert "has no experiment 'others': it has" in capsys.readouterr().err
    assert main(["--from", "mlflow", "sqlite:///no.db/theirs", *arguments]) == 2
    assert "sqlite:///no.db is not a database that exists" in capsys.readouterr().err


def test_what_evalbench_logged_needs_no_map(workspace: Path) -> None:
    tracker = WandbTracker("evalbench", None, "offline", "runs")
    for technique, scores in SCORES.items():
        for seed, score in enumerate(scores):
            config = {"technique": technique, "dataset": "digits", "seed": seed}
            tracker.record(replace(RUN, id=f"{technique}-{seed}", config=config, summary={"score": score}))
    assert main(["--from", "wandb-offline", "runs", "--baseline", "sgd", "--out", "judged"]) == 0
    assert judged(workspace) == {name: list(scores) for name, scores in SCORES.items()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "wandb-offline", "."], "a table needs --baseline NAME"),
        (["--from", "wandb-offline", ".", "--baseline", "sgd"], ". has no run of wandb-offline"),
        (["--from", "tensorboard", "no", "--baseline", "sgd"], "no has no run of tensorboard"),
        (["--from", "mlflow", "theirs", "--baseline", "sgd"], "--from mlflow takes URI/EXPERIMENT"),
    ],
)
def test_what_cannot_be_read_gets_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")


def test_the_map_says_what_the_columns_are_called(tmp_path: Path) -> None:
    rows = [
        {"config.a": "x", "config.dataset": "d", "config.seed": 0, "summary.score": 0.5},
        {"config.a": "y", "config.dataset": "d", "config.seed": 0, "summary.score": math.nan},
        {"config.a": "z", "config.seed": 0, "summary.score": 0.7},
    ]
    assert write_table(rows, parse_map(["technique=config.a"]), tmp_path / "t.csv") == 1
    text = "technique,workload,seed,score,state\nx,d,0,0.5,COMPLETE\ny,d,0,,FAILED\n"
    assert (tmp_path / "t.csv").read_text() == text
    with pytest.raises(
        TableError, match=r"^no run has 'config\.b', which --map takes for technique: there are config\.a"
    ):
        write_table(rows, parse_map(["technique=config.b"]), tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"^--map takes COLUMN=NAME, .*, not 'technique'$"):
        parse_map(["technique"])


def test_some_of_the_runs_are_chosen_by_their_values(tmp_path: Path) -> None:
    common = {"config.technique": "x", "config.dataset": "d", "config.seed": 0, "summary.score": 0.5}
    rows = [{**common, "group": "mine"}, {**common, "group": "theirs"}, common]
    assert select(rows, ["group=mine", "config.seed=0"]) == rows[:1]
    with pytest.raises(TableError, match=r"^3 runs have technique x, workload d, seed 0: choose some with --where "):
        write_table(rows, parse_map([]), tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"^no run has group=ours: of group there are mine, theirs$"):
        select(rows, ["group=ours"])
    with pytest.raises(TableError, match=r"^no run has 'grp', which --where asks for: there are config\.technique, "):
        select(rows, ["grp=ours"])
