"""Run jobs side by side, on cores and GPUs of their own.

A job of one rank goes to a worker that is kept for the next job. A job of several ranks gets its own group of workers.
A worker keeps its GPUs, because CUDA reads `CUDA_VISIBLE_DEVICES` once.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from multiprocessing import connection
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from evalbench import gpus
from evalbench.errors import JobLostError
from evalbench.processes.job import Job, JobEnding
from evalbench.processes.shares import Shares
from evalbench.processes.workers import LIGHT, Worker, context, dismiss, ensure_server, join_all
from evalbench.ranks import Ranks

log = logging.getLogger(__name__)

ECHO_SECONDS = 0.2
"""The time to wait for a rank's death after an error that it may have caused in another rank."""


def run(
    jobs: Iterable[Job], shares: Shares, free_gpu_bytes: Callable[[], Sequence[int]] = gpus.free_bytes
) -> list[JobReturn]:
    """Run jobs in parallel; return their `JobReturn`s in the order of the jobs.

    A job is taken from `jobs` when a worker is free for it. A job that dies is FAILED like a job that raises, and the
    other jobs go on. `SystemExit` in a job ends all jobs, as it does if jobs run in one process. If jobs share a GPU,
    each may take an equal part of the memory that is free before the first starts: `free_gpu_bytes`, importable
    anywhere, tells it in a process of its own.
    """
    pool = _Pool(shares, free_gpu_bytes)
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


class _Group:
    """Hold the workers of one job, one for each of its ranks; every rank sees all GPUs of the job."""

    def __init__(self, number: int, job: Job, workers: Sequence[Worker], threads: int) -> None:
        self.number, self.job, self.workers = number, job, list(workers)
        self.gpus = workers[0].gpus
        self.listening = list(workers)
        for worker in workers:
            worker.order(job, threads)

    def listen(self) -> JobEnding | None:
        """Return the job's outcome if it has ended: that of rank zero, or of the first rank that dies or raises.

        The death of a rank takes precedence, because errors in the other ranks only follow from it.
        """
        if len(self.workers) > 1:
            time.sleep(ECHO_SECONDS)
        answers = {worker: worker.answer() for worker in self.listening if worker.pipe.poll()}
        dead = [worker for worker, outcome in answers.items() if outcome is None]
        if dead:
            return JobEnding(dead[0].death())
        self.listening = [worker for worker in self.listening if worker not in answers]
        outcomes = {worker.rank.index: outcome for worker, outcome in answers.items() if outcome is not None}
        failed = [outcome for outcome in outcomes.values() if outcome != JobEnding()]
        return failed[0] if failed else outcomes.get(0)


