"""`evalbench predict RUN ROWS [--output FILE]`: predictions of a saved model for the rows of a table, or images."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalbench import programs
from evalbench.console import is_quiet
from evalbench.errors import InputError
from evalbench.names import one_line, to_cell
from evalbench.predict.saved import SavedModel, add_arguments, chosen

if TYPE_CHECKING:
    import pandas as pd


def main(arguments: Sequence[str] | None = None) -> int:
    """Write predictions and return the exit code: 0, or 2 for a model or rows that cannot be used."""
    return programs.run("error", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    _check_output(asked.output, asked.rows)
    model = chosen(asked.run, asked.weights, asked.store)
    if asked.trust:
        sys.path.append(str(Path.cwd()))  # where own code lies beside its configuration
    from evalbench import weights
    from evalbench.workloads import csv

    delimiter = csv.checked_delimiter(asked.delimiter, "--delimiter")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        predictor = weights.load(model.path, asked.trust)
    predictions, notes = predictor.predict_and_tell(asked.rows, delimiter, asked.sheet, asked.decimal)
    _write(predictions, asked.output)
    _say(asked.output, model, len(predictions), [*(str(warning.message) for warning in caught), *notes])
    return 0


def _check_output(output: Path | None, rows: Path) -> None:
    if output is None:
        return
    if output.suffix not in (".csv", ".parquet"):
        raise InputError(f"--output must end with .csv or .parquet, not {str(output)!r}: for example predictions.csv")
    if output.exists() and rows.exists() and output.samefile(rows):
        raise InputError(f"--output must not be the file of the rows, {str(rows)!r}: give another one")
    if not output.absolute().parent.is_dir():
        raise InputError(f"--output must be in a folder that exists, not {str(output.parent)!r}: make it first")


def _write(predictions: pd.DataFrame, output: Path | None) -> None:
    """Write predictions to a file, or as CSV to standard output."""
    table = predictions.reset_index()
    if output is not None and output.suffix == ".parquet":
        try:
            table.to_parquet(output, index=False)
        except ImportError as error:
            needs = "a Parquet file needs pyarrow, which is not installed"
            raise InputError(f"{output}: {needs}: pip install pyarrow") from error
        return
    cells = table.map(
        lambda value: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else to_cell(value)
    )
    cells.columns = [str(to_cell(name)) for name in table.columns]
    cells.to_csv(sys.stdout if output is None else output, index=False, lineterminator="\n")


def _say(output: Path | None, model: SavedModel, count: int, notes: Sequence[str]) -> None:
    """Say what was written, on the error stream if the predictions are on standard output."""
    technique, workload, seed = (model.description.get(key) for key in ("technique", "workload", "seed"))
    told = f"{count:,} predictions of {technique} trained on {workload}, seed {seed}"
    stream = sys.stderr if output is None else sys.stdout
    if not is_quiet():
        print(one_line(f"{told}{'' if output is None else f', written to {output}'}"), file=stream)
    for note in notes:
        print(one_line(f"note: {note}"), file=sys.stderr if is_quiet() else stream)


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench predict", description=__doc__)
    add_arguments(parser)
    parser.add_argument("rows", type=Path, help="a table in a file, as for training, or a folder of images")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".csv or .parquet (default: CSV in the terminal)")
    as_trained = "(default: as in training)"
    parser.add_argument("--delimiter", metavar="SIGN", help=f"of a text file {as_trained}")
    parser.add_argument("--decimal", choices=("point", "comma"), help=f"the decimal sign of a text file {as_trained}")
    parser.add_argument("--sheet", metavar="NAME", help=f"of an Excel file, also its number from 0 {as_trained}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
