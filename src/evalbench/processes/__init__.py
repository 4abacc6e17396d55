"""Hydra jobs in processes: forked from one server, on cores and GPUs of their own."""

from evalbench.processes.job import Job
from evalbench.processes.pool import errors, run
from evalbench.processes.shares import Shares
from evalbench.processes.workers import warm_up

__all__ = ["Job", "Shares", "errors", "run", "warm_up"]
