"""Jobs in processes, with tiny jobs; test_command_line.py trains in them."""

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
from evalbench import gpus, processes
from evalbench.errors import ConfigError
from evalbench.processes import Job, Shares
from evalbench.programs import conf_folder


def job(folder: Path, number: int, *deeds: str, devices: int = 1, accelerator: str = "auto") -> Job:
    """Return a job whose ranks do the deeds in order; further ranks repeat the last deed."""
    overrides = [f"hydra.sweep.dir={folder}", f"+hydra.job.num={number}", "hydra.mode=MULTIRUN"]
    overrides += [f"trainer.devices={devices}", f"trainer.accelerator={accelerator}", f"+deeds={json.dumps(deeds)}"]
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
    """Return how every job ended, in a few words."""
    return [
        "completed"
        if job_return.status is JobStatus.COMPLETED
        else f"{type(job_return._return_value).__name__}: {job_return._return_value}"
        for job_return in returns
    ]


@pytest.mark.slow
def test_a_job_that_dies_or_raises_is_failed_and_the_others_go_on(tmp_path: Path) -> None:
    deeds = ["nothing", "raise", "kill", "nothing", "exit", "crash", "nothing"]
    returns = processes.run([job(tmp_path, n, deed) for n, deed in enumerate(deeds)], Shares.of(len(deeds), workers=2))
    assert endings(returns) == [
        "completed",
        "ValueError: invalid literal for int() with base 10: 'eleven'",
        "JobLostError: the job died with signal 9 (possibly out of memory)",
        "completed",
        "JobLostError: the job died with exit code 3",
        "JobLostError: the job died with signal 11",
        "completed",
    ]
    assert not any(is_alive(note(tmp_path, number)["pid"]) for number in range(len(deeds)))


@pytest.mark.slow
def test_a_job_in_a_worker_sees_the_same_as_in_one_process(tmp_path: Path) -> None:
    (job_return,) = processes.run([job(tmp_path, 4, "nothing")], Shares.of(1))
    assert job_return.status is JobStatus.COMPLETED
    number, name, overrides = note(tmp_path, 4)["job"]
    assert (number, name, overrides) == (4, "evalbench", job_return.overrides)
    assert "trainer.devices=1" in overrides
    assert "hello from rank 0" in (tmp_path / "4" / "evalbench.log").read_text()
    assert {path.name for path in (tmp_path / "4" / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }
    assert note(tmp_path, 4)["LOCAL_RANK"] == os.environ.get("LOCAL_RANK")


@pytest.mark.slow
def test_workers_are_kept_for_the_next_job_and_load_no_torch_without_need(tmp_path: Path) -> None:
    processes.run([job(tmp_path, number, "nothing") for number in range(5)], Shares.of(5, workers=2))
    notes = [note(tmp_path, number) for number in range(5)]
    assert len({entry["pid"] for entry in notes}) <= 2
    assert not any(entry["torch"] for entry in notes)


@pytest.mark.slow
def test_a_job_that_leaves_the_program_ends_all(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0, "stay"), job(tmp_path, 1, "leave")]
    with pytest.raises(SystemExit) as leaving:
        processes.run(jobs, Shares.of(2, workers=2, threads=1))
    assert leaving.value.code == 2
    assert not is_alive(note(tmp_path, 1)["pid"])


@pytest.mark.slow
def test_the_death_of_the_fork_server_fails_the_running_jobs(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0, "kill the server"), job(tmp_path, 1, "nothing"), job(tmp_path, 2, "nothing")]
    returns = processes.run(jobs, Shares.of(3, workers=1))
    assert endings(returns) == ["JobLostError: the job died with its fork server", "completed", "completed"]
    assert not is_alive(note(tmp_path, 0)["pid"])


