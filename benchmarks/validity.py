"""Measure the error rates of both verdicts: `python -m benchmarks.validity` prints the tables of docs/validity.md.

It exits with code 1 and names the cells if a limit is exceeded by more than three standard errors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.validity_ways import TABLES
from evalbench.statistics.simulated_rows import (
    Draw,
    binary_items,
    clustered_items,
    runs_without_pairs,
    simulate_rows,
)
from evalbench.statistics.simulation import (
    ANYTHING,
    CLAIMS,
    FIRST,
    GENERALIZES,
    NAMED,
    Rates,
    Setup,
    simulate,
)
from evalbench.statistics.verdicts import Quality

SEED = 20_260_101
EVALUATIONS, OF_A_POOL = 20_000, 2_000  # per cell; a pool of rows takes longer to draw
OF_ROWS = 2_000  # each is made of runs or items
FALSE, CRASHED, AT_THE_ROPE, COVERED = 0.06, 0.12, 0.075, 0.94
"""Limits. Nominal: 5 % for all claims together, 7.5 % for them at a difference of the ROPE, 95 or 96 % coverage."""
NOTHING, REDRAWN = 1e-6, 0.25
DATA_SETS, SEEDS = (1, 2, 3, 5, 10, 20), (3, 5, 10, 20, 40)
STAGES = (5, 10, 20, 40)
SETTINGS = {
    "no difference, 1 candidate": Setup(1, (1,), 1, NOTHING, rho=REDRAWN),
    "no difference, 2 candidates": Setup(1, (1,), 2, NOTHING, rho=REDRAWN),
    "no difference, 4 candidates": Setup(1, (1,), 4, NOTHING, rho=REDRAWN),
    "no difference, fresh rows": Setup(1, (1,), 2, NOTHING),
    "0.5 SD everywhere": Setup(1, (1,), effect=0.5, rho=REDRAWN),
    "varies by 1 SD around 0": Setup(1, (1,), between=1.0, rho=REDRAWN),
    "+1 and −1 SD in turn": Setup(1, (1,), opposite=1.0, rho=REDRAWN),
}
TRUE = {
    "0": Setup(5, (10,)),
    "0.5 SD": Setup(5, (10,), effect=0.5),
    "1 SD": Setup(5, (10,), effect=1.0),
    "varies by 1 SD around 1 SD": Setup(5, (10,), effect=1.0, between=1.0),
    "−2 SD on half of the sets": Setup(5, (10,), half=-2.0),
}
BEFORE = dict(zip(TRUE, (92, 60, 15, 68, 82), strict=True))
"""Percent left open at 5 data sets × 10 redrawn splits by the rule before: one verdict on data sets like these."""
GOALS = dict(zip(TRUE, (1.0, 0.35, 0.02, 0.12, 0.25), strict=True))


@dataclass
class Page:
    """The cells that were measured: what exceeded its limit, and the worst rate of every claim."""

    exceeded: list[str] = field(default_factory=list)
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)

    def measure(self, cell: str, setup: Setup, most: float = FALSE) -> Rates:
        """Return the rates of one cell, and check that all claims together are false in a share `most` at most."""
        rates = run(setup)
        self.limit(f"{cell}: false claims", rates.false[ANYTHING], most, rates.num_evaluations)
        self.limit(f"{cell}: intervals that miss", 1 - rates.covered, 1 - COVERED, rates.num_evaluations)
        if most == FALSE:
            for claim, rate in rates.false.items():
                self.note(claim, rate, cell)
        return rates

    def note(self, claim: str, rate: float, cell: str) -> None:
        """Keep the worst rate of a claim."""
        if rate > self.worst.get(claim, (-1.0, ""))[0]:
            self.worst[claim] = (rate, cell)

    def limit(self, what: str, rate: float, most: float, count: int) -> None:
        """Note a rate that exceeds its limit by more than three standard errors."""
        error = np.sqrt(most * (1 - most) / count)
        if rate > most + 3 * error:
            self.exceeded.append(f"{what}: {percent(rate)} %, more than {percent(most)} + {percent(3 * error)} %")


def run(setup: Setup, narrower: float = 1.0, divided: bool = True) -> Rates:
    """Return the rates of one design, with a fixed seed."""
    count = OF_A_POOL if setup.pool else EVALUATIONS
    return simulate(setup, count, np.random.default_rng(SEED), narrower, divided)


def line(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def percent(share: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * share:.1f}"


def sets(count: int) -> str:
    """Return a number of data sets in words."""
    return f"{count} data set{'s' if count > 1 else ''}"


def table(title: str, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table, each row as soon as it is measured."""
    heads = list(heads)
    print(f"### {title}\n\n{line(*heads)}\n{line(':--', *['--:'] * (len(heads) - 1))}")
    for row in rows:
        print(line(*row), flush=True)
    print()


