"""Turn the runs of trackers into reports; the tests read real offline and local sources."""

import csv
import math
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from contracts.tracker import RUN
from evalbench.errors import TableError
from evalbench.imports import latest, parse_map, select, server, short, write_table
from evalbench.imports.rows import spread
from evalbench.report.__main__ import main
from evalbench.tracking import Tracker
from evalbench.tracking.mlflow import MlflowTracker
from evalbench.tracking.tensorboard import TensorBoardTracker
from evalbench.tracking.wandb import WandbTracker

SCORES = {"sgd": (0.90, 0.91, 0.92), "adam": (0.95, 0.97, 0.96)}


def fill(tracker: Tracker) -> None:
    """Log runs like another program, with names of its own."""
    for optimizer, scores in SCORES.items():
        for seed, score in enumerate(scores):
            config = {"opt": optimizer, "data": {"name": "digits"}, "random_seed": seed}
            summary: dict[str, float | str] = {"final/acc": score, "state": "COMPLETE"}
            tracker.record(
                replace(RUN, id=f"{optimizer}-{seed}", name=f"{optimizer}-{seed}", config=config, summary=summary)
            )
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


@pytest.mark.parametrize("new_style", [False, True])  # a scalar as a number, or as a tensor
@pytest.mark.parametrize("run_name", [".", None])  # beside the curve, or by default in a folder below it
@pytest.mark.slow
def test_event_files_of_another_writer_are_read(workspace: Path, run_name: str | None, new_style: bool) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for optimizer, scores in SCORES.items():
        for seed, score in enumerate(scores):
            with SummaryWriter(f"runs/{optimizer}/{seed}") as writer:
                writer.add_scalar("final/acc", score, 1, new_style=new_style)
                writer.add_hparams({"opt": optimizer, "random_seed": seed}, {"hparam/acc": score}, run_name=run_name)
    arguments = ("--from", "tensorboard", "runs", *MAP, "workload=const:digits", "--baseline", "sgd")
    assert main([*arguments, "--out", "judged"]) == 0
    assert judged(workspace) == {name: pytest.approx(scores) for name, scores in SCORES.items()}
    assert pd.read_csv("judged/judged.csv")["seed"].dtype == "int64"
    assert "Of 6 trials it is not known whether they finished" in Path("judged/report.md").read_text()


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
    assert "the database sqlite:///no.db does not exist" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_of_evalbench_need_no_map(workspace: Path) -> None:
    tracker = WandbTracker("evalbench", None, "offline", "runs")
    for technique, scores in SCORES.items():
        for seed, score in enumerate(scores):
            config = {"technique": technique, "dataset": "digits", "seed": seed}
            tracker.record(
                replace(
                    RUN, id=f"{technique}-{seed}", name=f"{technique}-{seed}", config=config, summary={"score": score}
                )
            )
    assert main(["--from", "wandb-offline", "runs", "--baseline", "sgd", "--out", "judged"]) == 0
    assert judged(workspace) == {name: list(scores) for name, scores in SCORES.items()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "wandb-offline", "."], "runs need --baseline NAME"),
        (["--from", "wandb-offline", ".", "--baseline", "sgd"], ". has no run of wandb-offline"),
        (["--from", "tensorboard", "no", "--baseline", "sgd"], "no has no run of tensorboard"),
        (["--from", "mlflow", "theirs", "--baseline", "sgd"], "--from mlflow takes URI/EXPERIMENT"),
    ],
)
def test_an_unreadable_source_gets_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")


def run(**values: Any) -> dict[str, Any]:
    """Return a row; two underscores in an argument's name stand for a dot."""
    common = {"id": "r", "config.technique": "x", "config.dataset": "d", "config.seed": 0, "summary.score": 0.5}
    return {**common, "state": "finished", **{name.replace("__", "."): value for name, value in values.items()}}


