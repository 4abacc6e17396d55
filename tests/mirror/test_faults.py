"""A sweep with faulty trackers ends with all results, reports the missing records, and `sync` sends them later."""

import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from conftest import Inline, Start, compose_config
from evalbench import cell as cells
from evalbench import sync
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.mirror.runs import id_of
from evalbench.store import Store
from evalbench.tracking.csv import read_rows
from evalbench.tracking.wandb_files import read
from wandb_server import KEY, WandbServer

SMALL = ("dataset=iris", "budget.epochs=2", "model.width=8", "cost.rounds=0", "num_seeds=2")
SWEEP = (
    "--config-dir=mine",
    "+sweep=optimizers",
    "optimizer=sgd,bgd",
    *SMALL[:4],
    "num_seeds=3",
    "evaluation.name=small",
)
FAULTY = '''
import errno, os, time
from pathlib import Path

class Tracker:
    """Append the names of records to a file; the file `faults` names the active faults."""

    def __init__(self, fault):
        self.fault, self.path = fault, Path(f"taken-{fault}")

    def _write(self, name):
        fault = self.fault if self.fault in Path("faults").read_text().split() else ""
        taken = len(self.path.read_text().splitlines()) if self.path.exists() else 0
        if fault == "down":
            raise ConnectionRefusedError("nobody listens")
        if fault == "middle" and taken >= 2:
            raise ConnectionResetError("the other side hung up")
        if fault == "full" and taken >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault == "slow":
            time.sleep(9)
        if fault == "deadly":
            os.kill(os.getpid(), 9)
        with self.path.open("a") as file:
            print(name, file=file)

    def record(self, run):
        if not run.running:
            self._write(run.name)

    def conclude(self, conclusion):
        self._write(conclusion.id)

    def close(self): ...

    def how_to_see(self):
        return f"{self.fault:8} {self.path}"
'''
FAULTS = {
    "down": (6, "ConnectionRefusedError: nobody listens"),
    "middle": (4, "ConnectionResetError: the other side hung up"),
    "full": (5, "OSError: [Errno 28] No space left on device"),
    "slow": (None, "it was too slow"),
    "deadly": (6, "its process died"),
}
EVERYTHING = sorted([f"{t}-iris-s{seed}" for t in ("sgd", "bgd") for seed in range(3)] + ["report-small"])


