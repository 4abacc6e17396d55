"""The door of every program: what the shell leaves there, and what ends a program early."""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from conftest import Cli, Inline
from evalbench import programs
from evalbench.errors import InputError
from evalbench.terminal.command_line import in_any_order


def signalled(number: int) -> Callable[[], int]:
    def program() -> int:
        signal.raise_signal(number)
        return 0

    return program


def raises(error: BaseException) -> Callable[[], int]:
    def program() -> int:
        raise error

    return program


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [
        (lambda: 1, 1, ""),
        (raises(InputError("a rule,\n a value")), 2, "it: a rule, a value\n"),
        (raises(KeyboardInterrupt()), 130, "it: interrupted; the same command goes on from what is there\n"),
        (signalled(signal.SIGTERM), 130, "it: interrupted"),
        (signalled(signal.SIGHUP), 130, "it: interrupted"),
        (lambda: len(Path("/none/such").read_text()), 2, "it: /none/such: No such file or directory: work in"),
    ],
)
def test_what_ends_a_program_is_one_line(
    capsys: pytest.CaptureFixture[str], program: Callable[[], int], code: int, line: str
) -> None:
    assert programs.run("it", program) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == bool(line)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_that_is_not_the_users_is_shown_whole() -> None:
    with pytest.raises(ZeroDivisionError):
        programs.run("it", lambda: 1 // 0)
    with pytest.raises(ConnectionError):
        programs.run("it", raises(ConnectionError("refused")))


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        assert programs.run("it", signalled(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("cp1252", b"-0.05 \xb1 -> \xe9 \\udc80 \\u65e5"), ("ascii", b"-0.05 \\xb1 -> \\xe9 \\udc80 \\u65e5")],
)
def test_a_console_that_lacks_signs_shows_others_and_no_number_loses_its_minus(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: bytes
) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", console)
    assert programs.run("it", lambda: print("−0.05 ± → é \udc80 日", end="") or 0) == 0
    assert console.buffer.getvalue() == shown


SHELL = {
    "MPLBACKEND": "module://matplotlib_inline.of_a_notebook",
    **dict.fromkeys(("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "SLURM_PROCID"), "3"),
    "MASTER_ADDR": "nowhere", "MASTER_PORT": "none", "TORCHELASTIC_RUN_ID": "x",
    "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "x", "SLURM_JOB_ID": "1",
    "LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/none", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1",
    "KUBERNETES_PORT": "x", "OMPI_COMM_WORLD_RANK": "1",
    "PL_TRAINER_GRADIENT_CLIP_VAL": "1e-9", "PL_TRAINER_LIMIT_TRAIN_BATCHES": "1", "HYDRA_FULL_ERROR": "0",
    "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii", "LC_ALL": "C",
    "TERM": "dumb", "COLUMNS": "10", "NO_COLOR": "1", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": "/none", "TZ": "none",
}  # fmt: skip


@pytest.mark.slow
def test_the_shells_environment_changes_nothing(
    cli: Cli, inline: Inline, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("dataset=iris", "num_seeds=2", "budget.epochs=2", "tracker=none", "cost.rounds=0")
    inline(*arguments, "evaluation.name=here", "store.url=sqlite:///here.sqlite")
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # else each process lists the machine's fonts anew
    monkeypatch.delenv("HOME")
    process = cli(*arguments, "evaluation.name=there")
    assert (process.returncode, process.stderr) == (0, "")
    here, there = (pd.read_csv(workspace / "reports" / name / "results.csv", dtype=str) for name in ("here", "there"))
    pd.testing.assert_frame_equal(here.drop(columns="tracker_run"), there.drop(columns="tracker_run"))
    refused = cli("dataset=iris", "num_seeds=0")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert refused.stderr.startswith("evalbench: num_seeds must be a whole number of at least 1, not 0")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")  # only here: large libraries are compiled anew for it, at each start
    shown = cli("--help")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_variables_of_another_group_are_left_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "MPLBACKEND", "PL_TRAINER_FAST_DEV_RUN", "WANDB_SERVICE")
    for name in names:
        monkeypatch.setenv(name, "1")
    assert programs.run("it", lambda: sum(name in os.environ for name in names)) == 0
    assert all(name in os.environ for name in names)  # a notebook keeps them


@pytest.mark.parametrize(
    ("given", "sorted_out"),
    [
        ("a=1 -m b=2,3", "a=1 b=2,3 -m"),
        ("a=1 b=2,3 --multirun", "a=1 b=2,3 --multirun"),
        ("a=1 --config-dir mine b=2 -m ~c", "a=1 b=2 ~c --config-dir mine -m"),
        ("a=1 --cfg=job b=-1", "a=1 b=-1 --cfg=job"),
    ],
)
def test_options_may_stand_anywhere(given: str, sorted_out: str) -> None:
    assert in_any_order(given.split()) == sorted_out.split()


@pytest.mark.parametrize("given", ["--nothing a=1", "--cfg", "--info nothing", "a=1 --experimental-rerun x"])
def test_options_that_are_not_there_are_refused(given: str) -> None:
    with pytest.raises(InputError, match=r"evalbench --help|would run a pickle"):
        in_any_order(given.split())
