"""Any table of results, also one that evalbench did not train, as the folder of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import ROPE, Declaration, Workload, default_question
from evalbench.record.endings import FOREIGN_STATES, with_failed, with_states
from evalbench.record.folder import Folder
from evalbench.record.guesses import SHARES, completed
from evalbench.record.options import Options
from evalbench.record.ratios import as_ratios, rope_of_ratios
from evalbench.record.reaching import EVERY
from evalbench.record.rows import CLUSTER, check_partners, coded, declared_pairing, named_repetitions, with_folds
from evalbench.record.schema import REFERENCES, TRIVIAL
from evalbench.record.tables import finite, header_of, no_column_of_ours, once, only, positive, read_table, typed
from evalbench.tasks.metric import SKILL, base_name, canonical, guessed_direction
from evalbench.tasks.metric import find as find_metric
from evalbench.trial import LARGEST_SCORE

REQUIRED = ("technique", "workload", "seed", "score")
TEXT = ("state", "metric", "direction", "unit")
NUMBERS = ("seed", "score")
OPTIONAL = (
    *("num_train", "num_test", "cost_seconds", "cost_flops", "step", "steps", "examples", "flops", "parameters"),
    *("peak_memory_bytes", "checkpoint_bytes"),
)
KNOWN = {*REQUIRED, *TEXT, *OPTIONAL, "best_epoch", "diverged_step", "failed", "finished", "message", "look", "stage"}
KNOWN |= {CLUSTER}
NO_KEYS = KNOWN - {"technique", "workload", "seed"}
MOST_LEVELS = 30  # a column of text with more values than this is no factor, but a remark


def load_table(path: Path, options: Options) -> Folder:
    """Read a lone CSV of results as a folder; see `as_folder`.

    Raises:
        TableError: the table cannot be evaluated; the message is one line.
    """
    header = header_of(path)
    if options.wide:
        table = read_table(path, header[:1], header[1:])
    else:
        options, names = named_repetitions(header, options)
        table = read_table(path, ("technique", "workload"), NUMBERS, OPTIONAL, names, coded(options))
    whole = path.parent if (path.parent / "evaluation.json").is_file() else None
    return as_folder(path.stem, path.name, table, options, whole)


def frame_to_folder(name: str, frame: pd.DataFrame, options: Options) -> Folder:
    """Take a data frame as if it had been read from a CSV; see `as_folder`.

    Raises:
        TableError: the table cannot be evaluated; the message is one line.
    """
    table = frame.reset_index(drop=True)
    table.columns = pd.Index([str(column) for column in table.columns])
    twice = sorted(set(table.columns[table.columns.duplicated()]))
    if twice:
        raise TableError(f"{name} has more than one column {', '.join(twice)}: keep one of each")
    if not options.wide:
        options, names = named_repetitions(table.columns, options)
        table = table.rename(columns=names)
    columns = list(table.columns)
    texts, numbers = (columns[:1], columns[1:]) if options.wide else (REQUIRED[:2], NUMBERS)
    words = [column for column in columns if column not in {*numbers, *OPTIONAL}]
    table = table.assign(**{column: table[column].map(_text).astype("str") for column in words})
    return as_folder(name, name, typed(name, table, texts, numbers, OPTIONAL, coded(options)), options)


def _text(value: object) -> str:
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]


def as_folder(name: str, source: str, table: pd.DataFrame, options: Options, whole: Path | None = None) -> Folder:
    """Take a lone table of results as the folder of an evaluation.

    `source` names the table in messages, and `whole` is the folder of an evaluation that it was taken from.

    A long table has columns `technique, workload, seed, score`, and optionally `state, metric, direction, unit,
    num_train, num_test, cost_seconds, cost_flops, message, step` (several steps of a trial are its curve, the
    last one its score) and columns of text, which are further factors. A wide table has a row per workload and a column
    per technique. Techniques called `trivial predictor` or `linear model` are references and not judged. A run whose
    state is FAILED or DIVERGED counts as a loss (`with_failed`), and `message` says why. Seeds that only one of two
    techniques has are left out of their comparison.

    Raises:
        TableError: the table cannot be evaluated; the message is one line.
    """
    options.check()
    table, guessed = completed(_long(source, table, options) if options.wide else table, options)
    factors = _factors(source, table)
    results, curves = _without_curves(table, list(factors))
    results = with_states(results) if options.failed_as else results
    results = _checked(source, results, list(factors), options)
    if options.effect == "ratio":
        results, curves, options = as_ratios(source, results, curves, options)
    is_reference = results["technique"].isin(list(REFERENCES.values()))
    references = _references(results[is_reference])
    results = results[~is_reference].reset_index(drop=True)
    techniques = _techniques(source, results, options)
    workloads = {
        str(row["workload"]): _workload(row, options) for row in results.drop_duplicates("workload").to_dict("records")
    }
    evaluation = _evaluation(name, options, techniques, workloads, factors, results)
    evaluation = replace(evaluation, provenance={**evaluation.provenance, "read": [*options.read, *guessed]})
    pairing = declared_pairing(source, options, results, evaluation, whole is not None)
    evaluation = replace(evaluation, pairing=pairing, pairing_declared=options.pairing is not None)
    check_partners(source, evaluation, results, options)
    evaluation = with_folds(source, evaluation, results, options)
    _reachable(source, options, curves)
    _confirmed(evaluation, options)
    _one_unit(source, whole, evaluation, references)
    indices = {technique: index for index, technique in enumerate(techniques)}
    order = results.assign(_t=results["technique"].map(indices), _w=results["workload"].map(list(workloads).index))
    results = results.loc[order.sort_values(["_w", "_t", *factors, "seed"], kind="stable").index].reset_index(drop=True)
    costs = _costs(results, list(factors))
    folder = Folder(evaluation, results, curves, references, costs)
    return replace(folder, results=with_failed(source, folder, options))


def _factors(source: str, table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the columns of text that are further factors, with their levels."""
    factors = {
        str(name): tuple(dict.fromkeys(table[name]))
        for name in table.columns
        if name not in KNOWN and "/" not in str(name) and table[name].dtype != np.float64
    }
    most = min(MOST_LEVELS, len(table) - 1)  # a value of every row's own is a measurement
    factors = {name: levels for name, levels in factors.items() if 1 < len(levels) <= most}
    no_column_of_ours(source, factors)
    return factors


