"""Two techniques whose runs are not pairs: Welch's interval, tests by labels and by ranks, P(better)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from evalbench.statistics.intervals import ROUNDING, Floats, clopper_pearson
from evalbench.statistics.matrices import Matrix

Counts = npt.NDArray[np.intp]

MOST_LABELS = 2**16  # ways to label the runs of one workload that are enumerated
DRAWS = 2**13
MOST_DRAWN = 2_000  # runs; with more, the test by ranks takes the place of drawn labels
NUMBERS_AT_ONCE = 2**22
BISECTIONS = 45


@dataclass(frozen=True)
class TwoSamples:
    """The scores of a challenger and of its baseline whose runs share nothing; nothing depends on their numbers.

    It has what a `Matrix` of paired differences has: with `sds² = s_a² + s_b²` and `worth` the n for which `sds² / n =
    s_a² / n_a + s_b² / n_b`, the formulas for pairs hold, with Welch's degrees of freedom.

    Source: Welch, Biometrika 34 (1947).
    """

    challenger: Matrix
    baseline: Matrix

    @property
    def workloads(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return self.challenger.workloads

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the numbers of runs that both sides could have; empty if a side has none."""
        return self.challenger.seeds if self.baseline.seeds else ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the runs of the side that has fewer, on each workload."""
        return tuple(map(min, self.challenger.counts, self.baseline.counts))

    @property
    def runs(self) -> tuple[Floats, Floats]:
        """Return the runs of either side on each workload, shapes (W,)."""
        return self.challenger.worth, self.baseline.worth

    @property
    def means(self) -> Floats:
        """Return the differences of the means, shape (W,)."""
        means: Floats = self.challenger.means - self.baseline.means
        return means

    @property
    def sds(self) -> Floats:
        """Return `sqrt(s_a² + s_b²)`, shape (W,); nan if a side has one run."""
        return np.hypot(self.challenger.sds, self.baseline.sds)

    @property
    def worth(self) -> Floats:
        """Return the number n of which `sds² / n` is the variance of the difference of the means, shape (W,)."""
        n, m = self.runs
        s2, t2 = self.challenger.sds**2, self.baseline.sds**2
        with np.errstate(invalid="ignore", divide="ignore"):
            worth = (s2 + t2) / (s2 / n + t2 / m)
        return np.where(np.isfinite(worth), worth, np.minimum(n, m))

    @property
    def freedom(self) -> Floats:
        """Return Welch's degrees of freedom, shape (W,)."""
        n, m = self.runs
        v, w = self.challenger.sds**2, self.baseline.sds**2
        with np.errstate(invalid="ignore", divide="ignore"):
            v, w = v / n, w / m
            freedom = (v + w) ** 2 / (v**2 / (n - 1) + w**2 / (m - 1))
        return np.where(np.isfinite(freedom), freedom, np.minimum(n, m) - 1)

    @property
    def doubled(self) -> Floats:
        """Return the degrees of freedom that n runs of each side have, in units of n - 1: 1 to 2, shape (W,)."""
        v, w = self.challenger.sds**2, self.baseline.sds**2
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (v + w) ** 2 / (v**2 + w**2)
        return np.where(np.isfinite(ratio), ratio, 1.0)

    def first(self, num_seeds: int) -> TwoSamples:
        """Return the runs whose numbers are below a number."""
        return TwoSamples(self.challenger.first(num_seeds), self.baseline.first(num_seeds))

    def on(self, workload: str) -> TwoSamples:
        """Return the runs on one workload."""
        return TwoSamples(self.challenger.on(workload), self.baseline.on(workload))

    def sides(self, indices: Sequence[int]) -> list[tuple[Floats, Floats]]:
        """Return the sorted scores of both sides on some workloads."""
        names = [self.workloads[index] for index in indices]
        return [(np.sort(self.challenger.column(name)), np.sort(self.baseline.column(name))) for name in names]

    def compared(self, indices: Sequence[int]) -> tuple[int, int, int]:
        """Return the wins, ties and losses of the challenger over all n_a · n_b pairs of runs of each workload."""
        wins = ties = losses = 0
        for a, b in self.sides(indices):
            below, up_to = _below_and_up_to(a, b)
            wins, losses = wins + int(below.sum()), losses + int((b.size - up_to).sum())
            ties += int((up_to - below).sum())
        return wins, ties, losses


