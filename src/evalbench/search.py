"""Optuna's side of a search: a study that is asked for candidates and told what came of them.

What a sampler draws for a candidate depends on the study's results so far and on the candidate's own seed, not on the
process: so a study that was broken off goes on as if it had not been. The store is the truth about candidates and
results: each process asks its own study in memory again, with every known candidate put in its place. What lies in
Optuna's storage is a copy for people, from which no sampler takes anything.
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
"""Candidates of a batch where the search does not say."""
ONE_SEED = (QMCSampler, GridSampler)
"""Samplers that walk through one sequence, which one seed fixes."""
NOT_ADAPTIVE = (RandomSampler, *ONE_SEED)
"""Samplers whose candidates do not depend on results; any other sampler may learn from them."""
SLOW_WITHOUT_STATE = GPSampler
"""Keeps nothing in the study, so that it need not be asked for what is known: that would take long."""
NUMBERS_ONLY = CmaEsSampler
"""Beside it choices are drawn at random."""
TREES, DRAWS, FEWEST = 64, 16, 4
"""Of the forest that tells importances; how often its candidates are drawn anew; below so many nothing is told."""
SCHEMA = "optuna"
STALE_LOCK_SECONDS = 5
"""The lock of a journal file is a killed process's after so long."""


def check(search: SearchConfig) -> None:
    """Make the sampler once, so that a wrong setting is refused early; raise `ConfigError`."""
    sampler = _sampler(search, 0)
    if isinstance(sampler, CmaEsSampler) and importlib.util.find_spec("cmaes") is None:
        raise ConfigError("search.sampler", "needs the package cmaes", search.sampler.target, "pip install cmaes")
    if isinstance(sampler, NUMBERS_ONLY) and all(dimension.choices for dimension in search.space):
        rule = "must have a range of numbers to search: it would draw choices at random"
        raise ConfigError("search.space", rule, [one.path for one in search.space], "use +search=tpe or +search=gp")
    if search.storage is not None and "://" in search.storage:
        open_storage(search.storage)
    with _quiet():
        optuna.create_study(sampler=sampler).ask(_distributions(search.space))


def num_candidates(search: SearchConfig) -> int:
    """Return how many candidates a study has in the end: a grid may have fewer than it is allowed."""
    sampler = _sampler(search, 0)
    return (
        min(search.num_candidates, len(sampler._all_grids))
        if isinstance(sampler, GridSampler)
        else search.num_candidates
    )


def batch_size(search: SearchConfig) -> int:
    """Return how many candidates are asked for at once."""
    return search.batch or MOST_AT_ONCE


def is_adaptive(search: SearchConfig) -> bool:
    """Return whether what is drawn may depend on results, and so on how candidates are cut into batches."""
    return type(_sampler(search, 0)) not in NOT_ADAPTIVE


def grid(space: Sequence[Dimension], points: int, seed: int) -> GridSampler:
    """Return Optuna's grid over all choices and so many points of every range."""
    if points < 1:
        raise ValueError(f"points must be at least 1, not {points}")
    return GridSampler({dimension.path: dimension.points(points) for dimension in space}, seed=seed)


class OptunaStudy:
    """One study: it lives in memory, is asked anew for what the store knows, and writes a copy for people to look at.

    Samplers may keep a state in the study, as pickles too (`CmaEsSampler`). So nothing that another process has written
    may get into it but values and results, which are plain numbers and text.
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
            name: the study's, the same for the same search.
            search: how to sample.
            directions: `minimize` or `maximize` for each objective.
            storage: where the copy goes: a path of a journal file or a URL of a database.
            seed_of: a candidate's number to its seed.
            known: the candidates that the store has, in order: they are asked for again, and are what they were.
        """
        self._search, self._seed_of = search, seed_of
        self._known = {candidate.number: candidate for candidate in known}
        self._study = optuna.create_study(directions=list(directions))
        self._copy = _Copy(name, directions, storage)

    @property
    def count(self) -> int:
        """How many candidates were asked for."""
        return len(self._study.get_trials(deepcopy=False))

    def ask(self) -> list[Candidate]:
        """Return the candidates of the next batch, none at the end; those that the store knows are what they were.

        Batches begin at multiples of their size, however large the study was before.
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
                trial.relative_params  # noqa: B018 - a sampler that walks a sequence takes its step, whatever is known
                values = {dimension.path: _suggest(trial, dimension) for dimension in self._search.space}
            asked.append(Candidate(trial.number, values))
        return asked

    def tell(self, outcomes: Mapping[int, CandidateResult]) -> None:
        """Say what came of the candidates of a batch, by number."""
        self._study.sampler = RandomSampler()  # none of them learns from being told; a grid would stop a loop, not ours
        trials = self._study.get_trials(deepcopy=False)
        for number, outcome in outcomes.items():
            with _quiet():
                if outcome.values is None:
                    self._study.tell(number, state=TrialState.FAIL)
                elif outcome.pruned:
                    self._study._storage.set_trial_intermediate_value(trials[number]._trial_id, 0, outcome.values[0])
                    self._study.tell(number, state=TrialState.PRUNED)
                else:
                    self._study.tell(number, list(outcome.values))
        self._copy.write(self._study.get_trials(deepcopy=False))


class _Copy:
    """A study in a storage, for people and their tools to look at: written batch by batch, never read."""

    def __init__(self, name: str, directions: Sequence[Direction], storage: str) -> None:
        self._name, self._directions, self._where = name, directions, storage
        self._study: optuna.Study | None = None
        self._count = 0

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Add the trials that are not there yet; a storage that fails is tried again with the next batch."""
        try:
            if self._study is None:
                self._study, self._count = self._made_anew(), 0
            for trial in trials[self._count :]:
                plain = copy.copy(trial)
                plain.system_attrs = {}  # a sampler's, perhaps a pickle: nobody shall have to load it
                self._study.add_trial(plain)
                self._count += 1
        except Exception as error:  # the storage's, of many kinds
            log.warning("the study was not written to %s (%s): nothing is lost", self._where, _first_line(error))
            self._study = None

    def _made_anew(self) -> optuna.Study:
        storage = open_storage(self._where)
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
    """Write the copy of a study that has ended, if the storage has none; what fails is a warning."""
    try:
        if name in optuna.get_all_study_names(open_storage(storage)):
            return
    except Exception as error:  # the storage's, of many kinds
        log.warning("the study %s cannot be looked at in %s: %s", name, storage, _first_line(error))
        return
    distributions = _distributions(search.space)
    _Copy(name, directions, storage).write([_frozen(*one, distributions) for one in ended])


