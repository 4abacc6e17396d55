"""Random effects over data sets: how much the effect varies, and where it may lie on the next data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class RandomEffects:
    """D data sets pooled with weights `1 / (v_d + tau²)`; all in the unit of the effects."""

    mean: float
    se: float  # Hartung-Knapp-Sidik-Jonkman's
    low: float  # of the interval with t_{D-1}
    high: float
    tau2: float  # variance of the true effect between data sets (DerSimonian and Laird)
    q: float  # Cochran's Q
    i2: float  # share of the variance that is between data sets, 0 to 1
    prediction: tuple[float, float]  # where the effect on a new data set lies; nan below three data sets
    fixed_mean: float  # with weights 1 / v_d alone
    fixed_se: float
    se_plain: float  # 1 / sqrt(sum of weights), without the correction


def random_effects(means: npt.ArrayLike, variances: npt.ArrayLike, confidence: float = 0.95) -> RandomEffects | None:
    """Pool the effects of D data sets, shapes (D,); None below two, or if a variance is not above zero.

    `tau² = max(0, (Q - (D-1)) / (Σw - Σw²/Σw))` with `w = 1/v`; `w* = 1/(v + tau²)`; the interval is `mean ± t_{D-1}
    se_HKSJ`; the prediction interval is `mean ± t_{D-2} sqrt(tau² + 1/Σw*)`.

    Args:
        means: mean difference on each data set.
        variances: squared standard error of each, `s_d² (1/n + rho)`.
        confidence: of both intervals.

    Source: DerSimonian and Laird (1986); Hartung and Knapp (2001); Higgins, Thompson and Spiegelhalter (2009).
    """
    effect, variance = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    D = effect.size
    if D < 2 or not (np.isfinite(effect) & (variance > 0)).all():
        return None
    # By hand: statsmodels' `combine_effects` lets tau² fall below zero if the data sets agree too well.
    w = 1 / variance
    fixed = float((w * effect).sum() / w.sum())
    q = float((w * (effect - fixed) ** 2).sum())
    tau2 = max(0.0, (q - (D - 1)) / float(w.sum() - (w**2).sum() / w.sum()))
    w_re = 1 / (variance + tau2)
    mean, plain = float((w_re * effect).sum() / w_re.sum()), float(1 / np.sqrt(w_re.sum()))
    se = math.sqrt(float((w_re * (effect - mean) ** 2).sum()) / (D - 1) / float(w_re.sum()))
    half = float(stats.t.ppf((1 + confidence) / 2, D - 1)) * se
    wide = float(stats.t.ppf((1 + confidence) / 2, D - 2)) * math.sqrt(tau2 + plain**2) if D > 2 else math.nan
    return RandomEffects(
        mean=mean,
        se=se,
        low=mean - half,
        high=mean + half,
        tau2=tau2,
        q=q,
        i2=max(0.0, (q - (D - 1)) / q) if q > 0 else 0.0,
        prediction=(mean - wide, mean + wide),
        fixed_mean=fixed,
        fixed_se=float(1 / np.sqrt(w.sum())),
        se_plain=plain,
    )


def prediction_interval(means: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return where the mean effect on a new data set lies: `mean ± t_{D-1} s sqrt(1 + 1/D)`; nan below three sets.

    It belongs to the equal-weight mean: the spread of the data-set means holds both the variance between data sets
    and the noise of their seeds.
    """
    values = np.asarray(means, dtype=np.float64)
    if values.size < 3:
        return math.nan, math.nan
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * sd * math.sqrt(1 + 1 / values.size)
    return float(values.mean()) - half, float(values.mean()) + half


def between_variance(means: npt.ArrayLike, variances: npt.ArrayLike) -> float:
    """Return the variance of the true effect between data sets: the moment estimate `s² - mean(v)`, at least 0.

    It belongs to the equal-weight mean: with it `tau² + mean(v)` is the very s² of that mean's interval, so that what
    is advised to narrow the interval does so. DerSimonian and Laird's weights data sets by their noise, and may differ
    from it severalfold. 0 for fewer than two data sets.

    Source: Hedges and Olkin, Statistical Methods for Meta-Analysis (1985), section 9.C.
    """
    effect, variance = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    there = np.isfinite(effect)
    noise = variance[there & np.isfinite(variance)]
    if there.sum() < 2:
        return 0.0
    return max(0.0, float(effect[there].var(ddof=1) - (noise.mean() if noise.size else 0.0)))


def sign_is_stable(means: npt.ArrayLike) -> bool:
    """Return whether the mean keeps its sign whichever data set is left out; a mean of zero has no sign to keep."""
    values = np.asarray(means, dtype=np.float64)
    if values.size < 2:
        return True
    without = (values.sum() - values) / (values.size - 1)
    return bool((np.sign(without) == np.sign(values.mean())).all() and values.mean() != 0)