def errors(page: Page) -> None:
    """Print the worst false claims and the worst coverage of every number of data sets and seeds."""
    covered: dict[tuple[int, int], float] = {}

    def worst(W: int, seeds: int) -> str:
        rates = {
            name: page.measure(f"{sets(W)} × {seeds} seeds, {name}", replace(setting, num_workloads=W, looks=(seeds,)))
            for name, setting in SETTINGS.items()
        }
        covered[W, seeds] = min(of_one.covered for of_one in rates.values())
        return percent(max(of_one.false[ANYTHING] for of_one in rates.values()))

    heads = ("data sets", *(f"{seeds} seeds" for seeds in SEEDS))
    rows = ((W, *(worst(W, seeds) for seeds in SEEDS)) for W in DATA_SETS)
    table("Evaluations with a false claim, in percent (≤ 6)", heads, rows)
    rows = ((W, *(percent(covered[W, seeds]) for seeds in SEEDS)) for W in DATA_SETS)
    table("Intervals that hold the true mean, or claim nothing, in percent (≥ 94)", heads, rows)


def harder(page: Page) -> None:
    """Print the rates of data that the formulas do not assume."""
    null = Setup(5, (10,), rope=NOTHING)
    cells = {
        f"noise differs 20-fold, {sets(W)} × {seeds} seeds": replace(null, num_workloads=W, looks=(seeds,), noise=20.0)
        for W, seeds in ((3, 5), (5, 3), (5, 10), (10, 3))
    }
    cells |= {
        f"scores on 30 test rows, many ties, {sets(W)} × {seeds} seeds": replace(
            null, num_workloads=W, looks=(seeds,), ties=True
        )
        for W, seeds in ((1, 5), (2, 10), (5, 3), (5, 10))
    }
    cells |= {
        "redrawn splits with a third for testing, 5 data sets × 10 seeds": replace(null, rho=1 / 3),
        "splits from one pool of rows, 1 data set × 20 seeds": replace(null, num_workloads=1, looks=(20,), pool=True),
        "splits from one pool of rows, 3 data sets × 10 seeds": replace(null, num_workloads=3, pool=True),
    }
    cells |= {
        f"one score per data set, {W} data sets": replace(null, num_workloads=W, looks=(1,), one_score=True)
        for W in (5, 10, 40)
    }
    cells |= {
        f"the class on these rows, which differ by 0.5 SD from others, {sets(W)} × 10 seeds": replace(
            null, num_workloads=W, between=0.5
        )
        for W in (1, 2)
    }
    heads = (
        "design, no difference, ROPE of almost nothing",
        "false claims (≤ 6)",
        "coverage (≥ 94)",
        "have an interval",
    )
    measured = ((name, page.measure(name, setup)) for name, setup in cells.items())
    rows = ((name, *map(percent, (r.false[ANYTHING], r.covered, r.intervals))) for name, r in measured)
    table("Unequal noise, ties, pools of rows, one score per data set, in percent", heads, rows)


