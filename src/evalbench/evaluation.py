"""One whole evaluation: its cells planned and checked before the first one trains, its folder and report at the end."""

import hashlib
import json
import logging
import socket
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from evalbench import cell as cells
from evalbench import own_code, provenance, report, tuning
from evalbench.cell import Cell
from evalbench.config import Config
from evalbench.errors import ConfigError
from evalbench.record.declared import default_question
from evalbench.record.write import Searched, failed_candidates, write_costs, write_defaults, write_folder
from evalbench.store import Lease, Link, Store
from evalbench.trial import State

log = logging.getLogger(__name__)

WORKLOAD_KEYS = ("dataset", "dataset.path", "dataset.name")
NEUTRAL_KEYS = (
    "sweep", "num_seeds", "evaluation", "cost", "store", "reports", "save", "weights", "tracker", "trainer", "hydra"
)  # fmt: skip
"""Overrides that leave an evaluation what it is, with all keys below them."""
UNTOLD = ("store", "reports", "cost", "save", "weights", "tracker", "sweep")
"""Parts of the configuration that trackers are not told."""
NOT_NEUTRAL = ("evaluation.factor", "evaluation.baseline", "trainer.precision")


@dataclass(frozen=True)
class Plan:
    """The checked cells of one evaluation."""

    name: str
    cells: tuple[Cell, ...]
    jobs: tuple[Cell, ...]
    """The cell of each Hydra job; several may be the same cell, to be trained in another way."""
    factor: str | None
    baseline: str | None
    factors: Mapping[str, tuple[str, ...]]
    """The other factors that vary, with their levels in order."""

    @property
    def config(self) -> Config:
        """What all cells share."""
        return self.cells[0].config

    @cached_property
    def techniques(self) -> tuple[str, ...]:
        """The techniques in the order of the sweep."""
        return tuple(dict.fromkeys(self.technique(cell) for cell in self.cells))

    @property
    def question(self) -> str:
        """What the report answers, in words."""
        return self.config.evaluation.question or default_question(self.factor, self.baseline, self.techniques)

    def technique(self, cell: Cell) -> str:
        """Return what the cell is judged as."""
        return cell.config.label(self.factor) if self.factor else cell.config.technique

    def links(self) -> list[Link]:
        """Return the place in the evaluation of every trial at the settings as they stand."""
        return [self.link(cell, trial_id) for cell in self.cells for trial_id in cell.specs]

    def link(self, cell: Cell, trial_id: str) -> Link:
        """Return the place of one of a cell's trials."""
        return Link(trial_id, self.technique(cell), {key: cell.config.label(key) for key in self.factors})

    def measured(self, store: Store) -> list[list[Link]]:
        """Return the places of the trials that techniques are judged by: one list, or one for each study."""
        found = [tuning.measured(cell, store) for cell in self.cells]
        return [
            [self.link(cell, trial_id) for cell, specs in zip(self.cells, each, strict=True) for trial_id in specs]
            for each in zip(*found, strict=True)
        ]

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.config.reports / self.name


def plan(configs: Sequence[Config]) -> Plan:
    """Load all data and check everything about the evaluation that can be checked without training.

    Raises `InputError`.
    """
    jobs = tuple(Cell.of(config) for config in configs)
    shared = configs[0].evaluation
    varying = _varying(configs)
    factor, baseline = shared.factor, shared.baseline
    if factor is None and varying:
        factor = next(iter(varying))  # an ad-hoc sweep: its first list is compared, by default with its first value
        baseline = baseline or varying[factor][0]
    if factor in WORKLOAD_KEYS:
        remedy = "leave it null to describe the data sets"
        raise ConfigError(
            "evaluation.factor", "must not be the data set: techniques are compared on it", factor, remedy
        )
    factors = {key: levels for key, levels in varying.items() if key != factor}
    if "seed" in factors:
        remedy = "raise num_seeds instead, or compare root seeds with evaluation.factor=seed"
        raise ConfigError("seed", "must be the same in all cells", ", ".join(factors["seed"]), remedy)
    distinct = {cell.id: cell for cell in reversed(jobs)}
    chosen = tuple(distinct[cell_id] for cell_id in dict.fromkeys(cell.id for cell in jobs))
    result = Plan(shared.name, chosen, jobs, factor, baseline, factors)
    _check_distinct(result)
    if factor is not None:
        _check_techniques(result)
    return result


def untrained(plan: Plan, store: Store) -> list[int]:
    """Return the numbers of the jobs that have something left to train."""
    left = {cell.id for cell in plan.cells if not tuning.is_done(cell, store)}
    return [number for number, cell in enumerate(plan.jobs) if cell.id in left]


