"""`evalbench radar [REPORTS] [--since DATE] [--from FOLDER ...]`: the index and the technology radar of all reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from evalbench import programs
from evalbench.errors import InputError
from evalbench.radar.build import build
from evalbench.report.render.units import plural


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages that the command line asks for and return the exit code."""
    return programs.run("error", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    since = None if asked.since is None else _day(asked.since)
    reports: Path = asked.reports
    if asked.others and not reports.exists():
        reports.mkdir(parents=True)
    radar = build(reports, asked.others, since)
    for folder, reason in radar.left_out:
        programs.say("left out", f"{folder}: {reason}")
    counts = f"{plural(len(radar.techniques), 'technique')} of {plural(len(radar.evaluations), 'evaluation')}"
    print(f"{reports / 'radar.html'}: {counts}, {len(radar.open)} open, {len(radar.moves)} moved {radar.since}")
    print(reports / "index.html")
    return 0


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"--since must be a day such as 2026-11-26, not {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench radar", description=__doc__)
    parser.add_argument(
        "reports", nargs="?", type=Path, default=Path("reports"), help="the folder of all reports (default: reports)"
    )
    parser.add_argument("--since", metavar="DATE", help="show what moved since a day (default: by the last evaluation)")
    parser.add_argument(
        "--from",
        dest="others",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="more folders of reports, or of one report, also of other people",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
