"""The linear references of all splits are fitted together, and each is scikit-learn's at its optimum."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional as F

import target_tables
from conftest import make_cell
from evalbench.tasks import linear
from evalbench.workloads import Dataset, Kind, Split, draw_split, fit_scaling, references


def rows(kind: str = "classes", columns: int = 3, num_rows: int = 60) -> Dataset:
    """Return a table with a constant column, an indicator and missing values."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(num_rows, columns)).astype(np.float32)
    scores = inputs[:, 0] + generator.normal(size=num_rows)
    inputs[:, 1], inputs[:, 2] = 7, inputs[:, 2] > 0
    inputs[::7, 0] = np.nan
    names, numeric = tuple(map(str, range(columns))), np.arange(columns) != 2
    if kind == "numbers":
        return Dataset("t", Kind.REGRESSION, inputs, scores.astype(np.float32), names, numeric)
    targets = np.digitize(scores, [-0.5, 0.5])
    return Dataset("t", Kind.MULTICLASS, inputs, targets, names, numeric, ("a", "b", "c"))


def splits_of(dataset: Dataset, count: int) -> dict[int, Split]:
    return {seed: draw_split(dataset, 0.2, 0.2, seed) for seed in range(count)}


def of_scikit_learn(dataset: Dataset, split: Split, tolerance: float = 1e-10) -> dict[str, float]:
    scaling = fit_scaling(dataset, split.train)
    train, test = (scaling.inputs(dataset, part) for part in (split.train, split.test))
    targets, truth = dataset.targets[split.train], dataset.targets[split.test]
    if not dataset.kind.is_classification:
        return dataset.evaluate(Ridge().fit(train, targets).predict(test), truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it cannot come as near as this
        model = LogisticRegression(max_iter=20_000, tol=tolerance).fit(train, targets)
    probabilities = np.zeros((len(test), len(dataset.classes)))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return dataset.evaluate(probabilities, truth)


def bundled(name: str) -> Callable[[], Dataset]:
    return lambda: make_cell(f"dataset={name}").dataset


QUICK = ("several numbers", "diabetes", "iris", "missing values", "more columns than rows")
BUNDLED = ("anes96", "breast_cancer", "diabetes", "digits", "fair", "iris", "moons", "wine")
TABLES: dict[str, Callable[[], Dataset]] = {
    **{name: bundled(name) for name in BUNDLED},
    "missing values": rows,
    "numbers with missing values": lambda: rows("numbers"),
    "several numbers": lambda: target_tables.TABLES["multi_output"],
    "more columns than rows": lambda: rows("numbers", columns=200),
    "more weights than an inverse Hessian has": lambda: rows(columns=400),
}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TABLES]
)
def test_the_scores_are_those_of_scikit_learn_at_its_optimum(name: str) -> None:
    dataset = TABLES[name]()
    splits = splits_of(dataset, 3)
    for seed, scores in references.linear(dataset, splits).items():
        assert scores == pytest.approx(of_scikit_learn(dataset, splits[seed]), abs=1e-4)


def test_a_fit_ends_nearer_its_optimum_than_scikit_learn() -> None:
    dataset = make_cell("dataset=wine").dataset
    split = draw_split(dataset, 0.2, 0.2, 0)
    inputs, targets = fit_scaling(dataset, split.train).inputs(dataset, split.train), dataset.targets[split.train]
    tensors = torch.as_tensor(inputs)[None], torch.as_tensor(targets)[None]
    regression = linear._Regression(*tensors, 3, len(inputs))
    _, largest = linear.minimized(regression, linear.Pilot.of(inputs, targets, 3, len(inputs)), linear.TOLERANCE)
    model = LogisticRegression(max_iter=500).fit(inputs, targets)
    weights = torch.as_tensor(np.column_stack([model.coef_, model.intercept_])).flatten()[None]
    assert largest <= linear.TOLERANCE < regression.value(weights)[1].abs().max() / 10


@pytest.mark.parametrize("name", ["iris", pytest.param("breast_cancer", marks=pytest.mark.slow), "diabetes"])
def test_a_seed_has_the_same_bits_whichever_seeds_are_fitted_with_it(name: str) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    splits = splits_of(dataset, 20)
    together = references.linear(dataset, splits)
    for few in ([3], [*range(5)], [*range(5, 10)], [15, 16, 19]):
        assert references.linear(dataset, {seed: splits[seed] for seed in few}) == {s: together[s] for s in few}
    assert references.trivial(dataset, {3: splits[3]})[3] == references.trivial(dataset, splits)[3]


def test_equal_rows_get_equal_probabilities() -> None:
    """So they are ties of the AUROC, whatever their position."""
    generator = np.random.default_rng(0)
    train, targets = generator.normal(size=(2, 90, 7)), np.arange(180).reshape(2, 90) % 3
    test = np.repeat(generator.normal(size=(2, 1, 7)), 37, axis=1)
    pilot = linear.Pilot.of(train[0], targets[0], 3, 90)
    probabilities, converged = linear.logistic(train, targets, test, 3, pilot)
    assert converged.all()
    assert (probabilities == probabilities[:, :1]).all()


def test_a_split_without_a_class_is_fitted_by_scikit_learn() -> None:
    dataset = rows()
    split = draw_split(dataset, 0.2, 0.2, 0)
    without = replace(split, train=split.train[dataset.targets[split.train] != 1])
    scores = references.linear(dataset, {0: without})[0]
    assert scores == of_scikit_learn(dataset, without, tolerance=1e-4)


def test_a_fit_that_does_not_converge_is_scikit_learns_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(linear, "MOST_EVALUATIONS", 2)
    dataset = make_cell("dataset=wine").dataset
    splits = splits_of(dataset, 2)
    scores = references.linear(dataset, splits)
    assert scores[1] == of_scikit_learn(dataset, splits[1], tolerance=1e-4)
    assert "wine: a linear reference did not converge: scikit-learn fits it" in caplog.text


def test_the_objective_has_the_gradient_and_the_inverse_hessian_that_autograd_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(1, 40, 3, generator=generator).double(), torch.arange(40)[None] % 3
    regression = linear._Regression(inputs, targets, 3, size=30)
    weights = torch.randn(1, 12, generator=generator).double()

    def objective(weights: torch.Tensor) -> torch.Tensor:
        table = weights.view(3, 4)
        loss = F.cross_entropy(inputs[0] @ table[:, :-1].T + table[:, -1], targets[0])
        return loss + table[:, :-1].square().sum() / (2 * 30)

    value, gradient = regression.value(weights)
    expected = torch.func.grad(objective)(weights)
    torch.testing.assert_close(value[0], objective(weights))
    torch.testing.assert_close(gradient, expected)
    hessian = torch.autograd.functional.hessian(objective, weights).view(12, 12)  # type: ignore[no-untyped-call]
    inverse = regression.inverse_hessian(weights)
    assert inverse is not None
    assert torch.dist(inverse @ hessian @ expected[0], expected[0]) < 1e-3 * expected.norm()
