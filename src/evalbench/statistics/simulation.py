"""How often the procedure errs: thousands of simulated evaluations, judged by the functions that judge real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalbench.statistics.decisions import Codes, Evidence, Rule
from evalbench.statistics.generality import generalizes
from evalbench.statistics.intervals import Floats
from evalbench.statistics.looks import Staged, decide_in_looks
from evalbench.statistics.verdicts import QUALITIES, Quality

Hits = npt.NDArray[np.bool_]

POOL_ROWS, TEST_ROWS, TRAIN_ROWS = 200, 40, 120
ROWS_WITH_TIES, ACCURACY = 30, 0.95
NUMBERS_AT_ONCE = 500_000
EXACT = 1e-9
"""A true effect this near to a limit lies on it: the sums of the true effects are rounded."""
NAMED, GENERALIZES, FIRST, ANYTHING = "sets named", "GENERALIZES", "first verdict", "either verdict"
CLAIMS = tuple(quality for quality in Quality if quality is not Quality.INCONCLUSIVE)


@dataclass(frozen=True)
class Setup:
    """One kind of evaluation: m challengers and a baseline on W workloads, which are all data sets.

    All sizes are in standard deviations (SD) of the paired difference on one data set. The true effect on a data set
    is `effect + between z + half b ± opposite`: z is normal, b is 0 or 1 with equal probability, and the sign of
    `opposite` alternates over the data sets.
    """

    num_workloads: int
    looks: tuple[int, ...]  # numbers of seeds; with a single look, the number of seeds
    num_challengers: int = 2
    rope: float = 0.3
    effect: float = 0.0
    between: float = 0.0
    half: float = 0.0
    opposite: float = 0.0
    rho: float = 0.0  # variance of what all seeds of a data set share, as when every seed redraws its split
    pool: bool = False  # instead of that, every seed draws its rows from a finite pool
    noise: float = 1.0  # largest over smallest SD of the data sets; their mean square is 1
    ties: bool = False  # scores are shares of correct answers on 30 test rows
    skewed: bool = False  # the noise of the differences is exponential, as if one side alone had rare bad runs
    crashes: float = 0.0  # share of the challenger's runs that end at `crash`
    crash: float = -10.0
    one_score: bool = False  # each data set has one score per technique: the data sets are the pairs
    futility: bool = True  # whether looks stop for it

    @property
    def population(self) -> float:
        """Return the mean of the true effects over all data sets that there are."""
        return self._ended(self.effect + self.half / 2)

    def _ended(self, effect: float) -> float:
        return (1 - self.crashes) * effect + self.crashes * self.crash


@dataclass(frozen=True)
class Rates:
    """Shares of simulated evaluations, 0 to 1.

    `false` is the share of evaluations in which a claim of that kind about any challenger is false. Its keys are the
    classes, `NAMED`, `GENERALIZES`, `FIRST` for anything that the first verdict says, and `ANYTHING`.
    """

    false: Mapping[str, float]
    given: Mapping[Quality, float]  # share of challengers with each class
    named: float  # share of challengers with a data set that is named
    generalizes: float  # share of challengers
    covered: float  # share of challengers whose interval holds the true mean, or who have none
    intervals: float  # share of challengers with an interval
    num_seeds: float  # mean, of the challenger that needs most
    num_evaluations: int

    @property
    def open(self) -> float:
        """Return the share of challengers that stay INCONCLUSIVE."""
        return self.given[Quality.INCONCLUSIVE]


def simulate(
    setup: Setup,
    num_evaluations: int,
    generator: np.random.Generator,
    narrower: float = 1.0,
    divided: bool = True,
) -> Rates:
    """Judge `num_evaluations` simulated evaluations of one kind.

    A claim of the first verdict is false if it is wrong about the mean of the true effects on exactly these data sets
    (a name: about the true effect there; MIXED: if no two of them are opposite). A claim of the second verdict is false
    if it is wrong about the mean over all data sets.

    Two ways of breaking the procedure must be noticed by its tests: `narrower` multiplies the spread that the intervals
    are made from, and without `divided` every look has the whole error rate.
    """
    size = setup.num_workloads * setup.looks[-1] * (setup.num_challengers + 1)
    at_once = min(num_evaluations, max(1, NUMBERS_AT_ONCE // size))
    counts = [min(at_once, num_evaluations - start) for start in range(0, num_evaluations, at_once)]
    batches = [_batch(setup, count, generator, narrower, divided) for count in counts]
    false = {key: np.concatenate([batch.false[key] for batch in batches]) for key in batches[0].false}
    quality, named, shown, covered, seeds = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("quality", "named", "generalizes", "covered", "num_seeds")
    )
    return Rates(
        false={key: float(hits.any(axis=-1).mean()) for key, hits in false.items()},
        given={name: float((quality == index).mean()) for index, name in enumerate(QUALITIES)},
        named=float(named.mean()),
        generalizes=float(shown.mean()),
        covered=float((covered != 0).mean()),
        intervals=float(np.isfinite(covered).mean()),
        num_seeds=float(seeds.max(axis=-1).mean()),
        num_evaluations=num_evaluations,
    )


@dataclass(frozen=True)
class _Batch:
    """Judged evaluations; shapes (evaluations, m)."""

    false: Mapping[str, Hits]
    quality: Codes
    named: Hits
    generalizes: Hits
    covered: Floats  # nan without an interval
    num_seeds: Codes


def _batch(setup: Setup, count: int, generator: np.random.Generator, narrower: float, divided: bool) -> _Batch:
    differences, effects = _draw(setup, count, generator)
    looks = [_evidence(setup, differences[:, :, :seeds], narrower) for seeds in setup.looks]
    rule = Rule(setup.rope, num_looks=len(looks) if divided else 1, by_set=setup.one_score)
    staged = decide_in_looks(looks, rule, setup.futility)
    decisions = staged.decisions
    side = np.where(decisions.low > 0, 1, np.where(decisions.high < 0, -1, 0))
    shown = np.zeros(side.shape, dtype=bool)
    if not setup.one_score:
        means = np.stack([look.means for look in looks])
        means = np.take_along_axis(means, staged.look[None, ..., None], axis=0)[0]
        confidence = 1 - rule.alpha / setup.num_challengers
        shown = generalizes(_shrunk(means, narrower), side, confidence)
    target = np.full(side.shape, setup.population) if setup.one_score else effects.mean(axis=-1)
    covered = np.where(np.isnan(decisions.low), np.nan, (decisions.low <= target) & (target <= decisions.high))
    return _Batch(
        _false(setup, staged, target, effects, shown & (side * setup.population <= EXACT)),
        decisions.quality,
        (decisions.named != 0).any(axis=-1),
        shown,
        covered,
        np.asarray(setup.looks)[staged.look],
    )


def _evidence(setup: Setup, differences: Floats, narrower: float) -> Evidence:
    """Return the evidence of the seeds of one look; a spread that is rounding is none, as in `Matrix.sds`."""
    means, seeds = differences.mean(axis=2), differences.shape[2]
    if setup.one_score:
        return Evidence(_shrunk(means, narrower), np.zeros(means.shape), seeds)
    sds = differences.std(axis=2, ddof=1) * narrower
    rho = TEST_ROWS / TRAIN_ROWS if setup.pool else setup.rho
    return Evidence(means, np.where(sds > EXACT, sds, 0.0), seeds, rho)


def _shrunk(means: Floats, narrower: float) -> Floats:
    middle: Floats = means.mean(axis=-1, keepdims=True)
    return np.asarray(middle + (means - middle) * narrower, dtype=np.float64)


def _false(setup: Setup, staged: Staged, target: Floats, effects: Floats, generality: Hits) -> dict[str, Hits]:
    """Return, for every kind of claim, where it is made and false; shapes (evaluations, m)."""
    rope, named, quality = setup.rope, staged.decisions.named, staged.decisions.quality
    opposite = (effects > EXACT).any(axis=-1) & (effects < -EXACT).any(axis=-1)
    wrong = {
        Quality.SUPERIOR: target <= rope + EXACT,
        Quality.BETTER: target <= EXACT,
        Quality.EQUIVALENT: np.abs(target) >= rope - EXACT,
        Quality.MIXED: ~opposite,
        Quality.NON_INFERIOR: target <= -rope + EXACT,
        Quality.WORSE: target >= -EXACT,
        Quality.INFERIOR: target >= -rope - EXACT,
    }
    false: dict[str, Hits] = {name: (quality == QUALITIES.index(name)) & wrong[name] for name in CLAIMS}
    false[NAMED] = ((named != 0) & (named * effects <= EXACT)).any(axis=-1)
    false[FIRST] = np.any(list(false.values()), axis=0)
    false[GENERALIZES] = generality
    false[ANYTHING] = false[FIRST] | generality
    return false


def _draw(setup: Setup, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return paired differences, shape (evaluations, m, S, W), and the true effects, shape (evaluations, m, W)."""
    shape = (count, setup.num_challengers, setup.num_workloads)
    effects = np.full(shape, setup.effect)
    effects += setup.between * generator.standard_normal(shape) if setup.between else 0.0
    effects += setup.half * generator.integers(0, 2, shape) if setup.half else 0.0
    effects += setup.opposite * (1 - 2 * (np.arange(setup.num_workloads) % 2))
    draw = _ties if setup.ties else _skewed if setup.skewed else _pool if setup.pool else _normal
    differences = draw(setup, count, generator)
    differences += effects[:, :, None]
    if setup.crashes:
        crashed = generator.random(differences.shape) < setup.crashes
        differences = np.where(crashed, setup.crash, differences)
        effects = (1 - setup.crashes) * effects + setup.crashes * setup.crash
    return differences, effects


