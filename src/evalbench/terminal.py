"""What a person at a terminal sees: refusals, progress, the result, and the exit code.

Exit codes: 0 all trials ended, 1 a cell failed, 2 the input was refused, 130 interrupted.
"""

import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evalbench import cell as cells
from evalbench import evaluation, processes, programs, ranks, sync, tuning
from evalbench.cell import Cell
from evalbench.config import Config, log_folder, parse
from evalbench.errors import ConfigError, InputError, StorageError
from evalbench.evaluation import Outcome, Plan
from evalbench.mirror import Mirrors
from evalbench.names import one_line
from evalbench.seeds import study_of
from evalbench.statistics.intervals import t_interval
from evalbench.store import Store, StoredTrial, printable

SWEEPER = "hydra_plugins.evalbench.sweeper.EvaluationSweeper"
DRAIN_SECONDS = 5.0
"""How long an interrupted sweep waits for its trackers."""


def command() -> str:
    """Return the command line as the user typed it, as far as it can be told."""
    return shlex.join(["python", "-m", "evalbench", *(text for text in sys.argv[1:] if text != "--multirun")])


def refuse(error: InputError) -> NoReturn:
    """Say in one line what cannot be used, and leave."""
    raise SystemExit(programs.say("evalbench", error))


def run_job(tree: DictConfig) -> None:
    """Hydra's task function: one cell of a sweep, or a cell by itself."""
    hydra = HydraConfig.get()
    try:
        _check_sweeper(hydra)
        config = parse(tree, hydra)
        if hydra.mode == RunMode.MULTIRUN or ranks.here().count > 1:
            _check_launcher(config, ranks.here().count == config.devices)
            tuning.run(Cell.of(config), Store(config.store_url, patient=True))
        else:
            try:
                _run_alone(config, processes.Job.of(run_job, tree, hydra))
            except (OSError, StorageError) as error:  # Hydra would say more about it
                raise SystemExit(programs.ending("evalbench", error)) from error
    except InputError as error:
        refuse(error)


def evaluation_name(name: str, overrides: Sequence[str]) -> str:
    """Return the override that names the evaluation of a command line: `sweep-…` where no sweep file names it."""
    return f"evaluation.name={evaluation.name_for('sweep' if name == 'single' else name, overrides)}"


def run_sweep(
    composed: Iterable[DictConfig],
    launch: Callable[[Sequence[int]], Sequence[JobReturn]],
    warm_up: Callable[[], None] | None = None,
) -> None:
    """Check all cells, launch them, and end with the report, also when a cell failed or the sweep was interrupted.

    `launch` takes the numbers of the jobs that have something left to train, and is not called for none. Our own
    launcher gives a job as many ranks as it asks for, and can `warm_up` while the cells are checked.
    """
    console = plain_console()
    try:
        with _waiting(console, "checking all cells"):
            trees = list(composed)
            if not trees:
                rule = "must have at least one cell, and one of its lists is empty"
                raise ConfigError(
                    "the sweep", rule, remedy="give every list a value, for example model.depth=range(1,3)"
                )
            configs = [parse(tree, tree.hydra) for tree in trees]
            for config in configs:
                _check_launcher(config, warm_up is not None)
            plan = evaluation.plan(configs)
            store = Store(plan.config.store_url)
            if warm_up is not None and evaluation.untrained(plan, store):
                warm_up()
            evaluation.check_trainable(plan, store)
    except InputError as error:
        refuse(error)

    def train(jobs: Sequence[int]) -> None:
        with _progress(console, plan, store):
            returns = launch(jobs)
        _note_lost_jobs([plan.jobs[number] for number in jobs], store, returns)

    _run(console, plan, store, train, Path(trees[0].hydra.sweep.dir))


