"""The program as its users run it: whole processes, small sweeps."""

import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from conftest import Cli, Inline, Start
from evalbench.engine import training
from evalbench.evaluation.plan import Plan
from evalbench.report.__main__ import main as judge

SMALL = ("budget.epochs=3", "model.width=8", "num_seeds=3", "dataset=iris,wine")
LOOKS = {"num_seeds=3": "evaluation.looks=[2,3]"}
"""The same seeds in two looks."""
SWEEP = ("+sweep=optimizers", *SMALL, "evaluation.name=small", "tracker=none", "cost.rounds=0")
ENDLESS = ("dataset=iris", "optimizer=bgd,sgd", "budget.epochs=300")
PROCESSES = ("hydra/launcher=processes", "hydra.launcher.workers=2", "hydra.launcher.threads=1")


def results(folder: Path, name: str = "small") -> pd.DataFrame:
    """Return what was measured; the runs of trackers have the evaluation in their ids."""
    return pd.read_csv(folder / "reports" / name / "results.csv").drop(columns="tracker_run", errors="ignore")


def trained_cells(folder: Path) -> int:
    """Return how often a cell was really trained, by the jobs' logs."""
    logs = (folder / "outputs" / "logs").rglob("evalbench.log")
    return sum(line.count(": training ") for log in logs for line in log.read_text().splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["num_seed=5"], ["no key 'num_seed'", "did you mean 'num_seeds'?"]),
        (["optimizer.lrr=1"], ["no key 'optimizer.lrr'", "batch_size"]),
        (["optimizer=adan"], ["optimizer has no option 'adan'", "adam, adamw, bgd"]),
        (["+sweep=optimisers"], ["sweep has no option 'optimisers'", "optimizers"]),
        (["optimizer=sgd,adam"], ["Ambiguous value", "--multirun"]),
        (["optimizer=[sgd,adam]"], ["optimizer must be one option", "-m optimizer=A,B"]),
        (["optimizer=null"], ["Config group override must be a string or a list"]),
        (["tracker=[none,lion]"], ["tracker has no option 'lion'", "none, tensorboard"]),
        (["optimizer.betas=[0.9]"], ["torch.optim.Adam accepts", "IndexError"]),
        (["schedule=step", "schedule.step_size=0"], ["schedule must last for", "integer modulo by zero"]),
        (["reports=/dev/null"], ["reports must be a folder that can be written, not '/dev/null/single'"]),
        (["hydra.run.dir=/dev/null/logs"], ["/dev/null", "Not a directory", "work in a folder"]),
        (["optimizer.lr=-1"], ["torch.optim.Adam accepts", "Invalid learning rate: -1"]),
        (["dataset=csv", "dataset.path=none.csv"], ["none.csv: no such file"]),
        (["tracker.wandb.mode=on"], ["tracker.wandb.mode must be one of offline, online, disabled, not 'on'"]),
        (["-m", "optimizer=sgd,bgd", "evaluation.baseline=lion"], ["evaluation.baseline", "sgd, bgd", "'lion'"]),
    ],
)
@pytest.mark.slow
def test_bad_input_gets_one_line_and_exit_code_2(
    inline: Inline, workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        inline(*arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evalbench: ")
    assert all(word in line for word in words)
    assert not list(workspace.rglob("report.md"))


@pytest.mark.slow
def test_an_interrupt_before_the_sweep_is_under_way_gets_one_line_too(
    inline: Inline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Plan, "of", interrupt)
    with pytest.raises(SystemExit, match=r"^130$"):
        inline("dataset=iris")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evalbench: interrupted")


def test_a_word_that_is_no_command_is_refused(capsys: pytest.CaptureFixture[str], inline: Inline) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        inline("reprot", "reports/small")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evalbench: there is no command 'reprot': did you mean 'report'? there are report, judge,")


@pytest.mark.slow
def test_a_sweep_reports_and_mirrors_and_its_rerun_trains_nothing(
    cli: Cli, inline: Inline, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [text for text in SWEEP if text not in ("tracker=none", "cost.rounds=0")]
    arguments += ["optimizer=sgd,bgd", "dataset=iris", "num_seeds=2", "cost.rounds=2"]
    first = cli(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert all(text in first.stdout for text in ("4 complete", "reports/small/report.html", "wandb sync"))
    table = results(workspace)
    assert len(table) == table[["technique", "workload", "seed"]].drop_duplicates().shape[0] == 4
    assert set(table["state"]) == {"COMPLETE"}
    assert len(pd.read_csv(workspace / "reports/small/costs.csv")) == 2 * 2

    assert trained_cells(workspace) == 2
    monkeypatch.setattr(training, "train", None)
    inline(*arguments)
    assert len(list(workspace.glob("outputs/wandb/wandb/offline-run-*"))) == 5  # one is the evaluation's own
    assert results(workspace).equals(table)
    report = (workspace / "reports/small/report.md").read_text()
    assert judge(["reports/small"]) == 0
    assert (workspace / "reports/small/report.md").read_text() == report


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_leaves_no_process_and_ends_with_the_bytes_of_one_that_ran_cell_by_cell(
    inline: Inline, start: Start, workspace: Path
) -> None:
    """While one cell has ended, the other has two thousand steps to do."""
    arguments = [LOOKS.get(text, text) for text in SWEEP]
    whole, sweep = workspace / "whole", [*arguments, "optimizer=sgd,bgd", "dataset=iris", "budget.epochs=20"]
    said = inline(*sweep, f"reports={whole}", f"store.url=sqlite:///{whole}/store.sqlite")
    program = start(*sweep, *PROCESSES)
    while _stored(workspace) < 2:
        assert program.poll(0.01) is None
    assert len(_processes_in(workspace)) > 2
    program.kill()
    _wait_for_the_end_of_all(workspace)
    assert 2 <= _stored(workspace) < 6
    again = inline(*sweep)
    for name in ("results.csv", "curves.csv"):
        assert (workspace / "reports/small" / name).read_bytes() == (whole / "small" / name).read_bytes()
    assert results(workspace)["look"].value_counts().to_dict() == {1: 4, 2: 2}
    for printed in (said, again):
        assert re.search(
            r"^Look     1 of 2, 2 seeds, 4 trials and .*: bgd is open, next look at 3 seeds$", printed, re.M
        )
        assert re.search(r"^Looks    trained 6 of 6 trials: 0 % saved by looks$", printed, re.M)


@pytest.mark.slow
def test_an_interrupted_sweep_says_how_far_it_came_and_leaves_no_process_behind(workspace: Path) -> None:
    """A closed terminal sends SIGHUP; test_programs.py has the other signals, which are treated alike."""
    command = [sys.executable, "-m", "evalbench", *SWEEP, *ENDLESS, *PROCESSES]
    process = subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while _stored(workspace) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    assert len(_processes_in(workspace)) > 2
    process.send_signal(signal.SIGHUP)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "Interrupted: " in output
    assert "of 6 trials are in the store; the same command goes on from there" in output
    assert not (workspace / "reports").exists()
    _wait_for_the_end_of_all(workspace)


def _stored(folder: Path) -> int:
    path = folder / "outputs" / "store.sqlite"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(path) as connection:
            return int(connection.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the tables are not there yet
    finally:
        connection.close()


@pytest.mark.slow
def test_two_processes_on_one_store_train_every_cell_once(start: Start, workspace: Path) -> None:
    small = (*SWEEP, "optimizer=sgd,bgd", "dataset=iris", "hydra/launcher=basic")
    own = [(f"evaluation.name=small{number}", f"hydra.sweep.dir=outputs/logs/{number}") for number in range(2)]
    programs = [start(*small, *names) for names in own]
    assert [program.end().returncode for program in programs] == [0, 0]
    assert trained_cells(workspace) == 2
    assert results(workspace, "small0").equals(results(workspace, "small1"))


def _processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder, this one aside: what a command line there has left behind."""
    here = [int(link.parent.name) for link in Path("/proc").glob("[0-9]*/cwd") if _target(link) == str(folder)]
    return [process for process in here if process != os.getpid()]


def _target(link: Path) -> str | None:
    try:
        state = (link.parent / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return None if state == "Z" else str(link.readlink())
    except OSError:
        return None  # it has ended meanwhile


def _wait_for_the_end_of_all(folder: Path) -> None:
    """The fork server ends when it hears that the command line has ended, and so do the jobs of one that was killed."""
    while _processes_in(folder):
        time.sleep(0.01)


# ── ranks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

MEMBERS = ("trainer.split=members", "hydra/launcher=processes", "num_seeds=2")


@pytest.mark.slow
def test_jobs_on_one_and_on_several_devices_follow_each_other(inline: Inline, workspace: Path) -> None:
    # A store for each job: otherwise the later ones would find everything done.
    all_devices = [3, 1]  # of three ranks one has no member
    stores = "store.url=sqlite:///${trainer.devices}.sqlite"
    small = ("dataset=iris", "budget.epochs=3", "tracker=none", "cost.rounds=0")
    inline(*MEMBERS, *small, "trainer.devices=3,1", stores, "-m")
    scores = []
    for number, devices in enumerate(all_devices):
        with sqlite3.connect(workspace / f"{devices}.sqlite") as connection:
            rows = connection.execute("select seed, state, result from trials order by seed").fetchall()
        connection.close()
        assert [(seed, state) for seed, state, _ in rows] == [(seed, "COMPLETE") for seed in range(2)]
        scores.append([json.loads(result)["curve"][-1]["val_loss"] for *_, result in rows])
        (folder,) = (workspace / "outputs" / "logs").glob(f"*/{number}")
        assert "training mlp-adam on iris, seeds [0, 1]" in (folder / "evalbench.log").read_text()
        assert (folder / "evalbench-rank1.log").exists() <= (devices > 1)
    assert scores == [pytest.approx(scores[0], rel=1e-5)] * len(all_devices)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainer.devices=2"], ["trainer.strategy must be ddp on several devices, not 'auto'", "split=members"]),
        (["hydra/launcher=processes", "hydra.launcher.workers=0", *SWEEP], ["workers must be a whole number"]),
        (["hydra/launcher=basic", "trainer.devices=2", "trainer.strategy=ddp", *SWEEP], ["hydra/launcher=processes"]),
    ],
)
@pytest.mark.slow
def test_what_ranks_cannot_do_is_refused(
    inline: Inline, workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    test_bad_input_gets_one_line_and_exit_code_2(inline, workspace, capsys, arguments, words)


OWN = """
import os, signal
import torch
from torch import nn

class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"])

class Faulty(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, inputs):
        if self.training and inputs.shape[-1] == 30:
            raise RuntimeError("thirty features")
        if self.training and inputs.shape[-1] == 13 and os.environ["LOCAL_RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(inputs)
"""


@pytest.mark.slow
def test_a_cell_that_raises_or_loses_a_rank_is_reported_and_tried_again(
    inline: Inline, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(workspace)
    (workspace / "faulty_network.py").write_text(OWN)
    for group, text in (("model", "Faulty"), ("optimizer", "Plain\nlr: 0.01\nbatch_size: 16")):
        (workspace / "mine" / group).mkdir(parents=True)
        (workspace / "mine" / group / "own.yaml").write_text(f"_target_: faulty_network.{text}\n")
    names = ("--config-dir", "mine", "-m", "model=own", "optimizer=own", "dataset=iris,wine,breast_cancer")
    arguments = (*names, "num_seeds=2", "budget.epochs=3", "evaluation.name=small", "tracker=none", "cost.rounds=0")
    with pytest.raises(SystemExit, match=r"^1$"):
        inline(*arguments, *MEMBERS, "trainer.devices=2")
    printed = capsys.readouterr().out
    assert "FAILED   own-own, wine: JobLostError: rank 1 of the job died with signal 9" in printed
    assert "FAILED   own-own, breast_cancer: RuntimeError: thirty features" in printed
    (log,) = {line.split("log: ")[1] for line in printed.splitlines() if "log: " in line and "/2/" in line}
    assert "Traceback" in (workspace / log).read_text()
    states = results(workspace).groupby("workload")["state"].unique().map(list).to_dict()
    assert states == {"iris": ["COMPLETE"], "wine": ["FAILED"], "breast_cancer": ["FAILED"]}
    assert "thirty features" in (workspace / "reports/small/report.md").read_text()
    (workspace / "faulty_network.py").write_text(OWN.replace("self.training and", "False and"))
    monkeypatch.delitem(sys.modules, "faulty_network")
    inline(*arguments)
    assert set(results(workspace)["state"]) == {"COMPLETE"}


@pytest.mark.slow
def test_the_terminal_prints_a_metric_in_its_own_unit(inline: Inline) -> None:
    printed = inline("dataset=diabetes", "task.metric=rmse", "num_seeds=2", "budget.epochs=1", "tracker=none")
    assert all(text in printed for text in ("single: test score, mean", "mlp-adam", "2 complete"))
    (row,) = re.findall(r"diabetes \(RMSE\) .*", printed)
    assert re.search(r" \d\d\.\d\d ± \d+\.\d\d ", row)
    printed = inline("dataset=iris", "num_seeds=2", "budget.epochs=1", "tracker=none", "evaluation.name=other")
    assert "other: test score in points, mean" in printed


@pytest.mark.slow
def test_data_parallel_training_gives_the_results_of_one_process(inline: Inline, workspace: Path) -> None:
    what = ("optimizer=adam", "dataset=iris", "num_seeds=2", "tracker=none")
    size = ("budget=steps", "budget.steps=9", "optimizer.batch_size=16", "cost.rounds=0")
    inline(*what, *size, "evaluation.name=on1", "store.url=sqlite:///1.sqlite")
    where = ("evaluation.name=on2", "store.url=sqlite:///2.sqlite", "trainer.devices=2", "trainer.strategy=ddp")
    inline(*what, *size, *where)
    one, two = (results(workspace, f"on{devices}") for devices in (1, 2))
    pd.testing.assert_frame_equal(one, two, rtol=1e-5)


@pytest.mark.slow
def test_a_cohort_killed_in_the_middle_is_resumed_bit_for_bit(inline: Inline, start: Start, workspace: Path) -> None:
    size = ("dataset=wine", "num_seeds=3", "budget.epochs=100")
    arguments = (*size, "tracker=none", "cost.rounds=0", "trainer.checkpoint_minutes=1e-9")
    inline(*arguments, "reports=whole", "store.url=sqlite:///whole.sqlite")
    program = start(*arguments)
    checkpoints = workspace / "outputs" / "checkpoints"
    while not list(checkpoints.glob("*.pt")):
        assert program.poll(0.01) is None
    program.kill()
    assert _stored(workspace) == 0
    assert list(checkpoints.glob("*.pt"))
    inline(*arguments)
    for name in ("results.csv", "curves.csv"):
        assert (workspace / "reports/single" / name).read_bytes() == (workspace / "whole/single" / name).read_bytes()
    assert not list(checkpoints.glob("*.pt"))
