"""The two phases of a searched cell: *tune*, then *measure*.

A study asks for candidates, their trials train together as far as their graphs are the same, and it is told their
validation scores. Every trial is in the store, so nothing is trained twice; the study's best candidate is then measured
on seeds of its own, beside the setting that nobody tuned.

Where candidates are pruned, those that were asked for together compete. What the store has of a pruned trial is the
beginning of the whole one, whoever it competed with: which candidates end where is worked out from the store each time
(`engine.halving.race`), so that it does not depend on cohorts, interruptions or smaller studies before.
"""

import hashlib
import json
import logging
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

from evalbench import cell as cells
from evalbench import provenance, ranks
from evalbench.cell import Cell
from evalbench.config import SearchConfig
from evalbench.engine import halving
from evalbench.errors import ConfigError, DataError, LeaseLostError
from evalbench.seeds import STUDY_SEEDS, Phase, derive_draw
from evalbench.space import Dimension
from evalbench.store import Lease, Store, StoredCandidate, StoredTrial
from evalbench.tasks.metric import METRICS, Direction, base_name
from evalbench.trial import Candidate, Entrant, Outcome, State, TrialResult, TrialSpec, best_point
from evalbench.workloads import draw_split

log = logging.getLogger(__name__)

COSTS = (
    "cost/step_seconds",  # one optimizer step, timed alone
    "cost/seconds",  # the same, times the steps of the budget
    "cost/flops",  # counted, of the whole trial
    "cost/parameters",
)
"""Objectives beside the metrics on validation rows; all are minimized."""
TIMING_ROUNDS = 5
TIMED = ("cost/step_seconds", "cost/seconds")


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


N = TypeVar("N", bound=_Numbered)


@dataclass(frozen=True)
class Tried:
    """A candidate with its trials; those of a pruned one as they stood when it lost."""

    candidate: Candidate
    trials: tuple[StoredTrial, ...]
    outcome: Outcome | None
    """None as long as a trial is missing."""

    @property
    def val_loss(self) -> float:
        """The mean of its trials' lowest validation losses."""
        losses = [min((point.val_loss for point in t.result.curve), default=math.inf) for t in self.trials]
        return statistics.fmean(losses) if losses else math.inf

    @property
    def state(self) -> State:
        """How it ended, all its trials together."""
        states = {trial.result.state for trial in self.trials}
        order = (State.FAILED, State.PRUNED, State.DIVERGED, State.COMPLETE)
        return next((state for state in order if state in states), State.RUNNING)


