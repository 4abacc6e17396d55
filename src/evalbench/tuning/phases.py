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
    """Tune a searched cell, then measure the untuned setting and the best candidate of every study.

    If another process takes the cell over meanwhile, wait for it, then train the trials that are still missing.
    """
    while True:
        try:
            return _run(cell, store)
        except LeaseLostError as error:
            log.warning("%s: its results count, the results of this process are dropped", error)


def _run(cell: Cell, store: Store) -> None:
    if cell.config.search is None or ranks.current().index:
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
    messages = [trial.result.message for tried in study.history(store) for trial in tried.trials]
    messages = [message for message in messages if message]
    if error is not None:
        messages.append(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}")
    reason = messages[0] if messages else "the job ended before it could tune"
    return TrialResult(State.FAILED, message=f"no candidate could be trained: {reason}")


def _link(cell: Cell, tuned: Cell, store: Store) -> None:
    """Link the tuned trials to the evaluation, like the trials of the untuned setting."""
    name = cell.config.evaluation.name
    links = store.links(name, list(cell.specs))
    if links:
        store.add_links(name, [replace(links[0], trial_id=trial_id) for trial_id in tuned.specs])


def fail(cell: Cell, store: Store, error: Exception) -> None:
    """Record the missing trials of a cell as FAILED, because its job died."""
    cells.fail(cell, store, error)
    for study in studies(cell):
        tuned = study.chosen(store)
        if tuned is None:
            result = _nothing_to_measure(study, store, error)
            store.record([(spec, result) for spec in study.unchosen], provenance.collect())
        else:
            cells.fail(tuned, store, error)


def measured(cell: Cell, store: Store) -> list[dict[str, TrialSpec]]:
    """Return the trials that a cell is judged by: one set, or one for each study if it is searched."""
    measured_specs = []
    for study in studies(cell):
        tuned = study.chosen(store)
        measured_specs.append({spec.trial_id: spec for spec in study.unchosen} if tuned is None else tuned.specs)
    return measured_specs or [cell.specs]


def is_done(cell: Cell, store: Store) -> bool:
    """Return whether nothing of a cell is left to train."""
    ids = [trial_id for specs in (cell.trials, *measured(cell, store)) for trial_id in specs]
    return not store.missing(ids) and all(study.is_complete(store) for study in studies(cell))


def tune(study: Study, store: Store) -> None:
    """Ask for candidates, train their missing trials and tell their results, until the study has all its candidates."""
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
            [tried.candidate for tried in study.history(store)],
        )
        while batch := opened.ask():
            _record(study, batch, store)
            _train(study, batch, store, lease)  # interrupted and failed trials too
            if study.is_timed:
                timing.measure(map(study.tuned, batch), store)
            ended = {tried.candidate.number: tried.result for tried in study.history(store) if tried.result is not None}
            opened.tell({candidate.number: ended[candidate.number] for candidate in batch})


def keep(study: Study, store: Store) -> None:
    """Rewrite the copy of an ended study if it was deleted or its storage was moved."""
    ended = [(tried.candidate, tried.result) for tried in study.history(store) if tried.result is not None]
    if len(ended) < num_candidates(study):
        return
    from evalbench import search as optuna_side

    config, directions = study.search, [study.direction(name) for name in study.objectives]
    where = config.storage or optuna_side.default_storage(study.cell.config.store_url)
    optuna_side.keep_copy(study.name, config, directions, where, ended)


def _record(study: Study, candidates: Sequence[Candidate], store: Store) -> None:
    stored = [
        StoredCandidate(candidate.number, candidate.values, tuple(spec.trial_id for spec in study.specs(candidate)))
        for candidate in candidates
    ]
    store.record_candidates(study.id, stored)


def _train(study: Study, candidates: Sequence[Candidate], store: Store, lease: Lease) -> None:
    """Train the missing trials of some candidates; trials with the same graph train together.

    If candidates are pruned, all train up to a rung, and the survivors train again, up to the next rung. A company with
    one graph trains once, because its cohort drops the losers on the way.
    """
    for company in study.companies(candidates):
        specs = {spec.trial_id: (candidate, spec) for candidate in company for spec in study.specs(candidate)}
        runners = list(dict.fromkeys(tuple(spec.trial_id for spec in study.specs(runner)) for runner in company))
        attempted: dict[str, int] = {}  # up to which validation; earlier failures are tried again, new ones are not
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
    """Yield a cell and its entrants for each set of trials that train together.

    They may differ in seeds and in the optimizer's own settings. Any other difference changes the graph or a shape.
    """
    groups: dict[str, tuple[Cell, list[Entrant]]] = {}
    for candidate, spec in trials:
        cell = study.tuned(candidate)
        own: Mapping[str, Any] = cell.config.member_settings
        shared = {key: value for key, value in cell.settings.get("optimizer", {}).items() if key not in own}
        key = json.dumps({**cell.settings, "optimizer": shared}, sort_keys=True)
        groups.setdefault(key, (cell, []))[1].append(Entrant.of(spec, Phase.TUNE, dict(own)))
    yield from groups.values()
