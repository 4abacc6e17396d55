"""The summary at the terminal: scores, states, studies, paths of report and weights, runs that trackers lack."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from evalbench import cell as cells
from evalbench import sync, tuning
from evalbench.cell import Cell
from evalbench.evaluation.conclude import Outcome
from evalbench.evaluation.plan import Plan
from evalbench.names import code, one_line
from evalbench.record.schema import REFERENCES
from evalbench.report import Report
from evalbench.report.analysis.findings import judged
from evalbench.report.analysis.looks import looks_taken
from evalbench.report.render.units import plural
from evalbench.report.sections.generality import price
from evalbench.report.sections.looks import saving
from evalbench.report.sections.summary import summary
from evalbench.statistics.intervals import Interval
from evalbench.store import Store, printable
from evalbench.tasks.metric import Metric

REFERENCE_ROWS = ("linear", "trivial")


def print_studies(console: Console, cells_to_train: Sequence[Cell], store: Store) -> None:
    """Print whether the studies start, continue from the store, or replace other studies of the same cells."""
    studies = {study.id: study for cell in cells_to_train for study in tuning.studies(cell)}
    if not studies:
        return
    total = sum(tuning.num_candidates(study) for study in studies.values())
    known = sum(len(study.history(store)) for study in studies.values())
    described = [cell for name in store.described() for cell in (store.description(name) or {})["cells"]]
    here = {cell.id for cell in cells_to_train}
    others = {
        study["id"] for cell in described if cell["cell_id"] in here for study in cell["studies"]
    } - studies.keys()
    line = f"Tuning   {len(studies)} {'study' if len(studies) == 1 else 'studies'}, {known} of {total} candidates known"
    if not known and store.count_tried(list(others)):
        line += (
            "; the store has other studies of the same cells: they differ in more than search.num_candidates, and"
            " none of their candidates is used"
        )
    console.print(line, highlight=False, soft_wrap=True)


def print_summary(console: Console, store: Store, outcome: Outcome) -> None:
    """Print failures, scores, states, and the paths of the report, the weights and the runs."""
    plan = outcome.plan
    for failure in outcome.failures:
        where = ", ".join([failure["technique"], failure["workload"], *failure["factors"].values()])
        said = one_line(f"{where}: {failure['message']}")
        console.print(f"FAILED   {said}", style="red", markup=False, highlight=False)
        if failure["log"]:
            console.print(f"         log: {failure['log']}", markup=False, highlight=False, soft_wrap=True)
    assert outcome.report is not None
    table, content = _summary_table(plan, outcome.report), "mean ± 95 % interval"
    if Measurement.get(console, console.options.update(max_width=1000), table).maximum > console.width:
        table, content = _summary_table(plan, outcome.report, halves=False), "mean"
    legend = ", * baseline" if plan.baseline else ""
    score = "tuned test score" if plan.config.search else "test score"
    points = " in points" if any(map(_in_points, _metrics(plan).values())) else ""
    console.print(f"{plan.name}: {score}{points}, {content}{legend}", style="bold", highlight=False)
    console.print(table)
    states = ", ".join(f"{count} {state.value.lower()}" for state, count in sorted(outcome.states.items()))
    _print_verdicts(console, outcome.report)
    console.print(f"Trials   {outcome.num_trials}: {states}", highlight=False)
    if looks := looks_taken(outcome.report.findings):
        console.print(f"Looks    {saving(looks)}", highlight=False)
    for line in _compiled(plan, store):
        console.print(f"Compiled {line}", markup=False, highlight=False, soft_wrap=True)
    studies = [study for cell in plan.cells for study in tuning.studies(cell)]
    if studies:
        tried = store.count_tried([study.id for study in studies])
        console.print(
            f"Tuning   {len(studies)} {'study' if len(studies) == 1 else 'studies'}: {tried} trials", highlight=False
        )
    if outcome.page:
        console.print(f"Report   {outcome.page}", highlight=False, soft_wrap=True)
    _print_weights(console, plan)
    _print_trackers(console, plan, outcome)


def _compiled(plan: Plan, store: Store) -> list[str]:
    """Return what compiling the first cohort of each cell cost and saved, and why programs were not compiled."""
    if plan.config.path != "compiled":
        return []
    trials = store.trials([next(iter(cell.trials)) for cell in plan.cells]).values()
    paths: list[Mapping[str, Any]] = [trial.provenance.get("path", {}) for trial in trials]
    compiled = [path for path in paths if "compiled_us" in path]
    reasons = sorted({path["not_compiled"] for path in paths if "not_compiled" in path})
    lines = [f"not: {one_line(reason)}" for reason in reasons]
    if compiled:
        seconds = sum(path["compiled_in_s"] for path in compiled)
        after, before = (statistics.median(path[key] for path in compiled) for key in ("compiled_us", "traced_us"))
        count = plural(len(compiled), "step")
        lines.insert(0, f"{count} in {seconds:.0f} s: the median takes {after:,.0f} µs instead of {before:,.0f}")
    return lines


def _print_verdicts(console: Console, report: Report) -> None:
    """Print what to do about each technique, on what it holds, and what an open question would cost."""
    findings = judged(report.findings)
    if findings is None:
        return
    todo, scope, _ = summary(findings)
    prices = [f"{code(v.challenger)}: {text}" for v in findings.judged.verdicts if (text := price(findings, v))]
    lines = [*(("Verdict", text) for text in todo), ("On", scope), *(("Price", text) for text in prices)]
    for head, text in lines:
        console.print(f"{head:<8} {one_line(text.replace('`', ''))}", markup=False, highlight=False, soft_wrap=True)


def _print_trackers(console: Console, plan: Plan, outcome: Outcome) -> None:
    """Print how to see the runs in each tracker, and how many it lacks."""
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


def _summary_table(plan: Plan, report: Report, halves: bool = True) -> Table:
    """Return a row per workload and a column per technique: the report's mean, with half its interval if asked."""
    scores = {(score.workload, score.name): score.interval for score in report.findings.scores}
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("workload", no_wrap=True)
    for technique in plan.techniques:
        mark = "*" if technique == plan.baseline else ""
        table.add_column(one_line(technique) + mark, justify="right", no_wrap=True)
    for reference in REFERENCE_ROWS:
        table.add_column(reference, justify="right", style="dim", no_wrap=True)
    for workload, metric in _metrics(plan).items():
        scale, decimals = (100.0, 1) if _in_points(metric) else (1.0, report.findings.units[workload].decimals)
        row = [one_line(workload) + ("" if metric.name == "accuracy" else f" ({metric.words})")]
        reach = report.findings.units[workload].reach
        row += [_mean_text(scores[workload, name], scale, decimals, halves, reach) for name in plan.techniques]
        for reference in REFERENCE_ROWS:
            interval = scores.get((workload, REFERENCES[reference]))  # None: each job died before it had computed it
            row.append("–" if interval is None else _mean_text(interval, scale, decimals, half=False))
        table.add_row(*row)
    return table


def _metrics(plan: Plan) -> dict[str, Metric]:
    return {cell.workload: cell.dataset.metric for cell in plan.cells}


def _in_points(metric: Metric) -> bool:
    """Return whether scores are shares of the best score, printed in points; others keep their own unit."""
    return metric.best == 1 and metric.direction == "maximize"


def _mean_text(interval: Interval, scale: float, decimals: int, half: bool, reach: float = math.inf) -> str:
    """Return the mean, with half its interval if that is asked for and not wider than all possible scores."""
    if not interval.count:
        return "failed"
    width = interval.high - interval.low
    shown = f" ± {scale * width / 2:.{decimals}f}" if half and interval.computed and width <= reach else ""
    return f"{scale * interval.mean:.{decimals}f}{shown}"