def _techniques(source: str, results: pd.DataFrame, options: Options) -> tuple[str, ...]:
    techniques = tuple(dict.fromkeys(results["technique"]))
    if len(techniques) < (1 if options.alone else 2):
        name = techniques[0] if techniques else "none"
        raise TableError(
            f"{source} has one technique ({name}): a comparison needs at least two"
            f"{options.in_command(', or a constant (--against VALUE)')}"
        )
    if options.baseline not in techniques:
        known = ", ".join(techniques)
        raise TableError(f"the baseline must be one of the techniques ({known}), not {options.baseline!r}")
    return techniques


def _long(source: str, table: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Turn a row per workload (first column) and a column per technique into a long table with one seed."""
    names = [str(name) for name in table.columns]
    if len(names) < 3:
        raise TableError(f"{source} has {max(0, len(names) - 1)} column of scores: a wide table has one per technique")
    once(source, table, names[:1])
    _one_kind(source, names, options)
    long = table.melt(id_vars=names[0], value_vars=names[1:], var_name="technique", value_name="score")
    return long.rename(columns={names[0]: "workload"}).assign(seed=0)


def _one_kind(source: str, names: list[str], options: Options) -> None:
    """Refuse a wide table whose columns are metrics instead of techniques."""
    kinds = [canonical(name) for name in names[1:] if guessed_direction(name) is not None]
    if len(set(kinds)) == len(names) - 1 and any(find_metric(kind) is not None for kind in kinds):
        raise TableError(
            f"{source} is wide, and its columns {' and '.join(names[1:])} are metrics of different kinds: a column is a"
            " technique; judge one metric at a time"
            f"{options.in_command(' (--map score=NAME), or several together (--require)')}"
        )


def _without_curves(table: pd.DataFrame, factors: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split off the curves: several steps of a trial are its curve, and the last step is its result."""
    keys = ["technique", "workload", *factors, "seed"]
    columns = [*keys, "epoch", "step", "train_loss", "val_loss", "val_score"]
    if "step" not in table.columns or not table.duplicated(keys).any():
        return table, pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[-4:], np.float64))
    once("the table", table, [*keys, "step"])
    ordered = table.sort_values([*keys, "step"], kind="stable")
    results = ordered.groupby(keys, sort=False).tail(1)
    results = results.assign(steps=results["steps"].fillna(results["step"]))
    scored = ordered[np.isfinite(ordered["score"])]
    curves = scored[[*keys, "step"]].assign(
        epoch=scored.groupby(keys).cumcount() + 1.0, train_loss=math.nan, val_loss=math.nan, val_score=scored["score"]
    )
    return results.reset_index(drop=True), curves[columns].reset_index(drop=True)


