"""Divide the cores, the GPUs and the memory of this machine among the jobs that run side by side."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalbench.errors import ConfigError

WORKER_BYTES = 1 << 30
"""Memory that a worker may need; if memory is scarce, there are fewer workers than cores."""


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Shares:
    """Divide a machine: workers × ranks × threads do not exceed the cores if there is a core for each rank.

    Each rank of a job that uses GPUs has one of them, which at most `jobs_per_gpu` jobs share.
    """

    workers: int
    threads: int | None
    cores: int
    gpus: tuple[str, ...] = ()
    jobs_per_gpu: int = 1

    @classmethod
    def of(
        cls,
        num_jobs: int,
        workers: int | None = None,
        threads: int | None = None,
        *,
        gpus: Sequence[str] = (),
        jobs_per_gpu: int = 1,
        cores: int | None = None,
    ) -> "Shares":
        """Return the shares of jobs that use these GPUs.

        By default, the number of workers is limited by jobs, cores, memory and GPUs. Raises `ConfigError` for a number
        below 1, and for more workers than the GPUs may have.
        """
        for key, value in (("workers", workers), ("threads", threads), ("jobs_per_gpu", jobs_per_gpu)):
            if value is not None and value < 1:
                rule = "must be a whole number of at least 1"
                raise ConfigError(f"hydra.launcher.{key}", rule, value, f"for example hydra.launcher.{key}=2")
        cores = cores or num_cores()
        slots = len(gpus) * jobs_per_gpu
        if gpus and workers is not None and workers > slots:
            rule = f"must be at most {slots}, {jobs_per_gpu} per visible GPU"
            remedy = "raise hydra.launcher.jobs_per_gpu, which divides a GPU's memory, or leave workers out"
            raise ConfigError("hydra.launcher.workers", rule, workers, remedy)
        fit_in_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // WORKER_BYTES
        most = min(num_jobs, cores, fit_in_memory, slots or num_jobs)
        return cls(workers or max(1, most), threads, cores, tuple(gpus), jobs_per_gpu)

    def threads_of(self, num_ranks: int) -> int:
        """Return the number of threads of every rank of a job."""
        return min(self.threads or max(1, self.cores // (self.workers * num_ranks)), max(1, self.cores // num_ranks))

    def fits(self, num_ranks: int, running: Sequence[int]) -> bool:
        """Return whether the cores allow a job to start beside the running jobs, given by their numbers of ranks."""
        used = sum(count * self.threads_of(count) for count in running)
        needed = num_ranks * self.threads_of(num_ranks)
        return not running or (len(running) < self.workers and used + needed <= self.cores)

    def gpus_for(self, num_ranks: int, running: Iterable[Sequence[str]]) -> tuple[str, ...] | None:
        """Return a GPU for each rank of a job, those that the running jobs use least; None if the job must wait.

        Running jobs are given by their GPUs. A job of more ranks than there are GPUs gets none, and Lightning refuses
        it.
        """
        if num_ranks > len(self.gpus):
            return ()
        in_use = [name for names in running for name in names]
        free = [name for name in self.gpus if in_use.count(name) < self.jobs_per_gpu]
        return tuple(sorted(free, key=in_use.count)[:num_ranks]) if len(free) >= num_ranks else None