def _run(
    console: Console, plan: Plan, store: Store, train: Callable[[Sequence[int]], None], log_folder: Path | None
) -> None:
    """Link, train what is left to train, mirror, measure, conclude."""
    for change, trials in evaluation.changed_code(plan, store).items():
        console.print(f"{change}: {trials} trials train anew", markup=False, highlight=False, soft_wrap=True)
    jobs = evaluation.untrained(plan, store)
    _print_studies(console, [plan.jobs[number] for number in jobs], store)  # by what was linked before
    evaluation.link(plan, store, command())
    interrupted = False
    with _mirrors(plan, log_folder) as mirrors:
        try:
            if jobs:
                mirrors.start()
                train(jobs)
            with _waiting(console, "waiting for the tracker"):
                mirrors.drain()
            with _waiting(console, "timing each technique alone"):
                evaluation.measure_costs(plan, store)
        except KeyboardInterrupt:
            interrupted = True
            mirrors.drain(DRAIN_SECONDS)
        _conclude(console, plan, store, mirrors, interrupted)


def _print_studies(console: Console, cells_to_train: Sequence[Cell], store: Store) -> None:
    """Say whether the studies go on from what the store has, begin, or take the place of other ones of these cells."""
    studies = {study.id: study for cell in cells_to_train for study in tuning.studies(cell)}
    if not studies:
        return
    total = sum(tuning.num_candidates(study) for study in studies.values())
    known = sum(len(study.history(store)) for study in studies.values())
    told = [cell for name in store.described() for cell in (store.description(name) or {})["cells"]]
    here = {cell.id for cell in cells_to_train}
    others = {study["id"] for cell in told if cell["cell_id"] in here for study in cell["studies"]} - studies.keys()
    line = f"Tuning   {len(studies)} {'study' if len(studies) == 1 else 'studies'}, {known} of {total} candidates known"
    if not known and store.count_tried(list(others)):
        line += (
            "; the store has other studies of the same cells: they differ in more than search.num_trials, and none of"
            " their candidates is used"
        )
    console.print(line, highlight=False, soft_wrap=True)


def plain_console() -> Console:
    """Return the console; what others have named is text to it, never its markup."""
    return Console(markup=False, emoji=False, highlight=False)


def _check_launcher(config: Config, gives_ranks: bool) -> None:
    if config.devices > 1 and not gives_ranks:
        rule = "must be 1 under a launcher that starts one process per job"
        raise ConfigError("trainer.devices", rule, config.devices, "add hydra/launcher=processes")


def _check_sweeper(hydra: Any) -> None:
    if hydra.mode == RunMode.MULTIRUN and hydra.sweeper.get("_target_") != SWEEPER:
        rule = f"must be evalbench, not {hydra.sweeper.get('_target_')}, which writes no report"
        raise ConfigError("hydra/sweeper", rule, remedy="leave it out")


def _run_alone(config: Config, job: processes.Job) -> None:
    console = plain_console()
    with _waiting(console, "checking the cell"):
        plan = evaluation.plan([config])
        store = Store(config.store_url)
        if config.devices > 1 and evaluation.untrained(plan, store):
            processes.warm_up()
        evaluation.check_trainable(plan, store)

    def train(_: Sequence[int]) -> None:
        with _progress(console, plan, store):
            if config.devices > 1:
                _note_lost_jobs(plan.jobs, store, processes.run([job], num_jobs=1))
            else:
                tuning.run(plan.cells[0], store)

    _run(console, plan, store, train, log_folder())


@contextmanager
def _mirrors(plan: Plan, log_folder: Path | None) -> Iterator[Mirrors]:
    """The evaluation's trackers; none of them is at work any more at the end."""
    tracker = plan.config.tracker
    mirrors = Mirrors(plan.config.store_url, plan.name, list(tracker.trackers), tracker.patience_seconds, log_folder)
    try:
        yield mirrors
    finally:
        mirrors.stop()


