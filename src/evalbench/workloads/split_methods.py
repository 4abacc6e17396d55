"""The method by which a data set is split: as the configuration says, if the rows allow it."""

from typing import Any

from evalbench.config import FOLDED, SplitConfig
from evalbench.errors import ConfigError
from evalbench.workloads.dataset import Dataset

BY_DATA = ("auto", "predefined", "fixed")
"""Methods that divide what the data set leaves open by what is known of the rows."""


def method_of(dataset: Dataset, split: SplitConfig) -> str:
    """Return how rows are divided: random, stratified, group, time, kfold or repeated_kfold.

    Raises `ConfigError` for a method that the data set does not allow.
    """
    known = dataset.about_rows
    if split.method in BY_DATA and {"groups", "times"} <= known.keys():
        rule = f"must be group or time on {dataset.name}, whose rows have groups and times"
        raise ConfigError("split", rule, split.method, "choose one, or leave dataset.group or dataset.time out")
    by_data = "group" if "groups" in known else "time" if "times" in known else _plain(dataset)
    method = by_data if split.method in BY_DATA else split.method
    reason = _why_not(dataset, split, method)
    if reason is not None:
        raise ConfigError("split", f"must be another one on {dataset.name}, {reason[0]}", split.method, reason[1])
    return method


def check(dataset: Dataset, split: SplitConfig, variance: Any = None) -> None:
    """Refuse a method that the data set does not allow, and a variance design over splits that are all the same."""
    method_of(dataset, split)
    if variance is not None and is_fixed(dataset, split):
        rule = f"must be false on {dataset.name}, where all seeds have the same split"
        raise ConfigError("evaluation.variance", rule, split.method, "leave it out")


def has_default_method(dataset: Dataset, split: SplitConfig) -> bool:
    """Return whether rows are divided anew for every seed, and by class if they have one: no identity names that."""
    return split.method != "fixed" and method_of(dataset, split) == _plain(dataset)


def identity(dataset: Dataset, split: SplitConfig) -> dict[str, Any]:
    """Return the part of a trial's identity that names the method; empty for the default method."""
    if has_default_method(dataset, split):
        return {}
    method = "fixed" if split.method == "fixed" else method_of(dataset, split)
    return {"split": method, **({} if split.folds is None else {"folds": split.folds})}


def described(dataset: Dataset, split: SplitConfig) -> dict[str, Any]:
    """Return the method, unless it is the default, and the number of declared validation rows, for a folder."""
    validated = dataset.declared_validation
    return identity(dataset, split) | ({} if validated is None else {"fixed_validation_rows": len(validated)})


def is_fixed(dataset: Dataset, split: SplitConfig) -> bool:
    """Return whether all seeds have the same split."""
    given = dataset.fixed_test_rows is not None and dataset.declared_validation is not None
    return given or split.method == "fixed" or method_of(dataset, split) == "time"


def has_one_size(dataset: Dataset, split: SplitConfig) -> bool:
    """Return whether the parts have the same size for every seed by the rule of the method."""
    return is_fixed(dataset, split) or method_of(dataset, split) in ("random", "stratified")


def _plain(dataset: Dataset) -> str:
    return "stratified" if dataset.kind.has_row_classes else "random"


def _why_not(dataset: Dataset, split: SplitConfig, method: str) -> tuple[str, str] | None:
    """Return the reason why a data set cannot be split by a method, and the remedy; None if it can."""
    declared = dataset.fixed_test_rows is not None or dataset.declared_validation is not None
    if split.method == "predefined" and dataset.held_out is None:
        return "which gives no test rows", "say dataset.split_column=COLUMN, or choose split=auto"
    if method == "group" and dataset.groups is None:
        return "whose rows have no groups", "say dataset.group=COLUMN"
    if method == "time" and dataset.times is None:
        return "whose rows have no times", "say dataset.time=COLUMN"
    if method == "stratified" and not dataset.kind.has_row_classes:
        return "whose rows have no classes", "choose split=random"
    if method in ("random", "stratified") and dataset.groups is not None:
        return "whose rows have groups, which must stay together", "choose split=group, or leave dataset.group out"
    if method in ("random", "stratified", *FOLDED) and dataset.times is not None and dataset.groups is None:
        return "whose rows have times", "choose split=time, or leave dataset.time out"
    if method in FOLDED and declared:
        return "which gives rows for the test or validation itself", "choose split=predefined"
    return None
