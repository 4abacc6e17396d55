"""Jobs in processes, with jobs that are tiny: what is trained in them is for test_command_line.py."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobStatus

import process_jobs
from evalbench import processes
from evalbench.processes import Job, Shares
from evalbench.programs import conf_folder


def job(folder: Path, number: int, *deeds: str, devices: int = 1) -> Job:
    """Return a job whose ranks do the deeds; the last deed is also for the ranks behind it."""
    overrides = [f"hydra.sweep.dir={folder}", f"+hydra.job.num={number}", "hydra.mode=MULTIRUN"]
    overrides += [f"trainer.devices={devices}", f"+deeds={json.dumps(deeds)}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        tree = compose("config", overrides=overrides, return_hydra_config=True)
    return Job.of(process_jobs.act, tree, tree.hydra)


def note(folder: Path, number: int, rank: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / str(number) / f"note{rank}.json").read_text())
    return content


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def endings(returns: list[Any]) -> list[str]:
    """Return what came of every job, in a word or two."""
    return [
        "completed"
        if done.status is JobStatus.COMPLETED
        else f"{type(done._return_value).__name__}: {done._return_value}"
        for done in returns
    ]


@pytest.mark.slow
def test_a_job_that_dies_or_raises_is_failed_and_the_others_go_on(tmp_path: Path) -> None:
    deeds = ["nothing", "raise", "kill", "nothing", "exit", "crash", "nothing"]
    returns = processes.run([job(tmp_path, n, deed) for n, deed in enumerate(deeds)], len(deeds), workers=2)
    assert endings(returns) == [
        "completed",
        "ValueError: invalid literal for int() with base 10: 'eleven'",
        "JobLostError: the job died with signal 9 (out of memory, perhaps)",
        "completed",
        "JobLostError: the job died with exit code 3",
        "JobLostError: the job died with signal 11",
        "completed",
    ]
    assert not any(is_alive(note(tmp_path, number)["pid"]) for number in range(len(deeds)))


@pytest.mark.slow
def test_a_job_sees_what_it_would_see_in_one_process(tmp_path: Path) -> None:
    (done,) = processes.run([job(tmp_path, 4, "nothing")], 1)
    assert done.status is JobStatus.COMPLETED
    number, name, overrides = note(tmp_path, 4)["job"]
    assert (number, name, overrides) == (4, "evalbench", done.overrides)
    assert "trainer.devices=1" in overrides
    assert "a word from rank 0" in (tmp_path / "4" / "evalbench.log").read_text()
    assert {path.name for path in (tmp_path / "4" / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }
    assert note(tmp_path, 4)["LOCAL_RANK"] == os.environ.get("LOCAL_RANK")


@pytest.mark.slow
def test_workers_are_kept_for_the_next_job_and_load_no_torch_for_nothing(tmp_path: Path) -> None:
    processes.run([job(tmp_path, number, "nothing") for number in range(5)], 5, workers=2)
    notes = [note(tmp_path, number) for number in range(5)]
    assert len({entry["pid"] for entry in notes}) <= 2
    assert not any(entry["torch"] for entry in notes)


def test_a_job_that_leaves_the_program_ends_all(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0, "stay"), job(tmp_path, 1, "leave")]
    with pytest.raises(SystemExit) as leaving:
        processes.run(jobs, 2, workers=2, threads=1)
    assert leaving.value.code == 2
    assert not is_alive(note(tmp_path, 1)["pid"])


@pytest.mark.slow
def test_the_death_of_the_fork_server_costs_the_jobs_that_run(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0, "kill the server"), job(tmp_path, 1, "nothing"), job(tmp_path, 2, "nothing")]
    returns = processes.run(jobs, 3, workers=1)
    assert endings(returns) == ["JobLostError: the job died with its fork server", "completed", "completed"]
    assert not is_alive(note(tmp_path, 0)["pid"])


# ── ranks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_jobs_of_one_and_of_two_ranks_follow_each_other(tmp_path: Path) -> None:
    devices = [1, 2, 2, 1]
    jobs = [job(tmp_path, number, "nothing", devices=count) for number, count in enumerate(devices)]
    assert endings(processes.run(jobs, 4)) == ["completed"] * 4
    for number, count in enumerate(devices):
        places = [note(tmp_path, number, rank) for rank in range(count)]
        assert [place["others"] for place in places] == [[["from zero"]] * count, []][:count]
        if count > 1:
            assert [(place["LOCAL_RANK"], place["NODE_RANK"]) for place in places] == [("0", "0"), ("1", "0")]
            assert {(place["WORLD_SIZE"], place["MASTER_ADDR"]) for place in places} == {("2", "127.0.0.1")}
            assert len({place["MASTER_PORT"] for place in places}) == 1
        else:
            assert places[0]["WORLD_SIZE"] is None


def test_outputs_are_those_of_rank_zero(tmp_path: Path) -> None:
    processes.run([job(tmp_path, 0, "nothing", devices=2)], 1)
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert names == {".hydra", "evalbench.log", "evalbench-rank1.log", "note0.json", "note1.json"}
    assert "rank1" not in (tmp_path / "0" / ".hydra" / "hydra.yaml").read_text()
    assert "rank 1" not in (tmp_path / "0" / "evalbench.log").read_text()
    assert "rank 1" in (tmp_path / "0" / "evalbench-rank1.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deeds", "ending"),
    [
        (["stay", "kill"], "JobLostError: rank 1 of the job died with signal 9 (out of memory, perhaps)"),
        (["kill", "stay"], "JobLostError: rank 0 of the job died with signal 9 (out of memory, perhaps)"),
        (["listen", "kill"], "JobLostError: rank 1 of the job died with signal 9 (out of memory, perhaps)"),
        (["stay", "raise"], "ValueError: invalid literal for int() with base 10: 'eleven'"),
        (["raise", "stay"], "ValueError: invalid literal for int() with base 10: 'eleven'"),
        (["nothing", "stay"], "completed"),
    ],
)
def test_a_group_ends_with_rank_zero_or_with_the_first_that_fails(
    tmp_path: Path, deeds: list[str], ending: str
) -> None:
    jobs = [job(tmp_path, 0, *deeds, devices=2), job(tmp_path, 1, "nothing")]
    assert endings(processes.run(jobs, 2)) == [ending, "completed"]
    assert not any(is_alive(note(tmp_path, 0, rank)["pid"]) for rank in range(2))


# ── cores ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("num_ranks", [1, 2, 5])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("threads", [None, 1, 4, 100])
def test_what_runs_together_never_exceeds_the_cores(
    cores: int, num_ranks: int, workers: int, threads: int | None
) -> None:
    shares = Shares(workers, threads, cores)
    running: list[int] = []
    while shares.fits(num_ranks, running):
        running.append(num_ranks)
    assert 1 <= len(running) <= workers
    each = shares.threads_of(num_ranks)
    assert each >= 1
    assert len(running) * num_ranks * each <= cores or (len(running), each) == (1, 1)


@pytest.mark.parametrize(
    ("num_jobs", "cores", "workers", "threads"), [(18, 2, 2, 1), (1, 8, 1, 8), (3, 8, 3, 2), (100, 8, 8, 1)]
)
def test_all_cores_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, num_jobs: int, cores: int, workers: int, threads: int
) -> None:
    monkeypatch.setattr(processes, "num_cores", lambda: cores)
    shares = Shares.of(num_jobs)
    assert (shares.workers, shares.threads_of(1)) == (workers, threads)


@pytest.mark.slow
def test_every_worker_is_told_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "num_cores", lambda: 6)
    processes.run([job(tmp_path, 0, "nothing"), job(tmp_path, 1, "nothing", devices=2)], 2)
    assert [note(tmp_path, 0)["OMP_NUM_THREADS"], note(tmp_path, 1, 1)["OMP_NUM_THREADS"]] == ["3", "1"]
    assert [note(tmp_path, 0)["threads"], note(tmp_path, 1, 1)["threads"]] == [[3], [1]]


def test_ctrl_c_does_not_reach_the_fork_server() -> None:
    script = (
        "from multiprocessing import forkserver; from evalbench import processes\n"
        "processes._ensure_server(['evalbench.errors'])\n"
        "print(open(f'/proc/{forkserver._forkserver._forkserver_pid}/status').read())"
    )
    status = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (blocked,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    assert int(blocked, 16) >> (signal.SIGINT - 1) & 1