@dataclass(frozen=True)
class Superiority:
    """The probability that a run of the first side beats a run of the second one, a tie counting half."""

    value: float
    error: float  # its standard error
    freedom: float
    count: int  # runs of the side that has fewer

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return its interval; exact for `count` pairs if one side wins always."""
        if not self.count:
            return math.nan, math.nan
        if not self.error > 0:
            return clopper_pearson(self.value * self.count, self.count, confidence)
        half = float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return max(0.0, self.value - half), min(1.0, self.value + half)


def superiority(a: Floats, b: Floats) -> Superiority:
    """Return P(A > B) + P(A = B) / 2 of two samples, shapes (n_a,) and (n_b,), without enumerating their pairs.

    Source: Vargha and Delaney (2000); the error is Brunner and Munzel's, Biometrical Journal 42 (2000).
    """
    n, m = a.size, b.size
    if not n or not m:
        return Superiority(math.nan, math.nan, math.nan, 0)
    a, b = np.sort(a), np.sort(b)
    mine = np.add(*_below_and_up_to(a, b)) / (2 * m)
    theirs = np.add(*_below_and_up_to(b, a)) / (2 * n)
    value = float(mine.mean())
    if min(n, m) < 2:
        return Superiority(value, 0.0, math.nan, min(n, m))
    v, w = float(mine.var(ddof=1)) / n, float(theirs.var(ddof=1)) / m
    freedom = (v + w) ** 2 / (v**2 / (n - 1) + w**2 / (m - 1)) if v + w > 0 else math.nan
    return Superiority(value, math.sqrt(v + w), freedom, min(n, m))


def _below_and_up_to(a: Floats, b: Floats) -> tuple[Counts, Counts]:
    """Return, for each of a, the number of b below it and the number up to it; b is sorted, ties are rounded."""
    scale = max(float(np.abs(values).max()) if values.size else 0.0 for values in (a, b))
    close = ROUNDING * scale
    return np.searchsorted(b, a - close, "left"), np.searchsorted(b, a + close, "right")


def welch_p(samples: TwoSamples, indices: list[int], rho: Floats, shift: float = 0.0) -> tuple[float, float]:
    """Return the one-sided p-values of a mean over workloads above, and below, `shift`; nan without spread.

    Source: Welch (1947); over workloads, and with `rho` of each, as in `decide`.
    """
    v = samples.sds[indices] ** 2 * (1 / samples.worth[indices] + rho[indices])
    total = float(v.sum())
    if not total > 0:
        return math.nan, math.nan
    freedom = total**2 / float((v**2 / samples.freedom[indices]).sum())
    t = (float(samples.means[indices].mean()) - shift) / (math.sqrt(total) / len(indices))
    return float(stats.t.sf(t, freedom)), float(stats.t.cdf(t, freedom))


def labels(sides: Sequence[tuple[Floats, Floats]], generator: np.random.Generator) -> tuple[float, float, str]:
    """Return the two-sided p of the mean difference over workloads, the smallest p possible, and the test's name.

    The labels of the runs are exchanged within each workload, and the difference is divided by Welch's error each time,
    so that unequal spreads do no harm. All labellings of one workload are enumerated if they are at most 65,536, else
    8,192 are drawn and the observed one is added. With more than 2,000 runs it is Brunner and Munzel's test instead.

    Args:
        sides: the sorted scores of both sides on each workload, at least two of each.
        generator: draws the labels.

    Source: Fisher (1935); Janssen, Statistics & Probability Letters 36 (1997).
    """
    total = sum(a.size + b.size for a, b in sides)
    a, b = sides[0]
    ways = math.comb(a.size + b.size, a.size) if len(sides) == 1 and total <= MOST_DRAWN else math.inf
    if total > MOST_DRAWN:
        return _by_ranks(sides), 0.0, "Brunner–Munzel"
    observed = abs(_studentized([(a[None], b[None]) for a, b in sides])[0])
    batches = _all_labels(a, b) if ways <= MOST_LABELS else _drawn_labels(sides, generator)
    hits = count = 0
    for batch in batches:
        far = np.abs(_studentized(batch)) >= observed * (1 - 1e-9)
        hits, count = hits + int(far.sum()), count + far.size
    if ways <= MOST_LABELS:
        return hits / count, (2 if a.size == b.size else 1) / count, "labels exchanged"
    return (hits + 1) / (count + 1), 1 / (count + 1), "labels exchanged"


def _studentized(batch: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return Welch's t of each labelling, from pairs of arrays (labellings, n_a) and (labellings, n_b)."""
    mean = sum(a.mean(axis=1) - b.mean(axis=1) for a, b in batch)
    square = sum(a.var(axis=1, ddof=1) / a.shape[1] + b.var(axis=1, ddof=1) / b.shape[1] for a, b in batch)
    largest = max(float(np.abs(side).max()) for pair in batch for side in pair)
    flat = square <= (ROUNDING * largest) ** 2
    t = np.asarray(mean) / np.sqrt(np.where(flat, 1.0, square))
    return np.where(flat, np.where(np.abs(mean) <= ROUNDING * largest, 0.0, np.copysign(np.inf, mean)), t)


