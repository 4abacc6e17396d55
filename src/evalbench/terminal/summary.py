"""The summary at the terminal: scores, states, studies, where the report and the weights are, what trackers lack."""

from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from evalbench import cell as cells
from evalbench import sync, tuning
from evalbench.cell import Cell
from evalbench.evaluation.conclude import Outcome
from evalbench.evaluation.plan import Plan
from evalbench.names import one_line
from evalbench.seeds import study_of
from evalbench.statistics.intervals import t_interval
from evalbench.store import Store, StoredTrial, printable


def print_studies(console: Console, cells_to_train: Sequence[Cell], store: Store) -> None:
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
            "; the store has other studies of the same cells: they differ in more than search.num_candidates, and"
            " none of their candidates is used"
        )
    console.print(line, highlight=False, soft_wrap=True)


def print_summary(console: Console, plan: Plan, store: Store, outcome: Outcome) -> None:
    """Print failures, scores, states, and where to find the report, the weights and the runs."""
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
    _print_trackers(console, plan, outcome)


def _print_trackers(console: Console, plan: Plan, outcome: Outcome) -> None:
    """Say where the runs are to be seen, and what is missing there."""
    for tracker in plan.config.tracker.trackers.values():
        for line in (tracker.build().how_to_see() or "").splitlines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name, num_missing, reason in outcome.unmirrored:
        what = f"{num_missing} of {len(plan.links())} trials are" if num_missing else "the report is"
        line = f"MISSING  {what} not in {name}: {reason}"
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
        where = "" if plan.config.store_url == sync.STORE else f" --store {printable(plan.config.store_url)}"
        console.print(
            f"         nothing is lost; send the rest with: evalbench sync {plan.name}{where}",
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
    for workload, measure in {cell.workload: cell.dataset.metric for cell in plan.cells}.items():
        metric = measure.on("test")
        here = [cell for cell in plan.cells if cell.workload == workload]
        row = [one_line(workload) + ("" if measure.name == "accuracy" else f" ({measure.words})")]
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
