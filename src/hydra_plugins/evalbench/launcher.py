"""Hydra's door to jobs in processes: `hydra/launcher=processes`."""

# Hydra runs this module before it is in sys.modules: no `from __future__ import annotations` beside a dataclass.
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class ProcessLauncherConf:
    """The launcher's configuration; null shares cores and GPUs."""

    _target_: str = "hydra_plugins.evalbench.launcher.ProcessLauncher"
    workers: int | None = None  # jobs at once
    threads: int | None = None  # threads of every process of a job
    jobs_per_gpu: int = 1  # jobs at once on one GPU, each with an equal part of its free memory


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=ProcessLauncherConf, provider="evalbench")


class ProcessLauncher(Launcher):
    """Every job in a process, or a group of them, that has torch and Lightning loaded already."""

    def __init__(self, workers: int | None = None, threads: int | None = None, jobs_per_gpu: int = 1) -> None:
        self.workers, self.threads, self.jobs_per_gpu = workers, threads, jobs_per_gpu
        self.gpus: tuple[str, ...] = ()
        self._shares(1)  # refuses wrong numbers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what jobs are made from."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def warm_up(self, accelerators: Collection[str]) -> None:
        """Load torch in the background, because something is going to be trained, and list the GPUs for it.

        Raises `ConfigError` for more workers than the GPUs may have.
        """
        from evalbench import gpus, processes

        processes.warm_up()
        self.gpus = gpus.visible(accelerators)
        self._shares(1)

    def _shares(self, num_jobs: int) -> "processes.Shares":  # type: ignore[name-defined] # noqa: F821
        from evalbench import processes

        return processes.Shares.of(num_jobs, self.workers, self.threads, gpus=self.gpus, jobs_per_gpu=self.jobs_per_gpu)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; they are composed one by one, while others run."""
        from evalbench import processes

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = (self._job(list(overrides), number) for number, overrides in enumerate(job_overrides, initial_job_idx))
        return processes.run(jobs, self._shares(len(job_overrides)))

    def _job(self, overrides: list[str], number: int) -> "processes.Job":  # type: ignore[name-defined] # noqa: F821
        from evalbench import processes
        from evalbench.interrupts import held_back

        with held_back():
            tree = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(tree):
            tree.hydra.job.id = tree.hydra.job.num = number
        return processes.Job.of(self.task_function, tree, tree.hydra)
