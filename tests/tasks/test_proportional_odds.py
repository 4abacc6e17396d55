"""Proportional odds: the published coefficients, and the same optimum for wide, separated and incomplete splits."""

import logging

import numpy as np
import pytest
import torch
from statsmodels.miscmodels.ordinal_model import OrderedModel

import target_tables
from evalbench.tasks import linear, proportional_odds
from evalbench.tasks.proportional_odds import _ProportionalOdds
from evalbench.workloads import draw_split, references

CHEESES = np.array(
    [
        [0, 0, 1, 7, 8, 8, 19, 8, 1],
        [6, 9, 12, 11, 7, 6, 1, 0, 0],
        [1, 1, 6, 8, 23, 7, 5, 1, 0],
        [0, 0, 0, 1, 3, 7, 14, 16, 11],
    ]
)
"""How 52 people liked four cheeses, from 1 to 9 (McCullagh and Nelder 1989, table 5.1)."""


def tasted() -> tuple[np.ndarray, np.ndarray]:
    cheese, liked = (np.repeat(each.ravel(), CHEESES.ravel()) for each in np.indices(CHEESES.shape))
    return (cheese[:, None] == np.arange(3)).astype(float), liked


def test_without_a_penalty_coefficients_are_the_published_ones_and_those_of_statsmodels() -> None:
    inputs, liked = tasted()
    odds = _ProportionalOdds(torch.as_tensor(inputs)[None], torch.as_tensor(liked)[None], 9, size=1e12)
    weights, largest = linear.minimized(odds, proportional_odds.pilot(inputs, liked, 9, 1e12), linear.TOLERANCE)
    thresholds, slopes = weights[0, :8].numpy(), weights[0, 8:].numpy()
    assert largest <= linear.TOLERANCE
    assert slopes == pytest.approx([-1.613, -4.965, -3.323], abs=1e-3)  # their signs are those of this model
    assert 2 * len(liked) * float(odds.value(weights)[0]) == pytest.approx(711.348, abs=1e-3)  # -2 log-likelihood
    model = OrderedModel(liked, inputs, distr="logit").fit(method="bfgs", disp=False, gtol=1e-8)
    assert slopes == pytest.approx(model.params[:3], abs=1e-4)
    assert thresholds == pytest.approx(model.model.transform_threshold_params(model.params)[1:-1], abs=1e-4)
    predicted = odds.probabilities(weights, torch.as_tensor(inputs)[None])[0].numpy()
    assert predicted == pytest.approx(model.predict(inputs), abs=1e-5)


def test_the_inverse_hessian_is_that_of_the_gradient() -> None:
    inputs, liked = tasted()
    odds = _ProportionalOdds(torch.as_tensor(inputs)[None], torch.as_tensor(liked)[None], 9, size=20)
    weights, steps = odds.start(), 1e-5 * torch.eye(11).double()
    moved = [(odds.value(weights + step)[1] - odds.value(weights - step)[1])[0] / 2e-5 for step in steps]
    inverse = odds.inverse_hessian(weights)
    assert inverse is not None
    assert torch.linalg.inv(inverse).numpy() == pytest.approx(torch.stack(moved).numpy(), abs=2e-6)


@pytest.mark.parametrize("columns", [1, pytest.param(400, marks=pytest.mark.slow)])
def test_splits_that_are_wide_separated_or_without_a_class_converge(
    columns: int, caplog: pytest.LogCaptureFixture
) -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(4, 60, columns)), np.repeat(generator.normal(size=(4, 1, columns)), 7, axis=1)
    targets = np.digitize(train[..., 0], [-0.5, 0.5])  # the first column separates the classes
    targets[1] = generator.permutation(targets[1])
    targets[2][targets[2] == 1] = 0
    targets[3] = 2
    begin = proportional_odds.pilot(train[0], targets[0], 3, 60)
    with caplog.at_level(logging.WARNING):
        fitted = proportional_odds.probabilities("t", train, targets, test, 3, begin)
    assert caplog.text == ""
    assert fitted.sum(-1) == pytest.approx(np.ones((4, 7)))
    assert (fitted == fitted[:, :1]).all()  # equal rows get equal bits
    assert (fitted[:2] > 0).all()
    assert (fitted[2, :, 1] == 0).all()
    assert (fitted[3] == [0, 0, 1]).all()


def test_a_fit_that_does_not_converge_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = target_tables.TABLES["ordinal"]
    splits = {seed: draw_split(dataset, 0.2, 0.2, seed) for seed in range(3)}
    alone, together = references.linear(dataset, {1: splits[1]}), references.linear(dataset, splits)
    assert alone[1] == together[1]
    assert together[1]["test/quadratic_kappa"] > 0.7
    monkeypatch.setattr(linear, "MOST_EVALUATIONS", 1)
    references.linear(dataset, splits)
    assert "t: a linear reference did not converge: it is where its fit ended" in caplog.text
