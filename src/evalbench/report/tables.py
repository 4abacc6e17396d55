"""Tables from the command line: read whatever program wrote them, and judged in the way that was asked for."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from evalbench import formats
from evalbench.errors import TableError
from evalbench.formats.reading import needs, numeric
from evalbench.record.columns import CONSTANT, mapped, pairs_of, selected
from evalbench.record.foreign import REQUIRED, load_table
from evalbench.record.guesses import columns_of
from evalbench.record.options import Options, options_of
from evalbench.record.ratios import rope_of_ratios
from evalbench.record.reaching import reached
from evalbench.record.repetitions import repetition_column
from evalbench.record.tables import header_of, read_table, write_table
from evalbench.record.times import read_times, times_of
from evalbench.report import algoperf, constant, joint, reaching
from evalbench.report.analysis.findings import find
from evalbench.report.analysis.reaching import race
from evalbench.report.api import Report
from evalbench.tasks.metric import guessed_direction

ONE_WORKLOAD = "all"
MANY_ROWS = 50_000


def write(asked: argparse.Namespace, given: Sequence[str]) -> Path:
    """Judge the tables of a command line, and return the path of the report.

    Raises:
        TableError: a table cannot be read or judged; the message is one line.
    """
    held_out(asked)
    _one_question(asked)
    plain = _as_it_is(asked)
    if plain is not None:
        return write_table_of(plain, asked, given)
    reading = _read(asked)
    path, said = _curves(reading, asked) if reading.curves or asked.curves else (_scores(reading, asked, given), ())
    for line in (*reading.said, *said):
        print(f"read: {line}", file=sys.stderr)
    return path


def _scores(reading: formats.Imported, asked: argparse.Namespace, given: Sequence[str]) -> Path:
    """Judge a table of scores, and return the path of the report."""
    out = _folder(asked)
    if asked.require:
        return joint.judge_jointly(
            reading.frame,
            [joint.requirement(text) for text in asked.require],
            _options(asked, given, reading),
            out.name,
        ).save(out, asked.standalone)
    table = out / f"{out.resolve().name}.csv"
    if any(table.resolve() == path.resolve() for path in formats.files(_local(asked))):
        raise TableError(f"--out must be another folder: the table as it is judged would take the place of {table}")
    if asked.protocol is None and not asked.wide:
        if not _numbered(reading.frame):
            raise TableError(
                f"{Path(asked.sources[0]).name} has no column seed that tells the runs of a technique apart: number"
                " them (the same number for runs that belong together), or give --pairing none if none do"
            )
        wanted = [name for name in REQUIRED if name != "seed" or not _numbered(reading.frame)]
        needs(Path(asked.sources[0]).name, reading.frame, wanted)
    out.mkdir(parents=True, exist_ok=True)
    write_table(reading.frame, table)
    if asked.protocol is not None or asked.against is not None:
        return write_table_of(table, asked, given, reading)
    return _judge(table, _options(asked, given, reading), asked)


def _one_question(asked: argparse.Namespace) -> None:
    """Refuse options that ask two questions at once."""
    ways = {"--curves": asked.curves, "--require": asked.require, "--against": asked.against is not None}
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise TableError(f"{' and '.join(given)} ask different questions: give one of them")
    if asked.against is not None and not math.isfinite(asked.against):
        raise TableError(f"--against must be a finite number, not {asked.against}: for example 3.28")
    if asked.budget is not None and not (asked.curves or asked.format or len(asked.sources) > 1):
        raise TableError("--budget belongs to --curves: leave it out, or give the curves")
    if asked.require and not asked.baseline:
        raise TableError("--require needs --baseline NAME: the technique that all others are compared with")
    if asked.curves and asked.sources:
        raise TableError(f"--curves takes the table of curves: leave {asked.sources[0]} out")


def write_table_of(
    table: Path, asked: argparse.Namespace, given: Sequence[str], reading: formats.Imported | None = None
) -> Path:
    """Judge one CSV file whose columns have the names of the schema."""
    out = _folder(asked)
    if asked.protocol is not None:
        return algoperf.save(read_times(table, held_out(asked)), out, asked.question, asked.standalone)
    options = _options(asked, given, reading)
    if asked.against is not None:
        frame = read_table(table, ("technique", "workload"), ("score",), ("num_train", "num_test"))
        return constant.against(frame, asked.against, options, name=out.name).save(out)
    return _judge(table, options, asked)


def _judge(table: Path, options: Options, asked: argparse.Namespace) -> Path:
    out = _folder(asked)
    if not options.baseline:
        question = options.question or "Which technique is the best?"
        options = replace(options, baseline=_of_single_runs(table), question=question)
    folder = load_table(table, options)
    rows = len(folder.results)
    _progress(rows, "read, the comparisons follow")
    report = Report(find(folder))
    _progress(rows, "judged, the pages follow")
    return report.save(out, asked.standalone)


def _progress(rows: int, words: str) -> None:
    """Say how far a table is that takes more than a few seconds."""
    if rows >= MANY_ROWS:
        print(f"{rows:,} rows are {words}", file=sys.stderr, flush=True)


def _of_single_runs(table: Path) -> str:
    """Return the first technique if each has one run on one workload: no baseline is needed to sort them."""
    frame = read_table(table, ("technique", "workload"), ())
    if frame["workload"].nunique() > 1 or frame.duplicated("technique").any() or frame.empty:
        raise TableError("a table needs --baseline NAME: the technique that all others are compared with")
    return str(frame["technique"].iloc[0])


def _as_it_is(asked: argparse.Namespace) -> Path | None:
    """Return the file if it is one CSV with the columns of the schema, and nothing is asked that changes them."""
    location = asked.sources[0] if len(asked.sources) == 1 else ""
    changed = asked.map or asked.where or asked.format or asked.curves or asked.require
    if changed or not Path(location).is_file() or Path(location).suffix.lower() != ".csv":
        return None
    header = header_of(Path(location))
    if _unit_beside_seed(header, asked):
        return None
    there = {*header, *(["seed"] if repetition_column(header, asked.unit) else [])}
    if asked.wide or set(REQUIRED) <= there or (asked.protocol and asked.against is None):
        return Path(location)
    return None


def _read(asked: argparse.Namespace) -> formats.Imported:
    """Return the table with columns of the schema, and everything that was chosen on the way."""
    locations = [*asked.sources, *([asked.curves] if asked.curves else [])]
    reading = formats.read(locations, asked.format)
    source = Path(locations[0]).name or locations[0]
    frame = mapped(source, selected(source, reading.frame, asked.where), pairs_of(asked.map))
    said = list(reading.said)
    if not asked.wide:
        wanted = list(map(str, frame.columns))
        if asked.require:
            wanted.append("score")
        names, guesses = columns_of(source, wanted)
        frame = frame.rename(columns={name: column for column, name in names.items()})
        said += guesses
        called = names.get("score") or pairs_of(asked.map).get("score", "score")
        declared = {} if called == "score" or called.startswith(CONSTANT) else {"metric": called}
        if column := _unit_beside_seed(frame.columns, asked):
            frame = frame.drop(columns="seed")
            said.append(f"the column `{column}`, not `seed`, tells the {asked.unit}s apart")
        unpaired = asked.against is not None or asked.pairing == "none"
        frame, more = _completed(frame, unpaired)
        if asked.curves and "seed" not in frame.columns and (column := repetition_column(frame.columns, None)):
            frame = frame.rename(columns={column: "seed"})
            more.append(f"the column `{column}` tells runs apart")
        reading = replace(reading, declared={**declared, **reading.declared})
        said += more
    return replace(reading, frame=frame, said=tuple(said))


def _unit_beside_seed(columns: Collection[str], asked: argparse.Namespace) -> str | None:
    """Return the column that the declared unit names, in a table that also has a column of seeds."""
    declared = asked.unit not in (None, "seed") and "seed" not in pairs_of(asked.map)
    return repetition_column(columns, asked.unit) if declared and "seed" in columns else None


def _numbered(frame: pd.DataFrame) -> bool:
    """Return whether a column tells the runs of a technique apart."""
    return "seed" in frame.columns or repetition_column(frame.columns, None) is not None


def _completed(frame: pd.DataFrame, unpaired: bool) -> tuple[pd.DataFrame, list[str]]:
    """Add the columns of a table with one workload, or one run each; rows are numbered only if nothing is paired."""
    said = []
    if "workload" not in frame.columns:
        frame = frame.assign(workload=ONE_WORKLOAD)
        said.append("no column names workloads, so all rows belong to one")
    if not _numbered(frame) and "technique" in frame.columns:
        keys = ["technique", "workload"]
        many = bool(frame.duplicated(keys).any())
        if not many or unpaired:
            frame = frame.assign(seed=frame.groupby(keys, sort=False).cumcount())
            each = "they are numbered as they come, since nothing is paired" if many else "each technique has one"
            said.append(f"no column tells runs apart: {each}")
    return frame, said


def _curves(reading: formats.Imported, asked: argparse.Namespace) -> tuple[Path, list[str]]:
    """Turn curves into times, and write their page; return its path and what was guessed."""
    out, source = _folder(asked), Path(asked.curves or asked.sources[0]).name
    options = options_of(asked)
    frame = reading.frame
    for name in ("time", "seconds", "step", "score", "seed", "target"):
        if name in frame.columns:
            frame = numeric(source, frame, [name])
    direction, said = _direction(frame, options, reading)
    times = reached(source, frame, asked.targets, direction, asked.budget)
    if asked.protocol is not None:
        seconds = times.runs["time"].where(times.within)
        table = times.runs.rename(columns={"seed": "study"}).assign(seconds=seconds)
        return algoperf.save(times_of(source, table, held_out(asked)), out, asked.question, asked.standalone), said
    if asked.baseline is not None and asked.baseline not in times.techniques:
        raise TableError(
            f"the baseline must be one of the techniques ({', '.join(times.techniques)}), not {asked.baseline!r}"
        )
    rope = rope_of_ratios(options.rope)
    path = reaching.save(
        race(times, asked.baseline, rope), out, rope, asked.question, (*reading.said, *said), asked.standalone
    )
    return path, said


def _direction(frame: pd.DataFrame, options: Options, reading: formats.Imported) -> tuple[str | None, list[str]]:
    """Return the direction of the score of curves, and say so if it was guessed; None if the table has it."""
    if "direction" in frame.columns or "score" not in frame.columns:
        return None, []
    if given := options.direction or reading.declared.get("direction"):
        return str(given), []
    metric = options.metric if options.metric != "score" else str(reading.declared.get("metric", "score"))
    guess = guessed_direction(metric)
    better = "lower" if guess == "minimize" else "larger"
    why = "as its name tells" if guess else "as nothing says otherwise (--direction)"
    return guess or "maximize", [f"{better} {metric} was taken as better, {why}"]


def _options(asked: argparse.Namespace, given: Sequence[str], reading: formats.Imported | None) -> Options:
    """Return the options of the command line; what the files decide fills in what was not given."""
    options = options_of(asked, shlex.join(["evalbench", "report", *given]))
    if reading is None:
        return options
    defaults = Options(options.baseline)
    kept = {
        name: value
        for name, value in reading.declared.items()
        if getattr(options, name) == getattr(defaults, name)
        and not (name == "folds" and options.unit not in (None, "fold"))
    }
    return replace(options, **kept, read=reading.said)


def _folder(asked: argparse.Namespace) -> Path:
    if asked.out is not None:
        return Path(asked.out)
    first = asked.curves or asked.sources[0]
    stem = Path(first).stem if not any(sign in first for sign in "*?[:") else "tables"
    return Path("reports") / (stem or "tables")


def _local(asked: argparse.Namespace) -> list[str]:
    return [location for location in asked.sources if "://" not in location]


def held_out(asked: argparse.Namespace) -> dict[str, str]:
    """Return the held-out workloads of a protocol, and the fixed ones that they are variants of."""
    if asked.held_out and asked.protocol is None:
        raise TableError("--held-out belongs to --protocol algoperf: leave it out, or add the protocol")
    pairs = [text.partition("=") for text in asked.held_out]
    for variant, _, fixed in pairs:
        if not (variant and fixed):
            raise TableError(f"--held-out must be VARIANT=WORKLOAD, not {variant!r}: name the fixed workload too")
    return {variant: fixed for variant, _, fixed in pairs}