def _note_lost_jobs(jobs: Sequence[Cell], store: Store, returns: Sequence[JobReturn]) -> None:
    """A job that ended without a word, killed perhaps, becomes FAILED trials like any other failure."""
    for cell, ended in zip(jobs, returns, strict=True):
        if ended.status is not JobStatus.COMPLETED:
            reason = ended._return_value
            if isinstance(reason, StorageError):
                raise reason  # it has not failed: its results have no place to go
            tuning.fail(
                cell, store, reason if isinstance(reason, Exception) else RuntimeError(f"the job died: {reason}")
            )


# ── progress ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} trials/s", style="progress.data.speed")


@contextmanager
def _progress(console: Console, plan: Plan, store: Store, period_seconds: float = 0.5) -> Iterator[None]:
    """Show a live bar, told by the store, so that it is right under any launcher; nothing where nobody watches."""
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials"),
        _Rate(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    phases = _phases(plan, store)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=60) as progress:
        tasks = [
            (progress.add_task(description, total=total, completed=count()), count)
            for description, total, count in phases
        ]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(period_seconds):
                for task, count in tasks:
                    with suppress(StorageError):  # the jobs will say so
                        progress.update(task, completed=count())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def _waiting(console: Console, what: str) -> Iterator[None]:
    """Say what is waited for, where somebody watches."""
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def _phases(plan: Plan, store: Store) -> list[tuple[str, int, Callable[[], int]]]:
    """Return what there is to watch: a description, how many trials there will be, and how to count those that ended.

    A search has two phases: its candidates, then the measured trials at the default and at the best settings.
    """
    name = f"{plan.name}: {len(plan.cells)} {'cell' if len(plan.cells) == 1 else 'cells'}"
    measured = sum(len(cell.specs) for cell in plan.cells)
    studies = [study for cell in plan.cells for study in tuning.studies(cell)]
    if not studies:
        return [(name, measured, lambda: _ended(plan, store))]
    ids = [study.id for study in studies]
    measured += sum(study.cell.config.num_seeds for study in studies)
    return [
        (f"{name}, tune", tuning.num_trials(plan.cells), lambda: store.count_tried(ids)),
        ("measure".rjust(len(name) + len(", tune")), measured, lambda: _ended(plan, store)),
    ]