def stages(page: Page) -> None:
    """Print the rates of evaluations that look several times."""

    def row(name: str, setup: Setup) -> tuple[object, ...]:
        rates = page.measure(name, setup)
        free = page.measure(f"{name}, no futility", replace(setup, futility=False))
        cells = (rates.false[FIRST], rates.false[GENERALIZES], rates.false[ANYTHING], free.false[ANYTHING])
        return name, *map(percent, cells), f"{rates.num_seeds:.1f}", f"{free.num_seeds:.1f}"

    truths = {
        "no difference": Setup(1, STAGES, rope=NOTHING, rho=REDRAWN),
        "no difference, fresh rows": Setup(1, STAGES, rope=NOTHING),
        "varies by 1 SD around 0": Setup(1, STAGES, between=1.0, rho=REDRAWN),
    }
    setups = {
        f"{sets(W)}, {name}": replace(truth, num_workloads=W)
        for W in (1, 2, 3, 5, 10)
        for name, truth in truths.items()
    }
    three = replace(truths["no difference, fresh rows"], num_workloads=5, looks=STAGES[:3])
    four = replace(truths["no difference"], num_workloads=5, num_challengers=4)
    setups |= {
        "5 data sets, no difference, 4 candidates": four,
        "5 data sets, looks at 5, 10 and 20, no difference, fresh rows": three,
    }
    heads = (
        "looks at 5, 10, 20 and 40 seeds", "first verdict", "second verdict", "either (≤ 6)", "without futility (≤ 6)",
        "mean seeds", "without futility",
    )  # fmt: skip
    table("False claims of an evaluation in stages, in percent", heads, (row(*item) for item in setups.items()))


def at_the_rope(page: Page) -> None:
    """Print the rates at a true difference of exactly the ROPE, where no class on either side of it is true."""

    def row(W: int, seeds: int, m: int) -> tuple[object, ...]:
        cell = f"{sets(W)} × {seeds} seeds, {m} {'candidate' if m == 1 else 'candidates'}"
        above, below = (
            page.measure(f"{cell}, {sign * 0.3:+} SD", Setup(W, (seeds,), m, effect=sign * 0.3), AT_THE_ROPE)
            for sign in (1, -1)
        )
        for rates in (above, below):
            for claim in CLAIMS:
                page.note(claim, rates.false[claim], f"{cell}, a difference of the ROPE")
        equal = max(above.false[Quality.EQUIVALENT], below.false[Quality.EQUIVALENT])
        claims = (
            above.false[Quality.SUPERIOR],
            below.false[Quality.INFERIOR],
            equal,
            below.false[Quality.NON_INFERIOR],
        )
        page.limit(f"{cell}: SUPERIOR or INFERIOR at the ROPE", max(claims[:2]), 0.025, EVALUATIONS)
        page.limit(f"{cell}: EQUIVALENT at the ROPE", equal, 0.05, EVALUATIONS)
        return cell, *map(percent, (*claims, max(above.false[ANYTHING], below.false[ANYTHING])))

    heads = (
        "fresh rows, ROPE 0.3 SD", "SUPERIOR at +ROPE (≤ 2.5)", "INFERIOR at −ROPE (≤ 2.5)", "EQUIVALENT (≤ 5)",
        "NON-INFERIOR at −ROPE (≤ 2.5)", "all together (≤ 7.5)",
    )  # fmt: skip
    rows = (row(W, seeds, m) for W in (1, 5) for seeds in (10, 40) for m in (1, 2))
    table("False claims at a difference of exactly the ROPE, in percent", heads, rows)


def claims(page: Page) -> None:
    """Print the worst rate of every claim over all cells so far, crashes aside."""
    rows = ((name, percent(page.worst[name][0]), page.worst[name][1]) for name in (*CLAIMS, NAMED, GENERALIZES))
    table("The worst rate of each claim over all cells above, in percent (≤ 6)", ("claim", "false", "where"), rows)
    for name, (rate, cell) in page.worst.items():
        page.limit(f"{name}, {cell}", rate, FALSE, EVALUATIONS)


