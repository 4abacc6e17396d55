"""`python -m evalbench.report FOLDER`: write the report of an evaluation again, from its tables alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evalbench.errors import InputError
from evalbench.report import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of the folder on the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evalbench.report", description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder with evaluation.json, results.csv, curves.csv and references.csv, such as reports/optimizers",
    )
    try:
        print(write(parser.parse_args(arguments).folder))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
