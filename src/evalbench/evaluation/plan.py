"""The plan of an evaluation: its cells, the factor that is compared, and the trials that count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evalbench import tuning
from evalbench.cell import Cell
from evalbench.config import Config
from evalbench.errors import ConfigError, TableError
from evalbench.evaluation.naming import NEUTRAL_KEYS
from evalbench.record.declared import default_question
from evalbench.record.options import Options
from evalbench.store import Link, Store
from evalbench.workloads import NamedWorkload

WORKLOAD_KEYS = ("dataset", "dataset.path", "dataset.name")


@dataclass(frozen=True)
class Plan:
    """The checked cells of an evaluation."""

    name: str
    cells: tuple[Cell, ...]
    jobs: tuple[Cell, ...]
    """The cell of each job; several jobs may have the same cell, trained in different ways."""
    factor: str | None
    baseline: str | None
    factors: Mapping[str, tuple[str, ...]]
    """The other factors that vary, with their levels in order."""

    @classmethod
    def of(cls, configs: Sequence[Config]) -> "Plan":
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
        result = cls(shared.name, chosen, jobs, factor, baseline, factors)
        _check_looks(result)
        _check_named(result)
        _check_splits(result)
        _check_distinct(result)
        if factor is not None:
            _check_techniques(result)
        return result

    @property
    def config(self) -> Config:
        """Return a configuration, for the values that all cells share."""
        return self.cells[0].config

    @cached_property
    def techniques(self) -> tuple[str, ...]:
        """Return the techniques in the order of the sweep."""
        return tuple(dict.fromkeys(self.technique(cell) for cell in self.cells))

    @property
    def looks(self) -> tuple[int, ...]:
        """Return the numbers of seeds after which the techniques are judged, ascending."""
        return self.config.evaluation.looks

    @cached_property
    def seeds(self) -> dict[str, int]:
        """Return each technique's number of seeds."""
        return {self.technique(cell): cell.config.num_seeds for cell in self.cells}

    def with_seeds(self, seeds: Mapping[str, int]) -> "Plan":
        """Return this plan with another number of seeds for each technique."""
        cells, jobs = (
            tuple(cell.with_seeds(seeds[self.technique(cell)]) for cell in each) for each in (self.cells, self.jobs)
        )
        return replace(self, cells=cells, jobs=jobs)

    @property
    def question(self) -> str:
        """Return the question that the report answers."""
        return self.config.evaluation.question or default_question(self.factor, self.baseline, self.techniques)

    def technique(self, cell: Cell) -> str:
        """Return the technique that the cell stands for."""
        return cell.config.label(self.factor) if self.factor else cell.config.technique

    def links(self) -> list[Link]:
        """Return the links of all trials at the configured settings."""
        return [self.link(cell, trial_id) for cell in self.cells for trial_id in cell.specs]

    def link(self, cell: Cell, trial_id: str) -> Link:
        """Return the link of a trial of a cell."""
        return Link(trial_id, self.technique(cell), {key: cell.config.label(key) for key in self.factors})

    def measured(self, store: Store) -> list[list[Link]]:
        """Return the links of the trials that techniques are judged by: one list, or one for each study."""
        measured = [tuning.measured(cell, store) for cell in self.cells]
        return [
            [self.link(cell, trial_id) for cell, specs in zip(self.cells, each, strict=True) for trial_id in specs]
            for each in zip(*measured, strict=True)
        ]

    def untrained(self, store: Store) -> list[int]:
        """Return the numbers of the jobs that have something left to train."""
        left = {cell.id for cell in self.cells if not tuning.is_done(cell, store)}
        return [number for number, cell in enumerate(self.jobs) if cell.id in left]

    @property
    def folder(self) -> Path:
        """Return the folder of the report."""
        return self.config.reports / self.name


def _varying(configs: Sequence[Config]) -> dict[str, tuple[str, ...]]:
    """Return the overridden keys that differ between cells, the workload's aside, with their values in order."""
    keys = dict.fromkeys(key for config in configs for key in config.overrides)
    values = {
        key: tuple(dict.fromkeys(config.label(key) for config in configs))
        for key in keys
        if key not in WORKLOAD_KEYS and key.split(".")[0] not in NEUTRAL_KEYS
    }
    return {key: levels for key, levels in values.items() if len(levels) > 1}


