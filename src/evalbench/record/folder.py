"""The folder of an evaluation: read once, checked, and put in the order that the evaluation declares."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import Declaration, Workload, read_evaluation
from evalbench.record.schema import COSTS, MEASURED, NUMBERS, REFERENCES, STATES, TEXTS
from evalbench.record.studies import Studies, by_study, check_seeds, read_studies
from evalbench.record.tables import finite, no_column_of_ours, once, only, read_table
from evalbench.record.variance import read_variance
from evalbench.seeds import study_of


@dataclass(frozen=True)
class Folder:
    """An evaluation with its three tables, rows in the declared order of workloads, techniques and levels.

    results: one row per trial; a trial of a failed cell that left no row has one with state FAILED. A row without a
        score is left out. `failed` is 1 if the score stands for a run that failed, 0 if it was reached.
    curves: one row per trial and epoch.
    references: one row per reference, workload and seed; `reference` in the words of `REFERENCES`.
    costs: one row per technique, workload, setting and round of the isolated measurement; empty if there is none.
    variance: one row per trial of the variance design, see `read_variance`; None if there was none.

    If the whole search was repeated, a row of `results`, `curves` and `references` is a study's mean over its seeds,
    and `seed` is the study's number: studies are what repeats.
    """

    evaluation: Declaration
    results: pd.DataFrame
    curves: pd.DataFrame
    references: pd.DataFrame
    costs: pd.DataFrame
    variance: pd.DataFrame | None = None

    @cached_property
    def cells(self) -> Mapping[tuple[str, str], pd.DataFrame]:
        """Return the results of each workload and technique that has any."""
        return {(str(w), str(t)): rows for (w, t), rows in self.results.groupby(["workload", "technique"], sort=False)}

    def cell(self, workload: str, technique: str) -> pd.DataFrame:
        """Return the results of one workload and technique."""
        return self.cells.get((workload, technique), self.results.iloc[:0])

    def num_seeds(self, technique: str) -> int:
        """Return the number of seeds of a technique's last look."""
        return _seeds_of(technique, self.results, self.evaluation)


@dataclass(frozen=True, kw_only=True)
class TunedFolder(Folder):
    """An evaluation whose techniques evalbench tuned.

    studies: what was searched.
    defaults: the same evaluation at the settings that nobody tuned.
    """

    studies: Studies
    defaults: Folder


def load(folder: Path) -> Folder:
    """Read and check a folder.

    Raises:
        TableError: a file is missing or unreadable, or a table lacks a column, repeats a trial, or names a technique,
            workload, state or level that the evaluation does not declare.
    """
    evaluation = read_evaluation(folder / "evaluation.json")
    factors = list(evaluation.factors)
    no_column_of_ours("evaluation.json", factors)
    curves = _table(folder / "curves.csv", factors)
    references = _table(folder / "references.csv", [])
    results = _table(folder / "results.csv", factors)
    costs = _costs(folder / "costs.csv", evaluation)
    if not evaluation.searched:
        checked = _checked(folder, evaluation, results, curves, references, costs)
        return replace(checked, variance=read_variance(folder, evaluation))
    defaults = _checked(
        folder,
        replace(evaluation, tuning=None),
        _numbered(_table(folder / "defaults.csv", factors), evaluation.num_studies),
        curves.iloc[:0].drop(columns="study"),
        _numbered(references, evaluation.num_studies),
        _costs(folder / "default_costs.csv", evaluation),
    )
    if evaluation.num_studies > 1:
        check_seeds("results.csv", results)
        cell = ["technique", "workload", *factors]
        results = by_study(results, cell, ["score", "failed", "num_train", "num_test", *COSTS])
        curves = by_study(curves, [*cell, "epoch"], ["step", "train_loss", "val_loss", "val_score"])
        references = by_study(
            references.assign(study=study_of(references["seed"])[0]), ["reference", "workload"], ["score"]
        )
    tuned = _checked(folder, evaluation, results, curves, references, costs)
    return TunedFolder(**vars(tuned), studies=read_studies(folder, evaluation), defaults=defaults)


def _numbered(table: pd.DataFrame, num_studies: int) -> pd.DataFrame:
    """Number the seeds of all studies so that the first seed of each study comes first, then each second one."""
    study, number = study_of(table["seed"])
    return table.assign(seed=number * num_studies + study)


def _checked(
    folder: Path,
    evaluation: Declaration,
    results: pd.DataFrame,
    curves: pd.DataFrame,
    references: pd.DataFrame,
    costs: pd.DataFrame,
) -> Folder:
    factors = list(evaluation.factors)
    for name, table in (("results.csv", results), ("curves.csv", curves)):
        only(name, table, "technique", evaluation.techniques)
        for factor, levels in evaluation.factors.items():
            only(name, table, factor, levels)
    for name, table in (("results.csv", results), ("curves.csv", curves), ("references.csv", references)):
        only(name, table, "workload", evaluation.workloads)
    for name, table in (("results.csv", results), ("references.csv", references)):
        _one_metric(name, table, evaluation.workloads)
    only("results.csv", results, "state", STATES)
    only("references.csv", references, "reference", REFERENCES)
    trial = ["technique", "workload", *factors, "seed"]
    once("results.csv", results, trial)
    once("curves.csv", curves, [*trial, "epoch"])
    once("references.csv", references, ["reference", "workload", "seed"])
    measured = results[results["state"] != "FAILED"]
    finite("results.csv", measured, ["score", "num_train", "num_test"], trial)
    finite("references.csv", references, ["score"], ["reference", "workload", "seed"])
    results = _with_failed_cells(
        results.assign(score=results["score"].where(results["state"] != "FAILED")), references, evaluation
    )
    if results.empty:
        raise TableError(f"{folder / 'results.csv'} has no trial: run the evaluation first")
    references = references.assign(reference=references["reference"].map(REFERENCES))
    return Folder(
        evaluation,
        _ordered(results, evaluation, [*factors, "seed"]),
        _ordered(curves, evaluation, [*factors, "seed", "epoch"]),
        _ordered(references, evaluation, ["reference", "seed"]),
        costs,
    )


