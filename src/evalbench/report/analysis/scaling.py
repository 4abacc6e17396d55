"""Power laws of the loss, where an evaluation varies the size of a model or the length of its training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalbench.record.declared import Declaration, Workload
from evalbench.record.folder import Folder
from evalbench.statistics.intervals import Floats
from evalbench.statistics.scaling import PowerLaw, falls, scaling

PARAMETERS, COMPUTE = "parameters", "FLOPs"
TOKENS, EXAMPLES, STEPS = "training tokens", "training examples", "training steps"
LENGTHS = (TOKENS, EXAMPLES, STEPS)
SYMBOLS = {PARAMETERS: "N", TOKENS: "D", EXAMPLES: "D", STEPS: "D", COMPUTE: "C"}
COLUMNS = {
    PARAMETERS: ("parameters",),
    TOKENS: ("tokens",),
    EXAMPLES: ("examples",),
    STEPS: ("steps",),
    COMPUTE: ("flops", "cost_flops", "compute"),
}
"""The columns of a table of results that hold a size."""
GROUPS = ("model", "budget")
"""Config groups whose numbers may be sizes."""
TOGETHER = 0.98
"""Two sizes whose logarithms are more correlated than this cannot be told apart."""
MIN_SIZES = 3
_SIZED = re.compile(r"^(.*?)([0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]+)?)([kmbt]?)$", re.IGNORECASE)
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Law:
    """The power law of one workload at one setting of the factors that are no sizes."""

    workload: str
    setting: Mapping[str, str]
    axes: tuple[str, ...]  # the sizes that the law has
    points: pd.DataFrame  # a row per size: each axis, `loss`
    fitted: PowerLaw | None
    why_not: str  # no law was fitted; empty if one was
    left_out: tuple[str, ...] = ()  # sizes with a trial that diverged or failed
    remark: str = ""  # what else varies, and how that was met
    loss: str = ""  # its name for people
    shapes: tuple[str, ...] = ()  # the factors that change the first size


def laws(folder: Folder) -> tuple[Law, ...]:
    """Return a law for each workload with a loss, and each setting of other factors; none if no size varies."""
    evaluation = folder.evaluation
    sizes = _with_sizes(folder)
    growing = _growing(evaluation, sizes)
    if not growing:
        return ()
    several = len(evaluation.techniques) > 1
    named = {key: key for key in evaluation.factors} | ({"technique": str(evaluation.factor)} if several else {})
    others = {key: name for key, name in named.items() if key not in growing}
    fitted = []
    for key, rows in sizes.groupby(["workload", *others], sort=False):
        setting = dict(zip(others.values(), map(str, key[1:]), strict=True))
        fitted.append(_law(evaluation.workloads[str(key[0])], setting, growing, rows))
    return tuple(law for law in fitted if law is not None)


def size_of(label: str) -> tuple[str, float] | None:
    """Return what stands before the number that ends a label, and the number: 7e7 of `pythia-70m`; None without one."""
    match = _SIZED.match(label.strip())
    return None if match is None else (match[1], float(match[2]) * _UNITS[match[3].lower()])


def _with_sizes(folder: Folder) -> pd.DataFrame:
    """Return the results with a column per size: what a trial of the cell would have if it ended, nan if not known."""
    table = folder.results.reset_index(drop=True)
    cell = [table[key] for key in ("workload", "technique", *folder.evaluation.factors)]
    sizes = {}
    for axis, names in COLUMNS.items():
        columns = [_numbers(table[name]) for name in names if name in table.columns]
        known = next((column for column in columns if (column > 0).any()), pd.Series(math.nan, table.index))
        sizes[axis] = known.where(known > 0).groupby(cell).transform("max")
    if sizes[TOKENS].isna().all():
        workloads = table["workload"].map(folder.evaluation.workloads)
        positions = workloads.map(lambda workload: workload.features if workload.kind == "language" else math.nan)
        sizes[TOKENS] = sizes[EXAMPLES] * positions.astype(float)
    return table.assign(**sizes)


def _numbers(column: pd.Series[str]) -> pd.Series[float]:
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    sizes = {label: size_of(str(label)) for label in column.unique()}
    known = {label: size[1] for label, size in sizes.items() if size and not size[0] and math.isfinite(size[1])}
    return column.map(known).astype(float)


def _growing(evaluation: Declaration, sizes: pd.DataFrame) -> dict[str, str]:
    """Return the columns whose levels are numbers that change a size of the trials, each with the factor's name."""
    named = {"technique": evaluation.factor or "", **{key: key for key in evaluation.factors}}
    growing = {}
    for key, name in named.items():
        labels = [size_of(str(label)) for label in sizes[key].unique()]
        begins = {label[0] for label in labels if label is not None}
        if len(labels) < 2 or None in labels or len(begins) > 1:
            continue
        own = name.partition(".")[0] in GROUPS and begins == {""}
        foreign = evaluation.foreign and (key == "technique" or name in {n for row in COLUMNS.values() for n in row})
        medians = sizes.groupby(key)[list(COLUMNS)].median()
        if (own or foreign) and (medians.nunique() > 1).any():
            growing[key] = name
    return growing


