"""Run a cell, as Hydra's task, or a sweep of cells, and show it at the terminal.

Exit codes: 0 all trials ended, 1 a cell failed, 2 the input was refused, 130 interrupted.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from evalbench import gpus, processes, programs, ranks, tuning
from evalbench.cell import Cell
from evalbench.composition import compose_job, split_jobs, with_seeds
from evalbench.config import Config, log_folder, parse
from evalbench.console import plain_console, say
from evalbench.errors import ConfigError, InputError, StorageError
from evalbench.evaluation.checks import changed_code, check_trainable, misleading_accuracies, narrow_networks
from evalbench.evaluation.looks import reached
from evalbench.evaluation.plan import Plan
from evalbench.evaluation.run import Train, run, train_here
from evalbench.names import one_line
from evalbench.store import Store
from evalbench.tasks import imbalance
from evalbench.terminal.failures import FailureLines
from evalbench.terminal.looks import LookLines
from evalbench.terminal.progress import Progress, waiting
from evalbench.terminal.summary import print_studies, print_summary

SWEEPER = "hydra_plugins.evalbench.sweeper.EvaluationSweeper"
_planned: dict[tuple[str, ...], Cell] = {}
"""The checked cells of the sweep that this process launches, by their overrides: a job that runs here takes its own."""


def command() -> str:
    """Return the command line that repeats this one."""
    return shlex.join(["evalbench", *(text for text in sys.argv[1:] if text != "--multirun")])


def refuse(error: InputError) -> NoReturn:
    """Print the one-line input error and exit."""
    raise SystemExit(programs.say("evalbench", error))


# ── a cell ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_job(tree: DictConfig) -> None:
    """Run a cell of a sweep, or a cell by itself: Hydra's task function."""
    hydra = HydraConfig.get()
    try:
        _check_sweeper(hydra)
        if hydra.mode == RunMode.MULTIRUN or ranks.current().count > 1:
            cell = _planned.get(tuple(hydra.overrides.task)) or Cell.of(parse(tree, hydra))
            _check_launcher(cell.config, ranks.current().count == cell.config.devices)
            tuning.run(cell, Store(cell.config.store_url, patient=True))
        else:
            try:
                _run_alone(parse(tree, hydra), processes.Job.of(run_job, tree, hydra))
            except (OSError, StorageError) as error:  # Hydra would say more about it
                raise SystemExit(programs.ending("evalbench", error)) from error
    except InputError as error:
        refuse(error)


def _check_sweeper(hydra: Any) -> None:
    if hydra.mode == RunMode.MULTIRUN and hydra.sweeper.get("_target_") != SWEEPER:
        rule = f"must be evalbench, not {hydra.sweeper.get('_target_')}, which writes no report"
        raise ConfigError("hydra/sweeper", rule, remedy="leave it out")


def _check_launcher(config: Config, gives_ranks: bool) -> None:
    if config.devices > 1 and not gives_ranks:
        rule = "must be 1 under a launcher that starts one process per job"
        raise ConfigError("trainer.devices", rule, config.devices, "add hydra/launcher=processes")


def _run_alone(config: Config, job: processes.Job) -> None:
    console = plain_console()
    with waiting(console, "checking the cell") as count:
        plan = Plan.of([config])
        store = Store(config.store_url)
        if config.devices > 1 and plan.untrained(store):
            processes.warm_up()
        check_trainable(plan, store, count)

    def train_in_ranks(_plan: Plan, _jobs: Sequence[int]) -> list[Exception | None]:
        return processes.errors(processes.run([job], processes.Shares.of(1, gpus=gpus.visible({config.accelerator}))))

    train = train_in_ranks if config.devices > 1 else train_here(store)
    _run(console, plan, store, train, log_folder())


# ── a sweep ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_sweep(
    loader: ConfigLoader,
    sweep: DictConfig,
    launcher: Launcher,
    params: Mapping[str, str],
    arguments: Sequence[str],
) -> None:
    """Check all cells, launch them, and end with the report, also when a cell failed or the sweep was interrupted.

    `sweep` is the composed configuration that all jobs share; `params` are the swept values of its sweep file,
    `arguments` the overrides of the command line. The launcher gets the jobs that have something left to train. Our own
    gives a job as many ranks as it asks for, and can `warm_up` while the cells are checked.
    """
    console = plain_console()
    folder = Path(sweep.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(sweep, folder / "multirun.yaml")
    warm_up = getattr(launcher, "warm_up", None)
    try:
        jobs, configs = split_jobs(loader, sweep, params, arguments), []
        with waiting(console, "composing the cells") as count:
            for number, job in enumerate(jobs):
                count(number + 1, len(jobs))
                tree = compose_job(loader, sweep, job)
                configs.append(parse(tree, tree.hydra))
                _check_launcher(configs[-1], warm_up is not None)
        with waiting(console, "checking the cells") as count:
            plan = Plan.of(configs)
            store = Store(plan.config.store_url)
            plan = reached(plan, store)
            if warm_up is not None and plan.untrained(store):
                warm_up({config.accelerator for config in configs})
            check_trainable(plan, store, count)
    except InputError as error:
        refuse(error)

    launched = 0

    def train(plan: Plan, numbers: Sequence[int]) -> list[Exception | None]:
        nonlocal launched
        first, launched = launched, launched + len(numbers)  # each job of each look has a folder of its own
        cells = [plan.jobs[number] for number in numbers]
        overrides = [with_seeds(jobs[n], cell.config.num_seeds) for n, cell in zip(numbers, cells, strict=True)]
        _planned.update(zip(map(tuple, overrides), cells, strict=True))
        try:
            return processes.errors(launcher.launch(overrides, initial_job_idx=first))
        finally:
            _planned.clear()

    _run(console, plan, store, train, folder)


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(console: Console, plan: Plan, store: Store, train: Train, log_folder: Path | None) -> None:
    """Run a checked plan, show its progress and print the summary; exit with 1 if a trial failed."""
    for change, trials in changed_code(plan, store).items():
        say(console, "Code", f"{change}: {trials} trials train anew")
    for workload, share in misleading_accuracies(plan).items() if plan.untrained(store) else ():
        alone = f"the majority class of {one_line(workload)} alone has an accuracy of {100 * share:.0f} %"
        say(console, "Hint", f"{alone}: {imbalance.remedy()}")
    for workload, words in narrow_networks(plan.cells).items() if plan.untrained(store) else ():
        say(console, "Hint", f"cnn on {one_line(workload)}: {words}")
    print_studies(console, [plan.jobs[number] for number in plan.untrained(store)], store)
    failures = FailureLines(console)
    progress, looks = Progress(console, store, failures), LookLines(console)

    def train_and_show(plan: Plan, jobs: Sequence[int]) -> Sequence[Exception | None]:
        with progress.shown(plan):
            return train(plan, jobs)

    outcome = run(plan, store, train_and_show, command(), log_folder, lambda stage: waiting(console, stage), looks.tell)
    looks.tell(outcome)
    failures.tell(outcome.failures)
    if not outcome.has_ended:
        start = "Interrupted: " if outcome.interrupted else ""
        stored = f"{outcome.num_ended} of {outcome.num_trials} trials are in the store"
        text = f"{start}{stored}; the same command goes on from there."
        console.print(text, soft_wrap=not console.is_terminal)
        raise SystemExit(130 if outcome.interrupted else 1)
    print_summary(console, store, outcome, progress.num_tried, failures.num_silent)
    if outcome.failures:
        raise SystemExit(1)
