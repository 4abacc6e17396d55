"""How rows are divided by each method, and what cannot be divided so."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import Inline, compose_config, make_cell
from evalbench.cell import Cell, check
from evalbench.config import SplitConfig
from evalbench.errors import ConfigError, DataError
from evalbench.seeds import Phase
from evalbench.statistics.intervals import t_interval
from evalbench.workloads import Dataset, Kind, Split, dataset_of, equal_rows, hold_out, split_of
from evalbench.workloads.equal_rows import count_equal_rows

ROWS = 60


def table(kind: Any = Kind.BINARY, rows: int = ROWS, **fields: Any) -> Dataset:
    """Return a data set whose row number is its input and whose class is 1 in every third row."""
    targets = (np.arange(rows) % 3 == 0).astype(np.int64 if kind is Kind.BINARY else np.float32)
    classes = ("no", "yes") if kind is Kind.BINARY else ()
    inputs = np.arange(rows, dtype=np.float32)[:, None]
    return Dataset("t", kind, inputs, targets, ("x",), np.ones(1, bool), classes, **fields)


def groups_of(*sizes: int) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def split_by(method: str, folds: int | None = None, validation: float = 0.2, test: float = 0.2) -> SplitConfig:
    return SplitConfig(validation, 1 / folds if folds else test, method, folds)


def parts(split: Split) -> list[list[int]]:
    return [part.tolist() for part in (split.train, split.validation, split.test)]


def sizes(split: Split) -> tuple[int, ...]:
    return tuple(map(len, parts(split)))


@pytest.mark.parametrize(
    ("dataset", "same"),
    [
        (table(), ["auto", "stratified"]),
        (table(Kind.REGRESSION), ["auto", "random"]),
        (table(groups=groups_of(*[5] * 12)), ["auto", "group"]),
        (table(times=np.arange(60.0)), ["auto", "time"]),
        (table(held_out=np.arange(9)), ["auto", "predefined", "stratified"]),
    ],
)
def test_the_default_method_follows_from_the_data(dataset: Dataset, same: list[str]) -> None:
    drawn = [parts(split_of(dataset, split_by(method), 0, seed)) for method in same for seed in (1,)]
    assert all(each == drawn[0] for each in drawn)
    assert sorted(row for part in drawn[0] for row in part) == list(range(ROWS))


def test_groups_stay_whole_and_each_may_be_tested() -> None:
    dataset = table(groups=groups_of(30, 12, 6, 6, 3, 2, 1))
    tested = set()
    for seed in range(40):
        split = split_of(dataset, split_by("group"), 0, seed)
        names = [set(dataset.groups[part]) for part in (split.train, split.validation, split.test)]  # type: ignore[index]
        assert sum(map(len, names)) == len(set.union(*names)) == 7
        tested |= names[2]
    assert tested == set(range(7))
    even = [sizes(split_of(table(groups=groups_of(*[2] * 30)), split_by("group"), 0, seed)) for seed in range(5)]
    assert set(even) == {(36, 12, 12)}  # so that all train together


def test_time_goes_forward_and_rows_of_one_time_stay_together() -> None:
    times = np.repeat(np.arange(15.0), 4)[::-1].copy()
    drawn = [split_of(table(times=times), split_by("time", test=0.22), 0, seed) for seed in (0, 7)]
    assert parts(drawn[0]) == parts(drawn[1])
    assert [set(times[part]) for part in (drawn[0].train, drawn[0].validation, drawn[0].test)] == [
        set(range(9)), {9, 10, 11}, {12, 13, 14},
    ]  # fmt: skip


@pytest.mark.parametrize("fields", [{}, {"groups": groups_of(7, 6, 5, *[2] * 21)}])
def test_folds_cover_all_rows_once_and_are_drawn_anew_by_each_repetition(fields: dict[str, Any]) -> None:
    dataset = table(**fields)
    rounds = [
        [split_of(dataset, split_by("repeated_kfold", 7), 0, 7 * round + i) for i in range(7)] for round in (0, 1)
    ]
    for each in rounds:
        assert sorted(row for split in each for row in split.test) == list(range(ROWS))
        assert {len(split.test) for split in each} <= {8, 9, 10}
    assert parts(rounds[0][0]) != parts(rounds[1][0])
    assert parts(split_of(dataset, split_by("kfold", 7), 0, 3)) == parts(rounds[0][3])
    if not fields:
        assert {len(split.validation) for each in rounds for split in each} == {12}
        assert {dataset.targets[split.test].sum() for split in rounds[0]} <= {2, 3}


def test_one_split_for_all_seeds() -> None:
    dataset = table()
    assert len({str(parts(split_of(dataset, split_by("fixed"), 0, seed))) for seed in range(4)}) == 1
    assert parts(split_of(dataset, split_by("fixed"), 1, 0)) != parts(split_of(dataset, split_by("fixed"), 0, 0))


def test_a_column_says_what_each_row_is_for() -> None:
    frame = pd.DataFrame(
        {"part": ["Train", "val", "test", "train"] * 5, "x": range(20), "y": ["no", "yes", "yes", "yes", "no"] * 4}
    )
    dataset = dataset_of(frame, "mine", split_column="part")
    assert dataset.features == ("x",)
    split = split_of(dataset, split_by("predefined"), 0, 3)
    assert parts(split)[1:] == [[*range(1, 20, 4)], [*range(2, 20, 4)]]
    assert dataset.take(np.arange(1, 20)).declared_validation.tolist() == [0, 4, 8, 12, 16]  # type: ignore[union-attr]
    drawn = dataset_of(frame.assign(part=["train", "val"] * 10), "mine", split_column="part")
    tested = {str(parts(split_of(drawn, split_by("auto"), 0, seed))[2]) for seed in range(3)}
    assert len(tested) == 3
    for wrong, reason in (
        (["train", "later"] * 10, "must say train, validation or test, not 'later' in row 1"),
        (["train"] * 20, "says train in every row"),
    ):
        with pytest.raises(DataError, match=reason):
            dataset_of(frame.assign(part=wrong), "mine", split_column="part")


def test_a_date_that_orders_the_rows_has_no_trend() -> None:
    frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=20), "x": range(20), "y": ["no", "yes"] * 10})
    features = dataset_of(frame, "mine", time="day").features
    assert features == ("day: season, sine", "day: season, cosine", "day: weekday, sine", "day: weekday, cosine", "x")
    assert len(dataset_of(frame, "mine").features) == 6
    dropped = dataset_of(frame, "mine", time="day", drop="day")
    assert (dropped.features, dropped.times is None) == (("x",), False)


@pytest.mark.parametrize(
    ("dataset", "split", "reason"),
    [
        (
            table,
            split_by("group"),
            "split must be another one on t, whose rows have no groups, not 'group': say dataset.g",
        ),
        (table, split_by("time"), "whose rows have no times, not 'time': say dataset.time=COLUMN"),
        (table, split_by("predefined"), "which gives no test rows, not 'predefined': say dataset.split_column=COLUMN"),
        (partial(table, Kind.REGRESSION), split_by("stratified"), "whose rows have no classes"),
        (
            partial(table, groups=groups_of(*[5] * 12)),
            split_by("random"),
            "whose rows have groups, which must stay tog",
        ),
        (partial(table, times=np.arange(60.0)), split_by("kfold", 5), "whose rows have times"),
        (partial(table, held_out=np.arange(9)), split_by("kfold", 5), "which gives rows for the test or validation"),
        (
            partial(table, times=np.arange(60.0), groups=groups_of(*[5] * 12)),
            split_by("auto"),
            "split must be group or time on t, whose rows have groups and times",
        ),
        (partial(table, groups=groups_of(30, 30)), split_by("group"), "there are 2 groups, and at least 3 are needed"),
        (
            partial(table, groups=groups_of(30, 30)),
            split_by("kfold", 3),
            "there are 2 groups, and at least 3 are needed",
        ),
        (table, split_by("kfold", 61, 0.1), "61 folds cannot be made: there are 60 rows, and at least 61 are needed"),
        (partial(table, times=np.repeat([0.0, 1.0], 30)), split_by("time"), "have 2 different times, and at least 3"),
        (partial(table, times=np.ones(60)), split_by("time"), "have 1 different times, and at least 3 are needed"),
        (
            partial(table, times=-(np.arange(60) % 3).astype(float) * 100 + np.arange(60)),
            split_by("time", test=0.35),
            "every class must have training rows, and 'yes' has none in a split by time: merge rare classes",
        ),
        (
            partial(table, held_out=np.arange(9), groups=groups_of(*[5] * 12)),
            split_by("auto"),
            "a group must be on one side of a split, and 1 have rows in",
        ),
        (
            partial(table, held_out=np.arange(9), times=np.arange(60.0)),
            split_by("auto"),
            "all validation rows must be earlier than all test rows",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_line(
    dataset: Callable[[], Dataset], split: SplitConfig, reason: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(reason)) as refused:
        split_of(dataset(), split, 0, 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ("split=kfold num_seeds=6", "num_seeds must be at most split.folds=5, because each seed is tested on a fold"),
        ("split=kfold +search=random", "split must be another method with a search"),
        ("split=repeated_kfold split.folds=1", "split.folds must be a whole number of at least 2, not 1"),
        ("split=kfold split.validation=0.9", "split must leave rows for training"),
        ("split=kfold evaluation.variance=3", "evaluation.variance must be false with folds"),
        (
            "split=fixed evaluation.variance=3",
            "evaluation.variance must be false on iris, where all seeds have the same",
        ),
        ("split.method=often", "split.method must be one of auto, random"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        make_cell("dataset=iris", *overrides.split(" "))


def test_test_rows_on_which_the_metric_says_nothing_are_refused() -> None:
    cell = make_cell("dataset=breast_cancer", "task.metric=auroc", "num_seeds=2")
    one_class = replace(cell.dataset, held_out=np.flatnonzero(cell.dataset.targets == 1)[:40])
    with pytest.raises(
        ConfigError, match=r"^task\.metric must be defined on the test rows of breast_cancer with seed 0"
    ):
        check(replace(cell, dataset=one_class))


def test_a_fold_is_a_seed_and_the_method_is_part_of_the_identity() -> None:
    assert compose_config("split=kfold").num_seeds == 5
    cells = [make_cell("dataset=iris", f"split={method}", "num_seeds=2") for method in ("auto", "stratified")]
    assert cells[0].id == cells[1].id
    others = [make_cell("dataset=iris", f"split={method}", "num_seeds=2") for method in ("random", "fixed", "kfold")]
    assert len({cell.id for cell in (*cells, *others)}) == 4


@pytest.mark.parametrize("fields", [{"groups": groups_of(*[3] * 20)}, {"times": np.arange(60.0)}])
def test_a_search_sees_whole_groups_or_the_past(fields: dict[str, Any]) -> None:
    cell = make_cell("dataset=iris", "+search=random")
    held = hold_out(table(**fields), cell.config.split, 0)
    searched = Cell(cell.config, held).at({"optimizer.lr": 0.1}, Phase.TUNE)
    tested, seen = held.held_out, np.setdiff1d(np.arange(ROWS), held.held_out)  # type: ignore[arg-type]
    assert len(searched.dataset.targets) == len(seen) == 42
    split = searched.split(0)
    assert sizes(split) == (30, 12, 0)
    groups = held.groups
    if groups is not None and searched.dataset.groups is not None:
        assert not set(groups[tested]) & set(groups[seen])
        assert not set(searched.dataset.groups[split.train]) & set(searched.dataset.groups[split.validation])
    else:
        assert split.train.max() < split.validation.min() < min(tested)  # type: ignore[arg-type]


@pytest.mark.slow
def test_networks_and_estimators_are_tested_on_each_row_once(inline: Inline) -> None:
    settings = ("split=kfold", "split.folds=4", "dataset=iris", "budget.epochs=1", "cost.rounds=0")
    inline("-m", "model=mlp,random_forest", *settings, "tracker=none", "evaluation.name=folds")
    results = pd.read_csv("reports/folds/results.csv")
    assert results.groupby("technique")["num_test"].sum().tolist() == [150, 150]
    assert sorted(results["num_test"].unique()) == [37, 38]
    declared = json.loads(Path("reports/folds/evaluation.json").read_text(encoding="utf-8"))
    assert declared["splits"] == {"train": 0.55, "validation": 0.2, "test": 0.25, "method": "kfold", "folds": 4}
    assert (declared["num_seeds"], declared["workloads"]["iris"]["folds"]) == (4, 4)
    assert declared["workloads"]["iris"]["equal_rows"]["test"] == 38
    report = Path("reports/folds/report.md").read_text(encoding="utf-8")
    assert "The intervals add 1 / (folds − 1) (here 0.33) to 1/n" in report
    assert "equal a training row in all inputs, " in report


def test_equal_rows_are_counted_with_missing_values_and_signs_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = np.arange(60, dtype=np.float32).reshape(30, 2)
    inputs[0], inputs[20], inputs[21] = [np.nan, 0], [np.nan, -0.0], inputs[1]
    dataset = replace(table(rows=30), inputs=inputs, features=("a", "b"), numeric=np.ones(2, bool))
    assert dataset.targets[[0, 20, 1, 21]].tolist() == [1, 0, 0, 1]
    other = replace(dataset, targets=np.where(np.arange(30) == 20, 1, dataset.targets))
    split = Split(np.arange(10), np.arange(10, 20), np.arange(20, 30))
    assert count_equal_rows(dataset, split) == {"test": 10, "inputs": 2, "all": 0}
    assert count_equal_rows(other, split) == {"test": 10, "inputs": 2, "all": 1}
    other_split = replace(split, train=np.arange(1, 10))
    assert count_equal_rows(other, other_split) == {"test": 10, "inputs": 1, "all": 0}
    monkeypatch.setattr(equal_rows, "_hashed", None)  # nothing is counted again
    assert count_equal_rows(other, replace(split)) == {"test": 10, "inputs": 2, "all": 1}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kfold", "group"])
def test_intervals_cover_the_difference_on_new_rows(method: str) -> None:
    """Compare the mean of the training rows with the constant 0: their expected losses are known."""
    generator, num_groups, size, mean = np.random.default_rng(5), 30, 4, 0.5
    rows = num_groups * size
    grouped = method == "group"
    split = split_by("kfold", 5) if not grouped else split_by("group")
    covered, narrow, count = 0, 0, 250
    for _ in range(count):
        shared = generator.normal(0, 0.7, num_groups) if grouped else np.zeros(num_groups)
        values = mean + np.repeat(shared, size) + generator.normal(0, 1, rows)
        fields = {"groups": np.repeat(np.arange(num_groups), size)} if grouped else {}
        dataset = replace(table(Kind.REGRESSION, rows, **fields), targets=values.astype(np.float32))
        drawn = [split_of(dataset, split, 0, seed) for seed in range(5)]
        differences = [
            float(np.mean(values[one.test] ** 2 - (values[one.test] - values[one.train].mean()) ** 2)) for one in drawn
        ]
        rho = 1 / 4 if not grouped else len(drawn[0].test) / len(drawn[0].train)
        trained = len(drawn[0].train)
        truth = mean**2 - (0.7**2 * size * grouped + 1) / trained
        interval = t_interval(np.array(differences), 0.95, rho)
        covered += interval.low <= truth <= interval.high
        plain = t_interval(np.array(differences), 0.95, 0.0)
        narrow += plain.low <= truth <= plain.high
    assert covered / count >= 0.93
    assert narrow < covered
