from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from conftest import make_cell
from evalbench.config import SplitConfig
from evalbench.errors import DataError
from evalbench.tasks import Task
from evalbench.workloads import Dataset, Kind, draw_split, fit_scaling, hold_out

BUNDLED = ["anes96", "breast_cancer", "diabetes", "digits", "fair", "iris", "moons", "wine"]


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.slow
def test_parts_are_disjoint_cover_all_rows_and_have_one_size_for_every_seed(name: str) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    splits = [draw_split(dataset, 0.2, 0.2, seed) for seed in range(3)]
    for split in splits:
        together = np.concatenate([split.train, split.validation, split.test])
        assert np.array_equal(np.sort(together), np.arange(len(dataset.targets)))
        assert len(split.test) == len(split.validation) == round(0.2 * len(dataset.targets))
    assert not np.array_equal(splits[0].test, splits[1].test)


def test_the_same_seed_draws_the_same_split() -> None:
    dataset = make_cell("dataset=iris").dataset
    assert np.array_equal(draw_split(dataset, 0.2, 0.2, 2**62).test, draw_split(dataset, 0.2, 0.2, 2**62).test)


def test_classes_keep_their_shares() -> None:
    dataset = make_cell("dataset=wine").dataset
    split = draw_split(dataset, 0.2, 0.2, 0)
    shares = np.bincount(dataset.targets) / len(dataset.targets)
    for part in (split.train, split.validation, split.test):
        assert np.bincount(dataset.targets[part]) == pytest.approx(shares * len(part), abs=1.01)


def table(targets: np.ndarray, kind: Task) -> Dataset:
    rows = len(targets)
    inputs = np.stack([np.arange(rows), np.full(rows, 7.0), np.arange(rows) % 2], axis=1).astype(np.float32)
    inputs[0, 0] = np.nan
    classes = () if kind is Kind.REGRESSION else ("a", "b")
    return Dataset("t", kind, inputs, targets, ("x", "constant", "c=1"), np.array([True, True, False]), classes)


def test_scaling_is_fitted_on_the_training_rows_alone_and_skips_missing_values() -> None:
    dataset = table(np.arange(20, dtype=np.float32), Kind.REGRESSION)
    train = np.arange(0, 10)
    scaling = fit_scaling(dataset, train)
    assert scaling.mean == pytest.approx([5.0, 7.0, 0.0])  # of 1..9; the indicator is left alone
    assert scaling.std == pytest.approx([np.std(np.arange(1, 10)), 1.0, 1.0])  # the constant keeps its scale
    assert (scaling.target_mean, scaling.target_std) == pytest.approx((4.5, np.std(np.arange(10))))
    assert scaling.inputs(dataset, np.array([0])) == pytest.approx(np.array([[0.0, 0.0, 0.0]]))  # missing: the mean


# ── rows that the data set itself has every split test on ─────────────────────────────────────────────────────────────


def with_test_rows(rows: Any) -> Dataset:
    return replace(make_cell("dataset=wine").dataset, held_out=rows)


def test_given_test_rows_are_the_same_for_every_seed_and_part_of_the_fingerprint() -> None:
    dataset = with_test_rows(np.arange(0, 178, 5)[::-1])
    assert all(draw_split(dataset, 0.2, 0.5, seed).test.tolist() == [*range(0, 178, 5)] for seed in range(3))
    drawn = make_cell("dataset=wine").dataset
    assert drawn.fingerprint == "de05f2d7d3f90d74"
    assert hold_out(drawn, SplitConfig(0.2, 0.3), 0).fingerprint == drawn.fingerprint  # a seed stands for these
    prints = [with_test_rows(rows).fingerprint for rows in (np.arange(0, 178, 5), np.arange(1, 178, 5))]
    assert prints[0] == dataset.fingerprint
    assert len({*prints, drawn.fingerprint}) == 3


@pytest.mark.parametrize(
    "rows", [np.array([], np.int64), np.array([1, 1]), np.array([-1]), np.array([178]), np.arange(178) < 9, [0.5]]
)
def test_test_rows_that_are_no_row_numbers_are_refused(rows: object) -> None:
    with pytest.raises(DataError, match=r"^wine: held_out must have row numbers from 0 to 177: "):
        with_test_rows(rows)


def test_too_few_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"^wine: the 8 rows that are not tested on must give training and validation"):
        draw_split(with_test_rows(np.arange(170)), 0.2, 0.2, 0)


def test_the_number_of_tokens_is_part_of_the_fingerprint() -> None:
    tokens = np.arange(40).reshape(20, 2) % 5
    made = partial(Dataset, "t", Kind.BINARY, tokens, np.arange(20) % 2, ("a", "b"), np.zeros(2, bool), ("x", "y"))
    assert made(vocabulary=5).fingerprint != made(vocabulary=6).fingerprint


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([[1.0]] * 20, "must be an array"),
        (np.zeros(20, np.float32), "must be an array"),
        (np.full((20, 1), np.inf, np.float32), "finite or missing"),
    ],
)
def test_inputs_that_no_network_could_take_are_refused(inputs: Any, words: str) -> None:
    targets = np.array([0, 1] * 10)
    with pytest.raises(DataError, match=words):
        Dataset("mine", Kind.BINARY, inputs, targets, ("x",), np.ones(1, bool), ("no", "yes"))


@pytest.mark.parametrize("name", ["iris", "digits", "diabetes", "anes96"])
def test_the_rows_are_those_that_scikit_learn_draws(name: str) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    rows, labels = np.arange(len(dataset.targets)), dataset.targets if dataset.kind.has_row_classes else None
    for seed in range(5):
        state = np.random.RandomState(seed)
        count = round(0.2 * len(rows))
        rest, test = train_test_split(rows, test_size=count, stratify=labels, random_state=state)
        labels_of_rest = None if labels is None else labels[rest]
        train, validation = train_test_split(rest, test_size=count, stratify=labels_of_rest, random_state=state)
        split = draw_split(dataset, 0.2, 0.2, seed)
        for part, expected in zip(("train", "validation", "test"), (train, validation, test), strict=True):
            assert np.array_equal(getattr(split, part), np.sort(expected))