def _checked(source: str, table: pd.DataFrame, factors: list[str], options: Options) -> pd.DataFrame:
    keys = ["technique", "workload", *factors, "seed"]
    if table.empty:
        raise TableError(f"{source} has no row")
    for column in ("technique", "workload"):
        if (table[column].str.strip() == "").any():
            raise TableError(f"{source} has a row without a {column}: name it")
    only(source, table, "state", FOREIGN_STATES)
    only(source, table, "direction", ("maximize", "minimize"))
    once(source, table, keys)
    complete = table[table["state"] == "COMPLETE"]
    remedy = (
        " (a run that failed is a row with state FAILED, DIVERGED or TIMED_OUT;"
        f" {options.said('failed_as')} takes empty scores too)"
    )
    finite(source, complete, ["score"], keys, remedy, LARGEST_SCORE)
    positive(source, complete, ["num_train", "num_test"], keys, LARGEST_SCORE)
    known = ("cost_seconds", "cost_flops", "peak_memory_bytes", "checkpoint_bytes")
    costs = [name for name in known if name in table.columns]
    positive(source, complete, costs, keys, LARGEST_SCORE, or_zero=True)
    _one_meaning(source, table)
    _within_bounds(source, complete, keys)
    _within_span(source, complete, options.span)
    _every_cell(source, table, [*factors, "workload"])
    return table


def _one_meaning(source: str, table: pd.DataFrame) -> None:
    """Refuse a workload with several metrics, and a metric with several directions or units."""
    for column in ("metric", "direction", "unit"):
        mixed = table.groupby("workload", sort=True)[column].nunique()
        if (mixed > 1).any():
            name = mixed.index[mixed > 1][0]
            values = ", ".join(sorted(set(table.loc[table["workload"] == name, column])))
            raise TableError(f"{source}: workload {name} has mixed {column}s ({values}): give it one")
    for column in ("direction", "unit"):
        mixed = table.groupby("metric", sort=True)[column].nunique()
        if (mixed > 1).any():
            raise TableError(f"{source}: metric {mixed.index[mixed > 1][0]} has mixed {column}s: give it one")


def _within_bounds(source: str, complete: pd.DataFrame, keys: list[str]) -> None:
    """Refuse a share, such as an accuracy, outside 0 to 1."""
    shares = complete[complete["metric"].map(base_name).isin(SHARES)]
    outside = shares.loc[~shares["score"].between(0, 1), [*keys, "metric", "score"]].sort_values(keys)
    if len(outside):
        first = outside.iloc[0]
        raise TableError(
            f"{source}: {first['metric']} lies between 0 and 1, and workload {first['workload']} has"
            f" {first['score']:g}: divide percentages by 100"
        )


def _within_span(source: str, complete: pd.DataFrame, span: tuple[float, float] | None) -> None:
    """Refuse a score outside the declared span, and a span of several metrics."""
    if span is None:
        return
    metrics = sorted(set(complete["metric"]))
    if len(metrics) > 1:
        raise TableError(f"{source}: span belongs to one metric, and the table has {', '.join(metrics)}: leave it out")
    outside = complete.loc[~complete["score"].between(*span), "score"]
    if len(outside):
        raise TableError(
            f"{source}: the span is {span[0]:g} to {span[1]:g}, and a score is {outside.iloc[0]:g}: widen it"
        )


def _every_cell(source: str, table: pd.DataFrame, where: list[str]) -> None:
    """Refuse a technique without a row on a workload and setting; seeds may differ between techniques."""
    settings = table[where].drop_duplicates()
    count = table[["technique", *where]].drop_duplicates().groupby("technique", sort=False).size()
    if (count != len(settings)).any():
        technique = str(count.index[count != len(settings)][0])
        mine = table.loc[table["technique"] == technique, where]
        lacking = settings.merge(mine.drop_duplicates(), on=where, how="left", indicator="found")
        first = lacking[lacking["found"] == "left_only"].sort_values(where).iloc[0]
        key = ", ".join(f"{name} {first[name]}" for name in where)
        raise TableError(
            f"{source}: {technique} has no row for {key}: every technique needs every cell"
            " (a trial that failed is a row with state FAILED or DIVERGED)"
        )


def _references(rows: pd.DataFrame) -> pd.DataFrame:
    columns = ["reference", "workload", "seed", "metric", "direction", "unit", "score"]
    return rows.rename(columns={"technique": "reference"})[columns].reset_index(drop=True)


def _workload(mine: Mapping[Hashable, object], options: Options) -> Workload:
    """Return a workload as its first row describes it."""
    name = str(mine["workload"])
    return Workload(
        name=name, kind="", generated=False, rows=0, features=0, classes=None, fingerprint="",
        metric=str(mine["metric"]), direction=str(mine["direction"]), unit=str(mine["unit"]), description="",
        curve_metric=str(mine["metric"]), score_on_curve=True, target=options.targets.get(name),
        best=_best(str(mine["direction"]), options.span),
        span=None if options.span is None else options.span[1] - options.span[0],
        ratio=options.effect == "ratio",
    )  # fmt: skip


