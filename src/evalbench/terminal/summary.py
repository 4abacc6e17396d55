"""The summary at the terminal: verdict, scores, states, studies, paths of report and weights, what trackers lack."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from evalbench import cell as cells
from evalbench import sync, tuning
from evalbench.cell import Cell
from evalbench.console import say, say_problem
from evalbench.evaluation.conclude import Outcome
from evalbench.evaluation.plan import Plan
from evalbench.names import one_line
from evalbench.report.analysis.looks import looks_taken
from evalbench.report.lines import say_first_screen
from evalbench.report.render.units import plural
from evalbench.report.sections.looks import saving
from evalbench.store import Store, printable
from evalbench.terminal.scores import print_scores
from evalbench.trial import State


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
    line = f"{plural(len(studies), 'study', 'studies')}, {known} of {total} candidates known"
    if not known and store.count_tried(list(others)):
        line += (
            "; the store has other studies of the same cells: they differ in more than search.num_candidates, and"
            " none of their candidates is used"
        )
    say(console, "Tuning", line)


def print_summary(console: Console, store: Store, outcome: Outcome, num_tried: int, num_silent: int) -> None:
    """Print the verdict, the scores, the states, and the paths of the report, the weights and the runs.

    `num_tried` trials were missing before this run, and `num_silent` failed cells were not printed one by one.
    """
    plan = outcome.plan
    assert outcome.report is not None
    assert outcome.page is not None
    page = outcome.page.with_name("report.html")
    if num_silent:
        say_problem(console, "FAILED", f"{num_silent} more cells: {page} names them")
    say_first_screen(console, outcome.page)
    print_scores(console, plan, outcome.report)
    say(console, "Trials", _counts(outcome, num_tried))
    if looks := looks_taken(outcome.report.findings):
        say(console, "Looks", saving(looks))
    for line in _compiled(plan, store):
        say(console, "Compiled", line)
    studies = [study for cell in plan.cells for study in tuning.studies(cell)]
    if studies:
        tried = store.count_tried([study.id for study in studies])
        say(console, "Tuning", f"{plural(len(studies), 'study', 'studies')}: {tried:,} trials")
    say(console, "Report", str(page), whole=True)
    _print_weights(console, plan)
    _print_trackers(console, plan, outcome)


def _counts(outcome: Outcome, num_tried: int) -> str:
    """Return the number of trials by state, and how many of them this run trained."""
    states = ", ".join(f"{count:,} {state.value.lower()}" for state, count in sorted(outcome.states.items()))
    stored = max(0, outcome.num_trials - num_tried)
    trained = outcome.num_trials - stored - outcome.states.get(State.FAILED, 0)
    return f"{outcome.num_trials:,}: {states} ({stored:,} from the store, {max(0, trained):,} trained)"


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


def _print_trackers(console: Console, plan: Plan, outcome: Outcome) -> None:
    """Print how to see the runs in each tracker, and how many it lacks."""
    for tracker in plan.config.tracker.trackers.values():
        for line in (tracker.build().how_to_see() or "").splitlines():
            console.print(line, soft_wrap=True)
    for name, num_missing, reason in outcome.unmirrored:
        what = f"{num_missing} of {len(plan.links())} trials are" if num_missing else "the report is"
        say_problem(console, "MISSING", f"{what} not in {name}: {reason}", "yellow")
        where = "" if plan.config.store_url == sync.STORE else f" --store {printable(plan.config.store_url)}"
        say_problem(console, "", f"nothing is lost; send the rest with: evalbench sync {plan.name}{where}", whole=True)


def _print_weights(console: Console, plan: Plan) -> None:
    if plan.config.save == "none":
        return
    saved = sum(len(list(cells.weights_folder(cell).glob("s*"))) for cell in plan.cells)
    note = "" if saved else f"; the trials were trained before save={plan.config.save}: train them in another store.url"
    say(console, "Weights", f"{saved} trials in {plan.config.weights_folder}{note}")