def _check_looks(plan: Plan) -> None:
    """Refuse looks that differ between cells, and several looks if nothing is compared."""
    declared = list(dict.fromkeys(cell.config.evaluation.looks for cell in plan.jobs))
    if len(declared) > 1:
        several = any(len(looks) > 1 for looks in declared)
        key = "evaluation.looks" if several else "num_seeds"
        values = [list(looks) if several else looks[0] for looks in declared]
        raise ConfigError(key, "must be the same in all cells", ", ".join(map(str, values)), "give one value")
    if len(plan.looks) > 1 and plan.factor is None:
        remedy = f"there is no verdict that could end the seeds early: give num_seeds={plan.looks[-1]}"
        raise ConfigError("evaluation.looks", "must be left out if nothing is compared", list(plan.looks), remedy)


def _check_named(plan: Plan) -> None:
    """Refuse named workloads beside others, and declarations that contradict each other or are none."""
    named = [cell.dataset for cell in plan.cells if isinstance(cell.dataset, NamedWorkload)]
    if not named:
        return
    others = next((cell.workload for cell in plan.cells if not isinstance(cell.dataset, NamedWorkload)), None)
    if others is not None:
        rule = f"must not be compared together with {others}, whose rows are known"
        raise ConfigError("dataset", rule, named[0].name, "give each an evaluation of its own")
    for key in ("unit", "folds", "pairing"):
        values = list(dict.fromkeys(getattr(dataset, key) for dataset in named))
        if len(values) > 1:
            raise ConfigError(
                f"dataset.{key}", "must be the same in all cells", ", ".join(map(str, values)), "give one"
            )
    metrics = list(dict.fromkeys(dataset.metric.name for dataset in named))
    if len(metrics) > 1:
        rule = "must be the same in all cells: scores of several cannot be averaged"
        raise ConfigError("dataset.metric", rule, ", ".join(metrics), "give one")
    try:
        Options(plan.baseline or "", unit=named[0].unit, folds=named[0].folds, pairing=named[0].pairing).check()
    except TableError as error:
        raise ConfigError("dataset", f"must be declared as it is: {error}") from error


def _check_splits(plan: Plan) -> None:
    """Refuse several methods of splitting: techniques are compared on the same rows."""
    methods = list(dict.fromkeys((job.config.split.method, job.config.split.folds) for job in plan.jobs))
    if len(methods) > 1:
        key = "split" if len({method for method, _ in methods}) > 1 else "split.folds"
        values = ", ".join(str(method if key == "split" else folds) for method, folds in methods)
        raise ConfigError(key, "must be the same in all cells", values, "give each an evaluation of its own")


def _check_techniques(plan: Plan) -> None:
    if len(plan.techniques) < 2:
        remedy = f"give at least two, for example {plan.factor}=A,B, or evaluation.factor=null to describe one"
        raise ConfigError(str(plan.factor), "must take at least two values to compare", plan.techniques[0], remedy)
    if plan.baseline not in plan.techniques:
        choices = ", ".join(plan.techniques)
        rule = f"must be one of the compared techniques ({choices})"
        raise ConfigError("evaluation.baseline", rule, plan.baseline, "add evaluation.baseline=NAME")


def _check_distinct(plan: Plan) -> None:
    """Refuse a cell under two labels: it would be compared with itself. Twice under one label is harmless."""
    seen = {cell.id: cell for cell in plan.cells}
    fingerprints: dict[str, str] = {}
    metrics: dict[str, Any] = {}
    for cell in plan.jobs:
        labels = [
            [plan.technique(twin), *(twin.config.label(key) for key in plan.factors)] for twin in (seen[cell.id], cell)
        ]
        if labels[0] != labels[1]:
            rule = f"must differ in more than its name from {', '.join(labels[0])}"
            raise ConfigError(plan.factor or "sweep", rule, ", ".join(labels[1]), "remove one of them")
        if fingerprints.setdefault(cell.workload, cell.dataset.fingerprint) != cell.dataset.fingerprint:
            rule = "must name one data set each"
            raise ConfigError("dataset.name", rule, cell.workload, "give dataset.name another value for one of them")
        metric = cell.settings.get("task", {}).get("metric")
        if metrics.setdefault(cell.workload, metric) != metric:
            names = ", ".join(dict.fromkeys(job.dataset.metric.name for job in plan.jobs))
            remedy = "give one; trials report all metrics of their task"
            raise ConfigError("task.metric", "must be the same in all cells", names, remedy)
