"""`evalbench report FOLDER` writes a report again; `... results.csv --baseline NAME` judges any table.

`--from wandb-offline DIR` and the like judge runs that any program logged to a tracker. `--protocol algoperf` scores a
table of times to target.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from evalbench import programs
from evalbench.errors import TableError
from evalbench.names import from_cell, short
from evalbench.record.foreign import NO_KEYS, load_table
from evalbench.record.options import Options, add_arguments, options_of
from evalbench.record.tables import header_of
from evalbench.record.times import read_times
from evalbench.report import algoperf
from evalbench.report.analysis.findings import find
from evalbench.report.api import Report, write
from evalbench.report.render.index import write_index

MANY_ROWS = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report that the command line asks for and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return programs.run("error", lambda: _main(given))


def _main(given: list[str]) -> int:
    asked = _parser().parse_args(given)
    if asked.index:
        print(_write_index(asked))
    elif asked.tracker is not None:
        print(_write_runs(asked, given))
    elif Path(asked.source).is_file():
        print(
            _write_mapped(asked, given) if asked.map or asked.where else _write_table(Path(asked.source), asked, given)
        )
    else:
        print(_write_folder(asked))
    return 0


def _write_index(asked: argparse.Namespace) -> Path:
    _refuse_options_of_tables(asked)
    folder = Path(asked.source)
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder: --index takes the folder of all reports, such as reports")
    return write_index(folder)


def _write_runs(asked: argparse.Namespace, given: list[str]) -> Path:
    from evalbench import imports  # trackers' libraries come with it

    _needs_baseline(asked)
    copies = imports.load(asked.tracker, asked.source)
    runs = imports.latest(copies)
    if len(runs) < len(copies):
        print(f"{len(copies) - len(runs)} copies of runs began before others, and are left out", file=sys.stderr)
    rows = imports.select(runs, asked.where)
    out: Path = asked.out or Path("reports") / asked.tracker
    table = out / f"{out.name}.csv"
    left_out = imports.write_table(rows, imports.parse_map(asked.map), table, NO_KEYS)
    if left_out:
        these = f"{len(left_out)} of {len(rows)} runs"
        print(f"{these} lack a value that --map takes, and are left out: {', '.join(left_out)}", file=sys.stderr)
    asked.out, asked.baseline = out, asked.baseline and short(asked.baseline)
    return _write_table(table, asked, given)


def _write_mapped(asked: argparse.Namespace, given: list[str]) -> Path:
    from evalbench import imports

    _needs_baseline(asked)
    source = Path(asked.source)
    names = header_of(source)
    with source.open(newline="", encoding="utf-8-sig") as file:
        read = [{from_cell(name): from_cell(text) for name, text in row.items()} for row in csv.DictReader(file)]
    rows = imports.select(read, asked.where)
    asked.out = asked.out or Path("reports") / source.stem
    table: Path = asked.out / f"{asked.out.resolve().name}.csv"
    if table.resolve() == source.resolve():
        raise TableError(f"--out must be another folder: the table as it is judged would take the place of {source}")
    imports.write_mapped(rows, names, imports.parse_map(asked.map, {}), table)
    return _write_table(table, asked, given)


def _write_folder(asked: argparse.Namespace) -> Path:
    _refuse_options_of_tables(asked)
    return write(Path(asked.source))


def _refuse_options_of_tables(asked: argparse.Namespace) -> None:
    unset = vars(_parser().parse_args([asked.source]))
    extra = [
        name.replace("_", "-")
        for name, value in vars(asked).items()
        if name not in ("index", "tracker") and value != unset[name]
    ]
    if extra:
        these = ", ".join(f"--{name}" for name in extra)
        source = Path(asked.source)
        given = f"{source} is the folder of an evaluation" if source.is_dir() else f"{source} does not exist"
        raise TableError(f"{given}: {these} must be given with a CSV file of results")


def _needs_baseline(asked: argparse.Namespace) -> None:
    if asked.protocol is not None:
        _refuse_options_of_verdicts(asked)
    elif asked.baseline is None:
        raise TableError("a table needs --baseline NAME: the technique that all others are compared with")


def _refuse_options_of_verdicts(asked: argparse.Namespace) -> None:
    """Refuse what a protocol does not use: it has rules of its own."""
    unset = vars(_parser().parse_args([asked.source]))
    names = [one.name for one in fields(Options) if one.name in unset and one.name != "question"]
    extra = [f"--{name.replace('_', '-')}" for name in names if getattr(asked, name) != unset[name]]
    if extra:
        raise TableError(f"{', '.join(extra)} must be left out with --protocol {asked.protocol}: it gives no verdicts")


def _held_out(asked: argparse.Namespace) -> dict[str, str]:
    if asked.held_out and asked.protocol is None:
        raise TableError("--held-out belongs to --protocol algoperf: leave it out, or add the protocol")
    pairs = [text.partition("=") for text in asked.held_out]
    for variant, _, fixed in pairs:
        if not (variant and fixed):
            raise TableError(f"--held-out must be VARIANT=WORKLOAD, not {variant!r}: name the fixed workload too")
    return {variant: fixed for variant, _, fixed in pairs}


def _write_table(table: Path, asked: argparse.Namespace, given: list[str]) -> Path:
    _needs_baseline(asked)
    held_out = _held_out(asked)
    out: Path = asked.out or Path("reports") / table.stem
    if asked.protocol is not None:
        return algoperf.save(read_times(table, held_out), out, asked.question)
    options = options_of(asked, shlex.join(["evalbench", "report", *given]))
    read = load_table(table, options)
    rows = len(read.results)
    _progress(rows, "read, the comparisons follow")
    report = Report(find(read))
    _progress(rows, "judged, the pages follow")
    return report.save(out)


def _progress(rows: int, words: str) -> None:
    """Say how far a table is that takes more than a few seconds."""
    if rows >= MANY_ROWS:
        print(f"{rows:,} rows are {words}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench report", description=__doc__)
    parser.add_argument("source", metavar="FOLDER|TABLE|RUNS", help="the folder of an evaluation, a CSV table, or runs")
    parser.add_argument(
        "--from",
        dest="tracker",
        choices=("wandb", "wandb-offline", "mlflow", "tensorboard"),
        help="runs: entity/project, the folder of offline runs, URI/experiment, or the folder of event files",
    )
    parser.add_argument(
        "--map",
        nargs="+",
        default=[],
        metavar="COLUMN=NAME",
        help="what the columns are called there: runs: technique=config.optimizer workload=const:digits"
        " seed=config.seed score=summary.test/accuracy (default: as evalbench logs them); table: technique=method",
    )
    parser.add_argument(
        "--where",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="only runs, or rows of a table, that have these values, such as group=mine config.optimizer=adam",
    )
    parser.add_argument("--index", action="store_true", help="list all reports of a folder in its index.md instead")
    add_arguments(parser)
    parser.add_argument("--out", type=Path, help="table: the folder of the report (default: reports/NAME)")
    parser.add_argument(
        "--protocol",
        choices=("algoperf",),
        help="table of times to target (technique, workload, study, seconds): score it by AlgoPerf's rules instead",
    )
    parser.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="VARIANT=WORKLOAD",
        help="with --protocol: the held-out workloads, and the fixed ones that they are variants of",
    )
    parser.add_argument("--question", help="table: what the report answers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
