"""Turn stored trials into a tracker's runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalbench.config import PARTS
from evalbench.names import code, file_name, plain
from evalbench.store import Link, StoredTrial
from evalbench.tracking import Run
from evalbench.trial import CurvePoint

GROUPS = (*(part.group for part in PARTS), "budget")
"""Groups whose settings are spread out in a run's configuration, in this order."""


@dataclass(frozen=True)
class CellDescription:
    """Facts about one cell for its runs, as plain values."""

    cell_id: str
    trials: Sequence[str]
    seeds: Sequence[int]
    workload: str
    choices: Mapping[str, str]
    settings: Mapping[str, Any]
    tree: Mapping[str, Any]
    metric: str
    maximize: bool
    studies: Sequence[Mapping[str, Any]] = ()
    """The searches for its hyperparameters, see `StudyDescription`; none if nothing is searched."""
    data: str = ""
    """The description of the data set: how its columns were read."""


@dataclass(frozen=True)
class Context:
    """Facts about an evaluation that all its runs share."""

    evaluation: str
    question: str | None
    command: str


def ended(context: Context, cell: CellDescription, link: Link, trial: StoredTrial, part: str | None = None) -> Run:
    """Return the run of an ended trial; `part` distinguishes runs of the same seed."""
    if part is None and trial.id not in cell.trials:
        part = f"tuned-{hashlib.sha256(json.dumps(trial.settings, sort_keys=True).encode()).hexdigest()[:6]}"
    result = trial.result
    summary: Mapping[str, float | int | str | None] = {
        **result.metrics,
        "score": result.metrics.get(cell.metric),
        "state": result.state.value,
        "best_epoch": result.best_epoch,
        "diverged_step": result.diverged_step,
        "cost/steps": result.steps,
        "cost/examples": result.examples,
        "cost/flops": result.flops,
        "cost/parameters": result.parameters,
    }
    return _run(context, cell, link, trial.seed, trial.settings, result.curve, summary, part)


def running(
    context: Context,
    cell: CellDescription,
    link: Link,
    curve: Sequence[CurvePoint],
    process: int | None,
) -> Run:
    """Return the run of a trial in training."""
    seed = cell.seeds[list(cell.trials).index(link.trial_id)]
    return _run(context, cell, link, seed, cell.settings, curve, {}, None, running=True, process=process)


def _run(
    context: Context,
    cell: CellDescription,
    link: Link,
    seed: int,
    settings: Mapping[str, Any],
    curve: Sequence[CurvePoint],
    summary: Mapping[str, float | int | str | None],
    part: str | None,
    **state: Any,
) -> Run:
    score = f"val/{cell.metric.split('/')[1]}"
    question = f": {plain(context.question)}" if context.question else ""
    part = part or ("default" if cell.studies else None)
    hyperparameters = part and part.split("-")[0]
    parts = [link.technique, *link.factors.values(), cell.workload]
    described = [part.group for part in PARTS if part.described and cell.settings.get(part.group)]
    options = [cell.choices[group] for group in described if group in cell.choices]
    name = name_of(*parts, f"{part}-s{seed}" if part else f"s{seed}")
    return Run(
        id=id_of(context.evaluation, name, link.trial_id),
        name=name,
        group=context.evaluation,
        job_type=link.technique,
        tags=tuple(dict.fromkeys([cell.workload, link.technique, *options, *filter(None, [hyperparameters])])),
        notes=f"{plain(link.technique)} on {plain(cell.workload)}, seed {seed}, of {context.evaluation}{question}\n"
        f"{code(context.command)}",
        config=_config(context, cell, link, seed, settings, hyperparameters),
        curve=[
            {
                "epoch": point.epoch,
                "step": point.step,
                **({} if point.train_loss is None else {"train/loss": point.train_loss}),
                "val/loss": point.val_loss,
                score: point.val_score,
            }
            for point in curve
        ],
        summary=summary,
        score=score,
        maximize=cell.maximize,
        axis=axis_of(settings),
        **state,
    )


def name_of(*parts: str) -> str:
    """Return the name of a run: its technique, other factors, workload and seed."""
    return file_name("run", *parts).removeprefix("run-")


def id_of(evaluation: str, name: str, identity: str) -> str:
    """Return a run's id, which another trial or study of the same name does not share."""
    return f"{name}-{hashlib.sha256(json.dumps([evaluation, name, identity]).encode()).hexdigest()[:8]}"


def run_id(evaluation: str, link: Link, workload: str, seed: int) -> str:
    """Return the id of the run of a trial whose hyperparameters were not searched."""
    return id_of(evaluation, name_of(link.technique, *link.factors.values(), workload, f"s{seed}"), link.trial_id)


def axis_of(settings: Mapping[str, Any]) -> str:
    """Return the axis of the curves of trials with these settings: the unit of their budget."""
    return "epoch" if "epochs" in settings.get("budget", {}) else "step"


def _config(
    context: Context,
    cell: CellDescription,
    link: Link,
    seed: int,
    settings: Mapping[str, Any],
    hyperparameters: str | None,
) -> dict[str, Any]:
    """Return settings by flat names, which the first group gets: a schedule's `lr` becomes `schedule_lr`."""
    flat: dict[str, Any] = {
        "evaluation": context.evaluation,
        "technique": link.technique,
        "dataset": cell.workload,
        "data": cell.data or None,
        "seed": seed,
        "hyperparameters": hyperparameters,
        "split": dict(settings.get("data") or {}).get("split"),
        "trial": link.trial_id,
        **{group: cell.choices.get(group) for group in GROUPS[:-1]},
    }
    for group in GROUPS:
        for key, value in dict(settings.get(group) or {}).items():
            if key != "_target_" and value is not None:
                flat[key if key not in flat else f"{group}_{key}"] = value
    flat |= {
        key: settings[key] for key in ("precision", "matmul_precision", "label_smoothing", "code") if key in settings
    }
    return {**{key: value for key, value in flat.items() if value is not None}, "tree": dict(cell.tree)}