def _one_metric(name: str, table: pd.DataFrame, workloads: Mapping[str, Workload]) -> None:
    """Refuse a metric or direction that is not the one that its workload declares."""
    for workload, metric, direction in set(zip(table["workload"], table["metric"], table["direction"], strict=True)):
        declared = workloads[workload]
        if (metric, direction) != (declared.metric, declared.direction):
            raise TableError(
                f"{name}: workload {workload!r} declares {declared.direction} {declared.metric},"
                f" not {direction} {metric}"
            )


def _table(path: Path, factors: Sequence[str]) -> pd.DataFrame:
    name = "results.csv" if path.name == "defaults.csv" else path.name
    texts = [*TEXTS[name], *(factors if name != "references.csv" else [])]
    table = read_table(path, texts, NUMBERS[name], optional=("study",))
    return table.assign(failed=(table["state"] == "DIVERGED").astype(float)) if name == "results.csv" else table


def _costs(path: Path, evaluation: Declaration) -> pd.DataFrame:
    """Return the isolated measurement, with `cost_seconds`: seconds per step times the steps of the budget."""
    keys = ["technique", "workload", *evaluation.factors]
    if not path.is_file():
        return pd.DataFrame(columns=[*keys, *NUMBERS["costs.csv"], "cost_seconds"])
    table = read_table(path, keys, NUMBERS["costs.csv"], optional=MEASURED)
    only(path.name, table, "technique", evaluation.techniques)
    only(path.name, table, "workload", evaluation.workloads)
    once(path.name, table, [*keys, "round"])
    table["cost_seconds"] = table["step_seconds"] * table["steps"]
    finite(path.name, table, ["cost_seconds"], [*keys, "round"])
    if not (table["cost_seconds"] > 0).all():
        raise TableError(f"{path.name}: step_seconds and steps must be above 0")
    return table.sort_values([*keys, "round"], kind="stable", ignore_index=True)


def _seeds_of(technique: str, results: pd.DataFrame, evaluation: Declaration) -> int:
    """Return the smallest declared look above a technique's seeds: it trained all of that look, and no more."""
    seeds = results.loc[results["technique"] == technique, "seed"]
    return next((look for look in evaluation.looks if len(seeds) and look > seeds.max()), evaluation.looks[-1])


def _with_failed_cells(results: pd.DataFrame, references: pd.DataFrame, evaluation: Declaration) -> pd.DataFrame:
    """Give each seed of a failed cell a row if it left none, so that missing pairs are explained."""
    factors = list(evaluation.factors)
    trial = ["technique", "workload", *factors, "seed"]
    present = set(zip(*(results[name] for name in trial), strict=True))
    rows: list[dict[str, Any]] = []
    for failure in evaluation.failures:
        if failure.technique not in evaluation.techniques or failure.workload not in evaluation.workloads:
            raise TableError(f"evaluation.json: a failure names {failure.technique!r} on {failure.workload!r}")
        workload = evaluation.workloads[failure.workload]
        seeds = {
            int(seed) for table in (results, references) for seed in table["seed"][table["workload"] == workload.name]
        }
        # A failure that does not name the level of a factor concerns all of them.
        levels = [[failure.factors[name]] if name in failure.factors else evaluation.factors[name] for name in factors]
        if len(evaluation.looks) > 1:
            seeds = {seed for seed in seeds if seed < _seeds_of(failure.technique, results, evaluation)}
        for setting in itertools.product(*levels, sorted(seeds or range(evaluation.num_seeds))):
            key = dict(zip(trial, (failure.technique, failure.workload, *setting), strict=True))
            if tuple(key.values()) not in present:
                rows.append(
                    {
                        **key,
                        "state": "FAILED",
                        "failed": 0.0,
                        "metric": workload.metric,
                        "direction": workload.direction,
                    }
                )
    if not rows:
        return results
    failed = pd.DataFrame(rows).drop_duplicates(ignore_index=True)
    return pd.concat([results, failed], ignore_index=True)


def _ordered(table: pd.DataFrame, evaluation: Declaration, keys: list[str]) -> pd.DataFrame:
    """Return the rows in declared order, whatever their order in the file."""
    indices = {
        "workload": list(evaluation.workloads),
        "technique": list(evaluation.techniques),
        "reference": list(REFERENCES.values()),
        **{name: list(levels) for name, levels in evaluation.factors.items()},
    }
    first = ["workload", "technique"] if "technique" in table.columns else ["workload"]
    order = pd.DataFrame(
        {
            name: table[name].map({value: index for index, value in enumerate(indices[name])})
            if name in indices
            else table[name]
            for name in [*first, *keys]
        }
    )
    return table.loc[order.sort_values([*first, *keys], kind="stable").index].reset_index(drop=True)
