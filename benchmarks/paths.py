"""Time batched and lone steps beside each other, and the rule that chooses between them: `python -m benchmarks.paths`.

Both paths take the same steps of the same cohorts, in interleaved rounds.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from benchmarks import chapters
from benchmarks.chapters import Chapter
from benchmarks.steps import Take, seconds_per_step
from benchmarks.work import DEVICE, WORKLOADS, Work
from evalbench.engine import allocation, training
from evalbench.engine.cohort import Cohort
from evalbench.engine.paths import BATCHED, LARGE_BYTES, LONE

MEMBERS = (1, 2, 5, 10)
WARM_UP, ROUNDS, ROUND_SECONDS = 7, 9, 0.05
SLOWEST = 3.0
"""The seconds of a step of a cohort above which larger cohorts are left out."""
TOLERATED = 1.1
"""The ratio of the chosen path's time to the other's above which the rule is wrong."""


@dataclass(frozen=True)
class Comparison:
    """The seconds of a step of a cohort on both paths in each round, and the rule's choice."""

    work: str
    members: int
    path: dict[str, object]
    """The path by the rule, with the bytes of one trial's step if the rule needed them."""
    seconds: dict[str, list[float]]

    @property
    def loss(self) -> float:
        """Return the ratio of the chosen path's time to the other's, in the fastest rounds."""
        chosen = str(self.path["name"])
        other = LONE if chosen == BATCHED else BATCHED
        return min(self.seconds[chosen]) / min(self.seconds[other])


def compare(work: Work, members: int) -> Comparison:
    """Time the steps of a cohort on both paths."""
    ruled = cohort_of(work, members, "auto")
    steps_of(ruled)(1)
    takes = {path: steps_of(cohort_of(work, members, path)) for path in (BATCHED, LONE)}
    for take in takes.values():
        take(1)  # traces
    slowest = max(seconds_per_step(take, 1) for take in takes.values())
    num_steps = max(1, int(ROUND_SECONDS / slowest))
    for take in takes.values():
        take(min(WARM_UP, num_steps))
    seconds: dict[str, list[float]] = {path: [] for path in takes}
    for _ in range(ROUNDS):
        for path, take in takes.items():
            seconds[path].append(seconds_per_step(take, num_steps))
    return Comparison(work.name, members, ruled.path, seconds)


def cohort_of(work: Work, members: int, path: str) -> Cohort:
    """Return a cohort of a cell with this number of seeds, on the device."""
    chosen = (*work.overrides, f"trainer.path={path}")
    cell = replace(work, overrides=chosen).cell.with_seeds(members)
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*range(members)))
    return cohort.to(DEVICE)


def steps_of(cohort: Cohort) -> Take:
    """Return steps of a cohort on the same few batches again and again."""
    most = min(cohort.steps_in_chunk(), max(1, cohort.batches.steps_per_epoch - 1))
    rows = next(cohort.batches.chunks(0, most, most)).to(DEVICE)

    def take(num_steps: int) -> None:
        for first in range(0, num_steps, most):
            with torch.no_grad():
                cohort.train_chunk(rows[: num_steps - first], first % most)

    return take


def chapter(comparisons: Sequence[Comparison], command: str) -> Chapter:
    """Return the table of timings beside the rule."""
    rows = []
    for found in comparisons:
        micros = (f"{1e6 * min(found.seconds[path]) / found.members:.0f}" for path in (BATCHED, LONE))
        size = found.path.get("step_bytes")
        mib = f"{size / 2**20:.2f}" if isinstance(size, int) else ""
        verdict = "agrees" if found.loss <= TOLERATED else f"costs {found.loss:.2f}"
        rows.append((found.work, str(found.members), mib, *micros, str(found.path["name"]), verdict))
    intro = (
        f"Command: `{command}`, on {DEVICE.type} with {torch.get_num_threads()} threads.",
        f"Rule (`engine/paths.py`): a lone trial runs lone, on a CPU any step above {LARGE_BYTES / 2**20:g} MiB too.",
        f"The timings contradict it if its path takes more than {TOLERATED} times the other's, in the fastest rounds.",
    )
    head = ("work", "members", "MiB per trial", "batched, µs per trial", "lone", "rule", "timings")
    return Chapter("Batched or lone", intro, head, tuple(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if the timings contradict the rule."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paths", description=__doc__)
    parser.add_argument("--only", help="one workload: " + ", ".join(WORKLOADS))
    parser.add_argument("--members", type=int, nargs="+", default=MEMBERS, help="sizes of cohorts")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads on a CPU (default 1)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    found: list[Comparison] = []
    for workload, sizes in WORKLOADS.items():
        for size, overrides in sizes.items():
            if chosen.only not in (None, workload):
                continue
            for members in chosen.members:
                with allocation.kept():
                    found.append(compare(Work(workload, size, overrides), members))
                if max(map(min, found[-1].seconds.values())) > SLOWEST:
                    break
    chapters.show(Console(), [chapter(found, shlex.join(["python", "-m", "benchmarks.paths", *sys.argv[1:]]))])
    return 1 if any(comparison.loss > TOLERATED for comparison in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
