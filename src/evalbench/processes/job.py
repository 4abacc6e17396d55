"""A Hydra job as plain data, because Hydra's own objects cannot be sent to another process."""

import os
import pickle
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.conf import HydraConf
from hydra.core.utils import JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from evalbench import ranks
from evalbench.errors import JobLostError

THREADS_KEY = "OMP_NUM_THREADS"


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
    accelerator: str = "auto"

    @classmethod
    def of(cls, task: Callable[[DictConfig], Any], tree: DictConfig, hydra: Any) -> "Job":
        """Make a job from the tree that Hydra composed, and Hydra's own part of it."""
        own = _plain(hydra)
        folders: tuple[str, str | None] = ("hydra.sweep.dir", "hydra.sweep.subdir")
        if hydra.mode != RunMode.MULTIRUN:  # its folder exists already
            own["run"]["dir"], folders = hydra.runtime.output_dir, ("hydra.run.dir", None)
        content = {**_plain(tree), "hydra": own}
        num_ranks = OmegaConf.select(tree, "trainer.devices", default=1)
        accelerator = str(OmegaConf.select(tree, "trainer.accelerator", default="auto"))
        return cls(_address(task), content, OmegaConf.get_cache(tree), folders, num_ranks, accelerator)

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


@dataclass(frozen=True)
class JobEnding:
    """Hold how a job ended in one rank: completed, with an error, or with `SystemExit`."""

    error: Exception | None = None
    exit_code: Any = None


def run_here(job: Job, threads: int) -> JobEnding:
    """Run a job in this process on a number of threads; return how it ended."""
    _limit_threads(threads)
    try:
        tree = _compose(job)
        empty_loader = ConfigLoaderImpl(ConfigSearchPathImpl())
        context = HydraContext(config_loader=empty_loader, callbacks=Callbacks(tree))
        task = pkgutil.resolve_name(job.task)
        result = run_job(task, tree, *job.folder_keys, hydra_context=context)
    except SystemExit as leaving:
        return JobEnding(exit_code=leaving.code or 0)
    except Exception as error:
        return JobEnding(_portable(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return JobEnding(_portable(result._return_value) if result.status is JobStatus.FAILED else None)


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
