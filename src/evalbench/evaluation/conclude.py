"""The end of an evaluation: its folder and its report."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evalbench import cell as cells
from evalbench import radar, report, tuning
from evalbench.evaluation import variance
from evalbench.evaluation.costs import alone, cost_rows
from evalbench.evaluation.looks import following
from evalbench.evaluation.plan import Plan
from evalbench.record.write import Searched, failed_candidates, write_costs, write_defaults, write_folder
from evalbench.report import Report
from evalbench.seeds import look_of
from evalbench.store import Store
from evalbench.trial import State
from evalbench.workloads import NamedWorkload, split_methods
from evalbench.workloads.equal_rows import count_equal_rows


@dataclass(frozen=True)
class Outcome:
    """The state of an evaluation: its trials by state, and its report if all of them have ended."""

    plan: Plan
    """The trials so far: those of the last look."""
    states: Mapping[State, int]
    num_trials: int
    report: Report | None
    """None until all trials have ended."""
    page: Path | None
    """The path of `report.md`."""
    failures: tuple[Mapping[str, Any], ...]
    seconds: Mapping[int, float] = field(default_factory=dict)
    """The seconds that the trials took to train, by the look that they belong to, from 1."""
    interrupted: bool = False
    unmirrored: tuple[tuple[str, int, str], ...] = ()
    """Each tracker that lacks something, with the number of trials that it lacks, and the reason."""

    @property
    def has_ended(self) -> bool:
        """Return whether all trials are in the store, and no other look follows."""
        return self.num_ended == self.num_trials and self.following is None

    @cached_property
    def following(self) -> Plan | None:
        """Return the plan of the next look; None if there is none, or if a trial of this look is missing."""
        if self.report is None or len(self.plan.looks) == 1:
            return None
        plan = following(self.plan, self.report)
        return None if plan.seeds == self.plan.seeds else plan

    @property
    def num_ended(self) -> int:
        """Trials that are in the store, failed ones included."""
        return sum(self.states.values())


def conclude(plan: Plan, store: Store) -> Outcome:
    """Write the evaluation's folder and report if every trial has ended, well or not."""
    with alone(store, f"reports in {plan.folder.parent.absolute()}"):
        outcome = _write_tables(plan, store)
        return outcome if outcome.report is None else _save(outcome)


def look(plan: Plan, store: Store) -> Outcome:
    """Judge the trials so far: write the folder, and its interim report if another look follows."""
    with alone(store, f"reports in {plan.folder.parent.absolute()}"):
        outcome = _write_tables(plan, store)
        return outcome if outcome.following is None else _save(outcome)


def _about(cell: cells.Cell) -> dict[str, Any]:
    """Return what the folder says of a workload beside its data set."""
    target = {"target": cell.target_score}
    if isinstance(cell.dataset, NamedWorkload):
        return target
    split = split_methods.described(cell.dataset, cell.config.split)
    return {**target, **split, "equal_rows": count_equal_rows(cell.dataset, cell.split(0))}


def _save(outcome: Outcome) -> Outcome:
    """Write the report into the folder of its tables, and list it with all others."""
    assert outcome.report is not None
    page = outcome.report.save(outcome.plan.folder)
    report.write_index(outcome.plan.folder.parent)
    radar.build(outcome.plan.folder.parent)
    return replace(outcome, page=page)


def _write_tables(plan: Plan, store: Store) -> Outcome:
    """Write the folder without its report, and read it, if every trial has ended."""
    measured = plan.measured(store)
    searched = plan.config.search is not None
    links = list({link.trial_id: link for each in (plan.links(), *measured) for link in each}.values())
    store.link(plan.name, store.design(plan.name), links)
    states = variance.count_states(plan, store)
    outcome = Outcome(plan, states, len(links) + len(variance.crossed(plan)), None, None, ())
    if not outcome.has_ended:
        return outcome
    trials = store.trials([link.trial_id for link in links])
    workloads = {cell.workload: cell for cell in plan.cells}
    for cell in workloads.values():
        cells.complete_references(cell, store)  # all of its jobs may have died before they had them
    references = {name: store.references(cell.workload_id) for name, cell in workloads.items()}
    datasets = {name: cell.dataset for name, cell in workloads.items()}
    design = store.design(plan.name)
    about = {name: _about(cell) for name, cell in workloads.items()}
    for cell in plan.cells:
        for study in tuning.studies(cell):
            tuning.keep(study, store)
    studies = [
        Searched(plan.link(cell, ""), study, study.history(store), study.best(store))
        for cell in plan.cells
        for study in tuning.studies(cell)
    ]
    failures = write_folder(plan.folder, design, datasets, about, measured, trials, references, studies)
    failures += variance.write(plan, store, failures)
    write_costs(plan.folder / "costs.csv", cost_rows(plan, store, searched))
    if searched:
        write_defaults(plan.folder, design, datasets, plan.links(), trials)
        write_costs(plan.folder / "default_costs.csv", cost_rows(plan, store, tuned=False))
    seconds: dict[int, float] = {}
    for trial in trials.values():
        number = look_of(plan.looks, trial.seed)
        seconds[number] = seconds.get(number, 0.0) + trial.provenance.get("seconds", 0.0)
    failed = (*failures, *failed_candidates(studies))
    return replace(outcome, report=report.read(plan.folder), failures=failed, seconds=seconds)
