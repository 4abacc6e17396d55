"""Hydra jobs in processes forked from one server that has torch and Lightning loaded, the cores shared out among them.

A job of one rank goes to a worker that is kept for the next one; a job of several ranks gets a group of its own. The
server is a process without threads of its own, so that forking it is safe; workers get plain data and send plain data
back, because Hydra's own objects do not survive the way. A worker ends at once when this process or the server dies.
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
"""How long a worker that is told to end may take before it is killed."""
ECHO_SECONDS = 0.2
"""How long to listen for a rank's death after the error that it may have caused in another rank."""
THREADS_KEY = "OMP_NUM_THREADS"
WORKER_BYTES = 1 << 30
"""Memory that one worker may need; there are fewer workers than cores where it is scarce."""

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Job:
    """A Hydra job as plain data."""

    task: str
    """`module:function`, importable anywhere."""
    tree: Mapping[str, Any]
    """The composed configuration, interpolations not resolved."""
    cache: Mapping[str, Any]
    """What `${now:...}` and other cached resolvers have answered already."""
    folder_keys: tuple[str, str | None]
    ranks: int = 1

    @classmethod
    def of(cls, task: Callable[[DictConfig], Any], tree: DictConfig, hydra: Any) -> "Job":
        """Make a job from the tree that Hydra composed, and its own part of it."""
        own = _plain(hydra)
        folders: tuple[str, str | None] = ("hydra.sweep.dir", "hydra.sweep.subdir")
        if hydra.mode != RunMode.MULTIRUN:  # its folder is there already
            own["run"]["dir"], folders = hydra.runtime.output_dir, ("hydra.run.dir", None)
        content = {**_plain(tree), "hydra": own}
        num_ranks = OmegaConf.select(tree, "trainer.devices", default=1)
        return cls(_address(task), content, OmegaConf.get_cache(tree), folders, num_ranks)

    @property
    def overrides(self) -> list[str]:
        """What the job's command line says."""
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
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Shares:
    """How the cores are shared out: workers × ranks × threads never exceed them, as long as there are enough."""

    workers: int
    threads: int | None
    cores: int

    @classmethod
    def of(cls, num_jobs: int, workers: int | None = None, threads: int | None = None) -> "Shares":
        """Fill in what was not asked for: as many workers as there are jobs, cores and memory for."""
        cores = num_cores()
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // WORKER_BYTES
        return cls(workers or max(1, min(num_jobs, cores, room)), threads, cores)

    def threads_of(self, num_ranks: int) -> int:
        """Return the threads of every rank of a job."""
        return min(self.threads or max(1, self.cores // (self.workers * num_ranks)), max(1, self.cores // num_ranks))

    def fits(self, num_ranks: int, running: Sequence[int]) -> bool:
        """Say whether a job may start beside those that run, given by their ranks."""
        used = sum(count * self.threads_of(count) for count in running)
        cost = num_ranks * self.threads_of(num_ranks)
        return not running or (len(running) < self.workers and used + cost <= self.cores)


# ── this process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def warm_up() -> None:
    """Start the server now, because something is going to be trained: it loads torch while this process goes on."""
    _ensure_server(HEAVY)


def _ensure_server(modules: Sequence[str]) -> None:
    """Start the server if there is none; one that dies is started again with the modules of the first."""
    if forkserver._forkserver._forkserver_pid is None:  # type: ignore[attr-defined]
        _context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # the server would start it, and unblock the signal in doing so
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})  # inherited: for this process alone
    threads = os.environ.get(THREADS_KEY)
    os.environ[THREADS_KEY] = "1"  # inherited too: no library starts threads in the server
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[THREADS_KEY]
        if threads is not None:
            os.environ[THREADS_KEY] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def run(jobs: Iterable[Job], num_jobs: int, workers: int | None = None, threads: int | None = None) -> list[JobReturn]:
    """Run jobs side by side; return how each ended, in their order.

    A job is taken from `jobs` when there is room for it. One that dies is FAILED like one that raises, and the others
    go on. `SystemExit` in a job ends all of them, as it does where jobs run in one process.
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
    """Return what ended each job early: None for a job that came to its end."""
    return [None if ended.status is JobStatus.COMPLETED else _error(ended._return_value) for ended in returns]


def _error(reason: Any) -> Exception:
    return reason if isinstance(reason, Exception) else RuntimeError(f"the job died: {reason}")


@dataclass(frozen=True)
class _Outcome:
    """How a job ended in one rank: well, with an error, or with the wish to leave the program."""

    error: Exception | None = None
    exit_code: Any = None


class _Worker:
    """A process that runs one job after another."""

    def __init__(self, environment: Mapping[str, str], place: Ranks) -> None:
        self.place = place
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(target=_work, args=(theirs, dict(environment), place), daemon=True)
        try:
            self.process.start()
        except (EOFError, OSError) as error:
            raise JobLostError("the fork server died while a process was started") from error
        finally:
            theirs.close()

    def order(self, job: Job, threads: int) -> None:
        with suppress(BrokenPipeError):  # it has died, as listening will tell
            self.pipe.send((job, threads))

    def answer(self) -> _Outcome | None:
        """Return what the worker says, or None where it has died."""
        try:
            outcome: _Outcome = self.pipe.recv()
        except (EOFError, OSError):
            return None
        except Exception as error:  # an error of a class that can be imported only there
            return _Outcome(JobLostError(f"the job failed, and why cannot be read: {error}"))
        return outcome

    def death(self) -> JobLostError:
        """Return why the worker is no more."""
        self.process.join(GRACE_SECONDS)
        code = self.process.exitcode
        who = f"rank {self.place.index} of the job" if self.place.count > 1 else "the job"
        if code is not None and code < 0:
            hint = " (out of memory, perhaps)" if code == -signal.SIGKILL else ""
            return JobLostError(f"{who} died with signal {-code}{hint}")
        if code == 255:  # what multiprocessing says when the server cannot tell
            return JobLostError(f"{who} died with its fork server")
        return JobLostError(f"{who} died with exit code {code}")

    @property
    def alive(self) -> bool:
        return not self.pipe.poll() and self.process.is_alive()


class _Group:
    """The workers of one job, one for each of its ranks."""

    def __init__(self, number: int, job: Job, workers: Sequence[_Worker], threads: int) -> None:
        self.number, self.job, self.workers = number, job, list(workers)
        self.listening = list(workers)
        for worker in workers:
            worker.order(job, threads)

    def listen(self) -> _Outcome | None:
        """Return how the job ended, if it has: with rank zero, or with the first rank that dies or raises.

        The death of a rank comes before everything else, because the others only echo it.
        """
        if len(self.workers) > 1:
            time.sleep(ECHO_SECONDS)
        words = [(worker, worker.answer()) for worker in self.listening if worker.pipe.poll()]
        deaths = [worker for worker, outcome in words if outcome is None]
        if deaths:
            return _Outcome(deaths[0].death())
        self.listening = [worker for worker in self.listening if worker not in [one for one, _ in words]]
        outcomes = [(worker.place.index, outcome) for worker, outcome in words if outcome is not None]
        bad = [outcome for _, outcome in outcomes if outcome != _Outcome()]
        return bad[0] if bad else next((outcome for index, outcome in outcomes if index == 0), None)


class _Pool:
    """All workers: those of the running jobs, and those that wait for one."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.running: list[_Group] = []
        self.idle: list[_Worker] = []
        self.all: list[_Worker] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Job, _Outcome]]:
        """Yield every job's number and outcome as they end."""
        upcoming = enumerate(jobs)
        waiting = next(upcoming, None)
        while waiting is not None or self.running:
            while waiting is not None and self.shares.fits(waiting[1].ranks, [g.job.ranks for g in self.running]):
                try:
                    self.running.append(self._start(*waiting))
                except JobLostError as error:
                    yield (*waiting, _Outcome(error))
                waiting = next(upcoming, None)
            listened = {worker.pipe: group for group in self.running for worker in group.listening}
            for group in dict.fromkeys(listened[pipe] for pipe in connection.wait(list(listened))):  # type: ignore[index]
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
        """Start the ranks of one job; what Lightning reads says that they are started already."""
        pipes = [_context.Pipe() for _ in range(1, count)]
        places = [Ranks(0, count, [mine for mine, _ in pipes])]
        places += [Ranks(index, count, [theirs]) for index, (_, theirs) in enumerate(pipes, start=1)]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        try:
            return [
                self._hire({**os.environ, **group, "NODE_RANK": "0", "LOCAL_RANK": str(place.index)}, place)
                for place in places
            ]
        finally:
            for ends in pipes:
                for end in ends:
                    end.close()

    def _hire(self, environment: Mapping[str, str], place: Ranks) -> _Worker:
        _ensure_server(LIGHT)  # a warm one if anything is trained
        worker = _Worker(environment, place)
        self.all.append(worker)
        return worker

    def _finish(self, group: _Group) -> None:
        """Keep a worker that can go on; the rest of a group has nothing left to say."""
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
        """Interrupt what still runs; nothing is left running, whatever happens here."""
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


