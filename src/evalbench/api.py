"""An evaluation from Python: the overrides of the command line, and networks and data sets that are Python objects."""

from __future__ import annotations

import json
import multiprocessing
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from evalbench import gpus, processes, programs, tuning
from evalbench.cell import Cell
from evalbench.composition import add_to_search, compose_job, refusal, split_jobs
from evalbench.config import parse
from evalbench.errors import ConfigError, InputError, JobLostError
from evalbench.evaluation.checks import check_trainable
from evalbench.evaluation.conclude import Outcome
from evalbench.evaluation.looks import reached
from evalbench.evaluation.plan import Plan
from evalbench.evaluation.run import Train, run, train_here
from evalbench.programs import conf_folder
from evalbench.report import Report
from evalbench.store import Store
from evalbench.tasks import OwnTask

if TYPE_CHECKING:
    from evalbench.workloads import Dataset

Factory = Callable[..., Any]
"""Returns a new `torch.nn.Module`."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that has ended; in a notebook it shows its report."""

    outcome: Outcome
    """The number of trials by state, and the failures."""
    folder: Path
    """The folder of `report.md`, `report.html`, `results.csv` and the other tables."""
    report: Report
    """Verdicts, tables and figures as data."""

    @cached_property
    def results(self) -> pd.DataFrame:
        """`results.csv`: a row per measured trial, with its technique, workload, seed, state and test metrics."""
        return pd.read_csv(self.folder / "results.csv", keep_default_na=False, na_values=[""])

    def _repr_markdown_(self) -> str:
        return self.report._repr_markdown_()

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def evaluate(
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Factory] | None = None,
    datasets: Mapping[str, Any] | Dataset | Sequence[Dataset] | None = None,
    task: OwnTask | Factory | None = None,
    baseline: str | None = None,
    num_seeds: int | None = None,
    name: str | None = None,
    workers: int = 0,
) -> Evaluation:
    """Compare techniques: train the trials that the store lacks, write the report into `reports/NAME`, return both.

    `evaluate(["optimizer=sgd,adam", "dataset=iris,wine"])` gives the trials, the store and the report of
    `evalbench -m optimizer=sgd,adam dataset=iris,wine`. The first list is compared, unless a sweep file says otherwise.

    Args:
        overrides: as on the command line: `+sweep=optimizers`, `optimizer=sgd,adam`, `budget.epochs=20`.
        models: networks to compare, by name: classes or functions of a module, or `functools.partial` of one with
            keywords. Each is called as `factory(in_features=..., out_features=...)`, with `activation`,
            `gain`, `image` or `vocabulary` if it names them, and returns an `nn.Module` that takes `(B, D)` float32
            and returns `(B, out_features)`. Its code is part of a trial's identity, so it must lie in a file:
            a notebook's cell can write one with `%%writefile nets.py`.
        datasets: by name, whatever `evalbench.workloads.dataset_of` takes, such as frames. They replace `dataset=`.
        task: a task of your own, in place of that of the data: an object of a subclass of `evalbench.tasks.OwnTask`
            that lies in a file, the class, or a `functools.partial` of it with keywords.
        baseline: the technique that all others are compared with; by default the first.
        num_seeds: trainings per technique and data set, judged once; 10 if no `evaluation.looks` are declared.
        name: the name of the evaluation and of its folder.
        workers: 0 trains in this process, one cell after another; more train in as many processes, by default one
            per GPU. These read the calling script again: call `evaluate` below `if __name__ == "__main__":`.

    Returns:
        The evaluation with its report. Its `outcome.failures` lists failed trials.

    Raises:
        InputError: something cannot be used; the message is one line: the rule, the value, the remedy.
        StorageError, KeyboardInterrupt: the same call continues with the trials that the store has by then.
    """
    named = {"evaluation.baseline": baseline, "num_seeds": num_seeds, "evaluation.name": name}
    given = {"models": models, "datasets": datasets, "task": task}
    offered = [*_offer_models(models), *_offer_data(datasets, workers), *_offer_task(task)]
    texts = [*offered, *_checked(overrides, given, workers)]
    arguments = [*texts, *(f"{key}={value}" for key, value in named.items() if value is not None)]
    return _evaluation(arguments, _command(arguments, given), workers)


