"""Optuna's side of a search: a study that is asked for candidates and told their results.

A sampler's draw depends on the study's results so far and on the candidate's own seed, not on the process. So an
interrupted study continues as if it had not been interrupted. The store is the source of truth about candidates and
results: each process replays its own study in memory, with every known candidate enqueued. Optuna's storage holds a
copy for people, which no sampler reads.
"""

import copy
import importlib.util
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, QMCSampler, RandomSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from evalbench.config import SearchConfig
from evalbench.errors import ConfigError
from evalbench.space import Dimension
from evalbench.store import alone_in
from evalbench.tasks.metric import Direction
from evalbench.trial import Candidate, CandidateResult

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)

MOST_AT_ONCE = 64
"""Number of candidates of a batch unless the search sets it."""
ONE_SEED = (QMCSampler, GridSampler)
"""Samplers that walk through one sequence, fixed by one seed."""
NOT_ADAPTIVE = (RandomSampler, *ONE_SEED)
"""Samplers whose candidates do not depend on results; any other sampler may learn from them."""
SLOW_WITHOUT_STATE = GPSampler
"""Sampler without state in the study: known candidates need not be sampled again, which would be slow."""
NUMBERS_ONLY = CmaEsSampler
"""Sampler that draws choices at random."""
TREES, DRAWS, FEWEST = 64, 16, 4
"""Trees of the forest for importances; number of bootstrap draws; fewest candidates for an importance."""
SCHEMA = "optuna"
STALE_LOCK_SECONDS = 5
"""Age after which the lock of a journal file counts as a killed process's."""


def check(search: SearchConfig) -> None:
    """Build the sampler once to refuse a wrong setting early; raise `ConfigError`."""
    sampler = _sampler(search, 0)
    if isinstance(sampler, CmaEsSampler) and importlib.util.find_spec("cmaes") is None:
        raise ConfigError("search.sampler", "needs the package cmaes", search.sampler.target, "pip install cmaes")
    if isinstance(sampler, NUMBERS_ONLY) and all(dimension.choices for dimension in search.space):
        rule = "must have a range of numbers to search: it would draw choices at random"
        raise ConfigError(
            "search.space", rule, [dimension.path for dimension in search.space], "use +search=tpe or +search=gp"
        )
    if search.storage is not None and "://" in search.storage:
        open_storage(search.storage)
    with _quiet():
        optuna.create_study(sampler=sampler).ask(_distributions(search.space))


def num_candidates(search: SearchConfig) -> int:
    """Return the number of candidates of a complete study: a grid may have fewer than `num_candidates`."""
    sampler = _sampler(search, 0)
    return (
        min(search.num_candidates, len(sampler._all_grids))
        if isinstance(sampler, GridSampler)
        else search.num_candidates
    )


def batch_size(search: SearchConfig) -> int:
    """Return the number of candidates that are asked for at once."""
    return search.batch or MOST_AT_ONCE


def is_adaptive(search: SearchConfig) -> bool:
    """Return whether draws may depend on results, and so on the batches."""
    return type(_sampler(search, 0)) not in NOT_ADAPTIVE


def grid(space: Sequence[Dimension], points: int, seed: int) -> GridSampler:
    """Return Optuna's grid over all choices and a number of points of every range."""
    if points < 1:
        raise ValueError(f"points must be at least 1, not {points}")
    return GridSampler({dimension.path: dimension.points(points) for dimension in space}, seed=seed)


