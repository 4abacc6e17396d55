"""`evalbench sync [EVALUATION ...]` sends trials and reports that trackers lack, from the store, each once."""

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
    """Send the missing trials and reports; return 0, 1 if a tracker failed, 2 for an unknown evaluation or store."""
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
            except InputError as error:  # a missing library, perhaps: the other trackers are still served
                print(f"{evaluation}, {name}: nothing sent; {one_line(error)}")
                failed = True
    return int(failed)


def existing(url: str) -> Store:
    """Return an existing store; raise `InputError` if there is none, instead of making an empty one."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise InputError(f"there is no store {path}: go to where it was made, or name another with --store URL")
    return Store(url, make=False)


def _send(mirror: Mirror, where: str) -> bool:
    """Send the missing trials and the report of an evaluation to a tracker; return whether it has all of them now."""
    before, lacked_report = mirror.waiting(), mirror.lacks_conclusion()
    problem = ""
    try:
        mirror.send()
        mirror.conclude()
        mirror.tracker.close()
    except Exception as error:  # a tracker may raise anything
        lines = str(error).strip().splitlines() or ["no message"]
        problem = f"; {mirror.waiting()} are still missing ({type(error).__name__}: {lines[0]})"
    sent = before - mirror.waiting()
    report = " and the report" if lacked_report and not mirror.lacks_conclusion() else ""
    print(f"{where}: {sent} trials{report} sent{problem}")
    return not problem


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench sync", description=__doc__)
    parser.add_argument("evaluation", nargs="*", help="its name (default: all evaluations in the store)")
    parser.add_argument("--store", default=STORE, metavar="URL", help="the store (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