class _Pool:
    """Hold all workers: those of running jobs, and idle ones."""

    def __init__(self, shares: Shares, free_gpu_bytes: Callable[[], Sequence[int]]) -> None:
        self.shares = shares
        self.free_gpu_bytes = free_gpu_bytes
        self.running: list[_Group] = []
        self.idle: list[Worker] = []
        self.all: list[Worker] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Job, JobEnding]]:
        """Yield every job's number, the job and its outcome as jobs end."""
        numbered = enumerate(jobs)
        upcoming = next(numbered, None)
        while upcoming is not None or self.running:
            while upcoming is not None and (names := self._gpus_for(upcoming[1])) is not None:
                try:
                    self.running.append(self._start(*upcoming, names))
                except JobLostError as error:
                    yield (*upcoming, JobEnding(error))
                upcoming = next(numbered, None)
            groups = {worker.pipe: group for group in self.running for worker in group.listening}
            for group in dict.fromkeys(groups[pipe] for pipe in connection.wait(list(groups))):  # type: ignore[index]
                outcome = group.listen()
                if outcome is not None:
                    self._finish(group)
                    yield group.number, group.job, outcome

    def _gpus_for(self, job: Job) -> tuple[str, ...] | None:
        """Return the GPUs of a job that may start now, none if it uses none; None if it must wait."""
        if not self.shares.fits(job.ranks, [group.job.ranks for group in self.running]):
            return None
        on_gpu = self.shares.gpus and job.accelerator in gpus.ACCELERATORS
        return self.shares.gpus_for(job.ranks, [group.gpus for group in self.running]) if on_gpu else ()

    def _start(self, number: int, job: Job, names: tuple[str, ...]) -> _Group:
        threads = self.shares.threads_of(job.ranks)
        self.idle = [worker for worker in self.idle if worker.alive]
        if job.ranks > 1:
            self._free(names)
            return _Group(number, job, self._gang(job.ranks, names), threads)
        same = next((worker for worker in self.idle if worker.gpus == names), None)
        if same is None:
            return _Group(number, job, [self._hire({}, Ranks(), names)], threads)
        self.idle.remove(same)
        return _Group(number, job, [same], threads)

    def _free(self, names: Sequence[str]) -> None:
        """End the idle workers that keep memory of some GPUs."""
        leaving = [worker for worker in self.idle if set(worker.gpus) & set(names)]
        self.idle = [worker for worker in self.idle if worker not in leaving]
        dismiss(leaving)

    def _gang(self, count: int, names: Sequence[str]) -> list[Worker]:
        """Start the ranks of one job, with the variables that tell Lightning that they are started already."""
        pipes = [context.Pipe() for _ in range(1, count)]
        group_ranks = [Ranks(0, count, [end for end, _ in pipes])]
        group_ranks += [Ranks(index, count, [other_end]) for index, (_, other_end) in enumerate(pipes, start=1)]
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        try:
            return [
                self._hire({**group, "NODE_RANK": "0", "LOCAL_RANK": str(rank.index)}, rank, names)
                for rank in group_ranks
            ]
        finally:
            for ends in pipes:
                for end in ends:
                    end.close()

    def _hire(self, variables: Mapping[str, str], rank: Ranks, names: Sequence[str]) -> Worker:
        ensure_server(LIGHT)  # `warm_up` has started a heavy one if anything is trained
        limits = [self._max_bytes[name] for name in names if name in self._max_bytes]
        on_gpus = gpus.environment(names, min(limits, default=None))
        worker = Worker({**os.environ, **variables, **on_gpus}, rank, names)
        self.all.append(worker)
        return worker

    @cached_property
    def _max_bytes(self) -> dict[str, int]:
        """The bytes that a job may take of each GPU; empty if no two jobs share one, or if it is not known."""
        if self.shares.jobs_per_gpu == 1 or not self.shares.gpus:
            return {}
        pipe, other_end = context.Pipe()
        process = context.Process(target=_tell, args=(other_end, self.free_gpu_bytes), daemon=True)
        try:
            process.start()
            other_end.close()
            free: Sequence[int] = pipe.recv()
            process.join()  # its own memory on the GPUs is free again
        except (EOFError, OSError):
            log.warning("the free memory of the GPUs is not known: each job may take all of it")
            return {}
        return {name: num // self.shares.jobs_per_gpu for name, num in zip(self.shares.gpus, free, strict=True)}

    def _finish(self, group: _Group) -> None:
        """Keep a single worker that still runs; kill the workers of a group of several ranks."""
        self.running.remove(group)
        if group.job.ranks == 1 and group.workers[0].alive:
            self.idle.append(group.workers[0])
            return
        for worker in group.workers:
            worker.process.kill()
        join_all(group.workers)  # so that the next job finds their memory free

    def dismiss(self) -> None:
        """Let the idle workers end by themselves."""
        dismiss(self.idle)

    def end(self) -> None:
        """Interrupt running workers, then kill them, even if this process is interrupted meanwhile."""
        alive = [worker for worker in self.all if worker.process.is_alive()]
        try:
            for worker in alive:
                worker.process.terminate()
            join_all(alive)
        finally:
            for worker in alive:
                worker.process.kill()
                worker.process.join()
            for worker in self.all:
                worker.pipe.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _tell(pipe: "connection.Connection[Any, Any]", ask: Callable[[], Sequence[int]]) -> None:
    """Send an answer through a pipe, in a process of its own."""
    pipe.send(ask())