def _all_labels(a: Floats, b: Floats) -> Iterator[list[tuple[Floats, Floats]]]:
    """Yield all labellings of one workload, in batches."""
    both, n = np.concatenate([a, b]), a.size
    chosen = combinations(range(both.size), n)
    while picks := list(islice(chosen, max(1, NUMBERS_AT_ONCE // both.size))):
        mine = np.zeros((len(picks), both.size), dtype=bool)
        mine[np.arange(len(picks))[:, None], picks] = True
        rows = np.broadcast_to(both, mine.shape)
        yield [(rows[mine].reshape(len(picks), n), rows[~mine].reshape(len(picks), -1))]


def _drawn_labels(
    sides: Sequence[tuple[Floats, Floats]], generator: np.random.Generator
) -> Iterator[list[tuple[Floats, Floats]]]:
    """Yield drawn labellings of all workloads, in batches."""
    total = sum(a.size + b.size for a, b in sides)
    part = min(DRAWS, max(1, NUMBERS_AT_ONCE // total))
    for start in range(0, DRAWS, part):
        batch = []
        for a, b in sides:
            rows = np.tile(np.concatenate([a, b]), (min(part, DRAWS - start), 1))
            generator.permuted(rows, axis=1, out=rows)
            batch.append((rows[:, : a.size], rows[:, a.size :]))
        yield batch


def _by_ranks(sides: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the two-sided p that P(better), averaged over the workloads, is one half."""
    all_sets = [superiority(a, b) for a, b in sides]
    mean = float(np.mean([one.value for one in all_sets])) - 0.5
    squares = np.array([one.error**2 for one in all_sets])
    total = float(squares.sum())
    if not total > 0:
        return 1.0 if abs(mean) < ROUNDING else 0.0
    spread = squares > 0
    freedom = total**2 / sum(
        v**2 / one.freedom for v, one, there in zip(squares, all_sets, spread, strict=True) if there
    )
    return float(2 * stats.t.sf(abs(mean) * len(all_sets) / math.sqrt(total), freedom))


def hodges_lehmann_shift(a: Floats, b: Floats) -> float:
    """Return the median of all n_a · n_b differences, shapes (n_a,) and (n_b,); nan if a side is empty.

    Source: Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963).
    """
    if not a.size or not b.size:
        return math.nan
    if a.size * b.size <= NUMBERS_AT_ONCE:
        return float(np.median(a[:, None] - b[None, :]))
    a, b = np.sort(a), np.sort(b)
    low, high = float(a[0] - b[-1]), float(a[-1] - b[0])
    half = a.size * b.size / 2
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if int(np.searchsorted(b, a - middle, "left").sum()) > half:  # differences above the middle
            low = middle
        else:
            high = middle
    return (low + high) / 2


def difference_size(a: Floats, b: Floats) -> tuple[float, float]:
    """Return Cohen's d with the mean of both variances, and the same corrected for small samples; nan without spread.

    Source: Hedges, Journal of Educational Statistics 6 (1981).
    """
    if min(a.size, b.size) < 2:
        return math.nan, math.nan
    sd = math.sqrt((float(a.var(ddof=1)) + float(b.var(ddof=1))) / 2)
    if not sd > ROUNDING * float(np.abs(np.concatenate([a, b])).max()):
        return math.nan, math.nan
    d, degrees = float(a.mean() - b.mean()) / sd, a.size + b.size - 2
    factor = math.exp(special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2)) / math.sqrt(degrees / 2)
    return d, d * factor if math.isfinite(factor) else d
