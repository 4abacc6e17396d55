"""One technique on one workload: train what is not in the store yet."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evalbench import live, provenance, ranks, workloads
from evalbench.config import Config
from evalbench.errors import LeaseLostError
from evalbench.seeds import Role, derive
from evalbench.store import Store
from evalbench.trial import State, TrialResult, TrialSpec
from evalbench.workloads import Dataset, draw_split, references

log = logging.getLogger(__name__)

REFERENCES = {"trivial": references.trivial, "linear": references.linear}


@dataclass(frozen=True)
class Cell:
    """A checked configuration with its data: as many trials as seeds."""

    config: Config
    dataset: Dataset

    @classmethod
    def of(cls, config: Config) -> "Cell":
        """Load the data; raise `InputError` where it cannot be used."""
        return cls(config, workloads.load(config.dataset))

    @cached_property
    def specs(self) -> dict[str, TrialSpec]:
        """The trials by identity, in the order of their seeds."""
        root, seeds = self.config.root_seed, range(self.config.num_seeds)
        trials = (TrialSpec(self.workload, self.settings, root, seed) for seed in seeds)
        return {spec.trial_id(): spec for spec in trials}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What determines a trial's result beside its seeds: plain values."""
        config = self.config
        return {
            "data": self.workload_identity,
            "model": config.model.spec(),
            "activation": {**config.activation.module.spec(), "gain": config.activation.gain},
            "optimizer": config.optimizer.spec(),
            "schedule": None if config.schedule is None else config.schedule.spec(),
            "label_smoothing": config.label_smoothing,
            "budget": config.budget.spec(),
            "precision": config.precision,
        }

    @property
    def id(self) -> str:
        """The cell's identity, the same for any number of seeds."""
        return next(iter(self.specs.values())).cell_id()

    @property
    def workload(self) -> str:
        """The workload's name: that of its data set."""
        return self.dataset.name

    @property
    def workload_identity(self) -> dict[str, Any]:
        """What determines the rows that every trial sees, beside the seeds."""
        split = self.config.split
        return {"fingerprint": self.dataset.fingerprint, "validation": split.validation, "test": split.test}

    @property
    def workload_id(self) -> str:
        """The hash that reference rows are stored under."""
        text = json.dumps([self.workload, self.workload_identity, self.config.root_seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def check(cell: Cell) -> None:
    """Build what the cell would train, so that a wrong setting is refused early; raise `InputError`."""
    from evalbench import training  # torch and Lightning: only where something is to be trained

    training.check(cell.config, cell.dataset)


def run(cell: Cell, store: Store) -> None:
    """Train the trials that the store lacks; what raises becomes FAILED trials, and the caller goes on.

    In a group of ranks, rank zero does all this; the others help it to train, and what they raise ends the group.
    """
    if ranks.here().index:
        with live.watch(cell.config, cell.specs, store) as watch:
            for _ in _train(cell, [], watch):
                pass  # rank zero writes
        return
    _complete_references(cell, store)
    ids = list(cell.specs)
    if not store.missing(ids):
        return
    with store.lease(cell.id) as lease:
        missing = [cell.specs[trial_id] for trial_id in store.missing(ids)]
        if not missing:
            return  # another process trained them while this one waited
        log.info("training %s on %s, seeds %s", cell.config.technique, cell.workload, [spec.seed for spec in missing])
        by_seed = {spec.seed: spec for spec in missing}
        try:
            ended: dict[int, TrialResult] = {}
            with live.watch(cell.config, cell.specs, store) as watch:
                for seeds, results in _train(cell, list(by_seed), watch):
                    trained = [by_seed.pop(seed) for seed in seeds]
                    store.record(zip(trained, results, strict=True), provenance.collect(), lease)
                    ended.update(zip(seeds, results, strict=True))
            if cell.config.save == "best":
                _keep_best(cell, ended)
        except LeaseLostError:
            raise
        except Exception as error:
            log.exception("the cell failed")
            failed = [(spec, _failure(error, cell.config)) for spec in by_seed.values()]
            store.record(failed, provenance.collect(), lease)


def _train(cell: Cell, seeds: list[int], watch: live.Watch | None) -> Iterator[tuple[list[int], list[TrialResult]]]:
    """Yield, cohort by cohort, the seeds that rank zero names and their results; every rank of a group does so."""
    from evalbench import training

    group = ranks.here()
    seeds = group.agree(seeds)
    keep_in = None if cell.config.save == "none" else weights_folder(cell)
    if cell.config.trainer_split == "data":
        yield from training.train_all(cell.config, cell.dataset, seeds, cell.id, keep_in, watch)
        return
    mine = seeds[group.index :: group.count]
    name = f"{cell.id}-rank{group.index}"
    share = list(training.train_all(cell.config, cell.dataset, mine, name, keep_in, watch))
    yield from (part for one in group.gather(share) for part in one)


def weights_folder(cell: Cell) -> Path:
    """Return where the weights of the cell's trials are kept."""
    choices = cell.config.choices
    readable = [cell.workload, *(choices[group] for group in ("model", "optimizer") if group in choices)]
    return cell.config.weights_folder / "-".join([*readable, cell.id[:8]])


def _keep_best(cell: Cell, results: Mapping[int, TrialResult]) -> None:
    """Each cohort has saved the weights of its best trial: keep those of the cell's best."""
    from evalbench import weights

    complete = {seed: result for seed, result in results.items() if result.state is State.COMPLETE}
    ordered = sorted(complete, key=lambda seed: min(point.val_loss for point in complete[seed].curve))
    for seed in ordered[1:]:
        shutil.rmtree(weights.folder(weights_folder(cell), seed), ignore_errors=True)


def fail(cell: Cell, store: Store, error: Exception) -> None:
    """Record as FAILED what the cell still lacks, because its job did not live to do so itself."""
    missing = [cell.specs[trial_id] for trial_id in store.missing(list(cell.specs))]
    store.record([(spec, _failure(error, cell.config)) for spec in missing], provenance.collect())


def _complete_references(cell: Cell, store: Store) -> None:
    known = store.references(cell.workload_id)
    new = {}
    for seed in range(cell.config.num_seeds):
        split_seed = derive(cell.config.root_seed, cell.workload, Role.SPLIT, seed)
        for name, predictor in REFERENCES.items():
            if (seed, name) not in known:
                split = draw_split(cell.dataset, cell.config.split.validation, cell.config.split.test, split_seed)
                new[seed, name] = predictor(cell.dataset, split)
    store.record_references(cell.workload_id, new)


def _failure(error: Exception, config: Config) -> TrialResult:
    lines = str(error).strip().splitlines() or ["no message"]
    folder = config.log_folder
    return TrialResult(
        state=State.FAILED,
        message=f"{type(error).__name__}: {lines[0]}",
        log=str(folder / "evalbench.log") if folder else None,
    )
