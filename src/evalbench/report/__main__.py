"""`python -m evalbench.report FOLDER` writes a report again; `... results.csv --baseline NAME` judges any table."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from evalbench.errors import InputError, TableError
from evalbench.report.findings import find
from evalbench.report.foreign import Options, load_table
from evalbench.report.index import write_index
from evalbench.report.writing import write, write_findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report that the command line asks for and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = _parser().parse_args(given)
    try:
        if asked.index:
            print(_write_index(asked))
        else:
            print(_write_table(asked, given) if asked.source.is_file() else _write_folder(asked))
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _write_index(asked: argparse.Namespace) -> Path:
    if not asked.source.is_dir():
        raise TableError(f"{asked.source} is not a folder: --index takes the folder of all reports, such as reports")
    return write_index(asked.source)


def _write_folder(asked: argparse.Namespace) -> Path:
    if asked.baseline is not None or asked.wide:
        raise TableError(
            f"{asked.source} is not a table that exists: --baseline and --wide belong to a CSV file of results"
        )
    return write(asked.source)


def _write_table(asked: argparse.Namespace, given: list[str]) -> Path:
    if asked.baseline is None:
        raise TableError("a table needs --baseline NAME: the technique that all others are compared with")
    out: Path = asked.out or Path("reports") / asked.source.stem
    options = Options(
        baseline=asked.baseline,
        metric=asked.metric,
        direction=asked.direction,
        unit=asked.unit,
        rope=asked.rope,
        question=asked.question,
        wide=asked.wide,
        tuned=asked.tuned,
        command=shlex.join(["python", "-m", "evalbench.report", *given]),
    )
    return write_findings(find(load_table(asked.source, options)), out)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evalbench.report", description=__doc__)
    parser.add_argument("source", type=Path, metavar="FOLDER|TABLE", help="the folder of an evaluation, or a CSV table")
    parser.add_argument("--index", action="store_true", help="list all reports of a folder in its index.md instead")
    parser.add_argument("--baseline", help="table: the technique that all others are compared with")
    parser.add_argument("--out", type=Path, help="table: the folder of the report (default: reports/NAME)")
    parser.add_argument("--wide", action="store_true", help="table: one row per workload, one column per technique")
    parser.add_argument("--metric", default="score", help="table: what the score is, such as accuracy")
    parser.add_argument("--direction", default="maximize", choices=("maximize", "minimize"))
    parser.add_argument("--unit", default="", help="table: unit of the score, such as s or fraction")
    parser.add_argument(
        "--rope", type=_positive, help="table: the smallest difference that matters, declared beforehand"
    )
    parser.add_argument("--question", help="table: what the report answers")
    parser.add_argument("--tuned", action="store_true", help="table: all techniques were tuned with the same budget")
    return parser


if __name__ == "__main__":
    sys.exit(main())
