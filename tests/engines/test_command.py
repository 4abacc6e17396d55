"""Command lines as techniques: any program, without a shell, ended with all that it has started."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import peoples_script
from conftest import Inline, make_cell
from contracts.engine import EngineContract, trained
from evalbench import cell as cells
from evalbench.cell import Cell
from evalbench.composition import add_to_search
from evalbench.engines.command import CommandError, execute, seed_of
from evalbench.errors import ConfigError
from evalbench.evaluation.plan import Plan, _check_named
from evalbench.trial import Entrant, State

SCRIPT = f"{sys.executable} {peoples_script.__file__} --seed {{seed}}"
NAMED = ("dataset=named", "dataset.name=cifar", "dataset.metric=accuracy")


def command(text: str, *more: str) -> tuple[str, ...]:
    return ("model=command", f"model.command={json.dumps(shlex.split(text))}", *more)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(workspace: Path) -> None:
    """Keep the folders of trials out of the repository."""


class TestCommand(EngineContract):
    chosen = command(f"{SCRIPT} --data {{data}}")
    refused = ("save=all",)

    def raising(self) -> tuple[Cell, list[Entrant]]:
        cell = make_cell("dataset=wine", *command(f"{SCRIPT} --data {{data}} --bad 1"))
        return cell, cell.entrants(0, 1, 2)


def test_a_named_workload_takes_the_last_json_line() -> None:
    cell = make_cell(
        *NAMED, *command(f"{SCRIPT} --technique {{technique}} --workload {{workload}}", "model.technique=a")
    )
    (result,) = trained(cell, cell.entrants(3)).values()
    output = next(Path("outputs/commands").rglob("log.txt")).read_text().splitlines()
    asked = json.loads(output[0])
    assert (asked["seed"], asked["technique"], asked["workload"]) == (3, "a", "cifar")
    assert result.metrics == {"test/accuracy": json.loads(output[1])["accuracy"]}
    assert (result.num_train, result.num_test) == (80, 20)


def test_a_csv_file_gives_its_last_row() -> None:
    plain = make_cell(*NAMED, *command(SCRIPT))
    written = make_cell(*NAMED, *command(f"{SCRIPT} --folder {{folder}}", "model.result=scores.csv"))
    assert trained(written, written.entrants(0))[0].metrics == trained(plain, plain.entrants(0))[0].metrics


@pytest.mark.slow
def test_an_offline_wandb_run_gives_its_summary() -> None:
    lines = "import wandb, sys; r = wandb.init(); r.log({'accuracy': 0.25}); r.log({'accuracy': 0.5}); r.finish()"
    words = json.dumps([sys.executable, "-c", lines, "{seed}"])
    cell = make_cell(*NAMED, "model=command", f"model.command={words}", "model.result=wandb")
    assert trained(cell, cell.entrants(0))[0].metrics == {"test/accuracy": 0.5}


def test_a_value_is_one_argument_and_no_shell_reads_it() -> None:
    cell = make_cell(*NAMED, *command(f"{SCRIPT} --technique {{technique}}", "model.technique='; touch x'"))
    trained(cell, cell.entrants(0))
    asked = json.loads(next(Path("outputs/commands").rglob("log.txt")).read_text().splitlines()[0])
    assert asked["technique"] == "; touch x"
    assert not list(Path().rglob("x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{SCRIPT} --bad 0", "exit code 1: my own reason"),
        ("/bin/echo {seed}", "its output has no line that is a JSON object"),
        ("""/bin/echo '{"loss": 1}' {seed}""", "its output has no line that is a JSON object"),
        ("""/bin/echo '{"loss": {seed}}'""", "it reported no accuracy: there are loss"),
    ],
)
def test_a_command_without_a_result_is_a_failed_trial_with_a_reason(text: str, message: str) -> None:
    cell = make_cell(*NAMED, *command(text))
    (result,) = trained(cell, cell.entrants(0)).values()
    assert result.state is State.FAILED
    assert message in str(result.message)
    assert Path(str(result.log)).is_file()


def test_a_score_that_is_no_number_is_a_finding() -> None:
    words = json.dumps([sys.executable, "-c", "print('{\"accuracy\": NaN}')", "{seed}"])
    cell = make_cell(*NAMED, "model=command", f"model.command={words}")
    assert trained(cell, cell.entrants(0))[0].state is State.DIVERGED


def ended(pids: list[int]) -> bool:
    """Return whether processes have ended, or are about to be buried."""
    states = [Path(f"/proc/{pid}/stat") for pid in pids]
    return all(not path.exists() or path.read_text().rsplit(")", 1)[1].split()[0] == "Z" for path in states)


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def pids_in(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(word) for word in path.read_text().split()] if path.exists() and path.read_text() else []


def sleeping(folder: Path) -> list[str]:
    return [sys.executable, peoples_script.__file__, "--seed", "0", "--sleep", "--folder", str(folder)]


@pytest.mark.slow
def test_the_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"exit code 124: the time limit of 1\.5 s has passed"):
        execute(sleeping(tmp_path), tmp_path / "log.txt", 1.5, {})
    assert len(pids_in(tmp_path)) == 2
    assert ended(pids_in(tmp_path))


@pytest.mark.slow
def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_for(lambda: pids_in(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        execute(sleeping(tmp_path), tmp_path / "log.txt", 0.0, {})
    assert ended(pids_in(tmp_path))


@pytest.mark.slow
def test_the_group_ends_if_evalbench_is_killed(tmp_path: Path) -> None:
    child = os.fork()
    if not child:  # pragma: no cover - another process
        execute(sleeping(tmp_path), tmp_path / "log.txt", 0.0, {})
        os._exit(0)
    pids = wait_for(lambda: pids_in(tmp_path))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: ended(pids))


@pytest.mark.slow
def test_identity_has_the_words_the_settings_and_the_script(workspace: Path) -> None:
    script = workspace / "mine.py"
    script.write_text("print(1)\n")
    text = f"{sys.executable} mine.py {{seed}} {{rate}}"
    cell = make_cell(*NAMED, *command(text, "+model.rate=1"))
    for same in ("optimizer=sgd", "budget.epochs=3", "split.test=0.3", "model.limit=5", "model.folder=other"):
        assert make_cell(*NAMED, *command(text, "+model.rate=1", same)).id == cell.id
    for other in ("+model.rate=2", "model.result=a.csv +model.rate=1", "dataset.name=svhn +model.rate=1"):
        assert make_cell(*NAMED, *command(text), *other.split()).id != cell.id
    script.write_text("print(2)\n")
    assert make_cell(*NAMED, *command(text, "+model.rate=1")).id != cell.id


def test_the_seed_is_the_number_of_the_trial_and_differs_between_roots() -> None:
    first, other = (make_cell(*NAMED, *command(SCRIPT), f"seed={root}") for root in (0, 1))
    assert [seed_of(first.config, Entrant(number)) for number in range(3)] == [0, 1, 2]
    assert seed_of(other.config, Entrant(0)) > 1000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*NAMED, *command("python t.py {sed}")), r"must know {sed}"),
        ((*NAMED, "model=command", "model.command='a \"b'"), "must be words"),
        ((*NAMED, "model=command", "model.command=[]"), "must be a command line or a list of words"),
        ((*NAMED, *command("python t.py")), r"must have {seed}"),
        ((*NAMED, *command("no-such-program {seed}")), "must begin with a program that can be run"),
        (("dataset=wine", *command("python t.py {seed}")), r"must have {data}"),
        ((*NAMED, "model=mlp"), "must be a command on cifar"),
        ((*NAMED, *command("python t.py {seed}"), "task.metric=auroc"), "task must be left out"),
        ((*NAMED, *command("python t.py {seed}"), "dataset.metric=zap"), "dataset.direction must be maximize or"),
        ((*NAMED, *command("python t.py {seed} {x}", "+model.x=1"), "+search=random",
          "+search.space.model.x={low: 1, high: 2}"), "search must be left out"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cells.check(make_cell(*overrides))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (NAMED, ("dataset=wine",), "must not be compared together with wine"),
        (NAMED, (*NAMED[:2], "dataset.metric=loss"), "dataset.metric must be the same"),
        ((*NAMED, "dataset.unit=seed"), NAMED, "dataset.unit must be the same"),
        ((*NAMED, "dataset.unit=rows"), (*NAMED, "dataset.unit=rows"), "unit must be one of split, seed"),
    ],
)
def test_what_cannot_be_judged_together_is_refused(
    first: tuple[str, ...], second: tuple[str, ...], message: str
) -> None:
    both = tuple(make_cell(*each, *command(f"{SCRIPT} {{data}}")) for each in (first, second))
    with pytest.raises(ConfigError, match=message):
        _check_named(Plan("both", both, both, None, None, {}))


@pytest.mark.slow
def test_commands_are_judged_as_a_table_from_elsewhere(inline: Inline, workspace: Path) -> None:
    text = f"{SCRIPT} --technique {{technique}} --bad 2"
    sweep = ("-m", *NAMED, *command(text), "model.technique=a,b", "num_seeds=4", "tracker=none")
    folders = [workspace / "reports" / name for name in ("mine", "declared")]
    for name, more in (("mine", ()), ("declared", ("dataset.pairing=seed",))):
        with pytest.raises(SystemExit) as left:
            inline(*sweep, f"evaluation.name={name}", *more)
        assert left.value.code == 1  # a trial failed
    first, second = ((folder / "report.md").read_text() for folder in folders)
    assert "About new rows nothing is claimed" in first
    assert "my own reason" in first
    assert "Pairs were declared: `dataset.pairing=seed`" in second
    assert "(dataset.unit)" in first
    assert "(`dataset.pairing=seed`)" in first
    assert "--unit" not in first + second
    results = [pd.read_csv(folder / "results.csv") for folder in folders]
    assert [(table["state"] == "FAILED").sum() for table in results] == [2, 2]
    assert np.isfinite(results[0]["cost_seconds"]).all()
    assert results[0]["score"].equals(results[1]["score"])


TEXTS = ["python t.py {seed}", r"sh -c 'a\b {seed}'", r"echo \' {seed}", "x {seed} \\", "'quoted {seed}'"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_command_needs_no_quotes_of_hydra(text: str) -> None:
    (override,) = OverridesParser.create().parse_overrides(add_to_search([f"model.command={text}"]))
    assert str(override.value()) == text.strip("'" if text[0] == "'" else "")
