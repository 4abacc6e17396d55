"""Take twelve real data sets from a file to the report, each by one command: `python -m benchmarks.twelve`.

Two techniques train on each with three seeds for ten epochs. Seconds and the peak of the memory are those of the
command's own process, from its start to the written report. The last column is what it said about the data.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.real_data import DATA, PACKAGES, RealData, missing

RESULTS = Path(__file__).parent / "twelve.md"
SMALL = ("num_seeds=3", "budget.epochs=10", "tracker=none", "cost.rounds=0", "hydra/launcher=basic")
MIB = 1024
"""Kibibytes, in which Linux gives the peak of the memory."""


@dataclass(frozen=True)
class Outcome:
    """What one command took and said."""

    data: RealData
    command: str
    seconds: float
    peak_mib: float
    said: str
    scores: str


def measure(data: RealData, folder: Path, more: Sequence[str] = ()) -> Outcome:
    """Write a data set, run its command in a folder of its own, and read what it wrote there."""
    home = folder / f"run-{data.name}"
    home.mkdir(parents=True)
    data.write(home / f"{data.name}{data.suffix}")
    arguments = [*data.arguments(Path()), *SMALL, *more]
    command = [sys.executable, "-m", "evalbench", *arguments, "evaluation.name=it"]
    start = time.perf_counter()
    with (home / "printed.txt").open("w") as printed:
        process = subprocess.Popen(command, cwd=home, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    shown = shlex.join(["evalbench", *data.arguments(Path())])
    said, scores = _said(home) if process.returncode == 0 else ((home / "printed.txt").read_text().strip(), "")
    return Outcome(data, shown, seconds, usage.ru_maxrss / MIB, said, scores)


def _said(home: Path) -> tuple[str, str]:
    """Return what the report says of the data set, and the mean score of each technique."""
    report = (home / "reports/it/report.md").read_text(encoding="utf-8")
    cells = report.partition("| workload | description |")[2].splitlines()[2].split(" | ")
    splits = next(line for line in report.splitlines() if line.startswith("- Splits: "))
    metric = cells[4].split("`")[1]
    means = pd.read_csv(home / "reports/it/results.csv").groupby("technique", sort=False)[metric].mean()
    scores = ", ".join(f"{technique} {mean:.3f}" for technique, mean in means.items())
    said = "; ".join(filter(None, (cell.strip() for cell in cells[1:3])))
    return f"{said}. {splits[2:]}", f"{metric.removeprefix('test/')}: {scores}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table in Markdown."""
    lines = ["| data set | trait | seconds | peak MiB | scores | said about it |", "|---|---|--:|--:|---|---|"]
    for o in outcomes:
        said = re.sub(r"\s+", " ", o.said).replace("|", "\\|")
        data, took = o.data, f"{o.seconds:.1f} | {o.peak_mib:.0f}"
        lines.append(f"| {data.name} ({data.source}) | {data.trait} | {took} | {o.scores} | {said} |")
    return "\n".join([*lines, "", *(f"    {o.command}" for o in outcomes)])


def main() -> int:
    """Measure the data sets that are named, or all, and write `twelve.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of data sets; the default is all")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if lacking := missing():
        print(f"not installed: {', '.join(lacking)}: pip install {' '.join(PACKAGES)}", file=sys.stderr)
        return 2
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for data in DATA:
            if not asked.names or data.name in asked.names:
                outcomes.append(measure(data, Path(folder)))
                print(table(outcomes[-1:]), flush=True)
    about = f"Python {platform.python_version()}, {os.cpu_count()} cores."
    asked.output.write_text(
        f"# Twelve real data sets\n\n{' '.join(str(__doc__).split())}\n\n{table(outcomes)}\n\n{about}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