@pytest.fixture
def faults(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a user's trackers as a module and YAML files; return the file that names the active faults."""
    (workspace / "faulty.py").write_text(FAULTY)
    (workspace / "mine" / "tracker").mkdir(parents=True)
    for fault in FAULTS:
        text = f"# @package tracker.{fault}\n_target_: faulty.Tracker\nfault: {fault}\n"
        (workspace / "mine" / "tracker" / f"{fault}.yaml").write_text(text)
    monkeypatch.syspath_prepend(workspace)
    (workspace / "faults").write_text("\n".join(FAULTS))
    return workspace / "faults"


@pytest.mark.slow
def test_faulty_trackers_lose_no_result_and_sync_completes_them(
    inline: Inline, workspace: Path, faults: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(fault: str) -> list[str]:
        path = workspace / f"taken-{fault}"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    sweep = (*SWEEP, f"tracker=[{','.join(FAULTS)}]", "tracker.patience_seconds=4")
    printed = inline(*sweep)
    assert Counter(pd.read_csv(workspace / "reports/small/results.csv")["state"]) == {"COMPLETE": 6}
    missing = {}
    for line in printed.splitlines():
        if match := re.fullmatch(r"MISSING  (\d) of 6 trials are not in (\w+): (.*)", line):
            missing[match[2]] = int(match[1])
            assert FAULTS[match[2]] in [(int(match[1]), match[3]), (None, match[3])]
    assert missing.keys() == FAULTS.keys(), printed
    assert "evalbench sync small" in printed
    for fault, count in missing.items():
        assert len(taken(fault)) in (6 - count, 7 - count)  # the store may lack a note of the last written trial

    faults.write_text("slow")  # the same command sends most trials, `sync` the rest
    lines = inline(*sweep).splitlines()
    (line,) = [line for line in lines if line.startswith("MISSING")]
    assert re.fullmatch(r"MISSING  \d of 6 trials are not in slow: it was too slow", line)
    faults.write_text("")
    assert sync.main(["small"]) == 0
    assert re.search(r"^small, slow: \d trials and the report sent$", capsys.readouterr().out, re.MULTILINE)
    assert sync.main(["small"]) == 0
    assert capsys.readouterr().out == "".join(f"small, {fault}: 0 trials sent\n" for fault in FAULTS)
    for fault in FAULTS:
        assert sorted(set(taken(fault))) == EVERYTHING
        assert len(taken(fault)) == len(EVERYTHING) or fault == "slow"


@pytest.mark.slow
def test_wandb_online_loses_nothing_if_the_server_drops_out(
    inline: Inline, workspace: Path, faults: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb_server.most_runs = 1
    online = ("tracker=[wandb,csv]", "tracker.wandb.mode=online", "tracker.patience_seconds=4")
    printed = inline(*SWEEP[:-2], "num_seeds=2", "evaluation.name=small", *online)
    assert set(pd.read_csv(workspace / "reports/small/results.csv")["state"]) == {"COMPLETE"}
    missing = re.search(r"MISSING  ([34]) of 4 trials are not in wandb: it was too slow", printed)
    assert missing, printed
    assert "not in csv" not in printed
    assert len(read_rows(workspace / "outputs/csv/runs.csv")) == 4

    wandb_server.most_runs = math.inf
    assert sync.main(["small"]) == 0
    assert f"small, wandb: {missing[1]} trials and the report sent" in capsys.readouterr().out
    store = Store(f"sqlite:///{workspace}/outputs/store.sqlite")
    trials = store.trials([link.trial_id for link in store.links("small")])
    of_trials = {run.config["trial"]["value"]: run for run in wandb_server.runs.values() if "trial" in run.config}
    assert of_trials.keys() == trials.keys()
    for id, run in of_trials.items():
        assert (run.exit_code, run.summary["state"], run.fields["groupName"]) == (0, "COMPLETE", "small")
        assert [row["val/loss"] for row in run.history] == [point.val_loss for point in trials[id].result.curve]
    report = (workspace / "reports/small/report.md").read_bytes()
    assert wandb_server.artifacts["small-report"]["report.md"] == report
    assert not wandb_server.unknown
    assert_no_file_holds(workspace, KEY)


def assert_no_file_holds(folder: Path, secret: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_offline_files_of_a_sweep_equal_the_store_and_hold_no_key(
    start: Start, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    arguments = ("-m", "optimizer=sgd,bgd", "dataset=iris,diabetes", "budget.epochs=3", "model.width=8")
    trackers = ("tracker=[wandb,tensorboard,csv]", "tracker.live=true")
    how = ("evaluation.looks=[2,3]", "hydra/launcher=basic")
    ending = start(*arguments, *trackers, *how, "cost.rounds=0", "evaluation.name=optimizers").end()
    assert ending.returncode == 0, ending.stderr
    assert KEY not in ending.stdout + ending.stderr
    assert_no_file_holds(workspace, KEY)
    store = Store(f"sqlite:///{workspace}/outputs/store.sqlite")
    links = {link.trial_id: link for link in store.links("optimizers")}
    trials = store.trials(list(links))
    runs = [read(path) for path in workspace.glob("outputs/wandb/wandb/offline-run-*/*.wandb")]
    (shown,) = [run for run in runs if run.job_type == "evaluation"]
    of_trials = {run.config["trial"]: run for run in runs if run is not shown}
    assert len(runs) == len(trials) + 1 == 13
    assert of_trials.keys() == trials.keys()
    for trial_id, trial in trials.items():
        run, link, result = of_trials[trial_id], links[trial_id], trial.result
        assert (run.group, run.job_type, run.ended) == ("optimizers", link.technique, True)
        assert run.name == f"{link.technique}-{trial.workload}-s{trial.seed}"
        assert {run.config[key] for key in ("technique", "optimizer")} == {link.technique}
        assert (run.config["dataset"], run.config["seed"]) == (trial.workload, trial.seed)
        for key in ("lr", "batch_size", "_target_"):
            assert run.config["tree"]["optimizer"][key] == trial.settings["optimizer"][key]
        score = "val/accuracy" if trial.workload == "iris" else "val/r2"
        names = {
            "x/epoch": "epoch",
            "x/step": "step",
            "train/loss": "train_loss",
            "val/loss": "val_loss",
            score: "val_score",
        }
        curve = [{name: getattr(point, field) for name, field in names.items()} for point in result.curve]
        assert run.curve == curve
        assert {key: run.summary[key] for key in result.metrics} == result.metrics
        assert (run.summary["state"], run.summary["best_epoch"]) == (result.state.value, result.best_epoch)
        assert run.summary["val/loss"]["min"] == min(point.val_loss for point in result.curve)
        assert run.summary[score]["max"] == max(point.val_score for point in result.curve)
    assert shown.artifacts[-1]["metadata"]["runs"] == [of_trials[trial_id].id for trial_id in links]
    report = (workspace / "reports/optimizers/report.md").read_bytes()
    assert report in [path.read_bytes() for path in (workspace / "wandb-data").rglob("staging/*")]


@pytest.mark.slow
def test_a_killed_mirror_leaves_no_second_copy(workspace: Path) -> None:
    """A mirror dies while the first run of a cohort is open; a second mirror then takes over."""
    plan = Plan.of([compose_config("tracker=wandb", "evaluation.name=e", *SMALL)])
    store = Store("sqlite:///outputs/store.sqlite")
    link(plan, store, "command")
    cells.run(plan.cells[0], store)
    id = id_of("e", "mlp-adam-iris-s0", next(iter(plan.cells[0].specs)))
    program = (
        "import os; from dataclasses import replace; from contracts.tracker import RUN\n"
        "from evalbench.tracking.wandb import WandbTracker\n"
        f"run = replace(RUN, id='{id}', running=True)\n"
        "WandbTracker('evalbench', None, 'offline', 'outputs/wandb').record(run); os._exit(9)"
    )
    alone = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}  # not this process's service
    environment = {**alone, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 9
    assert len(list(workspace.glob("outputs/wandb/wandb/offline-run-*"))) == 1
    assert sync.main(["e"]) == 0
    runs = [read(path) for path in workspace.glob("outputs/wandb/wandb/offline-run-*/*.wandb")]
    assert sorted(run.name for run in runs) == ["mlp-adam-iris-s0", "mlp-adam-iris-s1"]
    assert id in [run.id for run in runs]
    assert all(run.ended for run in runs)
