"""`evalbench convert RUN --to FORMAT [--output FOLDER]`: a saved network as files that other programs load."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench import programs
from evalbench.console import is_quiet
from evalbench.convert import FORMATS
from evalbench.errors import InputError
from evalbench.names import file_name, one_line
from evalbench.predict import SavedModel, add_arguments, chosen

CONVERTED = Path("outputs/converted")


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a network and return the exit code: 0, or 2 for one that cannot be converted."""
    return programs.run("error", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    model = chosen(asked.run, asked.weights, asked.store)
    output = asked.output or CONVERTED / file_name(model.path.parent.name, model.path.name, asked.to)
    _check(output, asked.output)
    if model.description.get("engine") == "sklearn":
        instead = "evalbench predict uses it as it is, and load_weights(…).network.estimator is the fitted object"
        raise InputError(f"{model.path}: an estimator is no network that could be converted: {instead}")
    if asked.trust:
        sys.path.append(str(Path.cwd()))  # where own code lies beside its configuration
    from evalbench import weights
    from evalbench.convert import conversion
    from evalbench.convert.trained import Trained

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        predictor = weights.load(model.path, asked.trust)
    about = conversion.convert(Trained(predictor, model.description, asked.trust), asked.to, output)
    if not is_quiet():
        print(*map(one_line, _told(model, about, output)), sep="\n")
    for warning in caught:
        print(one_line(f"note: {warning.message}"), file=sys.stderr if is_quiet() else sys.stdout)
    return 0


def _check(output: Path, given: Path | None) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"--output must be a new or an empty folder, not {str(output)!r}: give another one")
    if given is not None and not output.absolute().parent.is_dir():
        raise InputError(f"--output must be in a folder that exists, not {str(output.parent)!r}: make it first")


def _told(model: SavedModel, about: Mapping[str, Any], output: Path) -> Iterator[str]:
    """Yield the lines that say what was written."""
    check, base = about["check"], about["base"]
    files = ", ".join(sorted(file.name for file in output.iterdir()))
    yield f"{model.label}, seed {about['seed']}, written to {output}: {files}"
    largest = f"the predictions differ by at most {check['largest difference']:.1g}; {check['allowed']:g} is allowed"
    yield f"check: {check['rows']} {check['of']}: {largest}"
    if base is not None:
        yield f"needs: {base['path']} ({', '.join(f'{name} {value}' for name, value in base['files'].items())})"
    if about["inputs"]["scaling"]:
        yield f"scaling: {about['inputs']['scaling']}"
    yield f"load: {about['load']}"


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench convert", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format of the files")
    made = f"new or empty (default: {CONVERTED}/EVALUATION-TECHNIQUE-DATA-SEED-FORMAT)"
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=made)
    return parser


if __name__ == "__main__":
    sys.exit(main())
