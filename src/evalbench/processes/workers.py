"""Processes that run one job after another, forked from one server that has torch and Lightning loaded.

The server has no threads, so that forking it is safe. A worker ends at once when this process or the server dies.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection, forkserver, resource_tracker
from typing import Any, NoReturn

from evalbench import ranks
from evalbench.errors import JobLostError
from evalbench.processes.job import THREADS_KEY, Job, JobEnding, run_here
from evalbench.ranks import Ranks

LIGHT = ("evalbench.terminal.command_line", "evalbench.terminal.hydra_app")
HEAVY = (*LIGHT, "evalbench.engine.training")
GRACE_SECONDS = 5.0
"""The time that a worker has to end before it is killed."""

context = multiprocessing.get_context("forkserver")


# ── this process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def warm_up() -> None:
    """Start the server before a training is needed, so that it loads torch while this process continues."""
    ensure_server(HEAVY)


def ensure_server(modules: Sequence[str]) -> None:
    """Start the server if none runs; restart a dead server with the modules of the first."""
    if forkserver._forkserver._forkserver_pid is None:  # type: ignore[attr-defined]
        context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # else the server starts it and thereby unblocks the signals
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})  # inherited by the server
    threads = os.environ.get(THREADS_KEY)
    os.environ[THREADS_KEY] = "1"  # inherited, so that no library starts threads in the server
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[THREADS_KEY]
        if threads is not None:
            os.environ[THREADS_KEY] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Worker:
    """Control a process that runs one job after another.

    `names` are the GPUs that its environment shows it, none if it uses none.
    """

    def __init__(self, environment: Mapping[str, str], rank: Ranks, names: Sequence[str]) -> None:
        self.rank = rank
        self.gpus = names
        self.pipe, worker_pipe = context.Pipe()
        self.process = context.Process(target=_work, args=(worker_pipe, dict(environment), rank), daemon=True)
        try:
            self.process.start()
        except (EOFError, OSError) as error:
            raise JobLostError("the fork server died while a process was started") from error
        finally:
            worker_pipe.close()

    def order(self, job: Job, threads: int) -> None:
        """Send a job to run on a number of threads."""
        with suppress(BrokenPipeError):  # the worker has died; `answer` reports it
            self.pipe.send((job, threads))

    def answer(self) -> JobEnding | None:
        """Return the outcome that the worker sends, or None if it has died."""
        try:
            outcome: JobEnding = self.pipe.recv()
        except (EOFError, OSError):
            return None
        except Exception as error:  # the error's class can be imported only in the worker
            return JobEnding(JobLostError(f"the job failed with an unreadable error: {error}"))
        return outcome

    def death(self) -> JobLostError:
        """Return the reason of the worker's death as an error."""
        self.process.join(GRACE_SECONDS)
        code = self.process.exitcode
        name = f"rank {self.rank.index} of the job" if self.rank.count > 1 else "the job"
        if code is not None and code < 0:
            hint = " (possibly out of memory)" if code == -signal.SIGKILL else ""
            return JobLostError(f"{name} died with signal {-code}{hint}")
        if code == 255:  # multiprocessing's code if the server cannot tell
            return JobLostError(f"{name} died with its fork server")
        return JobLostError(f"{name} died with exit code {code}")

    @property
    def alive(self) -> bool:
        """Return whether the worker waits for a job."""
        return not self.pipe.poll() and self.process.is_alive()


def dismiss(workers: Sequence[Worker]) -> None:
    """Let idle workers end by themselves."""
    for worker in workers:
        worker.pipe.close()
    join_all(workers)


def join_all(workers: Iterable[Worker]) -> None:
    """Wait until workers have ended, together at most `GRACE_SECONDS`."""
    end = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))


# ── a worker ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _work(pipe: "connection.Connection[Any, Any]", environment: Mapping[str, str], rank: Ranks) -> None:
    """Run the jobs from the pipe until it closes."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    ranks.join(rank)
    try:
        while True:
            try:
                job, threads = pipe.recv()
            except EOFError:
                return
            pipe.send(run_here(job, threads))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)


def _interrupt(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with_parent(server: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not connection.wait([parent.sentinel], timeout=1.0) and os.getppid() == server:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
