"""Power laws of a loss in the sizes of a training, such as parameters and tokens, with intervals from its seeds.

The law is `L = E + Σ_k A_k / S_k^α_k` over one or more sizes S_k. With parameters N and tokens D it is that of Hoffmann
and others (2022, approach 3): `E + A / N^α + B / D^β`. As there, logarithms of losses are fitted by the Huber loss from
a grid of starts. The method is Levenberg's and Marquardt's, for all starts or draws at once.

A seed has a trial at every size, on the same split, so the seeds are drawn as wholes: a draw adds to the mean of each
size a random combination of the seeds' deviations, of Student's t with one degree of freedom less than there are seeds.
For a number that is linear in the means this is the exact interval of t, also with few seeds, and whatever part of the
noise the sizes share. The noise of the seeds is all that these intervals know: not that another law may be right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats

DRAWS = 500
MIN_SEEDS = 3  # fewer have no interval that says anything
EXPONENTS = (0.01, 3.0)
"""The range that exponents are sought in; an interval that ends here is open."""
STARTS = (0.1, 0.3, 0.6, 1.2)  # of each exponent
FLOORS = (0.1, 0.5, 0.9)  # starts of E, as shares of the lowest loss
LOWEST_FLOOR = 1e-4  # E below this share of the lowest loss is none
PUBLISHED_DELTA = 1e-3
"""Where Hoffmann and others let the Huber loss turn from squares to sizes, in the logarithm of the loss."""
NORMAL_DELTA = 1.345
"""The same in standard errors, for an efficiency of 95 % under normal noise (Huber 1981)."""
LEAST_SLOPE = -1e-6  # of the logarithm of a loss: less is rounding
MAX_STEPS, LEAST_GAIN, MOST_DAMPING = 200, 1e-8, 1e6
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Laws:
    """M power laws in K sizes, one for each draw or start; `floors` are 0 in laws without E."""

    log_factors: Floats  # (M, K): log A_k
    exponents: Floats  # (M, K)
    floors: Floats  # (M,)

    def log_losses(self, sizes: Floats) -> Floats:
        """Return the logarithms of the losses `(M, P)` at sizes `(P, K)`."""
        terms = self.log_factors[:, None] - self.exponents[:, None] * np.log(sizes)
        losses: Floats = np.log(np.exp(terms).sum(-1) + self.floors[:, None])
        return losses

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> Laws:
        """Return some of the laws."""
        return Laws(self.log_factors[rows], self.exponents[rows], self.floors[rows])


@dataclass(frozen=True)
class Prediction:
    """The loss at sizes that a law was not fitted to, and what was measured there, if it was."""

    sizes: Floats  # (K,)
    loss: float
    low: float  # nan without intervals; with a measured loss, of the mean over the seeds that were trained
    high: float
    measured: float = math.nan

    @property
    def held(self) -> bool | None:
        """Return whether the measured loss lies within the interval; None if that is not known."""
        known = math.isfinite(self.low) and math.isfinite(self.measured)
        return self.low <= self.measured <= self.high if known else None


@dataclass(frozen=True)
class PowerLaw:
    """A power law with its draws, how well it fits, and whether it foretold the largest size."""

    sizes: Floats  # (P, K), each of a mean
    losses: Floats  # (P,): geometric means over the seeds
    law: Laws  # one
    draws: Laws | None  # None with fewer than `MIN_SEEDS` seeds
    num_seeds: int
    has_floor: bool
    misfit: float  # typical deviation of a mean from the law, in its logarithm
    noise: float  # standard error of a mean, without what all sizes share; nan with one seed
    p_value: float  # of the misfit, if the law held and only seeds differed; nan if that is not known
    held_out: Prediction | None  # None if too few sizes remain without the largest

    def exponent(self, axis: int) -> tuple[float, float, float]:
        """Return an exponent with its interval."""
        return self._with_interval(self.law.exponents[0, axis], None if self.draws is None else self._exponents(axis))

    @property
    def floor(self) -> tuple[float, float, float]:
        """Return E with its interval."""
        return self._with_interval(self.law.floors[0], None if self.draws is None else self.draws.floors)

    @property
    def share_of_first(self) -> tuple[float, float, float]:
        """Return the power of the compute by which the best first size of two grows, `β / (α + β)`, if C ~ N D."""
        shares = None if self.draws is None else self._exponents(1) / self.draws.exponents.sum(1)
        return self._with_interval(self.law.exponents[0, 1] / self.law.exponents[0].sum(), shares)

    @property
    def fits_badly(self) -> bool:
        """Return whether the means are farther from the law than the noise of the seeds explains."""
        return self.p_value < 1 - CONFIDENCE

    def at(self, sizes: Floats) -> tuple[Floats, Floats, Floats]:
        """Return losses `(P,)` at sizes `(P, K)` with their intervals."""
        curves = None if self.draws is None else np.exp(self.draws.log_losses(sizes))
        losses = np.exp(self.law.log_losses(sizes)[0])
        low, high = np.full((2, len(sizes)), math.nan) if curves is None else _ends(curves)
        return losses, low, high

    def _exponents(self, axis: int) -> Floats:
        assert self.draws is not None  # callers ask for draws that there are
        return self.draws.exponents[:, axis]

    @staticmethod
    def _with_interval(value: float, draws: Floats | None) -> tuple[float, float, float]:
        low, high = (math.nan, math.nan) if draws is None else _ends(draws)
        return float(value), float(low), float(high)


def num_parameters(axes: int, has_floor: bool) -> int:
    """Return the numbers that a law has."""
    return 2 * axes + has_floor


def identified(sizes: Floats, has_floor: bool) -> bool:
    """Return whether losses at sizes `(P, K)` determine a law: enough means, and three values of a size, or two."""
    least = 3 if has_floor or sizes.shape[1] > 1 else 2
    several = all(len(np.unique(column)) >= least for column in sizes.T)
    return several and len(sizes) >= num_parameters(sizes.shape[1], has_floor)


def falls(sizes: Floats, losses: Floats) -> bool:
    """Return whether losses `(S, P)` fall with any of the sizes `(P, K)`, by least squares of logarithms."""
    logs = np.log(sizes)
    slopes = np.linalg.lstsq(np.column_stack([logs, np.ones(len(logs))]), np.log(losses).mean(0), rcond=None)[0]
    return bool((slopes[:-1] < LEAST_SLOPE).any())


def scaling(sizes: Floats, losses: Floats, held: npt.NDArray[np.bool_], seed: int = 0) -> PowerLaw | None:
    """Fit a power law to the losses of several seeds, and one without the largest size, which it has to foretell.

    Args:
        sizes: shape (P, K), above 0.
        losses: shape (S, P), above 0: of each seed at each size.
        held: shape (P,): what the second law is not fitted to. Its last element is what it has to foretell.
        seed: of the draws.

    Returns:
        the law, with E if one more mean than it has parameters is there; None if the sizes do not determine one.
    """
    axes, logs = sizes.shape[1], np.log(losses)
    has_floor = identified(sizes, True) and len(sizes) > num_parameters(axes, True)
    if not identified(sizes, has_floor) or len(sizes) <= num_parameters(axes, has_floor):
        return None
    means, noise = logs.mean(0), _noise(logs)
    delta = max(PUBLISHED_DELTA, NORMAL_DELTA * noise) if math.isfinite(noise) else PUBLISHED_DELTA
    law = fit(sizes, means, has_floor, delta)
    moved = _moved(logs, seed)
    draws = None if moved is None else _fit_from(law, sizes, moved, has_floor, delta)
    freedom = len(sizes) - num_parameters(axes, has_floor)
    misfit = math.sqrt(((means - law.log_losses(sizes)[0]) ** 2).sum() / freedom)
    p_value = math.nan
    if noise > 0:
        p_value = float(stats.f.sf((misfit / noise) ** 2, freedom, (len(sizes) - 1) * (len(logs) - 1)))
    held_out = None
    if identified(sizes[~held], has_floor):
        held_out = _foretell(sizes, means, moved, held, has_floor, delta)
    return PowerLaw(sizes, np.exp(means), law, draws, len(logs), has_floor, misfit, noise, p_value, held_out)


def fit(sizes: Floats, log_losses: Floats, has_floor: bool, delta: float = PUBLISHED_DELTA) -> Laws:
    """Return the power law of least Huber loss, from a grid of starts: sizes `(P, K)`, logarithms of losses `(P,)`."""
    axes = sizes.shape[1]
    grid = list(product(*[STARTS] * axes, FLOORS if has_floor else (0.0,)))
    exponents = np.array([row[:axes] for row in grid])
    floors = np.array([row[axes] for row in grid]) * math.exp(log_losses.min())
    # Each size carries an equal part of what lies above the floor, at the middle of the sizes.
    above = np.log((math.exp(log_losses.mean()) - floors) / axes)
    starts = Laws(above[:, None] + exponents * np.log(sizes).mean(0), exponents, floors)
    return _fit_from(starts, sizes, np.tile(log_losses, (len(grid), 1)), has_floor, delta, best=True)


def _noise(logs: Floats) -> float:
    """Return the standard error of a mean over seeds `(S, P)`, without what a seed does to all sizes alike."""
    num_seeds, num_sizes = logs.shape
    if num_seeds < 2:
        return math.nan
    rest = logs - logs.mean(0) - logs.mean(1, keepdims=True) + logs.mean()
    return math.sqrt((rest**2).sum() / ((num_seeds - 1) * (num_sizes - 1)) / num_seeds)


def _moved(logs: Floats, seed: int) -> Floats | None:
    """Return draws `(DRAWS, P)` of the means over seeds; None with too few seeds."""
    num_seeds = len(logs)
    if num_seeds < MIN_SEEDS:
        return None
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((DRAWS, num_seeds))
    scale = np.sqrt(generator.chisquare(num_seeds - 1, DRAWS) * num_seeds)
    means = logs.mean(0)
    moved: Floats = means + weights @ (logs - means) / scale[:, None]
    return moved


def _foretell(
    sizes: Floats, means: Floats, moved: Floats | None, held: npt.NDArray[np.bool_], has_floor: bool, delta: float
) -> Prediction:
    """Predict the last mean from a law that has not seen those held out."""
    law = fit(sizes[~held], means[~held], has_floor, delta)
    at = sizes[-1:]
    foretold = float(law.log_losses(at)[0, 0])
    low = high = math.nan
    if moved is not None:
        draws = _fit_from(law, sizes[~held], moved[:, ~held], has_floor, delta)
        errors = moved[:, -1] - draws.log_losses(at)[:, 0]  # of the measured mean, minus what is foretold
        below, above = _ends(errors)
        low, high = math.exp(means[-1] - above), math.exp(means[-1] - below)
    return Prediction(at[0], math.exp(foretold), low, high, math.exp(means[-1]))


def _ends(draws: Floats) -> Floats:
    """Return the ends of the interval of draws `(M, ...)`."""
    ends: Floats = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return ends


def _fit_from(starts: Laws, sizes: Floats, targets: Floats, has_floor: bool, delta: float, best: bool = False) -> Laws:
    """Fit targets `(M, P)`, each from its start or all from one; with `best`, return the best of them alone."""
    logs = np.log(sizes)
    center = logs.mean(0)  # factors and exponents are nearly independent there
    axes, lowest = sizes.shape[1], targets.min(1)
    start = [starts.log_factors - starts.exponents * center, starts.exponents]
    if has_floor:
        start.append(np.log(np.maximum(starts.floors, 1e-300))[:, None])
    values = np.tile(np.concatenate(start, axis=1), (len(targets) // len(starts.floors), 1))
    columns = np.ones((len(targets), 1))
    least = [np.full_like(values[:, :axes], -np.inf), np.full_like(values[:, :axes], EXPONENTS[0])]
    most = [np.full_like(values[:, :axes], np.inf), np.full_like(values[:, :axes], EXPONENTS[1])]
    if has_floor:
        least.append(columns * (lowest[:, None] + math.log(LOWEST_FLOOR)))
        most.append(lowest[:, None])
    bounds = np.concatenate(least, axis=1), np.concatenate(most, axis=1)
    values, objective = _minimize(np.clip(values, *bounds), bounds, logs - center, targets, delta)
    if best:
        values = values[[int(objective.argmin())]]
        lowest = lowest[:1]
    factors, exponents = values[:, :axes], values[:, axes : 2 * axes]
    floors = np.zeros(len(values))
    if has_floor:
        none = values[:, -1] <= lowest + math.log(LOWEST_FLOOR)
        floors = np.where(none, 0.0, np.exp(values[:, -1]))
    return Laws(factors + exponents * center, exponents, floors)


def _minimize(
    values: Floats, bounds: tuple[Floats, Floats], logs: Floats, targets: Floats, delta: float
) -> tuple[Floats, Floats]:
    """Take damped Gauss-Newton steps within bounds, for each row of values alone, until none gets better."""
    objective, gradient, curvature = _objective(values, logs, targets, delta)
    damping = np.full(len(values), 1e-3)
    left = np.arange(len(values))
    for _ in range(MAX_STEPS):
        diagonal = np.eye(values.shape[1]) * (np.einsum("mii->mi", curvature[left])[:, None] + 1e-12)
        scaled = curvature[left] + damping[left, None, None] * diagonal
        steps = np.clip(np.linalg.solve(scaled, -gradient[left, :, None])[..., 0], -1, 1)
        tried = np.clip(values[left] + steps, *(bound[left] for bound in bounds))
        new, *slopes = _objective(tried, logs, targets[left], delta)
        gain = objective[left] - new
        better = left[gain > 0]
        values[better], objective[better] = tried[gain > 0], new[gain > 0]
        gradient[better], curvature[better] = (slope[gain > 0] for slope in slopes)
        damping[left] *= np.where(gain > 0, 0.2, 4.0)
        ended = np.where(gain > 0, gain <= LEAST_GAIN * new, damping[left] > MOST_DAMPING)
        left = left[~ended]
        if not len(left):
            break
    return values, objective


def _objective(values: Floats, logs: Floats, targets: Floats, delta: float) -> tuple[Floats, Floats, Floats]:
    """Return the Huber loss `(M,)`, its gradient, and the curvature of weighted squares `(M, n, n)`."""
    axes = logs.shape[1]
    terms = values[:, None, :axes] - values[:, None, axes : 2 * axes] * logs  # (M, P, K)
    if values.shape[1] > 2 * axes:
        floors = np.broadcast_to(values[:, None, -1:], (*terms.shape[:2], 1))
        terms = np.concatenate([terms, floors], axis=2)
    peak = terms.max(2, keepdims=True)
    shares = np.exp(terms - peak)
    total = shares.sum(2, keepdims=True)
    residuals = (peak + np.log(total))[..., 0] - targets
    shares = shares / total
    slopes = np.concatenate([shares[..., :axes], -shares[..., :axes] * logs, shares[..., axes:]], axis=2)
    sizes = np.abs(residuals)
    weights = np.minimum(1.0, delta / np.maximum(sizes, 1e-300))
    losses = np.where(sizes <= delta, residuals**2 / 2, delta * (sizes - delta / 2)).sum(1)
    weighted = slopes * weights[..., None]
    return losses, np.einsum("mpn,mp->mn", weighted, residuals), np.einsum("mpn,mpk->mnk", weighted, slopes)