def flagged(page: Page) -> None:
    """Print the rates of what the report warns of: rare crashes of one side, and effects that take two values."""
    rows = []
    for W in (1, 3, 5, 10):
        crash = Setup(W, (10,), crashes=0.1)
        cells = [run(crash), *(run(replace(crash, crash=depth, effect=-depth / 9)) for depth in (-3.0, -5.0, -10.0))]
        for name, rates in zip(("crashes of −10 SD", "crashes of −3 SD, made up for"), cells, strict=False):
            page.limit(f"{sets(W)}, {name}", rates.false[ANYTHING], CRASHED, EVALUATIONS)
        chance = run(Setup(W, (10,), effect=-1.0, half=2.0, rho=REDRAWN))
        page.limit(f"{sets(W)}, ±1 SD by chance", chance.false[ANYTHING], CRASHED, EVALUATIONS)
        skewed = run(Setup(W, (10,), skewed=True))
        rows.append((W, *(percent(rates.false[ANYTHING]) for rates in (*cells, chance, skewed))))
    heads = (
        "data sets × 10 seeds", "10 % crash by −10 SD, else no difference (≤ 12)",
        "by −3 SD, made up for by the other runs (≤ 12)", "by −5 SD, made up for", "by −10 SD, made up for",
        "each set +1 or −1 SD by chance (≤ 12)", "exponential differences",
    )  # fmt: skip
    table("What the report warns of: evaluations with a false claim, in percent", heads, rows)


def power(page: Page) -> None:
    """Print the share that stays open, and what is said instead."""

    def row(name: str, setup: Setup) -> tuple[object, ...]:
        redrawn = replace(setup, rho=REDRAWN)
        single = {W: run(replace(redrawn, num_workloads=W)) for W in (3, 5, 10)}
        staged = run(replace(redrawn, looks=STAGES))
        page.limit(f"left open, {name}", single[5].open, GOALS[name], EVALUATIONS)
        opened = (percent(rates.open) for rates in single.values())
        return name, *opened, BEFORE[name], f"{percent(staged.open)} ({staged.num_seeds:.1f})"

    heads = (
        "true difference", "3 data sets × 10", "5 × 10", "10 × 10", "5 × 10, the rule before",
        "5 in stages (mean seeds)",
    )  # fmt: skip
    table("Left INCONCLUSIVE, in percent of candidates", heads, (row(*item) for item in TRUE.items()))

    def said(name: str, setup: Setup) -> tuple[object, ...]:
        rates = run(setup)
        return name, *(percent(rates.given[quality]) for quality in Quality), percent(rates.generalizes)

    heads = ("5 data sets × 10 seeds", *Quality, GENERALIZES)
    rows = [said(f"{name}, redrawn", replace(setup, rho=REDRAWN)) for name, setup in TRUE.items()]
    rows += [said(f"{name}, fresh rows", setup) for name, setup in TRUE.items()]
    rows += [
        said("0, fresh rows, 40 seeds", Setup(5, (40,))),
        said("0, fresh rows, 1 data set, 40 seeds", Setup(1, (40,))),
    ]
    table("What is said, in percent of candidates", heads, rows)


def broken(page: Page) -> None:
    """Print the rates of broken procedures, which must exceed the limits."""
    null, varies = Setup(5, (10,), rope=NOTHING), Setup(5, (10,), between=1.0)
    cells = {
        "intervals 40 % narrower, 1 data set": run(replace(null, num_workloads=1), 0.6),
        "intervals 40 % narrower, 5 data sets": run(null, 0.6),
        "the same, effects vary by 1 SD around 0": run(varies, 0.6),
        "redrawn splits taken for fresh rows, 1 data set": run(
            replace(null, num_workloads=1, rho=REDRAWN), float(np.sqrt(0.1 / (0.1 + REDRAWN)))
        ),
        "looks that do not divide the error rate, 1 data set": run(
            replace(null, num_workloads=1, looks=STAGES), 1, False
        ),
        "looks that do not divide the error rate, 5 data sets": run(replace(null, looks=STAGES), 1, False),
    }
    for name, rates in cells.items():
        if rates.false[ANYTHING] <= FALSE:
            page.exceeded.append(f"{name}: not noticed")
    rows = ((name, percent(rates.false[ANYTHING]), percent(rates.covered)) for name, rates in cells.items())
    table("Broken procedures: the tests must notice", ("procedure", "false claims (≤ 6)", "coverage (≥ 94)"), rows)


