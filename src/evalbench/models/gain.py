"""Compute the gain of an activation without a given gain: it keeps the second moment of a layer's output at 1."""

import json
import math
from typing import Any

import torch

from evalbench.config import Component
from evalbench.errors import ConfigError

FARTHEST = 12.0
NUM_POINTS = 2**15
"""The number of intervals of equal width from -`FARTHEST` to `FARTHEST`, evaluated at their midpoints.

A kink or a step at 0 lies between two intervals and causes no error.
"""
_gains: dict[tuple[Any, str], float] = {}


def computed(activation: Component) -> float:
    """Return `1 / sqrt(E[f(z)²])` for a standard normal z; raise `ConfigError` if f is not elementwise."""
    key = activation.locate(), json.dumps(activation.arguments, sort_keys=True)
    if key not in _gains:
        _gains[key] = _computed(activation)
    return _gains[key]


def _computed(activation: Component) -> float:
    try:
        second_moment = _second_moment(activation)
    except ConfigError:
        raise
    except Exception as error:  # a user's activation may raise anything
        raise _refused(activation, f"it raised {type(error).__name__}") from error
    if not 0 < second_moment < math.inf:
        raise _refused(activation, f"its second moment is {second_moment:g}")
    return 1 / math.sqrt(second_moment)


@torch.no_grad()
def _second_moment(activation: Component) -> float:
    width = 2 * FARTHEST / NUM_POINTS
    z = (torch.arange(NUM_POINTS, dtype=torch.float64) + 0.5) * width - FARTHEST
    function = activation.build().double().eval()
    values, half = function(z.clone()), function(z[: NUM_POINTS // 2].clone())
    if values.shape != z.shape or not torch.allclose(values[: NUM_POINTS // 2], half, rtol=1e-9, equal_nan=True):
        raise _refused(activation, "it does not treat every number by itself")
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return float((values.square() * density).sum() * width)


def _refused(activation: Component, reason: str) -> ConfigError:
    rule = f"must be given for {activation.target}, from which it cannot be computed: {reason}"
    return ConfigError("activation.gain", rule, remedy="for example activation.gain=1")