def _best(direction: str, span: tuple[float, float] | None) -> float | None:
    return None if span is None else span[0] if direction == "minimize" else span[1]


def _evaluation(
    name: str,
    options: Options,
    techniques: tuple[str, ...],
    workloads: Mapping[str, Workload],
    factors: Mapping[str, tuple[str, ...]],
    results: pd.DataFrame,
) -> Declaration:
    metrics = {workload.metric for workload in workloads.values()}
    metric = base_name(next(iter(metrics))) if len(metrics) == 1 else SKILL
    rope = dict(ROPE)
    if options.effect == "ratio":
        rope = {metric: rope_of_ratios(options.rope)}
    elif options.rope is not None:
        rope = {metric: options.rope}
    elif metric not in ROPE:
        scores = results["score"][results["state"] == "COMPLETE"]
        if scores.min() < 0 or scores.max() > 1:
            raise TableError(
                f"declare the smallest difference in {metric} that matters ({options.said('rope')}):"
                " scores outside 0 to 1 have no default"
            )
        rope = {metric: ROPE["skill"]}
    return Declaration(
        name=name,
        question=options.question or default_question("technique", options.baseline, techniques),
        factor="technique",
        baseline=options.baseline,
        techniques=techniques,
        workloads=workloads,
        factors=factors,
        settings={},
        budget={},
        splits={},
        num_seeds=int(results.groupby("workload")["seed"].nunique().min()),
        root_seed=0,
        confidence=0.95,
        failures=(),
        provenance={"command": options.command, "machines": []},
        rope=rope,
        rope_declared=options.rope is not None,
        tuning={"parity": True} if options.tuned else None,
        extended_from=_extended_from(results),
        foreign=True,
        unit=options.unit,
        unit_guessed=options.column if options.unit_guessed else "",
        folds=options.folds,
        failed_as=options.failed_as or "worst",
        clusters=options.clusters,
    )


def _extended_from(results: pd.DataFrame) -> int | None:
    """Return the first seed that was added after a look that was not declared, as tables of version 0.1.0 tell."""
    added = results.loc[results["stage"] == "extension", "seed"] if "stage" in results.columns else ()
    return int(min(added)) if len(added) else None


def _confirmed(evaluation: Declaration, options: Options) -> None:
    """Refuse a ROPE above a tenth of the span that nobody confirmed."""
    if evaluation.rope_wide and not options.confirm_rope:
        unit, span = evaluation.rope_unit, evaluation.rope_span
        raise TableError(
            f"rope must be at most a tenth of the span of {unit} ({span:g}), not {evaluation.rope[unit]:g}: a larger"
            f" one needs {options.said('confirm_rope', True)}"
        )


def _reachable(source: str, options: Options, curves: pd.DataFrame) -> None:
    """Refuse a target of a workload without curves: nothing says when it was reached."""
    for workload in options.targets:
        if workload == EVERY:
            example = "--target digits=0.95" if options.command else "targets={'digits': 0.95}"
            raise TableError(f"{source}: name the workload of the target, such as {example}")
        if workload not in set(curves["workload"]):
            raise TableError(
                f"{source}: a target needs the curves of its workload, and the table has no steps of workload"
                f" {workload!r}: give the column step with several rows per run, or leave the target out"
            )


def _one_unit(source: str, whole: Path | None, evaluation: Declaration, references: pd.DataFrame) -> None:
    metrics = sorted({workload.metric for workload in evaluation.workloads.values()})
    trivial = set(references.loc[references["reference"] == TRIVIAL, "workload"])
    if len(metrics) > 1 and not set(evaluation.workloads) <= trivial:
        folder = f", or name the folder, which has them: {whole}" if whole else ""
        raise TableError(
            f"{source} mixes metrics ({', '.join(metrics)}), which cannot be averaged raw: add rows of the technique"
            f" {TRIVIAL!r} for every workload and seed, so that skill can be computed{folder}"
        )


def _costs(results: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """Return the seconds that the table gives: one round per seed."""
    keys = ["technique", "workload", *factors]
    columns = [*keys, "round", "step_seconds", "steps", "cost_seconds"]
    if "cost_seconds" not in results.columns or not (results["cost_seconds"] > 0).any():
        return pd.DataFrame(columns=columns)
    steps = results["steps"].fillna(1.0)
    timed = results.assign(round=results["seed"], step_seconds=results["cost_seconds"] / steps, steps=steps)
    return timed.loc[timed["cost_seconds"] > 0, columns].reset_index(drop=True)