def _frozen(candidate: Candidate, outcome: CandidateResult, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    params = dict(candidate.values)
    if outcome.values is None:
        return create_trial(params=params, distributions=distributions, state=TrialState.FAIL)
    if outcome.pruned:
        value = outcome.values[0]
        pruned, seen = TrialState.PRUNED, {0: value}
        return create_trial(
            params=params, distributions=distributions, state=pruned, value=value, intermediate_values=seen
        )
    return create_trial(params=params, distributions=distributions, values=list(outcome.values))


Finished = Sequence[tuple[Mapping[str, Any], float]]


def importance(
    space: Mapping[str, Mapping[str, Any]], finished: Finished, maximize: bool
) -> dict[str, tuple[float, float]]:
    """Return each hyperparameter's share of the variance of the objective, by functional ANOVA on a random forest.

    Beside it stands its standard error: how much it varies where as many candidates are drawn from these, with
    replacement. `space` is the dimensions as plain values. Empty where there are too few candidates, or none differs
    from another.

    Source: Hutter, Hoos and Leyton-Brown, ICML 2014; Optuna's implementation.
    """
    distributions = _distributions([Dimension(path, **_arguments(spec)) for path, spec in space.items()])
    shares = _shares(distributions, finished, maximize, TREES) if len(finished) >= FEWEST else {}
    draw = np.random.default_rng(0).integers
    count = len(finished)
    again = [
        _shares(distributions, [finished[place] for place in draw(0, count, count)], maximize, TREES // 8)
        for _ in range(DRAWS if shares else 0)
    ]
    if not any(again):
        return {}
    return {
        path: (float(shares[path]), float(np.std([one.get(path, 0.0) for one in again if one])))
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
        except RuntimeError:  # no tree has seen two values
            return {}


def open_storage(where: str) -> BaseStorage:
    """Return Optuna's storage at a URL, or a journal file at a path.

    A PostgreSQL server keeps Optuna's tables in a schema of their own: some have the names of ours.
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
        with path.open("rb+") as file:  # a process that was killed while it wrote has left half a line
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
        try:
            return JournalStorage(JournalFileBackend(str(path), lock))
        except Exception as error:  # whatever Optuna makes of lines that are not its own
            aside = path.with_name(f"{path.name}.broken")
            log.warning("%s cannot be read (%r): it is now %s, and made anew from the store", path, error, aside.name)
            path.rename(aside)
            path.touch()
            return JournalStorage(JournalFileBackend(str(path), lock))
    finally:
        lock.release()


def default_storage(store_url: str) -> str:
    """Return where the studies of a store are kept: a journal file beside it, or its own database server."""
    kind, _, rest = store_url.partition("://")
    if kind.startswith("postgresql"):
        return store_url
    file = rest.removeprefix("/") if kind.startswith("sqlite") else ""
    return str(Path(file).with_name("studies.journal")) if file else "outputs/studies.journal"


def _sampler(search: SearchConfig, seed: int, study_seed: int | None = None) -> BaseSampler:
    """Return the configured sampler, fresh, with a candidate's seed, or the study's where it walks one sequence."""
    component = search.sampler
    target = component.locate()
    known = inspect.signature(target).parameters if callable(target) else {}
    kind = target if isinstance(target, type) else None
    one = target is grid or (kind is not None and issubclass(kind, ONE_SEED))
    more: dict[str, Any] = {"seed": study_seed if one and study_seed is not None else seed} if "seed" in known else {}
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
    """Optuna warns about what is experimental in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