def other_rows(page: Page) -> None:
    """Print the rates of runs that are not paired, and of test items."""
    designs: dict[str, tuple[Draw, float]] = {
        "4 runs each": (runs_without_pairs((4, 4), (1, 1)), 2.5),
        "5 and 5 runs, noise differs 4-fold": (runs_without_pairs((5, 5), (4, 1)), 6.0),
        "4 noisy and 20 quiet runs, 4-fold": (runs_without_pairs((4, 20), (4, 1)), 7.0),
        "10 and 40 runs": (runs_without_pairs((10, 40), (1, 1)), 1.0),
        "3 data sets × 3 runs each": (runs_without_pairs((3, 3), (1, 1), 3), 1.2),
        "5 data sets × 4 noisy and 8 quiet runs": (runs_without_pairs((4, 8), (4, 1), 5), 2.5),
        "100 items of 0 and 1, 5 % differ": (binary_items(100, 0.05), 0.05),
        "300 items of 0 and 1, 2 % differ": (binary_items(300, 0.02), 0.02),
        "1,000 items of 0 and 1, 20 % differ": (binary_items(1000, 0.2), 0.04),
        "10 clusters of 1 to 20 items, correlation 0.5": (clustered_items(10, 20, 0.5), 0.9),
        "30 clusters of 1 to 20 items, correlation 0.5": (clustered_items(30, 20, 0.5), 0.5),
        "100 clusters of 1 to 5 items, correlation 0.2": (clustered_items(100, 5, 0.2), 0.25),
    }

    def row(name: str, draw: Draw, rope: float) -> tuple[object, ...]:
        rates = simulate_rows(draw, rope, OF_ROWS, np.random.default_rng(SEED))
        page.limit(f"{name}: false claims", rates.false, FALSE, OF_ROWS)
        page.limit(f"{name}: intervals that miss", 1 - rates.covered, 1 - COVERED, OF_ROWS)
        page.limit(f"{name}: EQUIVALENT at the ROPE", rates.equivalent, 0.05, OF_ROWS)
        return name, *map(percent, (rates.false, rates.covered, rates.equivalent, rates.intervals))

    heads = (
        "design, no difference, ROPE of almost nothing", "false claims (≤ 6)", "coverage (≥ 94)",
        "EQUIVALENT at a difference of the ROPE (≤ 5)", "have an interval",
    )  # fmt: skip
    rows = (row(name, *design) for name, design in designs.items())
    table("Runs that are not paired, and test items, in percent", heads, rows)
    ignored = simulate_rows(clustered_items(30, 20, 0.5, known=False), 0.5, OF_ROWS, np.random.default_rng(SEED))
    print(f"Without the names of the 30 clusters, {percent(ignored.false)} % of evaluations err.\n")
    if ignored.false <= FALSE:
        page.exceeded.append("clusters that nobody names: not noticed")


def other_ways(page: Page) -> None:
    """Print the rates of the other ways to judge a table."""
    for title, (heads, rows) in TABLES.items():
        table(title, heads, rows(page.limit))


SECTIONS = (power, errors, harder, other_rows, stages, at_the_rope, claims, flagged, broken, other_ways)


def main() -> None:
    """Print every table; exit with 1 if a limit is exceeded."""
    page = Page()
    for section in SECTIONS:
        section(page)
    for what in page.exceeded:
        print(what, file=sys.stderr)
    sys.exit(1 if page.exceeded else 0)


if __name__ == "__main__":
    main()
