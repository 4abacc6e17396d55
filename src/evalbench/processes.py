"""Run Hydra jobs in processes forked from one server that has torch and Lightning loaded; divide the cores among them.

A job of one rank goes to a worker that is kept for the next job. A job of several ranks gets its own group of workers.
The server has no threads, so that forking it is safe. Workers receive and send plain data, because Hydra's own objects
cannot be sent. A worker ends at once when this process or the server dies.
"""

import logging
import multiprocessing
import os
import pickle
import pkgutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from typing import Any, NoReturn

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.conf import HydraConf
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from evalbench import ranks
from evalbench.errors import JobLostError
from evalbench.ranks import Ranks

log = logging.getLogger(__name__)

LIGHT = ("evalbench.terminal.command_line", "evalbench.terminal.hydra_app")
HEAVY = (*LIGHT, "evalbench.engine.training")
GRACE_SECONDS = 5.0
"""The time that a worker has to end before it is killed."""
ECHO_SECONDS = 0.2
"""The time to wait for a rank's death after an error that it may have caused in another rank."""
THREADS_KEY = "OMP_NUM_THREADS"
WORKER_BYTES = 1 << 30
"""Memory that a worker may need; if memory is scarce, there are fewer workers than cores."""

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Job:
    """Hold a Hydra job as plain data."""

    task: str
    """`module:function`, importable anywhere."""
    tree: Mapping[str, Any]
    """The composed configuration, interpolations not resolved."""
    cache: Mapping[str, Any]
    """The cached values of `${now:...}` and other resolvers."""
    folder_keys: tuple[str, str | None]
    """Hydra's keys of the folder and of the folder below it."""
    ranks: int = 1

    @classmethod
    def of(cls, task: Callable[[DictConfig], Any], tree: DictConfig, hydra: Any) -> "Job":
        """Make a job from the tree that Hydra composed, and Hydra's own part of it."""
        own = _plain(hydra)
        folders: tuple[str, str | None] = ("hydra.sweep.dir", "hydra.sweep.subdir")
        if hydra.mode != RunMode.MULTIRUN:  # its folder exists already
            own["run"]["dir"], folders = hydra.runtime.output_dir, ("hydra.run.dir", None)
        content = {**_plain(tree), "hydra": own}
        num_ranks = OmegaConf.select(tree, "trainer.devices", default=1)
        return cls(_address(task), content, OmegaConf.get_cache(tree), folders, num_ranks)

    @property
    def overrides(self) -> list[str]:
        """The overrides of the job's command line."""
        return list(self.tree["hydra"]["overrides"]["task"])


