"""One step of the textbook's three optimizers on a tiny network, against the update computed by hand.

The network is 2-2-1: hidden h = max(0, W x + b), logit z = v·h + c, p = 1 / (1 + exp(-z)), and the loss of an example
is the cross-entropy -(y log p + (1 - y) log(1 - p)). By the chain rule, with the error e = p - y:
dL/dc = e, dL/dv = e h, dL/db = e v [h > 0], dL/dW = (e v [h > 0]) xᵀ; a batch takes the mean over its examples.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from conftest import compose_config
from evalbench.engine.batches import Batches
from evalbench.engine.cohort import Cohort
from evalbench.engine.members import Recipe
from evalbench.models import Builder, Shape
from evalbench.models.initial import Draw
from evalbench.workloads import Dataset, Kind, Split

Array = NDArray[np.float64]
INPUTS = np.array([[1.0, 2.0], [-1.0, 0.5], [0.5, -1.5], [2.0, 1.0]])
TARGETS = np.array([1, 0, 1, 0])
START = [
    np.array([[0.5, -0.3], [0.2, 0.8]]),  # W
    np.array([0.1, -0.2]),  # b
    np.array([[0.7, -0.4]]),  # v
    np.array([0.05]),  # c
]


def by_hand(parameters: list[Array], rows: list[int]) -> list[Array]:
    """Return the gradients of W, b, v and c over some examples."""
    w, b, v, c = parameters
    gradients = [np.zeros_like(parameter) for parameter in parameters]
    for row in rows:
        x = INPUTS[row]
        hidden = np.maximum(0.0, w @ x + b)
        error = 1 / (1 + np.exp(-(v[0] @ hidden + c[0]))) - TARGETS[row]
        at_hidden = error * v[0] * (hidden > 0)
        for total, part in zip(
            gradients, (np.outer(at_hidden, x), at_hidden, error * hidden[None], [error]), strict=True
        ):
            total += np.asarray(part) / len(rows)
    return gradients


class FromStart(Builder):
    """Give every member the same initial values."""

    def __call__(self, member_index: int, draw: Draw | None = None) -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
        for parameter, value in zip(network.parameters(), START, strict=True):
            parameter.data.copy_(torch.as_tensor(value))
        return network


def by_evalbench(optimizer: str, *batches: list[int]) -> list[Array]:
    """Return the parameters after one step per batch, in a cohort of two members, the second on other data."""

    inputs = np.concatenate([INPUTS, INPUTS + 1, np.zeros((2, 2))]).astype(np.float32)
    targets = np.concatenate([TARGETS, 1 - TARGETS, [0, 1]])
    dataset = Dataset("tiny", Kind.BINARY, inputs, targets, ("x", "y"), np.zeros(2, dtype=bool), ("no", "yes"))
    rows = np.arange(4)
    splits = [Split(rows + 4 * slot, rows, rows) for slot in range(2)]
    order = Batches(torch.arange(4).expand(2, 4), 1, [0, 0])
    recipe = Recipe(compose_config(f"optimizer={optimizer}").optimizer, dataset.kind.loss, [1])
    config = compose_config()
    build = FromStart(config.model, config.activation, Shape(2, 1), [0, 0])
    cohort = Cohort(build, dataset, splits, order, recipe, [0, 0]).double()
    for step, batch in enumerate(batches):
        cohort.train_chunk(torch.tensor([[batch, [row + 4 for row in batch]]]), step)  # (S=1, C=2, B)
    return [parameter.detach()[0].numpy() for parameter in cohort.parameters()]


def test_stochastic_gradient_descent_steps_on_one_example() -> None:
    expected = [p - 0.01 * g for p, g in zip(START, by_hand(START, [1]), strict=True)]
    for value, hand in zip(by_evalbench("sgd", [1]), expected, strict=True):
        assert value == pytest.approx(hand, abs=1e-12)


def test_batch_gradient_descent_steps_on_the_mean_over_all_examples() -> None:
    expected = [p - 0.1 * g for p, g in zip(START, by_hand(START, [0, 1, 2, 3]), strict=True)]
    for value, hand in zip(by_evalbench("bgd", [0, 1, 2, 3]), expected, strict=True):
        assert value == pytest.approx(hand, abs=1e-12)


def test_adam_divides_the_mean_gradient_by_the_root_of_its_mean_square() -> None:
    parameters, first, second = START, [np.zeros_like(p) for p in START], [np.zeros_like(p) for p in START]
    for step, batch in enumerate(([0, 2], [1, 3]), start=1):
        gradients = by_hand(parameters, batch)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients, strict=True)]
        parameters = [
            p - 0.001 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
    for value, hand in zip(by_evalbench("adam", [0, 2], [1, 3]), parameters, strict=True):
        assert value == pytest.approx(hand, abs=1e-12)