@dataclass(frozen=True)
class CellStudy:
    """One search for one technique on one workload."""

    cell: Cell
    number: int
    """From 0 below `search.num_studies`."""

    @property
    def search(self) -> SearchConfig:
        """The cell's search."""
        assert self.cell.config.search is not None
        return self.cell.config.search

    @cached_property
    def id(self) -> str:
        """A hash of all that its candidates and their scores depend on; more trials continue the same study.

        Batches begin at multiples of their size. So candidates and results are the same whether a study was started
        with all its trials or with fewer, but not where the size is another one and candidates learn or compete.
        """
        from evalbench import search as optuna_side

        search = self.search
        canonical = {dimension.path: dimension.points(2)[0] for dimension in search.space}
        choices = [{dimension.path.rpartition(".")[2]: dimension.choices} for dimension in search.space]
        code = replace(search.sampler, arguments={**search.sampler.arguments, "space": choices}).code()
        batch_matters = search.pruning is not None or optuna_side.is_adaptive(search)
        content = {
            "cell": self.cell.at(canonical, Phase.TUNE).id,
            "space": {dimension.path: dimension.spec() for dimension in search.space},
            "sampler": search.sampler.spec(),
            "batch": optuna_side.batch_size(search) if batch_matters else None,
            "num_seeds": search.num_seeds,
            "objectives": self.objectives,
            "number": self.number,
            **({"code": code} if code else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def name(self) -> str:
        """What people see in Optuna's tools: readable, and unique by the identity at its end."""
        parts = [self.cell.config.evaluation.name, self.cell.config.technique, self.cell.workload]
        return "-".join([*parts, *([f"study{self.number}"] if self.search.num_studies > 1 else []), self.id])

    @property
    def objectives(self) -> tuple[str, ...]:
        """What candidates are judged by."""
        return objectives(self.cell)

    def direction(self, objective: str) -> Direction:
        """Return the direction of an objective."""
        return "minimize" if objective in COSTS else self.cell.dataset.measured[base_name(objective)].direction

    @property
    def seeds(self) -> range:
        """The seed indices of every candidate, other ones in every study."""
        return range(self.number * self.search.num_seeds, (self.number + 1) * self.search.num_seeds)

    def specs(self, candidate: Candidate) -> list[TrialSpec]:
        """Return a candidate's trials."""
        tuned = self.cell.at(candidate.values, Phase.TUNE)
        return [tuned.spec(seed) for seed in self.seeds]

    def history(self, store: Store) -> list[Tried]:
        """Return every candidate of this budget that was asked for, with what the store has of it.

        A search with more candidates may have gone on from here: they are not this one's.
        """
        stored = store.candidates(self.id)[: self.search.num_trials]
        trials = store.trials([trial_id for one in stored for trial_id in one.trial_ids])
        history = []
        for company in self.companies(stored):
            lost, _ = self.race([one.trial_ids for one in company], trials)
            history += [self._tried(one, trials, lost.get(one.trial_ids), store) for one in company]
        return history

    def companies(self, candidates: Sequence[N]) -> list[list[N]]:
        """Return candidates with those that they compete with, who were asked for together; all where none compete."""
        if self.search.pruning is None:
            return [list(candidates)]
        from evalbench.search import batch_size

        groups: dict[int, list[N]] = {}
        for one in candidates:
            groups.setdefault(one.number // batch_size(self.search), []).append(one)
        return list(groups.values())

    def race(
        self, company: Sequence[tuple[str, ...]], trials: Mapping[str, StoredTrial]
    ) -> tuple[dict[tuple[str, ...], int], int]:
        """Return after which validation each loser ends, and the validation that all others must reach next.

        A candidate is its trials' identities: two with the same hyperparameters compete as one.
        """
        if self.search.pruning is None:
            return {}, self.validations
        runners = list(dict.fromkeys(company))
        results = [[trials[name].result if name in trials else None for name in names] for names in runners]
        by_loss = self.objectives[0] == "val/log_loss"
        lost, reach = halving.race(
            results, self.search.pruning, self.validations, by_loss, self.cell.dataset.metric.sign
        )
        return {runners[place]: rung for place, rung in lost.items()}, reach

    @property
    def validations(self) -> int:
        """The number of validations of a trial that goes on to the end."""
        return num_validations(self.cell)

    def _tried(
        self, one: StoredCandidate, trials: Mapping[str, StoredTrial], lost_at: int | None, store: Store
    ) -> Tried:
        there = tuple(trials[trial_id] for trial_id in one.trial_ids if trial_id in trials)
        candidate = Candidate(one.number, one.values)
        if len(there) < len(one.trial_ids):
            return Tried(candidate, there, None)
        if any(trial.result.state is State.FAILED for trial in there):
            return Tried(candidate, there, Outcome(None))
        if lost_at is not None:
            there = tuple(replace(t, result=self._as_of(lost_at, candidate, t.result)) for t in there)
        elif not all(halving.reaches(trial.result, self.validations) for trial in there):
            return Tried(candidate, there, None)
        timed = self._timed(candidate, store)
        if any(name in TIMED for name in self.objectives) and not timed:
            return Tried(candidate, there, None)
        results = [trial.result for trial in there]
        values = tuple(
            statistics.fmean(self._value(name, candidate, result, timed) for result in results)
            for name in self.objectives
        )
        return Tried(candidate, there, Outcome(values, pruned=lost_at is not None))

    def _as_of(self, validation: int, candidate: Candidate, result: TrialResult) -> TrialResult:
        """Return a trial as if it had been pruned after a validation, however much further it was trained."""
        if len(result.curve) < validation or not halving.trains_after(result, validation):
            return result  # it had ended by itself
        curve = result.curve[:validation]
        examples = self._examples(candidate, result, curve[-1].step)
        return replace(
            result,
            state=State.PRUNED,
            metrics={},
            curve=curve,
            best_epoch=best_point(curve).epoch,
            diverged_step=None,
            steps=curve[-1].step,
            examples=examples,
            flops=None if result.flops is None else round(result.flops * examples / (result.examples or 1)),
        )

    def _value(self, name: str, candidate: Candidate, result: TrialResult, timed: Mapping[str, float]) -> float:
        if result.state is State.PRUNED:  # one objective, which each validation has
            best = best_point(result.curve)
            return best.val_loss if name == "val/log_loss" else best.val_score
        if name in timed:
            return timed[name]
        if name == "cost/flops":
            spent = math.inf if result.flops is None else result.flops  # not known is not cheap
            return spent * (self._times_longer(candidate, result) if result.state is State.DIVERGED else 1.0)
        if name == "cost/parameters":
            return float(result.parameters or 0)
        return result.metrics[name]

    def _times_longer(self, candidate: Candidate, result: TrialResult) -> float:
        """Return how many times the work of a diverged trial the budget is: none is cheaper for having diverged."""
        config, num_train = self.cell.at(candidate.values, Phase.TUNE).config, result.num_train or 1
        steps_per_epoch = math.ceil(num_train / config.optimizer.rows_per_step(num_train))
        steps = config.budget.validation_steps(steps_per_epoch)[-1]
        return self._examples(candidate, result, steps) / (result.examples or 1)

    def _examples(self, candidate: Candidate, result: TrialResult, steps: int) -> int:
        """Return the number of examples that a candidate's trial has seen after some steps."""
        config, num_train = self.cell.at(candidate.values, Phase.TUNE).config, result.num_train or 1
        rows = config.optimizer.rows_per_step(num_train)
        epochs, rest = divmod(steps, math.ceil(num_train / rows))
        return epochs * num_train + rest * rows

    def is_complete(self, store: Store) -> bool:
        """Whether all its candidates have ended, none of them by our fault."""
        from evalbench import search

        outcomes = [one.outcome for one in self.history(store)]
        return len(outcomes) >= search.num_candidates(self.search) and all(
            outcome is not None and outcome.values is not None for outcome in outcomes
        )

    def best(self, store: Store) -> Tried | None:
        """Return the candidate to measure: the best by the first objective, of equals the one with the lowest loss."""
        there = [
            one
            for one in self.history(store)
            if one.outcome is not None and one.outcome.values is not None and not one.outcome.pruned
        ]
        sign = 1 if self.direction(self.objectives[0]) == "minimize" else -1

        def order(one: Tried) -> tuple[float, float, int]:
            assert one.outcome is not None
            assert one.outcome.values is not None
            return sign * one.outcome.values[0], one.val_loss, one.candidate.number

        return min(there, key=order, default=None)

    def chosen(self, store: Store) -> Cell | None:
        """Return the cell at the best candidate, once all have ended; None where there is none."""
        from evalbench import search

        history = self.history(store)
        ended = len(history) >= search.num_candidates(self.search) and all(one.outcome is not None for one in history)
        best = self.best(store) if ended else None
        return None if best is None else self.cell.at(best.candidate.values, study=self.number)

    @cached_property
    def unchosen(self) -> list[TrialSpec]:
        """The trials that stand for the measured ones if there is nothing to measure."""
        cell = self.cell
        settings = {**cell.settings, "best_of_study": self.id}
        seeds = cell.at({}, study=self.number).seeds
        return [TrialSpec(cell.workload, settings, cell.config.root_seed, seed) for seed in seeds]

    # ── timing ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _graph_id(self, candidate: Candidate) -> str:
        """Return the identity of all that a step's time depends on: not the optimizer's numbers."""
        settings = self.cell.at(candidate.values, Phase.TUNE).settings
        optimizer = {key: settings["optimizer"].get(key) for key in ("_target_", "batch_size", "clip_norm")}
        return hashlib.sha256(json.dumps([{**settings, "optimizer": optimizer}], sort_keys=True).encode()).hexdigest()[
            :20
        ]

    def _timed(self, candidate: Candidate, store: Store) -> Mapping[str, float]:
        if not any(name in TIMED for name in self.objectives):
            return {}
        graph = self._graph_id(candidate)
        rounds = (store.costs([graph], provenance.machine()) or {}).get(graph)
        if not rounds:
            return {}
        seconds = statistics.median(one["step_seconds"] for one in rounds)
        return {"cost/step_seconds": seconds, "cost/seconds": seconds * rounds[0]["steps"]}

    def _time(self, candidates: Sequence[Candidate], store: Store) -> None:
        """Time a step of those candidates whose graph was not timed before."""
        if not any(name in TIMED for name in self.objectives):
            return
        from evalbench import cost

        graphs = {self._graph_id(one): one for one in candidates if not self._timed(one, store)}
        for graph, one in graphs.items():
            tuned = self.cell.at(one.values, Phase.TUNE)
            (rounds,) = cost.measure([(tuned.config, tuned.dataset)], TIMING_ROUNDS)
            store.record_costs({graph: [vars(r) for r in rounds]}, provenance.machine())


def objectives(cell: Cell) -> tuple[str, ...]:
    """Return what a cell's candidates are judged by: the workload's own metric unless the search names others."""
    search = cell.config.search
    assert search is not None
    return search.objectives or (_own_metric(cell),)


def _own_metric(cell: Cell) -> str:
    return cell.dataset.metric.on("val")


def num_validations(cell: Cell) -> int:
    """Return the number of validations of a trial that ends with its budget, the same for all candidates."""
    return len(cell.config.budget.validation_steps(steps_per_epoch=1))


def studies(cell: Cell) -> list[CellStudy]:
    """Return the studies of a cell, none where nothing is searched."""
    search = cell.config.search
    return [] if search is None else [CellStudy(cell, number) for number in range(search.num_studies)]


def check(cell: Cell) -> None:
    """Build what the cell would train at the corners of its search space; raise `InputError`."""
    cells.check(cell)
    config = cell.config.search
    if config is None:
        return
    from evalbench import search

    search.check(config)
    for name in objectives(cell):
        known = [*(metric.on("val") for metric in {**METRICS, **cell.dataset.measured}.values()), *COSTS]
        if name not in known:
            raise ConfigError("search.objectives", "must be known quantities", name, "there are " + ", ".join(known))
        if name.startswith("val/") and name not in _metrics(cell):
            remedy = "there are " + ", ".join(_metrics(cell))
            raise ConfigError("search.objectives", f"must be measured on {cell.workload}", name, remedy)
    first, own = objectives(cell)[0], _own_metric(cell)
    if not first.startswith("val/"):
        rule = "must begin with what is validated, which chooses what is measured"
        raise ConfigError("search.objectives", rule, first, f"put {own} or val/log_loss first")
    if config.pruning is not None and first not in (own, "val/log_loss"):
        rule = f"must be {own} or val/log_loss where candidates are pruned"
        raise ConfigError("search.objectives", rule, first, "halving compares these after each validation")
    if config.pruning is not None and not config.pruning.rungs(num_validations(cell)):
        rule = f"must be below the number of validations of a trial, which is {num_validations(cell)}"
        remedy = "lower it, raise the budget, or leave search.pruning out: no candidate would end early"
        raise ConfigError("search.pruning.first_rung", rule, config.pruning.first_rung, remedy)
    if config.num_studies > 1 and cell.config.num_seeds > STUDY_SEEDS:
        rule = f"must be at most {STUDY_SEEDS} where search.num_studies is above 1"
        raise ConfigError(
            "num_seeds", rule, cell.config.num_seeds, "each study has seeds of its own: repeat it instead"
        )
    try:
        cell.development  # noqa: B018 - is made
    except DataError as error:
        rule = "must leave enough rows of every class"
        raise ConfigError("search.development", rule, config.development, str(error)) from error
    for values in _corners(config.space, cell.config.schedule is not None):
        cells.check(cell.at(values, Phase.TUNE))
    if "cost/flops" in objectives(cell) and not _counts_flops(cell):
        rule, remedy = "must be countable for this model", "use cost/parameters or cost/seconds"
        raise ConfigError("search.objectives", rule, "cost/flops", remedy)


def _counts_flops(cell: Cell) -> bool:
    from evalbench import models
    from evalbench.engine import counting, training

    config, data = cell.config, cell.dataset
    network = models.build_seeded(0, config.model, config.activation, training.shape_of(data))
    rows, tokens = config.optimizer.rows_per_step(len(data.targets)), data.vocabulary is not None
    return counting.flops_per_step(network, data.kind, rows, data.inputs.shape[1], tokens) is not None


def _corners(space: Sequence[Dimension], scheduled: bool) -> list[dict[str, Any]]:
    """Return the candidates that are built beforehand: both ends of all ranges, and every choice.

    Where learning rates are scheduled, each end of what a schedule depends on is tried by itself: it may end it early.
    """
    points = {dimension.path: dimension.points(2) for dimension in space}
    first, last = ({path: values[end] for path, values in points.items()} for end in (0, -1))
    alone = {path for path in points if scheduled and path.split(".")[0] in ("schedule", "optimizer")}
    own = {path: values[1:] if path in alone else values[1:-1] for path, values in points.items()}
    return [first, last, *({**first, path: value} for path, values in own.items() for value in values)]


def _metrics(cell: Cell) -> list[str]:
    split = draw_split(cell.dataset, cell.config.split.validation, cell.config.split.test, 0)
    return [f"val/{name.split('/')[1]}" for name in cells.REFERENCES["trivial"](cell.dataset, split)]


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


def _nothing_to_measure(study: CellStudy, store: Store, error: Exception | None = None) -> TrialResult:
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
        missing = {spec.trial_id: spec for spec in study.unchosen}
        found.append(missing if tuned is None else tuned.specs)
    return found or [cell.specs]


def num_trials(cells_of_plan: Sequence[Cell]) -> int:
    """Return how many trials the searches of some cells train."""
    found = [study for cell in cells_of_plan for study in studies(cell)]
    return sum(num_candidates(study) * study.search.num_seeds for study in found)


def num_candidates(study: CellStudy) -> int:
    """Return how many candidates a study has in the end."""
    from evalbench import search

    return search.num_candidates(study.search)


def is_done(cell: Cell, store: Store) -> bool:
    """Whether nothing of a cell is left to train."""
    ids = [trial_id for specs in (cell.specs, *measured(cell, store)) for trial_id in specs]
    return not store.missing(ids) and all(study.is_complete(store) for study in studies(cell))


def tune(study: CellStudy, store: Store) -> None:
    """Ask, train what the store lacks, tell, until the study has all its candidates."""
    if study.is_complete(store):
        return
    from evalbench import search as optuna_side

    config = study.search
    with store.lease(study.id) as lease:
        opened = optuna_side.Study(
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
            study._time(batch, store)
            ended = {one.candidate.number: one.outcome for one in study.history(store) if one.outcome is not None}
            opened.tell({candidate.number: ended[candidate.number] for candidate in batch})


def keep(study: CellStudy, store: Store) -> None:
    """Write the copy of a study anew where it was deleted, or is to be elsewhere, after the study had ended."""
    ended = [(one.candidate, one.outcome) for one in study.history(store) if one.outcome is not None]
    if len(ended) < num_candidates(study):
        return
    from evalbench import search as optuna_side

    config, directions = study.search, [study.direction(name) for name in study.objectives]
    where = config.storage or optuna_side.default_storage(study.cell.config.store_url)
    optuna_side.keep_copy(study.name, config, directions, where, ended)


def _record(study: CellStudy, candidates: Sequence[Candidate], store: Store) -> None:
    stored = [
        StoredCandidate(one.number, one.values, tuple(spec.trial_id for spec in study.specs(one))) for one in candidates
    ]
    store.record_candidates(study.id, stored)


def _train(study: CellStudy, candidates: Sequence[Candidate], store: Store, lease: Lease) -> None:
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


def _cohorts(study: CellStudy, trials: Sequence[tuple[Candidate, TrialSpec]]) -> Iterator[tuple[Cell, list[Entrant]]]:
    """Yield what trains together: a cell and its entrants.

    They may differ in seeds and in the optimizer's own settings; anything else is another graph or another shape.
    """
    groups: dict[str, tuple[Cell, list[Entrant]]] = {}
    for candidate, spec in trials:
        cell = study.cell.at(candidate.values, Phase.TUNE)
        own: Mapping[str, Any] = cell.config.optimizer.component.arguments
        shared = {key: value for key, value in cell.settings["optimizer"].items() if key not in own}
        key = json.dumps({**cell.settings, "optimizer": shared}, sort_keys=True)
        groups.setdefault(key, (cell, []))[1].append(Entrant(spec, Phase.TUNE, dict(own)))
    yield from groups.values()
