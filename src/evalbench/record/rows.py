"""What the rows of a foreign table are: the column that numbers them, their pairs, and their folds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import Declaration
from evalbench.record.options import Options
from evalbench.record.repetitions import pairing_of, repetition_column, unit_of_column

CLUSTER = "_cluster"  # what items belong together
MOST_FOLDS = 20  # more numbers than this in a column of folds are those of repetitions too


def named_repetitions(header: Iterable[object], options: Options) -> tuple[Options, dict[str, str]]:
    """Return what the name of the column of repetitions says, and the names of columns to change for it."""
    columns = [str(column) for column in header]
    names: dict[str, str] = {}
    if "seed" not in columns and (column := repetition_column(columns, options.unit)):
        names, options = {column: "seed"}, replace(options, column=column)
    if options.unit is None and (unit := unit_of_column(options.column)):
        options = replace(options, unit=unit, unit_guessed=True)
    if options.clusters is not None:
        options.check()
        if options.clusters not in columns:
            raise TableError(f"the table has no column {options.clusters!r} of clusters: it has {', '.join(columns)}")
        names[options.clusters] = CLUSTER
    return options, names


def coded(options: Options) -> tuple[str, ...]:
    """Return the columns whose values may be names instead of numbers: seeds are numbers."""
    return () if options.unit in (None, "seed") else ("seed",)


def declared_pairing(
    source: str, options: Options, results: pd.DataFrame, evaluation: Declaration, same_seeds: bool
) -> str:
    """Return which rows of two techniques are pairs, and refuse runs without pairs at several settings."""
    single = len(evaluation.workloads) > 1 and not results.duplicated(["technique", "workload"]).any()
    pairing = pairing_of(options.pairing, options.unit, same_seeds or single)  # single: the data sets are the pairs
    pairing = "seed" if single else pairing
    if pairing == "none" and evaluation.factors:
        factors = ", ".join(evaluation.factors)
        raise TableError(
            f"{source}: runs that are not paired are judged at one setting, and the table has several ({factors}):"
            f" declare the pairs ({options.said('pairing', 'seed')}), or choose a setting"
            f"{options.in_command(' (--where)')}"
        )
    return pairing


def check_partners(source: str, evaluation: Declaration, results: pd.DataFrame, options: Options) -> None:
    """Refuse a technique that has no seed in common with the baseline on a workload: there is no pair to compare."""
    if not evaluation.paired:
        return
    keys = ["workload", *evaluation.factors, "seed"]
    base = results.loc[results["technique"] == evaluation.baseline, keys]
    cells = results[["technique", *keys]].merge(base, on=keys, how="inner")[["technique", "workload"]].drop_duplicates()
    there = set(zip(cells["technique"], cells["workload"], strict=True))
    for workload, name in itertools.product(evaluation.workloads, evaluation.techniques):
        if (name, workload) not in there:
            raise TableError(
                f"{source}: {name} and {evaluation.baseline} have no {evaluation.repeated[0]} in common on workload"
                f" {workload}: give runs that belong together the same {evaluation.repeated[0]}, or"
                f" {options.said('pairing', 'none')}"
            )


def with_folds(source: str, evaluation: Declaration, results: pd.DataFrame, options: Options) -> Declaration:
    """Count the folds in a column that is called so; refuse folds of which neither rows nor number are known."""
    known = results["num_test"].notna() & results["num_train"].notna()
    lacking = [name for name in evaluation.workloads if name not in set(results.loc[known, "workload"])]
    if evaluation.unit != "fold" or evaluation.folds is not None or not lacking:
        return evaluation
    counts = results.groupby("workload")["seed"].nunique()
    if unit_of_column(options.column) == "fold" and counts.nunique() == 1 and 2 <= counts.iloc[0] <= MOST_FOLDS:
        return replace(evaluation, folds=int(counts.iloc[0]), folds_counted=True)
    raise TableError(
        f"{source}: the unit fold needs the number of folds of workload {lacking[0]}: give it"
        f" ({options.said('folds', 10)}), or columns num_train and num_test"
    )