# ── ranks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_jobs_of_one_and_of_two_ranks_follow_each_other(tmp_path: Path) -> None:
    devices = [1, 2, 2, 1]
    jobs = [job(tmp_path, number, "nothing", devices=count) for number, count in enumerate(devices)]
    assert endings(processes.run(jobs, Shares.of(4))) == ["completed"] * 4
    for number, count in enumerate(devices):
        notes = [note(tmp_path, number, rank) for rank in range(count)]
        assert [entry["others"] for entry in notes] == [[["from zero"]] * count, []][:count]
        if count > 1:
            assert [(entry["LOCAL_RANK"], entry["NODE_RANK"]) for entry in notes] == [("0", "0"), ("1", "0")]
            assert {(entry["WORLD_SIZE"], entry["MASTER_ADDR"]) for entry in notes} == {("2", "127.0.0.1")}
            assert len({entry["MASTER_PORT"] for entry in notes}) == 1
        else:
            assert notes[0]["WORLD_SIZE"] is None


@pytest.mark.slow
def test_outputs_are_those_of_rank_zero(tmp_path: Path) -> None:
    processes.run([job(tmp_path, 0, "nothing", devices=2)], Shares.of(1))
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert names == {".hydra", "evalbench.log", "evalbench-rank1.log", "note0.json", "note1.json"}
    assert "rank1" not in (tmp_path / "0" / ".hydra" / "hydra.yaml").read_text()
    assert "rank 1" not in (tmp_path / "0" / "evalbench.log").read_text()
    assert "rank 1" in (tmp_path / "0" / "evalbench-rank1.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deeds", "ending"),
    [
        (["stay", "kill"], "JobLostError: rank 1 of the job died with signal 9 (possibly out of memory)"),
        (["kill", "stay"], "JobLostError: rank 0 of the job died with signal 9 (possibly out of memory)"),
        (["listen", "kill"], "JobLostError: rank 1 of the job died with signal 9 (possibly out of memory)"),
        (["stay", "raise"], "ValueError: invalid literal for int() with base 10: 'eleven'"),
        (["raise", "stay"], "ValueError: invalid literal for int() with base 10: 'eleven'"),
        (["nothing", "stay"], "completed"),
    ],
)
def test_a_group_ends_with_rank_zero_or_with_the_first_that_fails(
    tmp_path: Path, deeds: list[str], ending: str
) -> None:
    jobs = [job(tmp_path, 0, *deeds, devices=2), job(tmp_path, 1, "nothing")]
    assert endings(processes.run(jobs, Shares.of(2))) == [ending, "completed"]
    assert not any(is_alive(note(tmp_path, 0, rank)["pid"]) for rank in range(2))


# ── cores ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("num_ranks", [1, 2, 5])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("threads", [None, 1, 4, 100])
def test_parallel_jobs_never_exceed_the_cores(cores: int, num_ranks: int, workers: int, threads: int | None) -> None:
    shares = Shares(workers, threads, cores)
    running: list[int] = []
    while shares.fits(num_ranks, running):
        running.append(num_ranks)
    assert 1 <= len(running) <= workers
    rank_threads = shares.threads_of(num_ranks)
    assert rank_threads >= 1
    assert len(running) * num_ranks * rank_threads <= cores or (len(running), rank_threads) == (1, 1)


@pytest.mark.parametrize(
    ("num_jobs", "cores", "workers", "threads"), [(18, 2, 2, 1), (1, 8, 1, 8), (3, 8, 3, 2), (100, 8, 8, 1)]
)
def test_all_cores_are_used(num_jobs: int, cores: int, workers: int, threads: int) -> None:
    shares = Shares.of(num_jobs, cores=cores)
    assert (shares.workers, shares.threads_of(1)) == (workers, threads)


@pytest.mark.slow
def test_every_worker_gets_its_threads(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0, "nothing"), job(tmp_path, 1, "nothing", devices=2)]
    processes.run(jobs, Shares.of(2, cores=6))
    assert [note(tmp_path, 0)["OMP_NUM_THREADS"], note(tmp_path, 1, 1)["OMP_NUM_THREADS"]] == ["3", "1"]
    assert [note(tmp_path, 0)["threads"], note(tmp_path, 1, 1)["threads"]] == [[3], [1]]


