"""One run per technique: what the number of test rows alone says about shares of right answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalbench.statistics.intervals import Floats
from evalbench.statistics.ranks import nemenyi_q, shared_ranks


@dataclass(frozen=True)
class Leaders:
    """Techniques against the one with the largest share; arrays of shape (k,)."""

    leader: int
    low: Floats  # the exact interval of each share by itself
    high: Floats
    behind: Floats  # the leader's share minus that of each
    behind_low: Floats  # one-sided bound, so that all k − 1 hold together; at most 0 for a tie
    tied: npt.NDArray[np.bool_]  # cannot be told from the leader; the leader itself is


def leaders(shares: npt.ArrayLike, rows: npt.ArrayLike, confidence: float = 0.95) -> Leaders:
    """Return who is tied with the leader: with this confidence the best technique is among them.

    The lower bound of the leader's share minus another is Newcombe's, from the Wilson intervals of both, at the
    one-sided level `α / (k − 1)`. It takes the answers of two techniques for independent. Those of techniques that
    tend to be right on the same rows differ less, so the bound is rather too wide.

    Args:
        shares: shape (k,), right answers over test rows.
        rows: shape (k,), numbers of test rows.
        confidence: of the set of ties, and of each share by itself.

    Source: Newcombe, Statistics in Medicine 17 (1998), method 10; Hsu, Multiple Comparisons (1996), chapter 4.
    """
    p, n = np.asarray(shares, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    wins, tail = np.round(p * n), (1 - confidence) / 2  # Clopper and Pearson, 1934
    exact_low = np.where(wins > 0, stats.beta.ppf(tail, wins, n - wins + 1), 0.0)
    exact_high = np.where(wins < n, stats.beta.ppf(1 - tail, wins + 1, n - wins), 1.0)
    best = int(np.argmax(p))
    z = float(stats.norm.isf((1 - confidence) / max(1, p.size - 1)))
    low, high = wilson(p, n, z)
    difference = p[best] - p
    below = difference - np.sqrt((p[best] - low[best]) ** 2 + (high - p) ** 2)
    below[best] = 0.0
    return Leaders(best, exact_low, exact_high, difference, below, below <= 0)


@dataclass(frozen=True)
class PossibleRanks:
    """The ranks that each technique may have, 1 the best; arrays of shape (k,), both ends are possible."""

    best: npt.NDArray[np.intp]
    worst: npt.NDArray[np.intp]
    pairs: int
    apart: int  # pairs that the test rows tell apart

    @property
    def known(self) -> int:
        """Return the number of techniques that have one possible rank."""
        return int((self.best == self.worst).sum())


def possible_ranks(shares: npt.ArrayLike, rows: npt.ArrayLike, confidence: float = 0.95) -> PossibleRanks:
    """Return intervals that contain the ranks of all expected shares together, with this confidence.

    A rank is at least one more than the number of techniques that are shown to be better, and at most k minus the
    number of those shown to be worse. Two shares differ if `|p - p'| / sqrt(p̄ (1 - p̄) (1 / n + 1 / n'))`, p̄ their
    pooled share, exceeds `q / sqrt(2)`, q the studentized range of k techniques: all pairs hold together. Answers of
    two techniques are taken for independent, as in `leaders`. Techniques with equal expected shares may have each of
    the ranks that they take up together.

    Args:
        shares: shape (k,), right answers over test rows.
        rows: shape (k,), numbers of test rows.
        confidence: of all intervals together.

    Source: Agresti, Bini, Bertaccini and Ryu, Biometrics 64 (2008), for the pairs; Al Mohamad, Goeman and van Zwet,
    Simultaneous confidence intervals for ranks (2018), and Mogstad, Romano, Shaikh and Wilhelm, Review of Economic
    Studies 91 (2024), for the ranks.
    """
    p, n = np.asarray(shares, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    k = p.size
    if k < 2:
        return PossibleRanks(np.ones(k, dtype=np.intp), np.ones(k, dtype=np.intp), 0, 0)
    wins = p * n
    pooled = (wins[:, None] + wins) / (n[:, None] + n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n[:, None] + 1 / n))
    beats = p[:, None] - p > nemenyi_q(k, 1 - confidence) * error
    best, lost = np.array(shared_ranks(beats)), np.array(shared_ranks(beats.T))
    return PossibleRanks(best, k + 1 - lost, k * (k - 1) // 2, int(beats.sum()))


def wilson(shares: Floats, rows: Floats, z: float) -> tuple[Floats, Floats]:
    """Return the ends of Wilson's interval of shares, `z` standard errors wide on either side.

    Source: Wilson, Journal of the American Statistical Association 22 (1927).
    """
    centre = shares + z**2 / (2 * rows)
    half = z * np.sqrt(shares * (1 - shares) / rows + z**2 / (4 * rows**2))
    return (centre - half) / (1 + z**2 / rows), (centre + half) / (1 + z**2 / rows)