def _law(workload: Workload, setting: Mapping[str, str], growing: Mapping[str, str], rows: pd.DataFrame) -> Law | None:
    broken = rows.groupby(list(growing))["state"].transform(lambda states: (states != "COMPLETE").any()).astype(bool)
    whole, left_out = rows[~broken], tuple(_described(growing, rows[broken]))
    axes = _axes(whole) or _axes(rows)
    law = Law(workload.name, setting, axes, rows.iloc[:0], None, "", left_out)
    exponential = workload.measure == "perplexity"
    scores = rows.loc[rows["state"] == "COMPLETE", "score"]
    if workload.ratio or workload.direction != "minimize" or not (scores > exponential).all():
        if len(axes) < 2:  # the depths of a network, say: nobody asked for a law
            return None
        why = f"it is a law of losses, and the score is {workload.described.words}: give task.metric a loss"
        return replace(law, why_not=why)
    partly = [axis for axis in (PARAMETERS, *LENGTHS) if whole[axis].notna().any() and whole[axis].isna().any()]
    if partly or not axes:
        return replace(law, why_not=f"{' and '.join(partly)} are not known of every size") if partly else None
    axes, whole, remark = _chosen(axes, whole)
    points, losses = _losses(whole, axes, growing, exponential)
    shapes = tuple(name for key, name in growing.items() if whole.groupby(key)[axes[0]].median().nunique() > 1)
    loss = f"{'logarithm of the ' if exponential else ''}{workload.described.words}"
    fitted, why = _fitted(points[list(axes)].to_numpy(), losses, axes)
    return Law(workload.name, setting, axes, points, fitted, why, left_out, remark, loss, shapes)


def _fitted(sizes: Floats, losses: Floats, axes: Sequence[str]) -> tuple[PowerLaw | None, str]:
    """Return the law, or why there is none."""
    if max(len(np.unique(column)) for column in sizes.T) < MIN_SIZES:
        return None, f"it needs at least {MIN_SIZES} sizes whose trials all ended"
    if not falls(sizes, losses):
        return None, f"the loss does not fall with {' or '.join(axes)}"
    fitted = scaling(sizes, losses, sizes[:, 0] == sizes[:, 0].max())
    return fitted, "" if fitted else "these sizes do not determine one: vary one of them more"


def _axes(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the sizes that vary: parameters, length of the training, or FLOPs where neither is known."""
    varying = [axis for axis in COLUMNS if rows[axis].notna().all() and rows[axis].nunique() > 1]
    lengths = [axis for axis in LENGTHS if axis in varying][:1]
    axes = [axis for axis in varying if axis == PARAMETERS] + lengths
    return tuple(axes or [axis for axis in varying if axis == COMPUTE])


def _chosen(axes: tuple[str, ...], rows: pd.DataFrame) -> tuple[tuple[str, ...], pd.DataFrame, str]:
    """Return the sizes that the rows can tell apart, the rows that show them, and what was done about the rest."""
    if len(axes) < 2 or rows.empty:
        return axes, rows, ""
    first, second = axes
    if abs(np.corrcoef(np.log(rows[first]), np.log(rows[second]))[0, 1]) > TOGETHER:
        known = rows[COMPUTE].notna().all() and rows[COMPUTE].nunique() > 1
        kept = COMPUTE if known else first
        return (kept,), rows, f"{first} and {second} grow together, so the law is one of {kept} alone"
    for axis, other in ((second, first), (first, second)):
        if rows[axis].nunique() < MIN_SIZES:
            most = rows[axis].max()
            remark = f"{axis} have fewer than {MIN_SIZES} values, so the law is one of {other} at {most:,.0f} {axis}"
            return (other,), rows[rows[axis] == most], remark
    return axes, rows, ""


def _losses(
    rows: pd.DataFrame, axes: Sequence[str], growing: Mapping[str, str], exponential: bool
) -> tuple[pd.DataFrame, Floats]:
    """Return sizes in ascending order with their mean losses, and the losses `(S, P)` of the seeds that all have.

    If no seed has a trial at every size, the means over the seeds stand for one.
    """
    rows = rows.assign(loss=np.log(rows["score"]) if exponential else rows["score"])
    sizes = rows.groupby(list(growing), sort=False)[list(axes)].first().sort_values(list(axes), kind="stable")
    table = rows.pivot_table(index="seed", columns=list(growing), values="loss", sort=False)
    shared = table.dropna()
    losses = (shared if len(shared) else table.mean().to_frame().T)[list(sizes.index)].to_numpy()
    return sizes.reset_index().assign(loss=np.exp(np.log(losses).mean(0)) if len(sizes) else []), losses


def _described(growing: Mapping[str, str], rows: pd.DataFrame) -> Iterator[str]:
    for key, trials in rows.groupby(list(growing), sort=False):
        levels = key if isinstance(key, tuple) else (key,)
        ended = int((trials["state"] != "COMPLETE").sum())
        names = ", ".join(f"{name} {level}" for name, level in zip(growing.values(), levels, strict=True))
        yield f"{names} ({ended} of {len(trials)})"
