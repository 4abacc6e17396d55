"""One technique on one workload: train the trials that the store lacks."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from evalbench import engines, live, provenance, ranks, workloads
from evalbench.config import ANYTHING, COHORT, COMMAND, Component, Config, log_folder
from evalbench.engines import Outlets, Trained
from evalbench.errors import ConfigError, InputError, LeaseLostError, StorageError
from evalbench.names import file_name
from evalbench.seeds import SOURCES, Phase, Role, derive, seeds_of
from evalbench.store import Lease, Store
from evalbench.trial import TRAINING_VERSION, Entrant, State, TrialResult, TrialSpec, best_point
from evalbench.workloads import (
    Dataset,
    NamedWorkload,
    Split,
    development_part,
    hold_out,
    judged,
    judging,
    references,
    split_methods,
    split_of,
)

log = logging.getLogger(__name__)

REFERENCES = {"trivial": references.trivial, "linear": references.linear}


@dataclass(frozen=True)
class Cell:
    """A checked configuration with its data: one trial per seed."""

    config: Config
    dataset: Dataset
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values that a search has put in place of the configuration's own, by key."""
    phase: Phase = Phase.MEASURE
    study: int | None = None
    """The study whose seeds its trials have; None: the seeds of all studies."""

    @classmethod
    def of(cls, config: Config) -> "Cell":
        """Load the data; raise `InputError` if they cannot be used."""
        dataset = judged(workloads.load(config.dataset), config.task)
        _check_engine(config, dataset)
        if not isinstance(dataset, NamedWorkload):
            split_methods.check(dataset, config.split, config.evaluation.variance)
        if config.search is not None and dataset.fixed_test_rows is None:
            seed = derive(config.root_seed, dataset.name, Role.DEVELOPMENT, 0)
            dataset = hold_out(dataset, config.split, seed)
        return cls(config, dataset)

    def at(self, values: Mapping[str, Any], phase: Phase = Phase.MEASURE, study: int | None = None) -> "Cell":
        """Return this cell with other hyperparameters, and with the seeds of one study if it is given.

        During tuning, a cell has only development rows. Cells are kept: the same arguments give the same cell.
        """
        if phase is self.phase and values == self.values and study == self.study:
            return self
        key = json.dumps([values, phase, study])
        if key not in self._others:
            self._others[key] = self._at(values, phase, study)
        return self._others[key]

    @cached_property
    def _others(self) -> dict[str, "Cell"]:
        return {}

    def _at(self, values: Mapping[str, Any], phase: Phase, study: int | None) -> "Cell":
        config = self.config.with_values(values)
        if phase is Phase.MEASURE:
            return Cell(config, self.dataset, values, study=study)
        assert config.search is not None
        fixed = self.dataset.fixed_test_rows
        share = config.search.development if fixed is None else 1 - len(fixed) / len(self.dataset.targets)
        split = replace(config.split, validation=config.split.validation / share, test=0.0)
        return Cell(replace(config, split=split), self.development, values, phase)

    @cached_property
    def development(self) -> Dataset:
        """The rows that a search may see."""
        return development_part(self.dataset)

    def with_seeds(self, num_seeds: int) -> "Cell":
        """Return this cell with another number of seeds."""
        if num_seeds == self.config.num_seeds:
            return self
        return replace(self, config=replace(self.config, num_seeds=num_seeds))

    @property
    def num_studies(self) -> int:
        """The number of times that its hyperparameters are searched; 1 if they are not."""
        return 1 if self.config.search is None else self.config.search.num_studies

    @property
    def seeds(self) -> list[int]:
        """The seed indices of its trials: `num_seeds` of them, for each study if the search is repeated."""
        studies = range(self.num_studies) if self.study is None else [self.study]
        return [seed for study in studies for seed in seeds_of(study, self.config.num_seeds)]

    @cached_property
    def specs(self) -> dict[str, TrialSpec]:
        """The trials by identity, in the order of their seeds."""
        trials = (self.spec(seed) for seed in self.seeds)
        return {spec.trial_id: spec for spec in trials}

    @cached_property
    def crossed(self) -> dict[str, TrialSpec]:
        """The trials of the variance design by identity: every combination of the levels of its sources.

        They are no trials of a seed, also where all levels are equal: nobody is judged by them. `seed` is the level of
        the initial weights.
        """
        levels = self.config.evaluation.variance
        if levels is None:
            return {}
        trials = []
        for indices in product(*(range(levels[source]) for source in SOURCES)):
            roles = {role: index for index, same in zip(indices, SOURCES.values(), strict=True) for role in same}
            trials.append(replace(self.spec(roles[Role.INIT]), roles=roles))
        return {trial.trial_id: trial for trial in trials}

    @property
    def trials(self) -> dict[str, TrialSpec]:
        """All trials of the cell by identity: those that judge the technique, then those of the variance design."""
        return {**self.specs, **self.crossed}

    def spec(self, seed: int) -> TrialSpec:
        """Return the trial of one seed index."""
        if seed not in self._specs:
            self._specs[seed] = TrialSpec(self.workload, self.settings, self.config.root_seed, seed)
        return self._specs[seed]

    @cached_property
    def _specs(self) -> dict[int, TrialSpec]:
        return {}

    def entrants(self, *seeds: int) -> list[Entrant]:
        """Return the trials of some seed indices, as they enter a cohort."""
        return [Entrant.of(self.spec(seed), self.phase) for seed in seeds]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything but the seeds that determines a trial's result, as plain values."""
        config = self.config
        return {
            "data": self.workload_identity,
            **config.identity,
            **judging.identity(self.dataset, config.task),
            **config.training,
            **({"code": self.code} if self.code else {}),
            **self._phase_settings,
        }

    @cached_property
    def code(self) -> dict[str, dict[str, str]]:
        """The user's own code that a trial runs: that of its parts, and of the data set's class."""
        kind = type(self.dataset)
        return {
            **self.config.code,
            **judging.code(self.dataset, self.config.task),
            **Component("dataset", f"{kind.__module__}.{kind.__qualname__}", {}).code(),
        }

    @property
    def _phase_settings(self) -> dict[str, Any]:
        if self.phase is Phase.MEASURE or self.config.search is None:
            return {}
        pruning = self.config.search.pruning
        return {"phase": self.phase.value, **({} if pruning is None else {"pruning": pruning.spec()})}

    @property
    def id(self) -> str:
        """The cell's identity, the same for any number of seeds."""
        return next(iter(self.specs.values())).cell_id

    @property
    def workload(self) -> str:
        """The workload's name: the name of its data set."""
        return self.dataset.name

    @property
    def target_score(self) -> float | None:
        """The score that counts as solved; one that a shipped data set declares is in its task's own metric."""
        declared = self.dataset.primary is None or "dataset.target_score" in self.config.overrides
        return self.config.target_score if declared else None

    @property
    def workload_identity(self) -> dict[str, Any]:
        """Everything but the seeds that determines the rows of a trial."""
        if isinstance(self.dataset, NamedWorkload):
            return {"fingerprint": self.dataset.fingerprint}
        split, search = self.config.split, self.config.search
        test = {"test": split.test} if search is None else {"development": search.development}
        if self.dataset.fixed_test_rows is not None:
            test = {}  # the fingerprint has them
        validation = {} if self.dataset.declared_validation is not None else {"validation": split.validation}
        method = split_methods.identity(self.dataset, split)
        return {"fingerprint": self.dataset.fingerprint, **validation, **test, **method}

    def split(self, seed: int) -> Split:
        """Return the rows of the trial of a seed index."""
        return split_of(self.dataset, self.config.split, self.config.root_seed, seed, self.phase)

    @property
    def workload_id(self) -> str:
        """The hash that reference rows are stored under: a version that fits them otherwise computes them anew."""
        chosen = judging.identity(self.dataset, self.config.task)
        own = judging.code(self.dataset, self.config.task)
        known = [TRAINING_VERSION, self.workload, self.workload_identity, self.config.root_seed]
        content = [*known, *([chosen, own] if chosen else [])]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def _check_engine(config: Config, dataset: Dataset) -> None:
    """Refuse a named workload with anything but a command that is not searched."""
    if not isinstance(dataset, NamedWorkload):
        return
    if config.engine != COMMAND:
        rule = f"must be a command on {dataset.name}, whose rows are not known"
        raise ConfigError("model", rule, config.choices.get("model"), "choose model=command, or data with rows")
    if config.split.method != "auto":
        rule = f"must be auto on {dataset.name}, whose rows are not known"
        raise ConfigError("split", rule, config.split.method, "say what a seed repeats: dataset.unit=split, say")
    if config.search is not None:
        remedy = "leave it out, or search in the command: there are no validation rows"
        raise ConfigError("search", f"must be left out on {dataset.name}, whose rows are not known", remedy=remedy)


