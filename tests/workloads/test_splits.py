import numpy as np
import pytest

from conftest import make_cell
from evalbench.workloads import Dataset, Kind, draw_split, fit_scaling

BUNDLED = ["breast_cancer", "diabetes", "digits", "iris", "moons", "wine"]


@pytest.mark.parametrize("name", BUNDLED)
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


def table(targets: np.ndarray, kind: Kind) -> Dataset:
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