class OptunaStudy:
    """An Optuna study in memory: it replays the candidates that the store knows, and writes a copy for people.

    Samplers may keep state in the study, even as pickles (`CmaEsSampler`). So the study takes nothing from other
    processes but values and results, which are plain numbers and text.
    """

    def __init__(
        self,
        name: str,
        search: SearchConfig,
        directions: Sequence[Direction],
        storage: str,
        seed_of: Callable[[int], int],
        known: Sequence[Candidate] = (),
    ) -> None:
        """Begin the study.

        Args:
            name: the study's name, the same for the same search.
            search: the sampler and its settings.
            directions: `minimize` or `maximize` for each objective.
            storage: the path of a journal file or the URL of a database for the copy.
            seed_of: returns the seed of a candidate's number.
            known: the candidates in the store, in order: asking returns them again, unchanged.
        """
        self._search, self._seed_of = search, seed_of
        self._known = {candidate.number: candidate for candidate in known}
        self._study = optuna.create_study(directions=list(directions))
        self._copy = _Copy(name, directions, storage)

    @property
    def count(self) -> int:
        """The number of candidates that were asked for."""
        return len(self._study.get_trials(deepcopy=False))

    def ask(self) -> list[Candidate]:
        """Return the candidates of the next batch, none at the end; known candidates are returned unchanged.

        Batches begin at multiples of their size, whatever the size of an earlier study.
        """
        asked = []
        for _ in range(min(batch_size(self._search), num_candidates(self._search) - self.count)):
            number = self.count
            known = self._known.get(number)
            if known is not None:
                self._study.enqueue_trial(dict(known.values))
            sampler = _sampler(self._search, self._seed_of(number), self._seed_of(-1))
            slow = known is not None and type(sampler) is SLOW_WITHOUT_STATE
            self._study.sampler = RandomSampler() if slow else sampler
            with _quiet():
                trial = self._study.ask()
                trial.relative_params  # noqa: B018 - a sampler with a sequence takes its step, also for known candidates
                values = {dimension.path: _suggest(trial, dimension) for dimension in self._search.space}
            asked.append(Candidate(trial.number, values))
        return asked

    def tell(self, results: Mapping[int, CandidateResult]) -> None:
        """Record the results of the candidates of a batch, by number."""
        self._study.sampler = RandomSampler()  # no sampler learns from `tell`; a grid sampler would stop Optuna's loop
        trials = self._study.get_trials(deepcopy=False)
        for number, result in results.items():
            with _quiet():
                if result.values is None:
                    self._study.tell(number, state=TrialState.FAIL)
                elif result.pruned:
                    self._study._storage.set_trial_intermediate_value(trials[number]._trial_id, 0, result.values[0])
                    self._study.tell(number, state=TrialState.PRUNED)
                else:
                    self._study.tell(number, list(result.values))
        self._copy.write(self._study.get_trials(deepcopy=False))


