"""Compare the cohort engine with its peers and the hardware's bound: `python -m benchmarks.engine [PART ...]`.

All engines train the same work: networks, rows, their order, initial weights, steps, validations, test. They run in
interleaved rounds in one process on the same cores and device. Each ratio is the median of the ratios within the
rounds. Each part keeps its timings in a file of its own, and the page shows all of them: so parts may be measured one
at a time, and a part that is interrupted loses only its last measurement.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import pandas as pd

from benchmarks import breakdown, fast_loops, lightning_template, peers, records, rounds, table
from benchmarks.records import Circumstances, Record
from benchmarks.rounds import Engine, Timing, Train
from benchmarks.work import DEVICE, WORKLOADS, Work
from evalbench import cell as cells
from evalbench.engine import checks, training
from evalbench.evaluation.checks import check_trainable
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store

CELLS = 8
"""Number of cells in the whole sweep: enough to spread the cost of the start and the report as in a real sweep."""
SMALL_BUDGET = ("budget=steps", "budget.steps=6", "budget.validations=2")


@dataclass(frozen=True)
class Part:
    """What is measured together: engines on one work, in the same rounds."""

    work: Work
    name: str
    position: int
    """Where it stands on the page."""
    minutes: float
    cohorts: tuple[int, ...] = ()
    """Members of the cohorts."""
    compiled: tuple[int, ...] = ()
    """Members of the cohorts whose program is compiled."""
    vmapped: tuple[int, ...] = ()
    """Networks that `torch.func` and `vmap` train at once."""
    cells: tuple[int, ...] = ()
    """Trials of the whole cells."""
    sweep: int | None = None
    """Trials in each of the cells of the whole sweep; then no other peers than (a) and (b) are measured."""
    num_trials: int = 1
    """Trials of the peers that train one after another."""
    least_rounds: int = 1

    def engines(self) -> dict[Engine, Train]:
        """Return the engines in the order of their importance; the last take the longest to build or to compile."""
        lightning = Engine("lightning", "(a) Lightning + Hydra", self.num_trials), lightning_template.sweep
        loop = Engine("loop", "(b) PyTorch loop", self.num_trials), peers.loop
        if self.sweep:
            label = f"evalbench, sweep of {CELLS} cells of {self.sweep}"
            sweep = Engine("sweep", label, CELLS * self.sweep, threads=1, warm=False)
            return dict([lightning, loop, (sweep, _whole_sweep)])
        few = max(4, 2 * peers.CORES)
        others = (
            (Engine("loop_over_cores", "(c) (b) over the cores, joblib", few, threads=1), peers.loop_over_cores),
            (Engine("ray_tune", "(d) (b) in Ray Tune", few, threads=1), peers.ray_tune),
            (Engine("scikit_learn", "(e) MLPClassifier", self.num_trials), peers.scikit_learn),
            (Engine("ictonyx", "(f) Ictonyx", max(2, self.num_trials)), peers.ictonyx),
            (Engine("graph_loop", "(g) (b) as a CUDA graph", self.num_trials), fast_loops.graph_loop),
            *(
                (Engine(f"vmap-{c}", f"(h) torch.func + vmap, {c} at once", c), fast_loops.vmapped)
                for c in self.vmapped
            ),
        )
        own = (
            *((Engine(f"cohort-{c}", f"evalbench, cohort of {c}", c, c), _cohort) for c in self.cohorts),
            *((Engine(f"compiled-{c}", f"evalbench, compiled, {c}", c, c), _compiled) for c in self.compiled),
            *((Engine(f"cell-{c}", f"evalbench, whole cell of {c}", c, c), _whole_cell) for c in self.cells),
        )
        late = [entry for entry in own if entry[0].key.startswith("compiled") or entry[0].num_trials > 1024]
        first = [entry for entry in own if entry not in late]
        return dict([lightning, loop, *first, *others, *late])

    def small(self) -> "Part":
        """Return a copy with few steps and trials, to try the program."""
        return replace(
            self,
            work=replace(self.work, overrides=(*self.work.data_and_model, *SMALL_BUDGET)),
            minutes=0.05,
            cohorts=self.cohorts[:2],
            compiled=self.compiled[:1],
            vmapped=self.vmapped and (2,),
            cells=self.cells[:1],
            sweep=self.sweep and 2,
            num_trials=1,
            least_rounds=1,
        )


def parts() -> dict[str, Part]:
    """Return the parts of the bench on this device by name, the most important first."""
    mlp, cnn, transformer = (Work(name, "32", WORKLOADS[name]["32"]) for name in ("mlp", "cnn", "transformer"))
    chosen: tuple[Part, ...]
    if DEVICE.type == "cuda":
        cohorts = (1, 10, 64, 256, 1024, 4096)
        big = (64, 1024)
        chosen = (
            Part(mlp, "mlp-32", 0, 1.5, cohorts, compiled=big, vmapped=big, cells=(64,), num_trials=3),
            Part(mlp, "sweep", 1, 1.2, sweep=1024),
            Part(cnn, "cnn-32", 2, 0.6, (1, 64, 256), compiled=(64,), vmapped=(64,)),
            Part(transformer, "transformer-32", 3, 0.6, (1, 64), compiled=(64,), vmapped=(64,)),
        )
    else:
        cohorts = (1, 5, 10, 32, 64, 256)
        few = (1, 10, 64)
        others = [Work(name, size, overrides) for name, of in WORKLOADS.items() for size, overrides in of.items()][1:]
        chosen = (
            Part(mlp, "mlp-32", 0, 4.5, cohorts, few, (64,), few, num_trials=3, least_rounds=3),
            Part(mlp, "sweep", 1, 3.0, sweep=64, num_trials=3, least_rounds=3),
            *(Part(work, work.key, 2 + index, 0.7, cohorts, vmapped=(5,)) for index, work in enumerate(others)),
        )
    return {part.name: part for part in chosen}


def measure(
    part: Part,
    folder: Path,
    minutes: float,
    most_rounds: int = 9,
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> Record:
    """Time the engines of a part within some minutes; keep the record in a folder after each measurement."""
    work, until = part.work, time.perf_counter() + 60 * minutes
    record = Record(
        part.name,
        part.position,
        work.name,
        " ".join(work.overrides),
        0,
        Circumstances.here("python -m benchmarks.engine"),
    )
    try:
        checks.check(work.cell.config, work.cell.dataset)
    except Exception as error:  # evalbench refuses the work, or Hydra does not know a choice
        record.reason = str(error).strip().splitlines()[0]
        records.write(folder, record)
        return record
    record.num_steps = work.num_steps

    def keep(timings: Mapping[str, Timing]) -> None:
        record.timings = dict(timings)
        records.write(folder, record)

    engines, num_rounds = part.engines(), (part.least_rounds, most_rounds)
    timings = rounds.run(work, engines, num_rounds, until, _unavailable, say, keep, threads)
    timed = timings.get(f"cell-{part.cells[-1]}") if part.cells else None
    if timed is not None and timed.seconds:
        say(f"{part.name}: where the time goes")
        again = Timing(timed.engine, timed.threads)
        record.breakdown = breakdown.of(partial(rounds.measure, again, engines[timed.engine], work))
    keep(timings)
    return record


def _unavailable(key: str, work: Work) -> str | None:
    if key.startswith("compiled"):
        try:
            _for_compiling(work).composed(1)
        except Exception as error:
            return str(error).strip().splitlines()[0]
    return peers.unavailable(key, work)


@cache  # a work loads its data once
def _for_compiling(work: Work) -> Work:
    return replace(work, overrides=(*work.overrides, "trainer.path=compiled"))


def _cohort(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train one cohort."""
    config = replace(work.cell.config, num_seeds=len(seeds))  # the number that is planned may choose the path
    results = training.train(config, work.cell.dataset, work.cell.entrants(*seeds))
    return [result.metrics["test/accuracy"] for result in results]


