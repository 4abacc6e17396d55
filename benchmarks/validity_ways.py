"""Error rates of the other ways to judge a table: ratios, joint criteria, times to target, constants, single runs.

`python -m benchmarks.validity` prints these tables after its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from evalbench.statistics.censored import Restricted, ratio_of_means, restricted_mean
from evalbench.statistics.constant import better_than
from evalbench.statistics.decisions import FEWEST_FREEDOM, Evidence, Rule, decide
from evalbench.statistics.leaders import leaders, possible_ranks

SEED = 20_260_102
MANY, FEW = 20_000, 1_500
"""Evaluations of a cell; times to target and single runs are judged one by one."""
Row = tuple[object, ...]
Limit = Callable[[str, float, float, int], None]
Draw = Callable[[Any], Any]
ROPE = 0.3  # in SD of the paired difference


def joint(limit: Limit) -> Iterator[Row]:
    """Yield the rates of adopting a technique of which at least one requirement is not met, in percent."""
    generator = np.random.default_rng(SEED)
    truths = {
        "loss worse by exactly the ROPE, much faster": (-ROPE, 3.0),
        "loss the same, exactly as fast": (0.0, 0.0),
        "loss worse by exactly the ROPE, exactly as fast": (-ROPE, 0.0),
        "loss much better, exactly as fast": (3.0, 0.0),
    }
    for name, truth in truths.items():
        rates = []
        for workloads, seeds in ((1, 5), (1, 20), (5, 10)):
            shared = generator.normal(size=(MANY, seeds, workloads, 1))
            noise = (shared + generator.normal(size=(MANY, seeds, workloads, 2))) / np.sqrt(2)
            loss, time = ((noise[..., i] + truth[i])[:, None] for i in (0, 1))
            lows = [_low(values, ROPE) for values in (loss, time)]
            rate = float(np.mean((lows[0] > -ROPE) & (lows[1] > 0)))
            limit(f"joint: {name}, {workloads} × {seeds}", rate, 0.025, MANY)
            rates.append(f"{100 * rate:.1f}")
        yield (name, *rates)


def _low(differences: npt.NDArray[np.float64], rope: float) -> npt.NDArray[np.float64]:
    """Return the lower ends of the intervals that decide, of differences of shape (N, 1, n, W)."""
    evidence = Evidence(differences.mean(axis=2), differences.std(axis=2, ddof=1), differences.shape[2])
    return np.asarray(decide(evidence, Rule(rope)).low[:, 0])


def ratios(limit: Limit) -> Iterator[Row]:
    """Yield false claims of a direction without any difference, and coverage, in percent; sizes differ by 10⁸."""
    generator = np.random.default_rng(SEED)
    noises: dict[str, Draw] = {
        "log-normal, 30 %": lambda shape: generator.normal(0, 0.3, shape),
        "gamma of shape 4": lambda shape: np.log(generator.gamma(4, size=shape)),
        "1 run in 20 takes 3 times as long": lambda shape: (
            np.log(np.where(generator.random(shape) < 0.05, 3.0, 1.0)) + generator.normal(0, 0.1, shape)
        ),
    }
    for name, noise in noises.items():
        cells: list[str] = []
        for workloads, seeds in ((1, 10), (5, 10), (10, 5)):
            sizes = np.log(np.geomspace(1e-3, 1e5, workloads))
            sides = [sizes + noise((MANY, 1, seeds, workloads)) for _ in range(2)]
            difference = sides[0] - sides[1]
            evidence = Evidence(difference.mean(axis=2), difference.std(axis=2, ddof=1), seeds)
            decisions = decide(evidence, Rule(1e-6))
            wrong = float(
                np.mean(~((decisions.low <= 0) & (decisions.high >= 0)) | (decisions.named != 0).any(axis=-1))
            )
            limit(f"ratios: {name}, {workloads} × {seeds}", wrong, 0.06, MANY)
            cells.append(f"{100 * wrong:.1f}")
        yield (name, *cells)


def times(limit: Limit) -> Iterator[Row]:
    """Yield false claims of who is faster among equals, in percent: nobody, misses, and runs that stopped early."""
    generator = np.random.default_rng(SEED)
    for name, (miss, stop, most) in {
        "all runs reach the target": (0.0, 0.0, 0.06),
        "a third misses": (0.33, 0.0, 0.08),
        "a fifth is stopped early": (0.0, 0.2, 0.08),
    }.items():
        cells = []
        for workloads, runs in ((1, 5), (1, 20), (5, 5), (8, 3)):
            wrong = 0
            for _ in range(FEW):
                sides = [[_restricted(generator, runs, miss, stop) for _ in range(workloads)] for _ in range(2)]
                ratio = ratio_of_means(sides[0], sides[1], 0.05)
                wrong += ratio.freedom >= FEWEST_FREEDOM and not ratio.low <= 1 <= ratio.high
            limit(f"times: {name}, {workloads} × {runs}", wrong / FEW, most, FEW)
            cells.append(f"{100 * wrong / FEW:.1f}")
        yield (name, *cells)


def _restricted(generator: np.random.Generator, runs: int, miss: float, stop: float) -> Restricted:
    reaching = generator.lognormal(0, 0.3, runs)
    stopped = np.where(generator.random(runs) < stop, generator.uniform(0.3, 1.5, runs), 3.0)
    missed = generator.random(runs) < miss
    reached = ~missed & (reaching <= stopped)
    return restricted_mean(np.where(reached, reaching, np.where(missed, 3.0, stopped)), reached, 3.0)


def constants(limit: Limit) -> Iterator[Row]:
    """Yield how often a technique that equals the constant is said to beat it, in percent."""
    generator = np.random.default_rng(SEED)
    draws: dict[str, Draw] = {
        "normal scores": lambda n: generator.normal(size=n),
        "exponential scores, lower is better": lambda n: generator.exponential(size=n) - 1,
    }
    for name, draw in draws.items():
        cells = []
        for runs in (3, 10, 30):
            wrong = sum(better_than(draw(runs), 0.0, -1, 0.05).p <= 0.05 for _ in range(4 * FEW)) / (4 * FEW)
            limit(f"constant: {name}, {runs} runs", wrong, 0.05 if "normal" in name else 0.15, 4 * FEW)
            cells.append(f"{100 * wrong:.1f}")
        yield (name, *cells)


def single_runs(limit: Limit) -> Iterator[Row]:
    """Yield how often the best technique is not among the ties, in percent, and how many are tied."""
    generator = np.random.default_rng(SEED)
    for name, spread in (("all equally good, 70 %", 0.0), ("between 60 and 70 %", 0.1)):
        cells: list[str] = []
        for techniques, rows in ((2, 200), (10, 1000), (63, 1319)):
            truth, lost, ties = 0.7 - spread * np.linspace(0, 1, techniques), 0, 0
            for _ in range(FEW):
                mine = leaders(generator.binomial(rows, truth) / rows, np.full(techniques, rows))
                lost, ties = lost + (not mine.tied[0]), ties + int(mine.tied.sum())
            limit(f"single runs: {name}, {techniques} × {rows}", lost / FEW, 0.05, FEW)
            cells.append(f"{100 * lost / FEW:.1f} ({ties / FEW:.1f})")
        yield (name, *cells)


def ranks(limit: Limit) -> Iterator[Row]:
    """Yield how often the ranks of single runs miss one that is possible, in percent, and how many are possible."""
    generator = np.random.default_rng(SEED)
    truths = {
        "all equally good, 70 %": (0.7, 0.7),
        "all equally good, 97 %": (0.97, 0.97),
        "between 40 and 70 %": (0.7, 0.4),
    }
    for name, ends in truths.items():
        cells: list[str] = []
        for techniques, rows in ((2, 200), (10, 1000), (63, 1319)):
            truth, missed, possible = np.linspace(*ends, techniques), 0, 0.0
            best, worst = ((truth > truth[:, None]).sum(axis=1) + 1, techniques - (truth < truth[:, None]).sum(axis=1))
            for _ in range(FEW):
                mine = possible_ranks(generator.binomial(rows, truth) / rows, np.full(techniques, rows))
                missed += bool(((mine.best > best) | (mine.worst < worst)).any())
                possible += float(np.mean(mine.worst - mine.best + 1))
            limit(f"ranks: {name}, {techniques} × {rows}", missed / FEW, 0.05, FEW)
            cells.append(f"{100 * missed / FEW:.1f} ({possible / FEW:.1f})")
        yield (name, *cells)


TABLES: dict[str, tuple[tuple[str, ...], Callable[[Limit], Iterator[Row]]]] = {
    "Joint criteria: adopted although a requirement is not met, in percent": (
        (
            "not worse in loss (ROPE 0.3 SD) and faster; truth",
            "1 data set × 5 (≤ 2.5)",
            "1 × 20 (≤ 2.5)",
            "5 × 10 (≤ 2.5)",
        ),
        joint,
    ),
    "Ratio effects: false claims without any difference, in percent": (
        ("noise; sizes of the data sets differ by 10⁸", "1 data set × 10 (≤ 6)", "5 × 10 (≤ 6)", "10 × 5 (≤ 6)"),
        ratios,
    ),
    "Times to target: false claims of who is faster, in percent": (
        ("runs of both sides, equally fast", "1 data set × 5 runs", "1 × 20", "5 × 5", "8 × 3"),
        times,
    ),
    "A technique against a constant that it equals: said to beat it, in percent": (
        ("scores", "3 runs", "10 runs", "30 runs"),
        constants,
    ),
    "Single runs: the best is not among the ties, in percent (mean number of ties)": (
        ("true accuracies", "2 techniques, 200 rows (≤ 5)", "10, 1,000 rows (≤ 5)", "63, 1,319 rows (≤ 5)"),
        single_runs,
    ),
    "Ranks of single runs: one interval misses, in percent (mean number of possible ranks)": (
        ("true accuracies", "2 techniques, 200 rows (≤ 5)", "10, 1,000 rows (≤ 5)", "63, 1,319 rows (≤ 5)"),
        ranks,
    ),
}
"""By title: the heads of the columns, and the rows."""