def _scale(setup: Setup) -> Floats:
    """Return the SD of each data set, shape (W,)."""
    scale = np.geomspace(1.0, setup.noise, setup.num_workloads)
    return np.asarray(scale / np.sqrt((scale**2).mean()), dtype=np.float64)


def _normal(setup: Setup, count: int, generator: np.random.Generator) -> Floats:
    """Draw the runs' own noise, and what the seeds share; challengers share that of the baseline."""
    scale = _scale(setup) / np.sqrt(2)

    def noise(seeds: int) -> Floats:
        runs = generator.standard_normal((count, setup.num_challengers + 1, seeds, setup.num_workloads))
        runs *= scale
        differences: Floats = runs[:, 1:] - runs[:, :1]
        return differences

    differences = noise(setup.looks[-1])
    if setup.rho:
        differences += np.sqrt(setup.rho) * noise(1)
    return differences


def _skewed(setup: Setup, count: int, generator: np.random.Generator) -> Floats:
    """Draw differences with a long tail on the side of the baseline."""
    shape = (count, setup.num_challengers, setup.looks[-1], setup.num_workloads)
    differences: Floats = 1.0 - generator.standard_exponential(shape)
    return differences


def _ties(setup: Setup, count: int, generator: np.random.Generator) -> Floats:
    """Draw the correct answers of runs that are equally good, on fresh test rows for every seed."""
    shape = (count, setup.num_challengers + 1, setup.looks[-1], setup.num_workloads)
    correct = generator.binomial(ROWS_WITH_TIES, ACCURACY, shape).astype(np.float64)
    sd = np.sqrt(2 * ROWS_WITH_TIES * ACCURACY * (1 - ACCURACY))
    differences: Floats = (correct[:, 1:] - correct[:, :1]) / sd
    return differences