# ── GPUs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("num_gpus", [1, 2, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
@pytest.mark.parametrize("jobs_per_gpu", [1, 2])
def test_a_gpu_never_has_more_jobs_than_it_may(num_gpus: int, num_ranks: int, jobs_per_gpu: int) -> None:
    names = tuple("abc"[:num_gpus])
    shares = Shares(99, 1, 99, names, jobs_per_gpu)
    running: list[tuple[str, ...]] = []
    while chosen := shares.gpus_for(num_ranks, running):
        running.append(chosen)
    counts = [sum(name in chosen for chosen in running) for name in names]
    assert max(counts) <= jobs_per_gpu
    assert max(counts) - min(counts) <= 1
    assert len(running) == (num_gpus * jobs_per_gpu // num_ranks if num_ranks <= num_gpus else 0)


def test_a_job_waits_for_a_gpu_and_then_gets_the_one_that_is_free() -> None:
    shares = Shares(4, 1, 4, ("a", "b"))
    assert shares.gpus_for(1, [("a",), ("b",)]) is None
    assert shares.gpus_for(2, [("a",)]) is None
    assert shares.gpus_for(1, [("a",)]) == ("b",)
    assert shares.gpus_for(3, []) == ()  # Lightning refuses it


def test_there_are_as_many_workers_as_the_gpus_may_have() -> None:
    assert Shares.of(9, cores=16, gpus=("0",)).workers == 1
    assert Shares.of(9, cores=16, gpus=("0", "1"), jobs_per_gpu=3).workers == 6
    assert Shares.of(9, cores=2, gpus=("0", "1"), jobs_per_gpu=3).workers == 2
    assert Shares.of(9, workers=3, cores=16, gpus=("0", "1"), jobs_per_gpu=3).workers == 3
    with pytest.raises(ConfigError, match=r"workers must be at most 2, 1 per visible GPU, not 3: raise .*jobs_per_gpu"):
        Shares.of(9, workers=3, gpus=("0", "1"))
    with pytest.raises(ConfigError, match=r"jobs_per_gpu must be a whole number of at least 1, not 0"):
        Shares.of(9, jobs_per_gpu=0)


def signs(folder: Path, number: int, rank: int = 0) -> list[str | None]:
    """Return the GPUs that a job saw, and the bytes that it may take of each."""
    return [note(folder, number, rank)[key] for key in (gpus.VISIBLE_KEY, gpus.BYTES_KEY)]


@pytest.mark.slow
def test_every_rank_sees_the_gpus_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE_KEY, "as it was")
    shares = Shares(4, 1, 4, ("GPU-7", "3"))
    jobs = [
        job(tmp_path, 0, "nothing"),
        job(tmp_path, 1, "nothing", devices=2),
        job(tmp_path, 2, "nothing", accelerator="cpu"),
        *(job(tmp_path, number, "nothing") for number in range(3, 8)),
    ]
    assert endings(processes.run(jobs, shares)) == ["completed"] * 8
    assert [signs(tmp_path, 1, rank) for rank in range(2)] == [["GPU-7,3", None]] * 2
    assert signs(tmp_path, 2) == ["as it was", None]
    single = [(note(tmp_path, n)["pid"], *signs(tmp_path, n)) for n in range(3, 8)]
    assert {names for _, names, _ in single} <= {"GPU-7", "3"}
    assert len({pid for pid, _, _ in single}) == len({names for _, names, _ in single})  # a worker keeps its GPU


@pytest.mark.slow
def test_jobs_that_share_a_gpu_divide_the_memory_that_is_free(tmp_path: Path) -> None:
    shares = Shares(4, 1, 4, ("0", "1"), jobs_per_gpu=2)
    jobs = [job(tmp_path, 0, "nothing", devices=2), *(job(tmp_path, n, "nothing") for n in range(1, 5))]
    processes.run(jobs, shares, process_jobs.free_bytes)
    assert signs(tmp_path, 0, rank=1) == ["0,1", "500"]
    assert {tuple(signs(tmp_path, number)) for number in range(1, 5)} <= {("0", "500"), ("1", "2000")}
    processes.run(jobs[:1], shares, process_jobs.die)
    assert signs(tmp_path, 0) == ["0,1", None]


def test_ctrl_c_and_a_closed_terminal_do_not_reach_the_fork_server() -> None:
    script = (
        "from multiprocessing import forkserver; from evalbench.processes import workers\n"
        "workers.ensure_server(['evalbench.errors'])\n"
        "print(open(f'/proc/{forkserver._forkserver._forkserver_pid}/status').read())"
    )
    status = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (blocked,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    assert all(int(blocked, 16) >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGHUP))
