"""The two phases of a searched cell: its studies are tuned, then their best candidates are measured."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalbench import cell as cells
from evalbench import provenance, ranks
from evalbench.cell import Cell
from evalbench.engine import halving
from evalbench.errors import LeaseLostError
from evalbench.seeds import Phase, derive_draw
from evalbench.store import Lease, Store, StoredCandidate
from evalbench.trial import Candidate, Entrant, State, TrialResult, TrialSpec
from evalbench.tuning import timing
from evalbench.tuning.study import Study, num_candidates, studies

log = logging.getLogger(__name__)


def run(cell: Cell, store: Store) -> None:
    """Tune what is to be tuned, then measure: the setting that nobody tuned, and the best one of every study.

    Where another process has taken a cell over meanwhile, wait for it, and train what is still missing then.
    """
    while True:
        try:
            return _run(cell, store)
        except LeaseLostError as error:
            log.warning("%s: its results count, those of this process are dropped", error)


def _run(cell: Cell, store: Store) -> None:
    if cell.config.search is None or ranks.here().index:
        cells.run(cell, store)
        return
    for study in studies(cell):
        tune(study, store)
    cells.run(cell, store)
    for study in studies(cell):
        tuned = study.chosen(store)
        if tuned is None:
            store.record([(spec, _nothing_to_measure(study, store)) for spec in study.unchosen], provenance.collect())
        else:
            _link(cell, tuned, store)
            cells.run(tuned, store)


def _nothing_to_measure(study: Study, store: Store, error: Exception | None = None) -> TrialResult:
    messages = [t.result.message for one in study.history(store) for t in one.trials if t.result.message]
    if error is not None:
        messages.append(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}")
    said = messages[0] if messages else "the job did not live to tune"
    return TrialResult(State.FAILED, message=f"no candidate could be trained: {said}")


def _link(cell: Cell, tuned: Cell, store: Store) -> None:
    """Make the tuned trials part of the evaluation, like those of the setting that nobody tuned."""
    name = cell.config.evaluation.name
    place = store.links(name, list(cell.specs))
    if place:
        store.add_links(name, [replace(place[0], trial_id=trial_id) for trial_id in tuned.specs])


def fail(cell: Cell, store: Store, error: Exception) -> None:
    """Record as FAILED what the cell still lacks, because its job did not live to do so itself."""
    cells.fail(cell, store, error)
    for study in studies(cell):
        tuned = study.chosen(store)
        if tuned is None:
            result = _nothing_to_measure(study, store, error)
            store.record([(spec, result) for spec in study.unchosen], provenance.collect())
        else:
            cells.fail(tuned, store, error)


def measured(cell: Cell, store: Store) -> list[dict[str, TrialSpec]]:
    """Return the trials that a cell is judged by, of each study if it is searched."""
    found = []
    for study in studies(cell):
        tuned = study.chosen(store)
        found.append({spec.trial_id: spec for spec in study.unchosen} if tuned is None else tuned.specs)
    return found or [cell.specs]


def is_done(cell: Cell, store: Store) -> bool:
    """Whether nothing of a cell is left to train."""
    ids = [trial_id for specs in (cell.specs, *measured(cell, store)) for trial_id in specs]
    return not store.missing(ids) and all(study.is_complete(store) for study in studies(cell))


def tune(study: Study, store: Store) -> None:
    """Ask, train what the store lacks, tell, until the study has all its candidates."""
    if study.is_complete(store):
        return
    from evalbench import search as optuna_side

    config = study.search
    with store.lease(study.id) as lease:
        opened = optuna_side.OptunaStudy(
            study.name,
            config,
            [study.direction(name) for name in study.objectives],
            config.storage or optuna_side.default_storage(study.cell.config.store_url),
            lambda number: derive_draw(study.cell.config.root_seed, study.cell.workload, study.id, number),
            [one.candidate for one in study.history(store)],
        )
        while batch := opened.ask():
            _record(study, batch, store)
            _train(study, batch, store, lease)  # what was broken off or failed, too
            if study.is_timed:
                timing.measure(map(study.tuned, batch), store)
            ended = {one.candidate.number: one.result for one in study.history(store) if one.result is not None}
            opened.tell({candidate.number: ended[candidate.number] for candidate in batch})


def keep(study: Study, store: Store) -> None:
    """Write the copy of a study anew where it was deleted, or is to be elsewhere, after the study had ended."""
    ended = [(one.candidate, one.result) for one in study.history(store) if one.result is not None]
    if len(ended) < num_candidates(study):
        return
    from evalbench import search as optuna_side

    config, directions = study.search, [study.direction(name) for name in study.objectives]
    where = config.storage or optuna_side.default_storage(study.cell.config.store_url)
    optuna_side.keep_copy(study.name, config, directions, where, ended)


def _record(study: Study, candidates: Sequence[Candidate], store: Store) -> None:
    stored = [
        StoredCandidate(one.number, one.values, tuple(spec.trial_id for spec in study.specs(one))) for one in candidates
    ]
    store.record_candidates(study.id, stored)


def _train(study: Study, candidates: Sequence[Candidate], store: Store, lease: Lease) -> None:
    """Train the trials that the store lacks, those of one graph together.

    Where candidates are pruned, all train up to a rung and those that go on train again, up to the next one. A company
    of one graph trains once: its cohort drops the losers on the way.
    """
    for company in study.companies(candidates):
        specs = {spec.trial_id: (one, spec) for one in company for spec in study.specs(one)}
        runners = list(dict.fromkeys(tuple(spec.trial_id for spec in study.specs(one)) for one in company))
        attempted: dict[str, int] = {}  # to the validation; what failed before is tried again, what fails now is not
        while True:
            trials = store.trials(list(specs))
            failed = {name for name, trial in trials.items() if trial.result.state is State.FAILED}
            trials = {name: trial for name, trial in trials.items() if name not in failed or name in attempted}
            lost, reach = study.race(runners, trials)
            going = [names for names in runners if names not in lost and not failed & attempted.keys() & set(names)]
            lacking = [
                name
                for name in (name for names in going for name in names)
                if not halving.reaches(trials[name].result if name in trials else None, reach)
                and attempted.get(name) != reach
            ]
            if not lacking:
                break
            groups = list(_cohorts(study, [specs[name] for name in lacking]))
            stop = None if study.search.pruning is None or (not trials and len(groups) == 1) else reach
            for cell, members in groups:
                log.info("tuning %s: %d trials together", study.name, len(members))
                cells.train(cell, [replace(entrant, stop=stop) for entrant in members], store, lease)
            attempted |= dict.fromkeys(lacking, reach)


def _cohorts(study: Study, trials: Sequence[tuple[Candidate, TrialSpec]]) -> Iterator[tuple[Cell, list[Entrant]]]:
    """Yield what trains together: a cell and its entrants.

    They may differ in seeds and in the optimizer's own settings; anything else is another graph or another shape.
    """
    groups: dict[str, tuple[Cell, list[Entrant]]] = {}
    for candidate, spec in trials:
        cell = study.tuned(candidate)
        own: Mapping[str, Any] = cell.config.optimizer.component.arguments
        shared = {key: value for key, value in cell.settings["optimizer"].items() if key not in own}
        key = json.dumps({**cell.settings, "optimizer": shared}, sort_keys=True)
        groups.setdefault(key, (cell, []))[1].append(Entrant(spec, Phase.TUNE, dict(own)))
    yield from groups.values()
