"""A search as tracker runs: a run per trial of a short study, or one run with the candidates as its history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from evalbench.mirror import runs
from evalbench.names import code, plain
from evalbench.store import Link, Store, StoredCandidate, StoredTrial
from evalbench.tasks.metric import describe
from evalbench.tracking import Run, Table


@dataclass(frozen=True)
class StudyDescription:
    """Facts about one study for its runs, as plain values."""

    id: str
    name: str
    number: int
    objectives: Sequence[str]
    runs_up_to: int
    """Largest number of trials for which each trial gets a run."""


def runs_of(
    context: runs.Context, cell: runs.CellDescription, link: Link, study: StudyDescription, store: Store
) -> Iterator[Run]:
    """Yield the runs of a study; `link` is any link of the cell, for its technique and its other factors."""
    candidates = store.candidates(study.id)
    trials = store.trials([trial_id for candidate in candidates for trial_id in candidate.trial_ids])
    if len(trials) > study.runs_up_to:
        yield _whole(context, cell, link, study, candidates, trials)
        return
    for candidate in candidates:
        for trial_id in candidate.trial_ids:
            if trial_id in trials:
                part = f"study{study.number}-c{candidate.number}"
                yield runs.ended(context, cell, replace(link, trial_id=trial_id), trials[trial_id], part)


def _whole(
    context: runs.Context,
    cell: runs.CellDescription,
    link: Link,
    study: StudyDescription,
    candidates: Sequence[StoredCandidate],
    trials: Mapping[str, StoredTrial],
) -> Run:
    rows = []
    for candidate in candidates:
        results = [trials[trial_id].result.metrics for trial_id in candidate.trial_ids if trial_id in trials]
        measured = [name for name in study.objectives if results and all(name in metrics for metrics in results)]
        numbers = {path: float(value) for path, value in candidate.values.items() if isinstance(value, int | float)}
        number = float(candidate.number)
        scores = {name: fmean(metrics[name] for metrics in results) for name in measured}
        rows.append({"candidate": number, "epoch": number, "step": number, **numbers, **scores})
    config: dict[str, Any] = {
        "evaluation": context.evaluation,
        "technique": link.technique,
        "dataset": cell.workload,
        "study": study.name,
        "tree": dict(cell.tree),
    }
    name = runs.name_of(link.technique, *link.factors.values(), cell.workload, f"study{study.number}")
    return Run(
        id=runs.id_of(context.evaluation, name, study.id),
        name=name,
        group=context.evaluation,
        job_type="tune",
        tags=(cell.workload, link.technique, "tune"),
        notes=f"the candidates of {plain(study.name)}: each row of the history is a candidate\n{code(context.command)}",
        config=config,
        curve=rows,
        summary={"candidates": len(candidates)},
        tables={"candidates": _table(study, candidates, trials)},
        score=study.objectives[0],
        maximize=describe(study.objectives[0]).direction == "maximize",
    )


def _table(study: StudyDescription, candidates: Sequence[StoredCandidate], trials: Mapping[str, StoredTrial]) -> Table:
    """Return a row per trial: its candidate's values, its state and its scores."""
    keys = list(dict.fromkeys(key for candidate in candidates for key in candidate.values))
    rows = []
    for candidate in candidates:
        for trial in (trials[trial_id] for trial_id in candidate.trial_ids if trial_id in trials):
            result = trial.result
            scores = [result.metrics.get(name) for name in study.objectives]
            rows.append([candidate.number, trial.seed, *map(candidate.values.get, keys), result.state.value, *scores])
    return Table(("candidate", "seed", *keys, "state", *study.objectives), rows)