def _evaluation(arguments: Sequence[str], command: str, workers: int) -> Evaluation:
    with programs.shell_outside():
        trees = _compose(add_to_search(list(arguments)))
        plan = Plan.of([parse(tree, tree.hydra) for tree in trees])
        _check_devices(plan, workers)
        store = Store(plan.config.store_url)
        check_trainable(plan := reached(plan, store), store)
        train = train_here(store) if workers == 0 else _train_in(workers, plan, trees)
        outcome = run(plan, store, train, command, Path(trees[0].hydra.sweep.dir))
    if outcome.report is None or not outcome.has_ended:
        raise _unfinished(outcome)
    return Evaluation(outcome, plan.folder, outcome.report)


def _checked(overrides: Iterable[str], given: Mapping[str, Any], workers: int) -> list[str]:
    """Return the overrides; raise `InputError` for a wrong type, and for an override that an object replaces."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        rule = "evaluate must not run while a worker reads the script that called it"
        raise InputError(f"{rule}: call it below if __name__ == '__main__':")
    texts = [] if isinstance(overrides, str) else list(overrides)
    if isinstance(overrides, str | Mapping) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"overrides must be a list of texts, not {overrides!r}: give ['optimizer=sgd,adam'], say")
    options = [text for text in texts if text.startswith("-")]
    if options:
        raise InputError(f"overrides must be KEY=VALUE, not {options[0]!r}: leave it out, lists are swept anyway")
    for key, start in (("models", "model="), ("datasets", "dataset="), ("task", "task._target_=")):
        twice = [text for text in texts if given[key] is not None and text.startswith(start)]
        if twice:
            raise InputError(
                f"{start[:-1]} must be given once, not as objects and as {twice[0]!r}: leave one of them out"
            )
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise InputError(f"workers must be a whole number of at least 0, not {workers!r}: 0 trains in this process")
    return texts


def _unfinished(outcome: Outcome) -> BaseException:
    if outcome.interrupted:
        return KeyboardInterrupt()
    return JobLostError(f"{outcome.num_ended} of {outcome.num_trials} trials are in the store: give the call again")


def train_job(tree: DictConfig) -> None:
    """Train a cell in a worker: Hydra's task function there."""
    config = parse(tree, HydraConfig.get())
    tuning.run(Cell.of(config), Store(config.store_url, patient=True))


# ── Python objects as options of the configuration ────────────────────────────────────────────────────────────────────


def _offer_models(models: Mapping[str, Factory] | None) -> list[str]:
    if models is None:
        return []
    if not isinstance(models, Mapping) or not models:
        raise InputError(f"models must be networks by name, at least one, not {models!r}: give {{'name': factory}}")
    for name, factory in models.items():
        if not re.fullmatch(r"[A-Za-z_][\w-]*", str(name)):
            raise InputError(f"models: a name must have letters, digits, _ and - only, not {name!r}: give another one")
        if (conf_folder() / "model" / f"{name}.yaml").exists():
            raise InputError(f"models: {name!r} is the name of a model that is there already: give another one")
        ConfigStore.instance().store(group="model", name=name, node=_settings(f"models: {name}", factory))
    return [f"model={','.join(models)}"]


def _settings(name: str, factory: Factory) -> dict[str, Any]:
    """Return the settings that build an object: `_target_` and its arguments."""
    inner, arguments = (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})
    target = f"{getattr(inner, '__module__', '')}.{getattr(inner, '__qualname__', '<locals>')}"
    if "<" in target or (isinstance(factory, partial) and factory.args):
        rule = "must be a class or function of a module, or a functools.partial of one with keyword arguments"
        raise InputError(f"{name} {rule}, not {factory!r}: write it to a .py file and import it")
    try:
        OmegaConf.create(dict(arguments))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} must have arguments that are plain values: {reason}") from error
    return {"_target_": target, **arguments}