class _Copy:
    """A study in a storage for people and their tools: written batch by batch, never read."""

    def __init__(self, name: str, directions: Sequence[Direction], storage: str) -> None:
        self._name, self._directions, self._storage = name, directions, storage
        self._study: optuna.Study | None = None
        self._count = 0

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Add the missing trials; a storage that fails is tried again with the next batch."""
        try:
            if self._study is None:
                self._study, self._count = self._rebuilt(), 0
            for trial in trials[self._count :]:
                plain = copy.copy(trial)
                plain.system_attrs = {}  # a sampler's, perhaps a pickle, which nobody should have to load
                self._study.add_trial(plain)
                self._count += 1
        except Exception as error:  # the storage's, of many kinds
            log.warning("the study could not be written to %s (%s): nothing is lost", self._storage, _first_line(error))
            self._study = None

    def _rebuilt(self) -> optuna.Study:
        storage = open_storage(self._storage)
        if self._name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=self._name, storage=storage)
        return optuna.create_study(study_name=self._name, storage=storage, directions=list(self._directions))


def keep_copy(
    name: str,
    search: SearchConfig,
    directions: Sequence[Direction],
    storage: str,
    ended: Sequence[tuple[Candidate, CandidateResult]],
) -> None:
    """Write the copy of an ended study if the storage has none; log a warning if that fails."""
    try:
        if name in optuna.get_all_study_names(open_storage(storage)):
            return
    except Exception as error:  # the storage's, of many kinds
        log.warning("the study %s cannot be read in %s: %s", name, storage, _first_line(error))
        return
    distributions = _distributions(search.space)
    _Copy(name, directions, storage).write([_frozen(candidate, result, distributions) for candidate, result in ended])


def _frozen(candidate: Candidate, result: CandidateResult, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    params = dict(candidate.values)
    if result.values is None:
        return create_trial(params=params, distributions=distributions, state=TrialState.FAIL)
    if result.pruned:
        value = result.values[0]
        pruned, seen = TrialState.PRUNED, {0: value}
        return create_trial(
            params=params, distributions=distributions, state=pruned, value=value, intermediate_values=seen
        )
    return create_trial(params=params, distributions=distributions, values=list(result.values))


Finished = Sequence[tuple[Mapping[str, Any], float]]


def importance(
    space: Mapping[str, Mapping[str, Any]], finished: Finished, maximize: bool
) -> dict[str, tuple[float, float]]:
    """Return each hyperparameter's share of the variance of the objective, by functional ANOVA on a random forest.

    The second number is its standard error, by the bootstrap over candidates. `space` holds the dimensions as plain
    values. The answer is empty if there are too few candidates, or if all scores are equal.

    Source: Hutter, Hoos and Leyton-Brown, ICML 2014; Optuna's implementation.
    """
    distributions = _distributions([Dimension(path, **_arguments(spec)) for path, spec in space.items()])
    shares = _shares(distributions, finished, maximize, TREES) if len(finished) >= FEWEST else {}
    draw = np.random.default_rng(0).integers
    count = len(finished)
    again = [
        _shares(distributions, [finished[index] for index in draw(0, count, count)], maximize, TREES // 8)
        for _ in range(DRAWS if shares else 0)
    ]
    if not any(again):
        return {}
    return {
        path: (float(shares[path]), float(np.std([resampled.get(path, 0.0) for resampled in again if resampled])))
        for path in space
        if path in shares
    }


def _shares(
    distributions: Mapping[str, BaseDistribution], finished: Finished, maximize: bool, trees: int
) -> dict[str, float]:
    if len({value for _, value in finished}) < 2:
        return {}
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.add_trials(
        create_trial(params=dict(params), distributions=dict(distributions), value=value) for params, value in finished
    )
    with _quiet():
        try:
            return get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=trees, seed=0))
        except RuntimeError:  # no tree saw two values
            return {}


def open_storage(where: str) -> BaseStorage:
    """Return Optuna's storage at a URL, or a journal file at a path.

    On a PostgreSQL server Optuna's tables get a schema of their own, because some have the names of evalbench's.
    """
    if "://" not in where:
        return _open_journal(Path(where).absolute())  # Optuna never frees a dead process's lock at a relative path
    try:
        if not where.startswith("postgresql"):
            return RDBStorage(where)
        with alone_in(where, SCHEMA):
            return RDBStorage(where, engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}})
    except Exception as error:  # SQLAlchemy's and the driver's, of many kinds
        raise ConfigError(
            "search.storage", "must be a database that can be opened", where, _first_line(error)
        ) from error


def _open_journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    lock = JournalFileSymlinkLock(str(path), grace_period=STALE_LOCK_SECONDS)
    lock.acquire()
    try:
        with path.open("rb+") as file:  # a process killed while writing leaves half a line
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
        try:
            return JournalStorage(JournalFileBackend(str(path), lock))
        except Exception as error:  # Optuna raises many kinds for lines that are not its own
            aside = path.with_name(f"{path.name}.broken")
            log.warning("%s cannot be read (%r): moved to %s; rebuilding from the store", path, error, aside.name)
            path.rename(aside)
            path.touch()
            return JournalStorage(JournalFileBackend(str(path), lock))
    finally:
        lock.release()


def default_storage(store_url: str) -> str:
    """Return the storage for the studies of a store: a journal file next to it, or its own database server."""
    kind, _, rest = store_url.partition("://")
    if kind.startswith("postgresql"):
        return store_url
    file = rest.removeprefix("/") if kind.startswith("sqlite") else ""
    return str(Path(file).with_name("studies.journal")) if file else "outputs/studies.journal"


def _sampler(search: SearchConfig, seed: int, study_seed: int | None = None) -> BaseSampler:
    """Return a fresh sampler with a candidate's seed, or with the study's seed if it walks one sequence."""
    component = search.sampler
    target = component.locate()
    known = inspect.signature(target).parameters if callable(target) else {}
    kind = target if isinstance(target, type) else None
    has_one_seed = target is grid or (kind is not None and issubclass(kind, ONE_SEED))
    more: dict[str, Any] = (
        {"seed": study_seed if has_one_seed and study_seed is not None else seed} if "seed" in known else {}
    )
    if "space" in known:
        more["space"] = search.space
    with _quiet():
        sampler = component.build(**more)
    if not isinstance(sampler, BaseSampler):
        remedy = "name a class of optuna.samplers"
        raise ConfigError("search.sampler._target_", "must be an Optuna sampler", component.target, remedy)
    return sampler


def _distributions(space: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    return {dimension.path: _distribution(dimension) for dimension in space}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    if dimension.choices:
        return trial.suggest_categorical(dimension.path, dimension.choices)
    if dimension.integer:
        return trial.suggest_int(dimension.path, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(dimension.path, dimension.low, dimension.high, log=dimension.log)


def _arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if key == "choices" else value for key, value in spec.items()}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's warnings about its experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