def _work(pipe: "connection.Connection[Any, Any]", environment: Mapping[str, str], place: Ranks) -> None:
    """Run the jobs that come through the pipe, until it closes."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_follow_into_death, args=(os.getppid(),), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    ranks.join(place)
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


def _follow_into_death(server: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not connection.wait([parent.sentinel], timeout=1.0) and os.getppid() == server:
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _run(job: Job, threads: int) -> _Outcome:
    _take_threads(threads)
    try:
        tree = _compose(job)
        nothing_to_load = ConfigLoaderImpl(ConfigSearchPathImpl())
        context = HydraContext(config_loader=nothing_to_load, callbacks=Callbacks(tree))
        task = pkgutil.resolve_name(job.task)
        done = run_job(task, tree, *job.folder_keys, hydra_context=context)
    except SystemExit as leaving:
        return _Outcome(exit_code=leaving.code or 0)
    except Exception as error:
        return _Outcome(_portable(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return _Outcome(_portable(done._return_value) if done.status is JobStatus.FAILED else None)


def _take_threads(count: int) -> None:
    """Give every library this many threads: those that are loaded, and those that will be."""
    os.environ[THREADS_KEY] = str(count)
    threadpool_limits(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def _compose(job: Job) -> DictConfig:
    """Return the tree as Hydra had it, in a process where Hydra knows of nothing yet."""
    setup_globals()
    tree = OmegaConf.create({key: value for key, value in job.tree.items() if key != "hydra"})
    tree.hydra = OmegaConf.merge(OmegaConf.structured(HydraConf, flags={"struct": False}), job.tree["hydra"])
    if rank := ranks.here().index:  # rank zero alone writes .hydra and the job's log
        tree.hydra.output_subdir = None
        tree.hydra.job.name = f"{tree.hydra.job.name}-rank{rank}"
    OmegaConf.set_cache(tree, dict(job.cache))
    OmegaConf.set_struct(tree, True)
    JobRuntime.instance().set("name", tree.hydra.job.name)
    return tree


def _portable(error: Exception) -> Exception:
    """Return an error that survives the way to the parent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does when it is copied
        return JobLostError(f"the job failed with {type(error).__name__}: {error}")
    return error
