"""The folder of an evaluation: read once, checked, and put in the order that the evaluation declares."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.errors import TableError

STATES = ("COMPLETE", "DIVERGED", "FAILED")
COSTS = ("steps", "examples", "flops", "parameters")
# Named as in the sentences of the report: a technique could be called `linear`, none is called `linear model`.
REFERENCES = {"linear": "linear model", "trivial": "trivial predictor"}

NUMBERS = {
    "results.csv": ("seed", "score", "num_train", "num_test", *COSTS),
    "curves.csv": ("seed", "epoch", "step", "train_loss", "val_loss", "val_score"),
    "references.csv": ("seed", "score"),
}
TEXTS = {
    "results.csv": ("technique", "workload", "state", "metric", "direction"),
    "curves.csv": ("technique", "workload"),
    "references.csv": ("reference", "workload", "metric", "direction"),
}
NO_NUMBER = ["", "nan", "NaN", "None", "null"]


@dataclass(frozen=True)
class Workload:
    """One problem of the evaluation."""

    name: str
    kind: str  # binary, multiclass, regression or language
    generated: bool  # made by a formula: it does not count as a data set of its own
    rows: int
    features: int
    classes: int | None
    fingerprint: str
    metric: str
    direction: str
    unit: str
    description: str


@dataclass(frozen=True)
class Failure:
    """A cell that failed: our fault, not a finding about the technique."""

    technique: str
    workload: str
    factors: Mapping[str, str]
    message: str
    log: str


@dataclass(frozen=True)
class Evaluation:
    """`evaluation.json`: what was compared, and how."""

    name: str
    question: str
    factor: str | None  # None: nothing is compared, one technique is described
    baseline: str | None
    techniques: tuple[str, ...]
    workloads: Mapping[str, Workload]
    factors: Mapping[str, tuple[str, ...]]  # the other factors of the sweep and their levels
    settings: Mapping[str, Mapping[str, Any]]  # factor -> choice -> its settings
    budget: Mapping[str, float]
    splits: Mapping[str, float]
    num_seeds: int
    root_seed: int
    confidence: float
    failures: tuple[Failure, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Folder:
    """An evaluation with its three tables, rows in the declared order of workloads, techniques and levels.

    results: one row per trial; a trial of a failed cell that left no row has one with state FAILED.
    curves: one row per trial and epoch.
    references: one row per reference, workload and seed; `reference` in the words of `REFERENCES`.
    """

    evaluation: Evaluation
    results: pd.DataFrame
    curves: pd.DataFrame
    references: pd.DataFrame


def load(folder: Path) -> Folder:
    """Read and check a folder.

    Raises:
        TableError: a file is missing or unreadable, or a table lacks a column, repeats a trial, or names a technique,
            workload, state or level that the evaluation does not declare.
    """
    evaluation = _evaluation(folder / "evaluation.json")
    factors = list(evaluation.factors)
    results = _table(folder / "results.csv", factors)
    curves = _table(folder / "curves.csv", factors)
    references = _table(folder / "references.csv", [])
    for name, table in (("results.csv", results), ("curves.csv", curves)):
        _only(name, table, "technique", evaluation.techniques)
        for factor, levels in evaluation.factors.items():
            _only(name, table, factor, levels)
    for name, table in (("results.csv", results), ("curves.csv", curves), ("references.csv", references)):
        _only(name, table, "workload", evaluation.workloads)
    for name, table in (("results.csv", results), ("references.csv", references)):
        _one_metric(name, table, evaluation.workloads)
    _only("results.csv", results, "state", STATES)
    _only("references.csv", references, "reference", REFERENCES)
    trial = ["technique", "workload", *factors, "seed"]
    _once("results.csv", results, trial)
    _once("curves.csv", curves, [*trial, "epoch"])
    _once("references.csv", references, ["reference", "workload", "seed"])
    measured = results[results["state"] != "FAILED"]
    _finite("results.csv", measured, ["score", "num_train", "num_test"], trial)
    _finite("references.csv", references, ["score"], ["reference", "workload", "seed"])
    results = _with_failed_cells(results, references, evaluation)
    if results.empty:
        raise TableError(f"{folder / 'results.csv'} has no trial: run the evaluation first")
    references = references.assign(reference=references["reference"].map(REFERENCES))
    return Folder(
        evaluation,
        _ordered(results, evaluation, [*factors, "seed"]),
        _ordered(curves, evaluation, [*factors, "seed", "epoch"]),
        _ordered(references, evaluation, ["reference", "seed"]),
    )


def _evaluation(path: Path) -> Evaluation:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TableError(f"{path} is missing: give the folder of an evaluation, such as reports/optimizers") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read as JSON: {error}") from None
    try:
        return Evaluation(
            name=raw["name"],
            question=raw["question"],
            factor=raw["factor"],
            baseline=_baseline(path, raw),
            techniques=tuple(map(str, raw["techniques"])),
            workloads={name: _workload(name, values) for name, values in raw["workloads"].items()},
            factors={name: tuple(map(str, levels)) for name, levels in raw["factors"].items()},
            settings=raw["settings"],
            budget=raw["budget"],
            splits=raw["splits"],
            num_seeds=raw["num_seeds"],
            root_seed=raw["root_seed"],
            confidence=raw["confidence"],
            failures=tuple(_failure(failure) for failure in raw["failures"]),
            provenance=raw["provenance"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{path} does not describe an evaluation: {type(error).__name__} {error}") from None


def _baseline(path: Path, raw: Mapping[str, Any]) -> str | None:
    baseline: str | None = raw["baseline"] if raw["factor"] is not None else None
    if baseline is not None and baseline not in raw["techniques"]:
        raise TableError(f"{path}: baseline must be one of the techniques {raw['techniques']}, not {baseline!r}")
    return baseline


def _workload(name: str, raw: Mapping[str, Any]) -> Workload:
    return Workload(name=name, **{field.name: raw[field.name] for field in fields(Workload) if field.name != "name"})


def _failure(raw: Mapping[str, Any]) -> Failure:
    factors = {str(name): str(level) for name, level in raw["factors"].items()}
    return Failure(raw["technique"], raw["workload"], factors, str(raw["message"]), str(raw["log"] or ""))


def _table(path: Path, factors: Sequence[str]) -> pd.DataFrame:
    """Read one CSV: names stay text (`none` and `1` are levels), and only numbers may be missing."""
    numbers = NUMBERS[path.name]
    texts = [*TEXTS[path.name], *(factors if path.name != "references.csv" else [])]
    try:
        header = pd.read_csv(path, nrows=0).columns
        table = pd.read_csv(
            path,
            dtype={name: str for name in header if name not in numbers},
            keep_default_na=False,
            na_values=dict.fromkeys(numbers, NO_NUMBER),
        )
    except FileNotFoundError:
        raise TableError(f"{path} is missing: give the folder of an evaluation, such as reports/optimizers") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read as CSV: {error}") from None
    absent = [name for name in (*texts, *numbers) if name not in table.columns]
    if absent:
        raise TableError(f"{path} has no column {', '.join(absent)}: it has {', '.join(table.columns)}")
    for name in numbers:
        try:
            table[name] = pd.to_numeric(table[name]).astype(np.float64)
        except ValueError as error:
            raise TableError(f"{path}: column {name} holds numbers only: {error}") from None
    if table["seed"].isna().any():
        raise TableError(f"{path} has a row without a seed")
    table["seed"] = table["seed"].astype(np.int64)
    return table


def _only(name: str, table: pd.DataFrame, column: str, allowed: Iterable[str]) -> None:
    unknown = sorted(set(table[column]) - set(allowed))
    if unknown:
        known = ", ".join(allowed)
        raise TableError(f"{name}: {column} must be one of {known}, not {', '.join(map(repr, unknown))}")


def _one_metric(name: str, table: pd.DataFrame, workloads: Mapping[str, Workload]) -> None:
    for workload, metric, direction in set(zip(table["workload"], table["metric"], table["direction"], strict=True)):
        declared = workloads[workload]
        if (metric, direction) != (declared.metric, declared.direction):
            raise TableError(
                f"{name}: workload {workload!r} declares {declared.direction} {declared.metric},"
                f" not {direction} {metric}"
            )


def _once(name: str, table: pd.DataFrame, keys: list[str]) -> None:
    twice = table.loc[table.duplicated(keys), keys].sort_values(keys)
    if len(twice):
        raise TableError(f"{name} has more than one row for {_words(twice)}: keep one of each")


def _finite(name: str, table: pd.DataFrame, columns: list[str], keys: list[str]) -> None:
    for column in columns:
        bad = table.loc[~np.isfinite(table[column]), keys].sort_values(keys)
        if len(bad):
            raise TableError(f"{name}: {column} must be a finite number for {_words(bad)}")


def _words(keys: pd.DataFrame) -> str:
    first = ", ".join(f"{name} {value}" for name, value in keys.iloc[0].items())
    return first + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def _with_failed_cells(results: pd.DataFrame, references: pd.DataFrame, evaluation: Evaluation) -> pd.DataFrame:
    """A failed cell may have left no rows: give each seed of it a row, so that the missing pairs are explained."""
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
        for setting in itertools.product(*levels, sorted(seeds or range(evaluation.num_seeds))):
            key = dict(zip(trial, (failure.technique, failure.workload, *setting), strict=True))
            if tuple(key.values()) not in present:
                rows.append({**key, "state": "FAILED", "metric": workload.metric, "direction": workload.direction})
    if not rows:
        return results
    failed = pd.DataFrame(rows).drop_duplicates(ignore_index=True)
    return pd.concat([results, failed], ignore_index=True)


def _ordered(table: pd.DataFrame, evaluation: Evaluation, keys: list[str]) -> pd.DataFrame:
    """Rows in declared order, whatever their order in the file."""
    places = {
        "workload": list(evaluation.workloads),
        "technique": list(evaluation.techniques),
        "reference": list(REFERENCES.values()),
        **{name: list(levels) for name, levels in evaluation.factors.items()},
    }
    first = ["workload", "technique"] if "technique" in table.columns else ["workload"]
    order = pd.DataFrame(
        {
            name: table[name].map({value: place for place, value in enumerate(places[name])})
            if name in places
            else table[name]
            for name in [*first, *keys]
        }
    )
    return table.loc[order.sort_values([*first, *keys], kind="stable").index].reset_index(drop=True)