def _pool(setup: Setup, count: int, generator: np.random.Generator) -> Floats:
    """Draw test and training rows of every seed from a finite pool per data set, without replacement.

    A row has its own difference when it is tested and its own influence when it is trained on; a run adds its own
    noise. The true difference is that of the population that the pool was drawn from.
    """
    W, m, seeds = setup.num_workloads, setup.num_challengers, setup.looks[-1]
    tested = generator.standard_normal((count, m, W, POOL_ROWS)) * np.sqrt(TEST_ROWS * 0.5)
    trained = generator.standard_normal((count, m, W, POOL_ROWS)) * np.sqrt(TRAIN_ROWS * 0.1)
    differences = generator.standard_normal((count, m, seeds, W)) * np.sqrt(0.4)
    for seed in range(seeds):
        # One split per seed and data set, shared by all techniques.
        order = np.argsort(generator.random((count, 1, W, POOL_ROWS), dtype=np.float32), axis=-1)
        split = {"tested": order[..., :TEST_ROWS], "trained": order[..., TEST_ROWS : TEST_ROWS + TRAIN_ROWS]}
        for name, rows in (("tested", tested), ("trained", trained)):
            drawn = np.take_along_axis(rows, np.broadcast_to(split[name], (count, m, *split[name].shape[2:])), -1)
            differences[:, :, seed] += drawn.mean(axis=-1)
    scaled: Floats = differences * _scale(setup)
    return scaled
