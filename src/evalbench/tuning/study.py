"""One search for one technique on one workload: its identity, its candidates, and their results."""

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

from evalbench.cell import Cell
from evalbench.config import SearchConfig
from evalbench.engine import halving
from evalbench.seeds import Phase
from evalbench.store import Store, StoredCandidate, StoredTrial
from evalbench.tasks.metric import Direction
from evalbench.trial import Candidate, CandidateResult, State, TrialResult, TrialSpec, best_point
from evalbench.tuning import timing
from evalbench.tuning.objectives import TIMED, direction, objectives


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


N = TypeVar("N", bound=_Numbered)


@dataclass(frozen=True)
class TriedCandidate:
    """A candidate with its trials; trials of a pruned candidate as they were when it lost."""

    candidate: Candidate
    trials: tuple[StoredTrial, ...]
    result: CandidateResult | None
    """None as long as a trial is missing."""

    @property
    def val_loss(self) -> float:
        """The mean of the lowest validation losses of its trials."""
        losses = [min((point.val_loss for point in trial.result.curve), default=math.inf) for trial in self.trials]
        return statistics.fmean(losses) if losses else math.inf

    @property
    def state(self) -> State:
        """The state of all its trials together."""
        states = {trial.result.state for trial in self.trials}
        order = (State.FAILED, State.PRUNED, State.DIVERGED, State.COMPLETE)
        return next((state for state in order if state in states), State.RUNNING)