def check(cell: Cell) -> None:
    """Draw its splits and build what it trains to refuse a wrong setting early; raise `InputError`."""
    if not isinstance(cell.dataset, NamedWorkload):
        _check_splits(cell)
    try:
        engines.of(cell.config).check(cell.config, cell.dataset)
    except InputError:
        raise
    except ANYTHING as error:  # what the user chose may raise anything
        where = f"{cell.config.technique} on {cell.workload}"
        raise ConfigError(where, "cannot be built", remedy=_in_one_line(error)) from error


def _check_splits(cell: Cell) -> None:
    """Refuse rows on which the metric says nothing, unless each class has its share in all parts."""
    metric, tuning, dataset = cell.dataset.metric, cell.phase is Phase.TUNE, cell.dataset
    of_rows = dataset.kind.needs_test(metric)  # defined on those with a number as the answer
    by_class = split_methods.has_default_method(dataset, cell.config.split) and dataset.fixed_test_rows is None
    alike = tuning or split_methods.has_one_size(dataset, cell.config.split)
    for seed in cell.seeds[:1] if alike and not of_rows else cell.seeds:
        split = cell.split(seed)
        if by_class and not of_rows:
            return
        scored = replace(split, test=split.validation) if tuning else split
        if metric.on("test") not in references.trivial(cell.dataset, {0: scored})[0]:
            rows = f"the {'validation' if tuning else 'test'} rows of {cell.workload} with seed {seed}"
            why = "which have no number as an answer" if of_rows else "whose targets are all alike"
            rule, remedy = f"must be defined on {rows}, {why}", "choose another metric or split"
            raise ConfigError("task.metric", rule, metric.name, remedy)