def _offer_task(task: OwnTask | Factory | None) -> list[str]:
    if task is None:
        return []
    spec = task.spec() if isinstance(task, OwnTask) else _settings("task", task)
    return [f"{'' if key == '_target_' else '+'}task.{key}={json.dumps(value)}" for key, value in spec.items()]


def _offer_data(data: Any, workers: int) -> list[str]:
    if data is None:
        return []
    from evalbench.workloads import Dataset, dataset_of, given

    if isinstance(data, Mapping):
        datasets = [replace(dataset_of(thing, str(name)), name=str(name)) for name, thing in data.items()]
    else:
        datasets = list(data) if isinstance(data, list | tuple) else [data]
    if not datasets or not all(isinstance(dataset, Dataset) for dataset in datasets):
        types = ", ".join(type(dataset).__name__ for dataset in datasets) or "none"
        rule = "datasets must be frames or arrays by name, or evalbench.workloads.Dataset, one or more"
        raise InputError(f"{rule}, not {types}: give {{'name': frame}}")
    if workers:
        rule = "workers must be 0 with data sets that are objects"
        raise InputError(f"{rule}, not {workers}: they are in this process only")
    names = [f"{re.sub(r'[^A-Za-z0-9]+', '_', dataset.name)}_{dataset.fingerprint[:6]}" for dataset in datasets]
    for name, dataset in zip(names, datasets, strict=True):
        ConfigStore.instance().store(group="dataset", name=name, node=given.give(dataset))
    return [f"dataset={','.join(names)}"]


def _command(arguments: Sequence[str], given: Mapping[str, Any]) -> str:
    """Return the command line that repeats the evaluation, or the call if objects were given."""
    if all(value is None for value in given.values()):
        multirun = [] if any(text.startswith("+sweep=") for text in arguments) else ["-m"]
        return shlex.join(["evalbench", *multirun, *arguments])
    objects = [f"{key}=…" for key, value in given.items() if value is not None]
    return f"evalbench.evaluate({list(arguments)}, {', '.join(objects)})"


# ── composing and training ────────────────────────────────────────────────────────────────────────────────────────────


def _compose(arguments: Sequence[str]) -> list[DictConfig]:
    """Return the configuration of every cell; raise `InputError` if Hydra refuses the overrides."""
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="evalbench"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            sweep = hydra.compose_config("config", list(arguments), RunMode.MULTIRUN, from_shell=False)
            loader: ConfigLoader = hydra.config_loader
            jobs = split_jobs(loader, sweep, sweep.hydra.sweeper.params or {}, arguments)
            trees = [compose_job(loader, sweep, job) for job in jobs]
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(refusal(error)) from error
    for number, tree in enumerate(trees):
        with open_dict(tree):
            tree.hydra.mode, tree.hydra.job.id, tree.hydra.job.num = RunMode.MULTIRUN, str(number), number
    return trees


def _check_devices(plan: Plan, workers: int) -> None:
    devices = max(cell.config.devices for cell in plan.jobs)
    if devices > 1 and workers == 0:
        raise ConfigError("trainer.devices", "must be 1 in the process that calls", devices, "give workers=1 or more")


def _job(tree: DictConfig, num_seeds: int) -> processes.Job:
    """Return the job that trains the seeds of one look."""
    look = tree.copy()
    OmegaConf.update(look, "num_seeds", num_seeds, force_add=True)
    OmegaConf.update(look, "evaluation.looks", None, force_add=True)
    return processes.Job.of(train_job, look, look.hydra)


def _train_in(workers: int, plan: Plan, trees: Sequence[DictConfig]) -> Train:
    """Return a function that trains in worker processes; raise `ConfigError` for more than the GPUs may have."""
    visible = gpus.visible({cell.config.accelerator for cell in plan.jobs})
    per_gpu = trees[0].hydra.launcher.get("jobs_per_gpu", 1)
    shares = processes.Shares.of(len(trees), workers, gpus=visible, jobs_per_gpu=per_gpu)

    def train(plan: Plan, numbers: Sequence[int]) -> list[Exception | None]:
        jobs = [_job(trees[number], plan.jobs[number].config.num_seeds) for number in numbers]
        return processes.errors(processes.run(jobs, shares))

    return train