@dataclass(frozen=True)
class Study:
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
        """A hash of everything that its candidates and their scores depend on; more candidates continue the same study.

        Batches begin at multiples of their size. So candidates and results do not depend on how many candidates the
        study was started with. They depend on the batch size if candidates learn or compete.
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
        """The name in Optuna's tools: readable, and unique because it ends with the identity."""
        parts = [self.cell.config.evaluation.name, self.cell.config.technique, self.cell.workload]
        return "-".join([*parts, *([f"study{self.number}"] if self.search.num_studies > 1 else []), self.id])

    @property
    def objectives(self) -> tuple[str, ...]:
        """The quantities that candidates are judged by."""
        return objectives(self.cell)

    @property
    def is_timed(self) -> bool:
        """Whether candidates are timed, because an objective needs it."""
        return any(name in TIMED for name in self.objectives)

    def direction(self, objective: str) -> Direction:
        """Return the direction of an objective."""
        return direction(objective, self.cell)

    @property
    def seeds(self) -> range:
        """The seed indices of every candidate; studies share none."""
        return range(self.number * self.search.num_seeds, (self.number + 1) * self.search.num_seeds)

    def tuned(self, candidate: Candidate) -> Cell:
        """Return the cell at a candidate's values, in the tune phase."""
        return self.cell.at(candidate.values, Phase.TUNE)

    def specs(self, candidate: Candidate) -> list[TrialSpec]:
        """Return a candidate's trials."""
        tuned = self.tuned(candidate)
        return [tuned.spec(seed) for seed in self.seeds]

    def history(self, store: Store) -> list[TriedCandidate]:
        """Return every stored candidate of this study, with its trials.

        A search with more candidates may have continued the study: the additional candidates are left out.
        """
        stored = store.candidates(self.id)[: self.search.num_candidates]
        trials = store.trials([trial_id for candidate in stored for trial_id in candidate.trial_ids])
        history = []
        for company in self.companies(stored):
            lost, _ = self.race([candidate.trial_ids for candidate in company], trials)
            history += [self._tried(stored, trials, lost.get(stored.trial_ids), store) for stored in company]
        return history

    def companies(self, candidates: Sequence[N]) -> list[list[N]]:
        """Return the candidates by batch, because a batch competes; all together if candidates are not pruned."""
        if self.search.pruning is None:
            return [list(candidates)]
        from evalbench.search import batch_size

        groups: dict[int, list[N]] = {}
        for candidate in candidates:
            groups.setdefault(candidate.number // batch_size(self.search), []).append(candidate)
        return list(groups.values())

    def race(
        self, company: Sequence[tuple[str, ...]], trials: Mapping[str, StoredTrial]
    ) -> tuple[dict[tuple[str, ...], int], int]:
        """Return the validation after which each loser ends, and the validation that all others must reach next.

        A candidate is named by its trials' identities: two with the same hyperparameters compete as one.
        """
        if self.search.pruning is None:
            return {}, self.validations
        runners = list(dict.fromkeys(company))
        results = [[trials[name].result if name in trials else None for name in names] for names in runners]
        by_loss = self.objectives[0] == "val/log_loss"
        sign = self.cell.dataset.metric.sign
        lost, reach = halving.race(results, self.search.pruning, self.validations, by_loss, sign)
        return {runners[index]: rung for index, rung in lost.items()}, reach

    @property
    def validations(self) -> int:
        """The number of validations of a trial that is not pruned."""
        return num_validations(self.cell)

    def _tried(
        self, stored: StoredCandidate, trials: Mapping[str, StoredTrial], lost_at: int | None, store: Store
    ) -> TriedCandidate:
        ended = tuple(trials[trial_id] for trial_id in stored.trial_ids if trial_id in trials)
        candidate = Candidate(stored.number, stored.values)
        if len(ended) < len(stored.trial_ids):
            return TriedCandidate(candidate, ended, None)
        if any(trial.result.state is State.FAILED for trial in ended):
            return TriedCandidate(candidate, ended, CandidateResult(None))
        if lost_at is not None:
            ended = tuple(replace(trial, result=self._as_of(lost_at, candidate, trial.result)) for trial in ended)
        elif not all(halving.reaches(trial.result, self.validations) for trial in ended):
            return TriedCandidate(candidate, ended, None)
        timed = timing.known(self.tuned(candidate), store) if self.is_timed else {}
        if self.is_timed and not timed:
            return TriedCandidate(candidate, ended, None)
        results = [trial.result for trial in ended]
        values = tuple(
            statistics.fmean(self._value(name, candidate, result, timed) for result in results)
            for name in self.objectives
        )
        return TriedCandidate(candidate, ended, CandidateResult(values, pruned=lost_at is not None))

    def _as_of(self, validation: int, candidate: Candidate, result: TrialResult) -> TrialResult:
        """Return a trial as if it had been pruned after a validation, however long it was trained."""
        if len(result.curve) < validation or not halving.trains_after(result, validation):
            return result  # it ended by itself
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
        if result.state is State.PRUNED:  # there is one objective, measured at each validation
            best = best_point(result.curve)
            return best.val_loss if name == "val/log_loss" else best.val_score
        if name in timed:
            return timed[name]
        if name == "cost/flops":
            spent = math.inf if result.flops is None else result.flops  # unknown is not cheap
            return spent * (self._times_longer(candidate, result) if result.state is State.DIVERGED else 1.0)
        if name == "cost/parameters":
            return float(result.parameters or 0)
        return result.metrics[name]

    def _times_longer(self, candidate: Candidate, result: TrialResult) -> float:
        """Return the budget as a multiple of a diverged trial's work: diverging makes no trial cheaper."""
        config, num_rows = self.tuned(candidate).config, self._rows_of_epoch(candidate, result)
        steps_per_epoch = math.ceil(num_rows / config.optimizer.rows_per_step(num_rows))
        steps = config.budget.validation_steps(steps_per_epoch)[-1]
        return self._examples(candidate, result, steps) / (result.examples or 1)

    def _examples(self, candidate: Candidate, result: TrialResult, steps: int) -> int:
        """Return the number of examples that a candidate's trial has seen after some steps."""
        num_rows = self._rows_of_epoch(candidate, result)
        rows = self.tuned(candidate).config.optimizer.rows_per_step(num_rows)
        epochs, rest = divmod(steps, math.ceil(num_rows / rows))
        return epochs * num_rows + rest * rows

    def _rows_of_epoch(self, candidate: Candidate, result: TrialResult) -> int:
        from evalbench import parts

        return parts.rows_of_epoch(self.tuned(candidate).config, self.cell.development, result.num_train or 1)

    def is_complete(self, store: Store) -> bool:
        """Return whether all its candidates have ended and none of them failed."""
        from evalbench import search

        results = [tried.result for tried in self.history(store)]
        return len(results) >= search.num_candidates(self.search) and all(
            result is not None and result.values is not None for result in results
        )

    def best(self, store: Store) -> TriedCandidate | None:
        """Return the candidate to measure: the best by the first objective; ties go to the lower loss."""
        finished = [
            tried
            for tried in self.history(store)
            if tried.result is not None and tried.result.values is not None and not tried.result.pruned
        ]
        sign = 1 if self.direction(self.objectives[0]) == "minimize" else -1

        def order(tried: TriedCandidate) -> tuple[float, float, int]:
            assert tried.result is not None
            assert tried.result.values is not None
            return sign * tried.result.values[0], tried.val_loss, tried.candidate.number

        return min(finished, key=order, default=None)

    def chosen(self, store: Store) -> Cell | None:
        """Return the cell at the best candidate once all have ended, or None."""
        from evalbench import search

        history = self.history(store)
        ended = len(history) >= search.num_candidates(self.search) and all(
            tried.result is not None for tried in history
        )
        best = self.best(store) if ended else None
        return None if best is None else self.cell.at(best.candidate.values, study=self.number)

    @cached_property
    def unchosen(self) -> list[TrialSpec]:
        """The trials that stand for the measured ones if there is nothing to measure."""
        cell = self.cell
        settings = {**cell.settings, "best_of_study": self.id}
        seeds = cell.at({}, study=self.number).seeds
        return [TrialSpec(cell.workload, settings, cell.config.root_seed, seed) for seed in seeds]


def num_validations(cell: Cell) -> int:
    """Return the number of validations of a trial that ends with its budget, the same for all candidates."""
    return len(cell.config.length.validation_steps(steps_per_epoch=1))


def studies(cell: Cell) -> list[Study]:
    """Return the studies of a cell; none if nothing is searched."""
    search = cell.config.search
    return [] if search is None else [Study(cell, number) for number in range(search.num_studies)]


def num_trials(cells_of_plan: Sequence[Cell]) -> int:
    """Return the number of trials that the searches of some cells train."""
    searches = [study for cell in cells_of_plan for study in studies(cell)]
    return sum(num_candidates(study) * study.search.num_seeds for study in searches)


def num_candidates(study: Study) -> int:
    """Return the number of candidates of a complete study."""
    from evalbench import search

    return search.num_candidates(study.search)