def run(cell: Cell, store: Store) -> None:
    """Train the trials that the store lacks; an error makes them FAILED trials, and the caller continues.

    In a group of ranks, rank zero does all this. The other ranks help it to train, and an error of theirs ends the
    group.
    """
    if ranks.current().index:
        help_to_train(cell, store)
        return
    complete_references(cell, store)
    trials = cell.trials
    if not store.missing(list(trials)):
        return
    with store.lease(cell.id) as lease:
        missing = [trials[trial_id] for trial_id in store.missing(list(trials))]  # another process may have trained
        own = [spec.seed for spec in missing if not spec.roles]
        crossed = [Entrant.of(spec, cell.phase) for spec in missing if spec.roles]
        if own:
            log.info("training %s on %s, seeds %s", cell.config.technique, cell.workload, own)
            train(cell, cell.entrants(*own), store, lease)
        if crossed:
            log.info("training %s on %s, %d crossed trials", cell.config.technique, cell.workload, len(crossed))
            train(cell, crossed, store, lease)


def train(cell: Cell, entrants: Sequence[Entrant], store: Store, lease: Lease) -> None:
    """Train trials and write their results, cohort by cohort; an error makes them FAILED trials."""
    engines.of(cell.config)  # loaded before the clock starts
    ended: list[tuple[TrialSpec, TrialResult]] = []
    start = time.monotonic()
    try:
        with _watch(cell, entrants, store) as watch, live.follower(lease, store) as follower:
            for members, results in _train(cell, list(entrants), watch, follower.follow):
                if isinstance(results, Exception):
                    results = [_failure(results) for _ in members]
                seconds = round((time.monotonic() - start) / len(members), 6)
                new = list(zip((member.spec for member in members), results, strict=True))
                store.record(new, {**provenance.collect(cell.config.accelerator), "seconds": seconds}, lease)
                follower.rest()
                ended += new
                start = time.monotonic()
        if cell.config.save == "best" and cell.phase is Phase.MEASURE and not _are_crossed(entrants):
            _keep_best(cell, store)
    except (LeaseLostError, StorageError):
        raise
    except Exception as error:
        log.exception("the cell failed")
        known = {spec.trial_id for spec, _ in ended}
        lacking = [entrant.spec for entrant in entrants if entrant.spec.trial_id not in known]
        store.record([(spec, _failure(error)) for spec in lacking], provenance.collect(cell.config.accelerator), lease)


