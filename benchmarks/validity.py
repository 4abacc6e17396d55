"""Measure the error rates of the verdicts: `python benchmarks/validity.py` prints the tables of docs/validity.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evalbench.statistics.simulation import Rates, Setup, simulate

SEED = 20_260_101
FRESH, POOL = 20_000, 2_000  # evaluations per row of a table; a pool of rows takes longer to draw

DESIGNS = {
    "5 seeds, 1 data set": Setup(5, 1),
    "10 seeds, 1 data set": Setup(10, 1),
    "20 seeds, 1 data set": Setup(20, 1),
    "5 seeds, 8 data sets": Setup(5, 8),
    "10 seeds, 8 data sets": Setup(10, 8),
    "20 seeds, 8 data sets": Setup(20, 8),
    "10 seeds, 8 data sets, runs not correlated": Setup(10, 8, correlation=0.0),
    "10 seeds, 8 data sets, effect varies (0.5 SD)": Setup(10, 8, between=0.5),
    "10 seeds, 8 data sets, effect varies (2 SD), unequal noise": Setup(10, 8, between=2.0, unequal=True),
    "10 seeds, then 10 more (two stages), 1 data set": Setup(10, 1, extended=True),
    "10 seeds, splits redrawn from one pool, 1 data set": Setup(10, 1, pool=True),
    "20 seeds, splits redrawn from one pool, 1 data set": Setup(20, 1, pool=True),
}


def run(setup: Setup, narrower: float = 1.0) -> Rates:
    """Return the rates of one design, with a fixed seed."""
    return simulate(setup, POOL if setup.pool else FRESH, np.random.default_rng(SEED), narrower)


def line(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def percent(share: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * share:.1f}"


def errors() -> None:
    """Print error rates and coverage."""
    heads = (
        "design", "false SUPERIOR or INFERIOR (≤ 5)", "the same, ROPE of almost nothing (≤ 5)",
        "BETTER or SUPERIOR, each of 2 (≤ 1.25)", "SUPERIOR at a difference of the ROPE (≤ 1.25)",
        "EQUIVALENT at a difference of the ROPE (≤ 5)", "coverage of the 95 % interval",
    )  # fmt: skip
    header("Errors and coverage, in percent", *heads)
    for name, setup in DESIGNS.items():
        null, strict = run(setup), run(replace(setup, rope=1e-6))
        edge = run(replace(setup, difference=setup.rope))
        alone = run(replace(setup, num_challengers=1, difference=0.3))
        cells = (null.false_claims, strict.false_claims, null.better_or_superior, edge.superior, edge.equivalent)
        print(line(name, *map(percent, cells), percent(alone.coverage)))


def power() -> None:
    """Print the detection rates of true differences."""
    heads = ("design", "true difference", "SUPERIOR", "BETTER or SUPERIOR", "EQUIVALENT", "not decided")
    header("Detected differences, in percent of evaluations", *heads)
    for name in list(DESIGNS)[:6] + list(DESIGNS)[-3:]:
        for difference in (0.0, 0.5, 1.0, 2.5):
            r = run(replace(DESIGNS[name], difference=difference))
            cells = (r.superior, r.better_or_superior, r.equivalent, r.inconclusive)
            print(line(name, f"{difference:g} SD", *map(percent, cells)))


def too_narrow() -> None:
    """Print the rates of a broken procedure, which must exceed the limits."""
    heads = ("design", "BETTER or SUPERIOR (≤ 1.25)", "SUPERIOR at the ROPE (≤ 1.25)", "coverage (≥ 93.5)")
    header("The same with intervals 40 % narrower: the tests must notice", *heads)
    for name in ("10 seeds, 1 data set", "10 seeds, 8 data sets"):
        setup = DESIGNS[name]
        null, edge = run(replace(setup, rope=1e-6), 0.6), run(replace(setup, difference=setup.rope), 0.6)
        alone = run(replace(setup, num_challengers=1, difference=0.3), 0.6)
        print(line(name, percent(null.better_or_superior), percent(edge.superior), percent(alone.coverage)))


def header(title: str, *heads: str) -> None:
    """Print the title of a table and its first two lines."""
    print(f"### {title}\n\n{line(*heads)}\n{line(':--', *['--:'] * (len(heads) - 1))}")


def main() -> None:
    """Print every table."""
    errors()
    print()
    power()
    print()
    too_narrow()


if __name__ == "__main__":
    main()