def check_trainable(plan: Plan, store: Store) -> None:
    """Build every cell that has something left to train, so that a wrong setting is refused now.

    Raises `InputError`, also where the smallest difference that matters is not the one declared before the results.
    """
    _check_rope(plan, store)
    _check_folders(plan)
    for tracker in plan.config.tracker.trackers.values():
        tracker.build()
    for number in untrained(plan, store):
        tuning.check(plan.jobs[number])


def changed_code(plan: Plan, store: Store) -> dict[str, int]:
    """Return what is to be said of own code that the store has results of, but of another version of it.

    With each sentence goes the number of trials that are trained because of it.
    """
    told: Counter[str] = Counter()
    known: dict[str, list[Mapping[str, Any]]] = {}
    for cell in plan.cells:
        missing = store.missing(list(cell.specs)) if cell.code else []
        if not missing:
            continue
        if cell.workload not in known:
            known[cell.workload] = store.settings(cell.workload, cell.config.root_seed)
        now = json.loads(json.dumps({**cell.settings, "code": None}))
        before = [each.get("code") for each in known[cell.workload] if {**each, "code": None} == now]
        if before and cell.code not in before:
            trials = len(missing) + len(tuning.studies(cell)) * len(cell.specs) + tuning.num_trials([cell])
            told.update(dict.fromkeys(own_code.changes(before[-1], cell.code), trials))
    return told


def name_for(name: str, overrides: Iterable[str]) -> str:
    """Return the evaluation's name, with a suffix where the command line made it another evaluation.

    `overrides` are the command line's, such as `optimizer=sgd,adam`; one that names the evaluation decides.
    """
    changes = []
    for text in overrides:
        key = text.split("=", 1)[0].lstrip("+~").split("@")[0]
        if key == "evaluation.name":
            return name
        if key.split(".")[0] not in NEUTRAL_KEYS or key in NOT_NEUTRAL:
            changes.append(text)
    if not changes:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(sorted(changes)).encode()).hexdigest()[:6]}"


def link(plan: Plan, store: Store, command: str) -> None:
    """Write into the store which trials the evaluation is made of, and how it was asked for.

    The number of seeds of the first time is kept: the seeds that came later are an extension, chosen after a look.
    """
    design = _design(plan, command)
    known = store.design(plan.name) if store.has_design(plan.name) else {}
    design["pilot_seeds"] = min(known.get("pilot_seeds", plan.config.num_seeds), plan.config.num_seeds)
    store.link(plan.name, design, plan.links())
    store.describe(plan.name, _description(plan, command))


def measure_costs(plan: Plan, store: Store) -> None:
    """Time every technique alone on every workload, unless the store has it for this machine; needs a quiet machine.

    Cells that failed are left out: what broke them would break this process.
    """
    rounds = plan.config.cost_rounds
    if plan.factor is None or rounds == 0:
        return
    trained = [cell for one in plan.cells for cell in _timed(one, store) if not store.missing(list(cell.specs))]
    with _alone(store, f"costs on {socket.gethostname()}"):
        for workload in dict.fromkeys(cell.workload for cell in trained):
            here = {cell.id: cell for cell in trained if cell.workload == workload}
            known = store.costs(list(here), provenance.machine())
            if known is None or any(len(costs) < rounds for costs in known.values()):
                from evalbench import cost  # torch and Lightning: only where something is to be measured

                try:
                    measured = cost.measure([(cell.config, cell.dataset) for cell in here.values()], rounds)
                except Exception as error:  # the user's own code runs there: what it costs is then not known
                    log.warning("the cost on %s cannot be measured: %s: %s", workload, type(error).__name__, error)
                    continue
                by_cell = {name: [asdict(one) for one in costs] for name, costs in zip(here, measured, strict=True)}
                store.record_costs(by_cell, provenance.machine())


def _alone(store: Store, what: str) -> AbstractContextManager[Lease]:
    """Let other processes on the store wait that do the same."""
    return store.lease(hashlib.sha256(what.encode()).hexdigest()[:40])


def _timed(cell: Cell, store: Store) -> list[Cell]:
    """Return the cells whose cost is one of a cell's: its own, and those at what its studies have chosen."""
    return [cell, *(tuned for tuned in (study.chosen(store) for study in tuning.studies(cell)) if tuned is not None)]