def written(folder: Path, *rows: dict[str, Any], columns: Sequence[str] = (), **more: Any) -> list[dict[str, str]]:
    left_out = write_table(rows, parse_map(columns), folder / "t.csv", **more)
    assert not left_out
    with (folder / "t.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_map_gives_the_names_of_the_columns(tmp_path: Path) -> None:
    rows = [run(config__a="y"), run(config__a="y", config__seed=None), run(config__b="z", id="q")]
    assert write_table(rows, parse_map(["technique=config.a"]), tmp_path / "t.csv") == ["r", "q"]
    text = "technique,workload,seed,score,state,finished,message\ny,d,0,0.5,COMPLETE,yes,\n"
    assert (tmp_path / "t.csv").read_text() == text
    with pytest.raises(
        TableError, match=r"^no run has 'config\.c', which --map gives for technique: the runs have id, "
    ):
        write_table(rows, parse_map(["technique=config.c"]), tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"^--map takes COLUMN=NAME, .*, not 'technique'$"):
        parse_map(["technique"])


def test_where_selects_runs_by_their_values(tmp_path: Path) -> None:
    rows = [run(group="mine"), run(group="theirs"), run()]
    assert select(rows, ["group=mine", "config.seed=0"]) == rows[:1]
    with pytest.raises(TableError, match=r"^3 runs have technique x, workload d, seed 0: choose some with --where "):
        write_table(rows, parse_map([]), tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"^no run has group=ours: the values of group are mine, theirs$"):
        select(rows, ["group=ours"])
    with pytest.raises(
        TableError, match=r"^no run has 'grp', which --where names: the runs have id, config\.technique"
    ):
        select(rows, ["grp=ours"])


@pytest.mark.parametrize(
    ("values", "state", "score"),
    [
        ({}, "COMPLETE", "0.5"),
        ({"state": None}, "COMPLETE", "0.5"),
        *[({"state": word}, "FAILED", "") for word in ("failed", "killed", "crashed", "running", "preempted", "new")],
        ({"summary__score": None}, "FAILED", ""),
        ({"summary__score": "NaN"}, "DIVERGED", ""),
        ({"summary__score": math.nan, "state": "crashed"}, "FAILED", ""),
        *[({"summary__score": x}, "DIVERGED", "") for x in (math.nan, -math.inf, "Infinity", -sys.float_info.max)],
        ({"summary__score": 10**400}, "DIVERGED", ""),  # JSON has no limit
        ({"summary__score": float(np.finfo(np.float32).max)}, "DIVERGED", ""),
        ({"summary__score": 1e30}, "COMPLETE", "1e+30"),
        ({"summary__score": True}, "COMPLETE", "1.0"),
        ({"summary__state": "DIVERGED"}, "DIVERGED", "0.5"),  # as it ended: the table's rule says what it counts
        ({"summary__state": "DIVERGED", "summary__score": None}, "DIVERGED", ""),
        ({"summary__state": "ok"}, "COMPLETE", "0.5"),
    ],
)
def test_the_end_of_a_run_decides_its_state(tmp_path: Path, values: dict[str, Any], state: str, score: str) -> None:
    (row,) = written(tmp_path, run(summary__score=0.5, summary__state=None) | run(**values))
    assert (row["state"], row["score"]) == (state, score)
    assert bool(row["message"]) == (state != "COMPLETE")


def test_a_run_that_crashed_early_has_failed_without_a_cost(tmp_path: Path) -> None:
    crashed = run(state="crashed", config__seed=1)
    rows = written(
        tmp_path, run(summary__s=3), crashed, columns=["cost_seconds=summary.s"], may_lack=("score", "cost_seconds")
    )
    assert [(row["state"], row["cost_seconds"]) for row in rows] == [("COMPLETE", "3"), ("FAILED", "")]


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r'^summary\.score of run r is {"max": 1}, not a number: map score to another'):
        written(tmp_path, run(summary__score={"max": 1.0}))


def test_the_copy_of_a_run_that_began_last_counts() -> None:
    old, new, cut = (
        {"id": "r", "started": at, "state": end} for at, end in ((1, "finished"), (2, "finished"), (2, ""))
    )
    elsewhere = {"id": "r", "project": "p", "started": 0}
    assert list(latest([new, old, cut, elsewhere])) == [new, elsewhere]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([64, 64.0], "[64, 64]"),
        ({"b": [None, True], "a": {"c": 0.5}}, '{"a": {"c": 0.5}, "b": [null, true]}'),
        ({}, "{}"),
        (None, "null"),
        (False, "false"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e-05, "1e-05"),
        (1e300, "1e+300"),
        ("1.0", "1.0"),  # could be a version
        ("ü, \n", "ü, \n"),
    ],
)
def test_a_setting_of_any_type_becomes_a_name(tmp_path: Path, value: Any, name: str) -> None:
    (row,) = written(tmp_path, run(config__technique=value))
    assert row["technique"] == name
    assert select([run(config__technique=value)], [f"config.technique={name}"])


def test_a_map_and_each_of_its_values_are_settings() -> None:
    assert dict(spread("config", {"a": {"b": {"c": 1}}})) == {
        "config.a": {"b": {"c": 1}}, "config.a.b": {"c": 1}, "config.a.b.c": 1,
    }  # fmt: skip


def test_long_texts_that_differ_at_their_end_get_different_names() -> None:
    long, changed = short("x" * 500), short("x" * 499 + "y")
    assert len(long) == len(changed) < 100
    assert long != changed
    assert short("x" * 80) == "x" * 80


@pytest.mark.slow
def test_a_silent_server_is_given_up(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["--from", "mlflow", f"{uri}/theirs", "--baseline", "sgd"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {uri} did not answer within 0.1 seconds: check the address")
    assert not list(workspace.iterdir())


def test_answers_and_errors_of_a_server_are_passed_on() -> None:
    assert server.answer(lambda: 3, "it") == 3
    with pytest.raises(ZeroDivisionError):
        server.answer(lambda: 1 // 0, "it")