def _compiled(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train one cohort with a compiled program."""
    return _cohort(_for_compiling(work), seeds, folder)


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
    """Measure, print and write the page; return 1 if an engine raises, or misses the test accuracy of the others."""
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"what to measure (default: all of {', '.join(known)})")
    parser.add_argument("--speed", type=float, default=1.0, help="divide the minutes of each part by this number")
    parser.add_argument("--small", action="store_true", help="few steps, trials and rounds, to try this program")
    one = 1 if DEVICE.type == "cuda" else None
    parser.add_argument(
        "--threads", type=int, default=one, help="intra-op threads (default: the faster number, on a GPU one)"
    )
    parser.add_argument("--records", type=Path, default=records.FOLDER, help="the folder of the timings")
    parser.add_argument("--output", type=Path, help="the Markdown file to write (default: none)")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.part if name not in known]
    if unknown:
        parser.error(f"no part is named {', '.join(unknown)}; the parts are {', '.join(known)}")
    for name in ("pytorch_lightning", "lightning_fabric", "evalbench"):
        logging.getLogger(name).setLevel(logging.ERROR)
    failed = []
    for name in chosen.part or known:
        part = known[name].small() if chosen.small else known[name]
        minutes, most_rounds = part.minutes / chosen.speed, 1 if chosen.small else 9
        record = measure(part, chosen.records, minutes, most_rounds, chosen.threads)
        failed += [f"{timing.engine.label}: {timing.reason}" for timing in record.timings.values() if timing.failed]
    disagree = table.main([str(chosen.records), *([str(chosen.output)] if chosen.output else [])])
    print(*failed, sep="\n")
    return int(bool(failed) or (bool(disagree) and not chosen.small))  # a few steps teach peers with own draws little


if __name__ == "__main__":
    raise SystemExit(main())