def _cost_rows(plan: Plan, store: Store, tuned: bool) -> list[dict[str, Any]]:
    """Return a row per technique, workload, setting of the other factors and round; over studies the mean."""
    rows = []
    for cell in plan.cells:
        of = _timed(cell, store)[1:] if tuned else [cell]
        costs = [(store.costs([one.id], provenance.machine()) or {}).get(one.id, []) for one in of]
        key = {"technique": plan.technique(cell), "workload": cell.workload}
        factors = {name: cell.config.label(name) for name in plan.factors}
        for rounds in zip(*costs, strict=False):
            rows.append({**key, **factors, **_mean_cost(rounds), "machine": provenance.machine()})
    return rows


def _mean_cost(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one round's measurement of several settings as one, whose steps times seconds is their mean."""
    if len(rounds) == 1:
        return dict(rounds[0])
    mean = {
        key: None if any(one[key] is None for one in rounds) else statistics.fmean(one[key] for one in rounds)
        for key in rounds[0]
    }
    seconds = statistics.fmean(one["steps"] * one["step_seconds"] for one in rounds)
    steps = round(statistics.fmean(one["steps"] for one in rounds))
    return {**mean, "round": rounds[0]["round"], "steps": steps, "step_seconds": seconds / steps}


@dataclass(frozen=True)
class Outcome:
    """How an evaluation stands: its trials by state, and its report where all of them ended."""

    states: Mapping[State, int]
    num_trials: int
    report: Path | None
    failures: tuple[Mapping[str, Any], ...]

    @property
    def num_ended(self) -> int:
        """Trials that are in the store, failed ones included."""
        return sum(self.states.values())


def conclude(plan: Plan, store: Store) -> Outcome:
    """Write the evaluation's folder and report, if every trial has ended one way or another."""
    with _alone(store, f"reports in {plan.folder.parent.absolute()}"):
        return _conclude(plan, store)


def _conclude(plan: Plan, store: Store) -> Outcome:
    measured = plan.measured(store)
    searched = plan.config.search is not None
    links = list({link.trial_id: link for each in (plan.links(), *measured) for link in each}.values())
    store.link(plan.name, store.design(plan.name), links)
    states = store.count_states(plan.name)
    outcome = Outcome(states, len(links), None, ())
    if outcome.num_ended < len(links):
        return outcome
    trials = store.trials([link.trial_id for link in links])
    workloads = {cell.workload: cell for cell in plan.cells}
    for cell in workloads.values():
        cells.complete_references(cell, store)  # all of its jobs may have died before they had them
    references = {name: store.references(cell.workload_id) for name, cell in workloads.items()}
    datasets = {name: cell.dataset for name, cell in workloads.items()}
    design = store.design(plan.name)
    targets = {name: cell.config.target_score for name, cell in workloads.items()}
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
    write_costs(plan.folder / "costs.csv", _cost_rows(plan, store, searched))
    if searched:
        write_defaults(plan.folder, design, datasets, plan.links(), trials, plan.config.num_seeds)
        write_costs(plan.folder / "default_costs.csv", _cost_rows(plan, store, tuned=False))
    written = report.write(plan.folder)
    report.write_index(plan.folder.parent)
    return replace(outcome, report=written, failures=(*failures, *failed_candidates(studies)))


def _varying(configs: Sequence[Config]) -> dict[str, tuple[str, ...]]:
    """Return the overridden keys that differ between cells, the workload's aside, with their values in order."""
    keys = dict.fromkeys(key for config in configs for key in config.overrides)
    values = {
        key: tuple(dict.fromkeys(config.label(key) for config in configs))
        for key in keys
        if key not in WORKLOAD_KEYS and key.split(".")[0] not in NEUTRAL_KEYS
    }
    return {key: levels for key, levels in values.items() if len(levels) > 1}


def _check_techniques(plan: Plan) -> None:
    if len(plan.techniques) < 2:
        remedy = f"give at least two, for example {plan.factor}=A,B, or evaluation.factor=null to describe one"
        raise ConfigError(str(plan.factor), "must take at least two values to compare", plan.techniques[0], remedy)
    if plan.baseline not in plan.techniques:
        choices = ", ".join(plan.techniques)
        rule = f"must be one of the compared techniques ({choices})"
        raise ConfigError("evaluation.baseline", rule, plan.baseline, "add evaluation.baseline=NAME")


def _check_rope(plan: Plan, store: Store) -> None:
    """What counts as a difference is fixed once there are results to choose it by."""
    if not store.has_design(plan.name) or not store.count_states(plan.name):
        return
    declared = store.design(plan.name).get("rope")
    asked = dict(plan.config.evaluation.rope)
    if declared is not None and declared != asked:
        rule = f"must stay what it was before the results, {declared}"
        raise ConfigError("evaluation.rope", rule, asked, "give evaluation.name=OTHER for another question")


def _check_folders(plan: Plan) -> None:
    """Whatever is written at the end, or in the middle, must find its place; nothing is made for that yet."""
    config = plan.config
    folders = {"reports": plan.folder, "trainer.checkpoint_folder": config.checkpoint_folder}
    if config.save != "none":
        folders["weights"] = config.weights_folder
    for key, folder in folders.items():
        whole = folder.absolute()
        there = next(path for path in (whole, *whole.parents) if path.exists())
        try:
            TemporaryFile(dir=there).close()  # access rights alone do not say it
        except OSError as error:
            rule = "must be a folder that can be written"
            raise ConfigError(key, rule, str(folder), f"give another one than {there}") from error


def _check_distinct(plan: Plan) -> None:
    """The same cell twice is harmless under one label; under two labels it would be compared with itself."""
    seen = {cell.id: cell for cell in plan.cells}
    fingerprints: dict[str, str] = {}
    for cell in plan.jobs:
        if len(seen[cell.id].specs) != len(cell.specs):
            raise ConfigError("num_seeds", "must be the same in all cells", cell.config.num_seeds, "give one number")
        labels = [
            [plan.technique(one), *(one.config.label(key) for key in plan.factors)] for one in (seen[cell.id], cell)
        ]
        if labels[0] != labels[1]:
            rule = f"must differ in more than its name from {', '.join(labels[0])}"
            raise ConfigError(plan.factor or "sweep", rule, ", ".join(labels[1]), "remove one of them")
        if fingerprints.setdefault(cell.workload, cell.dataset.fingerprint) != cell.dataset.fingerprint:
            rule = "must name one data set each"
            raise ConfigError("dataset.name", rule, cell.workload, "give dataset.name another value for one of them")


def _settings(plan: Plan, group: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each option of a config group; one that varies within an option lists its values."""
    options: dict[str, list[Mapping[str, Any]]] = {}
    for cell in plan.cells:
        options.setdefault(cell.config.choices.get(group, group), []).append(cell.settings[group])
    merged: dict[str, dict[str, Any]] = {}
    for option, specs in options.items():
        for key in dict.fromkeys(key for spec in specs for key in spec):
            values = list(dict.fromkeys(json.dumps(spec.get(key)) for spec in specs))
            one = json.loads(values[0]) if len(values) == 1 else f"{', '.join(values)} (varied)"
            merged.setdefault(option, {})[key] = one
    return merged


def _description(plan: Plan, command: str) -> dict[str, Any]:
    """Return what trackers are told beside links and trials: nothing of where the store is, nor of other folders."""
    config = plan.config
    return {
        "command": command,
        "question": plan.question,
        "factor": plan.factor,
        "baseline": plan.baseline,
        "folder": str(plan.folder),
        "live": config.tracker.live,
        "trackers": {name: tracker.spec() for name, tracker in config.tracker.trackers.items()},
        "cells": [
            {
                "cell_id": cell.id,
                "trials": list(cell.specs),
                "seeds": [spec.seed for spec in cell.specs.values()],
                "workload": cell.workload,
                "choices": {key: value for key, value in cell.config.choices.items() if key not in UNTOLD},
                "settings": cell.settings,
                "tree": {key: value for key, value in cell.config.tree.items() if key not in UNTOLD},
                "metric": cell.dataset.metric.on("test"),
                "maximize": cell.dataset.metric.direction == "maximize",
                "studies": [
                    {
                        "id": study.id,
                        "name": study.name,
                        "number": study.number,
                        "objectives": list(study.objectives),
                        "runs_up_to": study.search.runs_up_to,
                    }
                    for study in tuning.studies(cell)
                ],
            }
            for cell in plan.cells
        ],
    }


def _design(plan: Plan, command: str) -> dict[str, Any]:
    config = plan.config
    return {
        "name": plan.name,
        "question": plan.question,
        "factor": plan.factor,
        "baseline": plan.baseline,
        "techniques": list(plan.techniques),
        "factors": {key: list(levels) for key, levels in plan.factors.items()},
        "settings": {group: _settings(plan, group) for group in ("optimizer", "activation", "model")},
        "budget": {key: value for key, value in config.budget.spec().items() if key != "validations"},
        "splits": {
            "train": round(1 - config.split.validation - config.split.test, 10),
            "validation": config.split.validation,
            "test": config.split.test,
        },
        "precision": config.precision,
        "root_seed": config.root_seed,
        "confidence": 0.95,
        "rope": dict(config.evaluation.rope),
        "command": command,
        "versions": provenance.versions(),
    }
