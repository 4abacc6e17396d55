"""`evalbench report FOLDER` writes a report again; `... results.csv --baseline NAME` judges any table.

`--from wandb-offline DIR` and the like judge runs that any program logged to a tracker. `--protocol algoperf` scores a
table of times to target.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from evalbench import formats, programs
from evalbench.console import plain_console, say
from evalbench.errors import TableError
from evalbench.names import short
from evalbench.record.foreign import NO_KEYS
from evalbench.record.options import Options, add_arguments, positive_number
from evalbench.report import tables
from evalbench.report.api import write
from evalbench.report.lines import say_first_screen
from evalbench.report.render.index import write_index


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report that the command line asks for and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return programs.run("error", lambda: _main(given))


def _main(given: list[str]) -> int:
    asked = _parser().parse_args(given)
    if not asked.sources and not asked.curves:
        raise TableError("name the folder of an evaluation, or a table: see evalbench report --help")
    console = plain_console()
    if asked.index:
        say(console, "Index", str(_write_index(asked)), whole=True)
        return 0
    if asked.tracker is not None:
        page = _write_runs(asked, given)
    elif _is_folder_of_ours(asked):
        page = _write_folder(asked)
    else:
        _needs_baseline(asked)
        page = tables.write(asked, given)
    say_first_screen(console, page)
    say(console, "Report", str(page.with_name("report.html")), whole=True)
    return 0


def _write_index(asked: argparse.Namespace) -> Path:
    _refuse_options_of_tables(asked)
    folder = Path(_only(asked))
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder: --index takes the folder of all reports, such as reports")
    return write_index(folder)


def _write_runs(asked: argparse.Namespace, given: list[str]) -> Path:
    from evalbench import imports  # trackers' libraries come with it

    _needs_baseline(asked)
    if asked.protocol is None and asked.baseline is None:
        raise TableError("runs need --baseline NAME: the technique that all others are compared with")
    copies = imports.load(asked.tracker, _only(asked))
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
    return tables.write_table_of(table, asked, given)


def _write_folder(asked: argparse.Namespace) -> Path:
    _refuse_options_of_tables(asked)
    return write(Path(_only(asked)), asked.standalone)


def _only(asked: argparse.Namespace) -> str:
    if len(asked.sources) != 1:
        raise TableError(f"give one folder, or one place of runs, not {len(asked.sources)}")
    return str(asked.sources[0])


def _is_folder_of_ours(asked: argparse.Namespace) -> bool:
    """Return whether a single folder, or nothing that exists, is named: its report is written again."""
    if asked.curves or len(asked.sources) != 1 or asked.format is not None or "://" in asked.sources[0]:
        return False
    path = Path(asked.sources[0])
    if path.is_dir():
        return (path / "evaluation.json").is_file() or not formats.has_tables(path)
    return not path.is_file() and not any(sign in str(path) for sign in "*?[")


def _refuse_options_of_tables(asked: argparse.Namespace) -> None:
    unset = vars(_parser().parse_args([*asked.sources]))
    extra = [
        name.replace("_", "-")
        for name, value in vars(asked).items()
        if name not in ("index", "tracker", "standalone") and value != unset[name]
    ]
    if extra:
        these = ", ".join(f"--{name}" for name in extra)
        source = Path(_only(asked))
        given = f"{source} is the folder of an evaluation" if source.is_dir() else f"{source} does not exist"
        raise TableError(f"{given}: {these} must be given with a CSV file of results")


def _needs_baseline(asked: argparse.Namespace) -> None:
    if asked.protocol is not None:
        _refuse_options_of_verdicts(asked)


def _refuse_options_of_verdicts(asked: argparse.Namespace) -> None:
    """Refuse what a protocol does not use: it has rules of its own."""
    unset = vars(_parser().parse_args([*asked.sources]))
    used = {"question", *(("targets", "direction") if asked.curves or _are_logs(asked) else ())}
    names = [one.name for one in fields(Options) if one.name in unset and one.name not in used]
    extra = [f"--{name.replace('_', '-')}" for name in names if getattr(asked, name) != unset[name]]
    if extra:
        raise TableError(f"{', '.join(extra)} must be left out with --protocol {asked.protocol}: it gives no verdicts")


def _are_logs(asked: argparse.Namespace) -> bool:
    """Return whether curves come from a program that logs them."""
    return asked.format in ("algoperf", "benchopt") or any(Path(one).is_dir() for one in asked.sources)


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench report", description=__doc__)
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="FOLDER|TABLE|RUNS",
        help="the folder of an evaluation; tables (CSV, Parquet, JSON, JSON lines; files, folders, patterns); or runs",
    )
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
    parser.add_argument(
        "--standalone", action="store_true", help="put the library of the figures, 5 MB, inside report.html"
    )
    add_arguments(parser)
    _add_ways(parser)
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


def _add_ways(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a table is read, and which question it answers."""
    parser.add_argument(
        "--format", choices=formats.NAMES, help="table: the program that wrote it (default: recognized by its content)"
    )
    parser.add_argument("--curves", metavar="FILE", help="table: curves of runs, to be turned into times to --target")
    parser.add_argument("--budget", type=positive_number, help="with --curves: the time at which runs are cut")
    parser.add_argument(
        "--require",
        nargs="+",
        default=[],
        metavar="METRIC:ROLE[:ROPE]",
        help="table with a column per metric: adopt what meets all, such as loss:not-worse:0.002 time:better",
    )
    parser.add_argument(
        "--against", type=float, metavar="VALUE", help="table: is each technique better than a constant?"
    )


if __name__ == "__main__":
    sys.exit(main())
