"""Power laws, against published numbers, another minimizer, and simulations with a known law."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize

from evalbench.statistics import scaling as module
from evalbench.statistics.intervals import Floats
from evalbench.statistics.scaling import PowerLaw, fit, scaling

E, A, B, ALPHA, BETA = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
"""The law of Hoffmann and others' data, as Besiroglu and others (2024) fit it."""
GRID = np.array(list(product(np.geomspace(5e7, 1.6e10, 6), np.geomspace(5e9, 4e11, 5))))
ONE = np.geomspace(1e4, 6.4e5, 6)[:, None]


def published(sizes: Floats) -> Floats:
    return np.asarray(E + A / sizes[:, 0] ** ALPHA + B / sizes[:, 1] ** BETA)


def small(sizes: Floats) -> Floats:
    return np.asarray(1.2 + 30 / sizes[:, 0] ** 0.4)


def trials(losses: Floats, seeds: int, noise: float, shared: float = 0.0, seed: int = 0) -> Floats:
    """Return the losses of some seeds, with noise of their own at each size, and noise that all sizes share."""
    draw = np.random.default_rng(seed).standard_normal
    return np.asarray(losses * np.exp(noise * draw((seeds, len(losses))) + shared * draw((seeds, 1))))


def fitted(sizes: Floats, losses: Floats) -> PowerLaw:
    law = scaling(sizes, losses, sizes[:, 0] == sizes[:, 0].max())
    assert law is not None
    return law


def test_the_published_law_comes_back_with_its_share_of_compute() -> None:
    law = fitted(GRID, published(GRID)[None])
    assert np.exp(law.law.log_factors[0]) == pytest.approx([A, B], rel=1e-3)
    assert law.law.exponents[0] == pytest.approx([ALPHA, BETA], rel=1e-4)
    assert law.floor[0] == pytest.approx(E, rel=1e-4)
    assert law.share_of_first[0] == pytest.approx(0.5126, abs=1e-4)
    chinchilla = np.array([[70e9, 1.4e12]])
    assert law.at(chinchilla)[0] == pytest.approx(published(chinchilla), rel=1e-5)
    assert law.held_out is not None
    assert law.held_out.loss == pytest.approx(law.held_out.measured, rel=1e-4)


@pytest.mark.slow
def test_no_other_minimizer_finds_a_lower_loss() -> None:
    """L-BFGS from the same kind of grid, as Hoffmann and others used it, with a gradient by differences."""
    logs, delta = np.log(trials(published(GRID), 1, 0.01)[0]), 1e-3

    def objective(values: Floats) -> float:
        a, b, e, alpha, beta = values
        terms = np.stack([a - alpha * np.log(GRID[:, 0]), b - beta * np.log(GRID[:, 1]), np.full(len(GRID), e)])
        far = np.abs(np.log(np.exp(terms).sum(0)) - logs)
        return float(np.where(far <= delta, far**2 / 2, delta * (far - delta / 2)).sum() / delta)

    starts = product((3.0, 8.0), (5.0, 9.0), (0.5,), (0.3, 0.5), (0.3, 0.5))
    best = min(minimize(objective, start, method="L-BFGS-B").fun for start in starts)
    law = fit(GRID, logs, True)
    ours = objective(np.array([*law.log_factors[0], math.log(law.floors[0]), *law.exponents[0]]))
    assert ours <= best * (1 + 1e-6)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 simulations with 4 seeds, also with noise that all sizes share: 38, and 34 or more in all but 1 of 70."""
    monkeypatch.setattr(module, "DRAWS", 200)
    held = np.zeros(4)
    for seed in range(40):
        law = fitted(ONE, trials(small(ONE), 4, 0.003, 0.01, 1000 + seed))
        beyond = 4 * ONE[-1:]
        at = [float(values[0]) for values in law.at(beyond)]
        truths = ((law.exponent(0), 0.4), (law.floor, 1.2), (at, small(beyond)[0]))
        held[:3] += [low <= truth <= high for (_, low, high), truth in truths]
        assert law.held_out is not None
        held[3] += bool(law.held_out.held)
    assert (held >= 34).all()


def test_noise_that_all_sizes_share_does_not_widen_the_exponent() -> None:
    alone, shared = (fitted(ONE, trials(small(ONE), 5, 0.002, noise)) for noise in (0.0, 0.01))
    widths = [high - low for _, low, high in (alone.exponent(0), shared.exponent(0))]
    assert widths[1] < 1.5 * widths[0]
    assert shared.noise == pytest.approx(alone.noise, rel=1e-6)


@pytest.mark.slow
def test_a_bend_is_a_bad_fit_and_its_extrapolation_does_not_hold() -> None:
    bent = small(ONE) + 0.2 * (ONE[:, 0] > 2e5)
    law = fitted(ONE, trials(bent, 5, 0.002))
    assert law.fits_badly
    assert law.held_out is not None
    assert law.held_out.held is False
    assert not fitted(ONE, trials(small(ONE), 5, 0.002)).fits_badly


def test_few_sizes_have_a_simpler_law_or_none() -> None:
    def at(count: int) -> PowerLaw | None:
        sizes = ONE[:count]
        return scaling(sizes, small(sizes)[None], sizes[:, 0] == sizes[-1, 0])

    assert at(2) is None
    three, four = at(3), at(4)
    assert three is not None
    assert four is not None
    assert (three.has_floor, four.has_floor) == (False, True)
    assert three.floor[0] == 0
    grid = np.array(list(product((1e4, 4e4), (1e6, 2e6, 4e6))))
    assert scaling(grid, published(grid)[None], grid[:, 0] == 4e4) is None  # two values of a size tell no exponent
    grid = np.array(list(product((1e4, 2e4, 4e4), (1e6, 2e6, 4e6))))
    law = scaling(grid, published(grid)[None], grid[:, 0] == 4e4)
    assert law is not None
    assert law.held_out is None


@pytest.mark.parametrize(("seeds", "interval", "noise"), [(1, False, False), (2, False, True), (3, True, True)])
def test_what_few_seeds_do_not_say_is_not_known(seeds: int, interval: bool, noise: bool) -> None:
    law = fitted(ONE, trials(small(ONE), seeds, 0.002))
    assert math.isfinite(law.exponent(0)[1]) is interval
    assert math.isfinite(law.p_value) is noise
    assert law.held_out is not None
    assert (law.held_out.held is not None) is interval