def help_to_train(cell: Cell, store: Store) -> None:
    """Train the trials that rank zero names, until it ends, and this process with it."""
    while True:
        nothing: Job = ({}, Phase.MEASURE, [])
        values, phase, members = ranks.current().agree(nothing)
        named = cell.at(values, phase)
        with _watch(named, members, store) as watch:
            for _ in _train_here(named, members, watch):
                pass  # rank zero writes


Members = list[Entrant]
Job = tuple[dict[str, Any], Phase, Members]


def _are_crossed(entrants: Sequence[Entrant]) -> bool:
    """Return whether trials train for a variance design: they are neither shown, nor are their weights kept."""
    return any(entrant.roles for entrant in entrants)


def _watch(cell: Cell, entrants: Sequence[Entrant], store: Store) -> AbstractContextManager[live.Watch | None]:
    """Return a watcher that shows the curves of measured trials; curves of candidates are not shown."""
    hidden = cell.phase is not Phase.MEASURE or _are_crossed(entrants)
    return nullcontext() if hidden else live.watch(cell.config, list(cell.specs), store)


def _train(cell: Cell, members: Members, watch: live.Watch | None, follow: live.Follow) -> Iterator[Trained]:
    """Tell the other ranks which trials train, and yield the members and results of each cohort."""
    ranks.current().agree((dict(cell.values), cell.phase, members))
    return _train_here(cell, members, watch, follow)


def _train_here(
    cell: Cell, members: Members, watch: live.Watch | None, follow: live.Follow | None = None
) -> Iterator[Trained]:
    engine, group = engines.of(cell.config), ranks.current()
    hidden = cell.phase is Phase.TUNE or _are_crossed(members)
    outlets = Outlets(None if cell.config.save == "none" or hidden else weights_folder(cell), watch, follow)
    if group.count == 1 or (cell.config.engine == COHORT and cell.config.trainer_split == "data"):
        yield from engine.train_all(cell.config, cell.dataset, members, cell.id, outlets)
        return
    mine = members[group.index :: group.count]
    name = f"{cell.id}-rank{group.index}"
    share = list(engine.train_all(cell.config, cell.dataset, mine, name, outlets))
    yield from (trained for rank in group.gather(share) for trained in rank)


def weights_folder(cell: Cell) -> Path:
    """Return the folder for the weights of the cell's trials."""
    return cell.config.weights_folder / file_name(cell.workload, *cell.config.named_parts, cell.id[:8])


def _keep_best(cell: Cell, store: Store) -> None:
    """Keep the weights of the cell's best trial: each cohort, of any look, has saved those of its own best."""
    from evalbench import weights

    ended = store.trials(list(cell.specs)).values()
    complete = {trial.seed: trial.result.curve for trial in ended if trial.result.state is State.COMPLETE}
    folders = {seed: weights.folder(weights_folder(cell), seed) for seed in complete}
    saved = [seed for seed, folder in folders.items() if folder.exists()]
    for seed in sorted(saved, key=lambda seed: best_point(complete[seed]).rank)[1:]:
        shutil.rmtree(folders[seed], ignore_errors=True)


def fail(cell: Cell, store: Store, error: Exception) -> None:
    """Record the missing trials of a cell as FAILED, because its job died."""
    trials = cell.trials
    missing = [trials[trial_id] for trial_id in store.missing(list(trials))]
    store.record([(spec, _failure(error)) for spec in missing], provenance.collect(cell.config.accelerator))


def complete_references(cell: Cell, store: Store) -> None:
    """Compute the reference rows that the store lacks."""
    if isinstance(cell.dataset, NamedWorkload):
        return  # its rows are not known
    known = store.references(cell.workload_id)
    lacking = {name: [seed for seed in cell.seeds if (seed, name) not in known] for name in REFERENCES}
    splits = {seed: cell.split(seed) for seed in dict.fromkeys(seed for seeds in lacking.values() for seed in seeds)}
    new: dict[tuple[int, str], dict[str, float]] = {}
    for name, seeds in lacking.items():
        if seeds:
            scores = REFERENCES[name](cell.dataset, {seed: splits[seed] for seed in seeds})
            new |= {(seed, name): metrics for seed, metrics in scores.items()}
    if new:
        store.record_references(cell.workload_id, new)


def _failure(error: Exception) -> TrialResult:
    folder = log_folder()
    return TrialResult(
        state=State.FAILED,
        message=_in_one_line(error),
        log=str(folder / "evalbench.log") if folder else None,
    )


def _in_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
