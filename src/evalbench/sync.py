"""`evalbench sync [EVALUATION ...]` sends missing trials and reports from the store to trackers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evalbench import programs
from evalbench.errors import InputError
from evalbench.mirror import Mirror, described
from evalbench.names import one_line
from evalbench.store import Store

STORE = "sqlite:///outputs/store.sqlite"


def main(arguments: Sequence[str] | None = None) -> int:
    """Send missing records; return 0, 1 if a tracker failed, or 2 if an evaluation or store is unknown."""
    return programs.run("error", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    failed = False
    store = existing(asked.store)
    for evaluation in asked.evaluation or store.described():
        trackers = list(described(store, evaluation)["trackers"])
        if not trackers:
            print(f"{evaluation}: it has no tracker")
        for name in trackers:
            try:
                failed |= not _send(Mirror(store, evaluation, name), f"{evaluation}, {name}")
            except InputError as error:  # for example a missing library; go on with the other trackers
                print(f"{evaluation}, {name}: nothing sent; {one_line(error)}")
                failed = True
    return int(failed)


def existing(url: str) -> Store:
    """Return an existing store; raise `InputError` if there is none, instead of creating an empty store."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise InputError(f"there is no store {path}: change to its folder, or give another store with --store URL")
    return Store(url, make=False)


def _send(mirror: Mirror, label: str) -> bool:
    """Send the missing records of one evaluation to one tracker; return whether that worked."""
    before, lacked_report = mirror.waiting(), mirror.lacks_conclusion()
    problem = ""
    try:
        mirror.send()
        mirror.conclude()
        mirror.tracker.close()
    except Exception as error:  # a tracker may raise any error
        lines = str(error).strip().splitlines() or ["no message"]
        problem = f"; {mirror.waiting()} are still missing ({type(error).__name__}: {lines[0]})"
    sent = before - mirror.waiting()
    report = " and the report" if lacked_report and not mirror.lacks_conclusion() else ""
    print(f"{label}: {sent} trials{report} sent{problem}")
    return not problem


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench sync", description=__doc__)
    parser.add_argument("evaluation", nargs="*", help="name of an evaluation (default: all in the store)")
    parser.add_argument("--store", default=STORE, metavar="URL", help="the store (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
