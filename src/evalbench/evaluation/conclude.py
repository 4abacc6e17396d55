"""The end of an evaluation: its folder and its report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalbench import cell as cells
from evalbench import report, tuning
from evalbench.evaluation import variance
from evalbench.evaluation.costs import alone, cost_rows
from evalbench.evaluation.plan import Plan
from evalbench.record.write import Searched, failed_candidates, write_costs, write_defaults, write_folder
from evalbench.report import Report
from evalbench.store import Store
from evalbench.trial import State


@dataclass(frozen=True)
class Outcome:
    """The state of an evaluation: its trials by state, and its report if all of them have ended."""

    states: Mapping[State, int]
    num_trials: int
    report: Report | None
    """None until all trials have ended."""
    page: Path | None
    """The path of `report.md`."""
    failures: tuple[Mapping[str, Any], ...]
    interrupted: bool = False
    unmirrored: tuple[tuple[str, int, str], ...] = ()
    """Each tracker that lacks something, with the number of trials that it lacks, and the reason."""

    @property
    def has_ended(self) -> bool:
        """Return whether all trials are in the store, so that there is a report."""
        return self.num_ended == self.num_trials

    @property
    def num_ended(self) -> int:
        """Trials that are in the store, failed ones included."""
        return sum(self.states.values())


def conclude(plan: Plan, store: Store) -> Outcome:
    """Write the evaluation's folder and report if every trial has ended, well or not."""
    with alone(store, f"reports in {plan.folder.parent.absolute()}"):
        return _conclude(plan, store)


def _conclude(plan: Plan, store: Store) -> Outcome:
    measured = plan.measured(store)
    searched = plan.config.search is not None
    links = list({link.trial_id: link for each in (plan.links(), *measured) for link in each}.values())
    store.link(plan.name, store.design(plan.name), links)
    crossed = variance.unlinked(plan, {link.trial_id for link in links})
    states = variance.count_states(store, crossed) + Counter(store.count_states(plan.name))
    outcome = Outcome(states, len(links) + len(crossed), None, None, ())
    if not outcome.has_ended:
        return outcome
    trials = store.trials([link.trial_id for link in links])
    workloads = {cell.workload: cell for cell in plan.cells}
    for cell in workloads.values():
        cells.complete_references(cell, store)  # all of its jobs may have died before they had them
    references = {name: store.references(cell.workload_id) for name, cell in workloads.items()}
    datasets = {name: cell.dataset for name, cell in workloads.items()}
    design = store.design(plan.name)
    targets = {name: cell.target_score for name, cell in workloads.items()}
    for cell in plan.cells:
        for study in tuning.studies(cell):
            tuning.keep(study, store)
    studies = [
        Searched(plan.link(cell, ""), study, study.history(store), study.best(store))
        for cell in plan.cells
        for study in tuning.studies(cell)
    ]
    failures = write_folder(
        plan.folder, design, datasets, targets, measured, trials, references, plan.config.num_seeds, studies
    )
    failures += variance.write(plan, store, failures)
    write_costs(plan.folder / "costs.csv", cost_rows(plan, store, searched))
    if searched:
        write_defaults(plan.folder, design, datasets, plan.links(), trials, plan.config.num_seeds)
        write_costs(plan.folder / "default_costs.csv", cost_rows(plan, store, tuned=False))
    written = report.read(plan.folder)
    page = written.save(plan.folder)
    report.write_index(plan.folder.parent)
    return replace(outcome, report=written, page=page, failures=(*failures, *failed_candidates(studies)))