def _plain(tree: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _address(task: Callable[..., Any]) -> str:
    module = task.__module__
    if module == "__main__" and (spec := sys.modules["__main__"].__spec__) is not None:
        module = spec.name
    return f"{module}:{task.__qualname__}"


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Shares:
    """Divide the cores: workers × ranks × threads do not exceed them if there is a core for each rank."""

    workers: int
    threads: int | None
    cores: int

    @classmethod
    def of(cls, num_jobs: int, workers: int | None = None, threads: int | None = None) -> "Shares":
        """Return the shares; by default, the number of workers is limited by jobs, cores and memory."""
        cores = num_cores()
        fit_in_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // WORKER_BYTES
        return cls(workers or max(1, min(num_jobs, cores, fit_in_memory)), threads, cores)

    def threads_of(self, num_ranks: int) -> int:
        """Return the number of threads of every rank of a job."""
        return min(self.threads or max(1, self.cores // (self.workers * num_ranks)), max(1, self.cores // num_ranks))

    def fits(self, num_ranks: int, running: Sequence[int]) -> bool:
        """Return whether a job may start beside the running jobs, given by their numbers of ranks."""
        used = sum(count * self.threads_of(count) for count in running)
        needed = num_ranks * self.threads_of(num_ranks)
        return not running or (len(running) < self.workers and used + needed <= self.cores)


# ── this process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def warm_up() -> None:
    """Start the server before a training is needed, so that it loads torch while this process continues."""
    _ensure_server(HEAVY)


def _ensure_server(modules: Sequence[str]) -> None:
    """Start the server if none runs; restart a dead server with the modules of the first."""
    if forkserver._forkserver._forkserver_pid is None:  # type: ignore[attr-defined]
        _context.set_forkserver_preload(list(modules))
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


def run(jobs: Iterable[Job], num_jobs: int, workers: int | None = None, threads: int | None = None) -> list[JobReturn]:
    """Run jobs in parallel; return their `JobReturn`s in the order of the jobs.

    A job is taken from `jobs` when a worker is free for it. A job that dies is FAILED like a job that raises, and the
    other jobs go on. `SystemExit` in a job ends all jobs, as it does if jobs run in one process.
    """
    pool = _Pool(Shares.of(num_jobs, workers, threads))
    returns: dict[int, JobReturn] = {}
    try:
        for number, job, outcome in pool.run(jobs):
            if outcome.exit_code is not None:
                raise SystemExit(outcome.exit_code)
            status = JobStatus.COMPLETED if outcome.error is None else JobStatus.FAILED
            returns[number] = JobReturn(overrides=job.overrides, status=status)
            returns[number].return_value = outcome.error
        pool.dismiss()
    finally:
        pool.end()
    return [returns[number] for number in sorted(returns)]


def errors(returns: Sequence[JobReturn]) -> list[Exception | None]:
    """Return the error that ended each job; None for a completed job."""
    return [None if job.status is JobStatus.COMPLETED else _error(job._return_value) for job in returns]


def _error(reason: Any) -> Exception:
    return reason if isinstance(reason, Exception) else RuntimeError(f"the job died: {reason}")


@dataclass(frozen=True)
class _Outcome:
    """Hold how a job ended in one rank: completed, with an error, or with `SystemExit`."""

    error: Exception | None = None
    exit_code: Any = None


class _Worker:
    """Control a process that runs one job after another."""

    def __init__(self, environment: Mapping[str, str], rank: Ranks) -> None:
        self.rank = rank
        self.pipe, worker_pipe = _context.Pipe()
        self.process = _context.Process(target=_work, args=(worker_pipe, dict(environment), rank), daemon=True)
        try:
            self.process.start()
        except (EOFError, OSError) as error:
            raise JobLostError("the fork server died while a process was started") from error
        finally:
            worker_pipe.close()

    def order(self, job: Job, threads: int) -> None:
        with suppress(BrokenPipeError):  # the worker has died; `answer` reports it
            self.pipe.send((job, threads))

    def answer(self) -> _Outcome | None:
        """Return the outcome that the worker sends, or None if it has died."""
        try:
            outcome: _Outcome = self.pipe.recv()
        except (EOFError, OSError):
            return None
        except Exception as error:  # the error's class can be imported only in the worker
            return _Outcome(JobLostError(f"the job failed with an unreadable error: {error}"))
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
        return not self.pipe.poll() and self.process.is_alive()


class _Group:
    """Hold the workers of one job, one for each of its ranks."""

    def __init__(self, number: int, job: Job, workers: Sequence[_Worker], threads: int) -> None:
        self.number, self.job, self.workers = number, job, list(workers)
        self.listening = list(workers)
        for worker in workers:
            worker.order(job, threads)

    def listen(self) -> _Outcome | None:
        """Return the job's outcome if it has ended: that of rank zero, or of the first rank that dies or raises.

        The death of a rank takes precedence, because errors in the other ranks only follow from it.
        """
        if len(self.workers) > 1:
            time.sleep(ECHO_SECONDS)
        answers = {worker: worker.answer() for worker in self.listening if worker.pipe.poll()}
        dead = [worker for worker, outcome in answers.items() if outcome is None]
        if dead:
            return _Outcome(dead[0].death())
        self.listening = [worker for worker in self.listening if worker not in answers]
        outcomes = {worker.rank.index: outcome for worker, outcome in answers.items() if outcome is not None}
        failed = [outcome for outcome in outcomes.values() if outcome != _Outcome()]
        return failed[0] if failed else outcomes.get(0)


class _Pool:
    """Hold all workers: those of running jobs, and idle ones."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.running: list[_Group] = []
        self.idle: list[_Worker] = []
        self.all: list[_Worker] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Job, _Outcome]]:
        """Yield every job's number, the job and its outcome as jobs end."""
        numbered = enumerate(jobs)
        upcoming = next(numbered, None)
        while upcoming is not None or self.running:
            while upcoming is not None and self.shares.fits(upcoming[1].ranks, [g.job.ranks for g in self.running]):
                try:
                    self.running.append(self._start(*upcoming))
                except JobLostError as error:
                    yield (*upcoming, _Outcome(error))
                upcoming = next(numbered, None)
            groups = {worker.pipe: group for group in self.running for worker in group.listening}
            for group in dict.fromkeys(groups[pipe] for pipe in connection.wait(list(groups))):  # type: ignore[index]
                outcome = group.listen()
                if outcome is not None:
                    self._finish(group)
                    yield group.number, group.job, outcome

    def _start(self, number: int, job: Job) -> _Group:
        threads = self.shares.threads_of(job.ranks)
        if job.ranks > 1:
            return _Group(number, job, self._gang(job.ranks), threads)
        self.idle = [worker for worker in self.idle if worker.alive]
        worker = self.idle.pop() if self.idle else self._hire(os.environ, Ranks())
        return _Group(number, job, [worker], threads)

    def _gang(self, count: int) -> list[_Worker]:
        """Start the ranks of one job, with the variables that tell Lightning that they are started already."""
        pipes = [_context.Pipe() for _ in range(1, count)]
        group_ranks = [Ranks(0, count, [end for end, _ in pipes])]
        group_ranks += [Ranks(index, count, [other_end]) for index, (_, other_end) in enumerate(pipes, start=1)]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        try:
            return [
                self._hire({**os.environ, **group, "NODE_RANK": "0", "LOCAL_RANK": str(rank.index)}, rank)
                for rank in group_ranks
            ]
        finally:
            for ends in pipes:
                for end in ends:
                    end.close()

    def _hire(self, environment: Mapping[str, str], rank: Ranks) -> _Worker:
        _ensure_server(LIGHT)  # `warm_up` has started a heavy one if anything is trained
        worker = _Worker(environment, rank)
        self.all.append(worker)
        return worker

    def _finish(self, group: _Group) -> None:
        """Keep a single worker that still runs; kill the workers of a group of several ranks."""
        self.running.remove(group)
        if group.job.ranks == 1 and group.workers[0].alive:
            self.idle.append(group.workers[0])
            return
        for worker in group.workers:
            worker.process.kill()

    def dismiss(self) -> None:
        """Let the workers end by themselves."""
        for worker in self.idle:
            worker.pipe.close()
        _join(self.idle)

    def end(self) -> None:
        """Interrupt running workers, then kill them, even if this process is interrupted meanwhile."""
        alive = [worker for worker in self.all if worker.process.is_alive()]
        try:
            for worker in alive:
                worker.process.terminate()
            _join(alive)
        finally:
            for worker in alive:
                worker.process.kill()
                worker.process.join()
            for worker in self.all:
                worker.pipe.close()


def _join(workers: Iterable[_Worker]) -> None:
    end = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


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
            pipe.send(_run(job, threads))
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


def _run(job: Job, threads: int) -> _Outcome:
    _limit_threads(threads)
    try:
        tree = _compose(job)
        empty_loader = ConfigLoaderImpl(ConfigSearchPathImpl())
        context = HydraContext(config_loader=empty_loader, callbacks=Callbacks(tree))
        task = pkgutil.resolve_name(job.task)
        result = run_job(task, tree, *job.folder_keys, hydra_context=context)
    except SystemExit as leaving:
        return _Outcome(exit_code=leaving.code or 0)
    except Exception as error:
        return _Outcome(_portable(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return _Outcome(_portable(result._return_value) if result.status is JobStatus.FAILED else None)


def _limit_threads(count: int) -> None:
    """Limit the threads of every library to `count`, loaded or not yet loaded."""
    os.environ[THREADS_KEY] = str(count)
    threadpool_limits(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def _compose(job: Job) -> DictConfig:
    """Rebuild the tree as Hydra composed it, in a process in which Hydra is not initialized."""
    setup_globals()
    tree = OmegaConf.create({key: value for key, value in job.tree.items() if key != "hydra"})
    tree.hydra = OmegaConf.merge(OmegaConf.structured(HydraConf, flags={"struct": False}), job.tree["hydra"])
    if rank := ranks.current().index:  # rank zero alone writes .hydra and the job's log
        tree.hydra.output_subdir = None
        tree.hydra.job.name = f"{tree.hydra.job.name}-rank{rank}"
    OmegaConf.set_cache(tree, dict(job.cache))
    OmegaConf.set_struct(tree, True)
    JobRuntime.instance().set("name", tree.hydra.job.name)
    return tree


def _portable(error: Exception) -> Exception:
    """Return the error, or a replacement if it cannot be sent to the parent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class may raise anything when it is copied
        return JobLostError(f"the job failed with {type(error).__name__}: {error}")
    return error
