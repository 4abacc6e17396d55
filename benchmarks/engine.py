"""Compare the cohort engine with its peers and the hardware's bound: `python -m benchmarks.engine`.

All engines train the same work: networks, rows, their order, initial weights, steps, validations, test. They run in
interleaved rounds in one process on the same cores. Each ratio is the median of the ratios within the rounds.
"""

import argparse
import logging
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from benchmarks import breakdown, lightning_template, peers, rounds, table
from benchmarks.rounds import Engine, Timing
from benchmarks.work import DEVICE, Work, works
from evalbench import cell as cells
from evalbench.engine import checks, training
from evalbench.evaluation.checks import check_trainable
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store

COHORTS = (1, 5, 10, 32, 64, 256) if DEVICE.type == "cpu" else (1, 5, 10, 32, 64, 256, 1024, 4096)
WHOLE_CELLS = (1, 10, 64)
"""Numbers of trials in the whole cells of the aims."""
CELLS = 8
"""Number of cells in the whole sweep: enough to spread the cost of the start and the report as in a real sweep."""
RESULTS = Path(__file__).parent / "results.md"


def engines(
    work: Work, cohorts: Sequence[int], cells: Sequence[int], num_trials: int, sweep: int | None = None
) -> list[Engine]:
    """Return the engines to compare on one work: evalbench and its peers."""
    few = max(4, 2 * peers.CORES)
    sweeps = [sweep] if sweep else []
    return [
        Engine("lightning", "(a) Lightning + Hydra", num_trials, lightning_template.sweep),
        Engine("loop", "(b) PyTorch loop", num_trials, peers.loop),
        Engine("loop_over_cores", "(c) (b) over the cores, joblib", few, peers.loop_over_cores, threads=1),
        Engine("ray_tune", "(d) (b) in Ray Tune", few, peers.ray_tune, threads=1),
        Engine("scikit_learn", "(e) MLPClassifier", num_trials, peers.scikit_learn),
        *(Engine(f"cohort-{c}", f"evalbench, cohort of {c}", c, _cohort, cohort=c) for c in cohorts),
        *(Engine(f"cell-{c}", f"evalbench, whole cell of {c}", c, _whole_cell, cohort=c) for c in cells),
        *(
            Engine("sweep", f"evalbench, sweep of {CELLS} cells of {c}", CELLS * c, _whole_sweep, threads=1)
            for c in sweeps
        ),
    ]


@dataclass
class Bench:
    """All measurements."""

    timings: dict[Work, dict[str, Timing]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """The reason for each work that could not be composed."""
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds by part of the headline's largest whole cell."""


def measure(
    chosen: Sequence[Work],
    minutes: float,
    cohorts: Sequence[int] = COHORTS,
    whole_cells: Sequence[int] = WHOLE_CELLS,
    sweep: int | None = WHOLE_CELLS[-1],
    least_rounds: int = 3,
    most_rounds: int = 9,
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> Bench:
    """Time all works within `minutes`; the first work, the headline, gets a double share and all its rounds."""
    bench = Bench()
    deadline = time.perf_counter() + 60 * minutes
    for index, work in enumerate(chosen):
        first = index == 0
        try:
            checks.check(work.cell.config, work.cell.dataset)
        except Exception as error:  # evalbench refuses the work, or Hydra does not know a choice
            bench.skipped[work.name] = str(error).strip().splitlines()[0]
            continue
        now, left = time.perf_counter(), len(chosen) - index
        until = now + (deadline - now) * (2 if first else 1) / (left + first)
        num_rounds = (least_rounds if first else 1, most_rounds)
        entrants = engines(work, cohorts, whole_cells, 3, sweep) if first else engines(work, cohorts, (), 1)
        bench.timings[work] = rounds.run(work, entrants, num_rounds, until, peers.unavailable, say, threads)
        if first:
            say(f"{work.name}: where the time goes")
            timed = bench.timings[work][f"cell-{whole_cells[-1]}"]
            bench.parts = breakdown.of(partial(rounds.measure, Timing(timed.engine, timed.threads), work))
    return bench


def _cohort(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train one cohort."""
    results = training.train(work.cell.config, work.cell.dataset, work.cell.entrants(*seeds))
    return [result.metrics["test/accuracy"] for result in results]


def _whole_cell(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Run a cell like a sweep: compose, check, link, train, references, store; no tracker, no report."""
    plan = Plan.of([work.composed(len(seeds))])
    store = Store(f"sqlite:///{folder}/store.sqlite")
    check_trainable(plan, store)
    link(plan, store, "benchmark")
    (cell,) = plan.cells
    cells.run(cell, store)
    trials = store.trials(list(cell.specs))
    store.close()
    return [trial.result.metrics["test/accuracy"] for trial in trials.values()]


def _whole_sweep(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Run the command line from its first import to its report, on copies of the work with other learning rates."""
    rates = ",".join(f"{0.001 * (1 + cell / 100):.5f}" for cell in range(CELLS))
    sweep = ["-m", f"optimizer.lr={rates}", f"num_seeds={len(seeds) // CELLS}", "tracker=none", "evaluation.name=sweep"]
    command = [sys.executable, "-m", "evalbench", *sweep, *work.chosen]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    results = pd.read_csv(folder / "reports" / "sweep" / "results.csv").sort_values(["technique", "seed"])
    return [float(score) for score in results["test/accuracy"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the table; return 1 if the engines disagree on the test accuracies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--minutes", type=float, default=12, help="approximate measuring time (default 12)")
    parser.add_argument("--only", help="one workload: mlp, cnn, transformer")
    parser.add_argument("--quick", action="store_true", help="only the headline's work, few cohorts, one round")
    parser.add_argument("--threads", type=int, help="intra-op threads (default: the faster number for each engine)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the Markdown file to write")
    chosen = parser.parse_args(arguments)
    for name in ("pytorch_lightning", "lightning_fabric", "evalbench"):
        logging.getLogger(name).setLevel(logging.ERROR)
    console = Console()
    work = list(works(chosen.only))
    with console.status("…") as status:
        if chosen.quick:
            bench = measure(
                work[:1],
                chosen.minutes,
                (1, 10, 64),
                least_rounds=1,
                most_rounds=1,
                threads=chosen.threads,
                say=status.update,
            )
        else:
            bench = measure(work, chosen.minutes, threads=chosen.threads, say=status.update)
    command = shlex.join(["python", "-m", "benchmarks.engine", *(sys.argv[1:] if arguments is None else arguments)])
    chapters = table.chapters(bench.timings, bench.skipped, bench.parts, command)
    table.show(console, chapters)
    chosen.output.write_text(table.markdown(chapters))
    return 1 if table.disagreements(bench.timings) else 0


if __name__ == "__main__":
    raise SystemExit(main())