def _ended(plan: Plan, store: Store) -> int:
    return sum(store.count_states(plan.name).values())


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _conclude(console: Console, plan: Plan, store: Store, mirrors: Mirrors, interrupted: bool) -> None:
    with _waiting(console, "writing the report"):
        outcome = evaluation.conclude(plan, store)
    if outcome.num_ended < outcome.num_trials:
        console.print(
            f"{'Interrupted: ' if interrupted else ''}{outcome.num_ended} of {outcome.num_trials} trials are in the "
            "store; the same command goes on from there.",
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(130 if interrupted else 1)
    with _waiting(console, "waiting for the tracker"):
        mirrors.conclude()
    _print_summary(console, plan, store, outcome)
    _print_trackers(console, plan, mirrors)
    if outcome.failures:
        raise SystemExit(1)


def _print_summary(console: Console, plan: Plan, store: Store, outcome: Outcome) -> None:
    for failure in outcome.failures:
        where = ", ".join([failure["technique"], failure["workload"], *failure["factors"].values()])
        said = one_line(f"{where}: {failure['message']}")
        console.print(f"FAILED   {said}", style="red", markup=False, highlight=False)
        if failure["log"]:
            console.print(f"         log: {failure['log']}", markup=False, highlight=False, soft_wrap=True)
    table, content = _summary_table(plan, store), "mean ± 95 % interval"
    if Measurement.get(console, console.options.update(max_width=1000), table).maximum > console.width:
        table, content = _summary_table(plan, store, halves=False), "mean"
    legend = ", * baseline" if plan.baseline else ""
    score = "tuned test score" if plan.config.search else "test score"
    console.print(f"{plan.name}: {score} in points, {content}{legend}", style="bold", highlight=False)
    console.print(table)
    states = ", ".join(f"{count} {state.value.lower()}" for state, count in sorted(outcome.states.items()))
    console.print(f"Trials   {outcome.num_trials}: {states}", highlight=False)
    studies = [study for cell in plan.cells for study in tuning.studies(cell)]
    if studies:
        tried = store.count_tried([study.id for study in studies])
        console.print(
            f"Tuning   {len(studies)} {'study' if len(studies) == 1 else 'studies'}: {tried} trials", highlight=False
        )
    if outcome.report:
        console.print(f"Report   {outcome.report}", highlight=False, soft_wrap=True)
    _print_weights(console, plan)


def _print_trackers(console: Console, plan: Plan, mirrors: Mirrors) -> None:
    """Say where the runs are to be seen, and what is missing there."""
    for tracker in plan.config.tracker.trackers.values():
        for line in (tracker.build().how_to_see() or "").splitlines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name, num_missing, reason in mirrors.problems():
        what = f"{num_missing} of {len(plan.links())} trials are" if num_missing else "the report is"
        line = f"MISSING  {what} not in {name}: {reason}"
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
        where = "" if plan.config.store_url == sync.STORE else f" --store {printable(plan.config.store_url)}"
        console.print(
            f"         nothing is lost; send the rest with: python -m evalbench.sync {plan.name}{where}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _print_weights(console: Console, plan: Plan) -> None:
    if plan.config.save == "none":
        return
    saved = sum(len(list(cells.weights_folder(cell).glob("s*"))) for cell in plan.cells)
    note = "" if saved else f"; the trials were trained before save={plan.config.save}: train them in another store.url"
    console.print(f"Weights  {saved} trials in {plan.config.weights_folder}{note}", highlight=False, soft_wrap=True)


def _summary_table(plan: Plan, store: Store, halves: bool = True) -> Table:
    """One row per workload, one column per technique: mean over seeds, and half its 95 % interval where asked."""
    links = [link for each in plan.measured(store) for link in each]
    trials = store.trials([link.trial_id for link in links])
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("workload", no_wrap=True)
    for technique in plan.techniques:
        mark = "*" if technique == plan.baseline else ""
        table.add_column(one_line(technique) + mark, justify="right", no_wrap=True)
    for reference in ("linear", "trivial"):
        table.add_column(reference, justify="right", style="dim", no_wrap=True)
    for workload, of in {cell.workload: cell.dataset.metric for cell in plan.cells}.items():
        metric = of.on("test")
        here = [cell for cell in plan.cells if cell.workload == workload]
        row = [one_line(workload) + ("" if of.name == "accuracy" else f" ({of.words})")]
        for technique in plan.techniques:
            mine = [trials[link.trial_id] for link in links if link.technique == technique]
            here_too = [trial for trial in mine if trial.workload == workload]
            row.append(_mean_text(here_too, metric, halves, by_study=here[0].num_studies > 1))
        references = store.references(here[0].workload_id)
        for name in ("linear", "trivial"):
            seeds = set(here[0].seeds)
            scores = [m[metric] for (seed, ref), m in references.items() if ref == name and seed in seeds]
            row.append(f"{100 * np.mean(scores):.1f}" if scores else "–")  # every job died before it had computed them
        table.add_row(*row)
    return table


def _mean_text(trials: Sequence[StoredTrial], metric: str, half: bool, by_study: bool) -> str:
    scored = [trial for trial in trials if metric in trial.result.metrics]
    if not scored:
        return "failed"
    first = scored[0].result
    repeats: dict[int, list[float]] = {}
    for trial in scored:  # where the whole search was repeated, the study is what repeats
        repeats.setdefault(study_of(trial.seed)[0 if by_study else 1], []).append(trial.result.metrics[metric])
    scores = [100 * float(np.mean(values)) for values in repeats.values()]
    interval = t_interval(scores, 0.95, rho=(first.num_test or 0) / (first.num_train or 1))
    width = f" ± {(interval.high - interval.low) / 2:.1f}" if half and interval.computed else ""
    return f"{interval.mean:.1f}{width}"
