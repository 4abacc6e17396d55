"""The frozen records that all modules pass around: a trial's specification and its result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from evalbench.seeds import Phase, Role

TRAINING_VERSION = 3
"""Raised by hand when a change of the training code changes results; part of every trial's identity."""
LARGEST_SCORE = 1e38
"""Larger scores of other programs stand for infinity, such as the largest number of 32 or 64 bits."""


class State(StrEnum):
    """How a trial ended, or that it has not."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    DIVERGED = "DIVERGED"  # a finding about the technique
    FAILED = "FAILED"  # our fault, or the user's code's


@dataclass(frozen=True)
class Budget:
    """The budget of a trial: passes over the training rows, or optimizer steps. Exactly one of the two."""

    epochs: int | None = None
    steps: int | None = None
    validations: int = 20
    """Number of equally spaced validations of a budget in steps; a budget in epochs validates after each epoch."""
    patience: int | None = None
    """Number of validations without a lower loss after which a trial ends."""

    def validation_steps(self, steps_per_epoch: int) -> list[int]:
        """Return the steps after which to validate, ascending; the last one ends the trial."""
        if self.epochs is not None:
            return [steps_per_epoch * (epoch + 1) for epoch in range(self.epochs)]
        assert self.steps is not None
        points = min(self.validations, self.steps)
        return [round(self.steps * (point + 1) / points) for point in range(points)]

    def spec(self) -> dict[str, int]:
        """Return the part of a trial's identity."""
        patience = {} if self.patience is None else {"patience": self.patience}
        if self.epochs is not None:
            return {"epochs": self.epochs, **patience}
        return {"steps": self.steps or 0, "validations": self.validations, **patience}


class Position(NamedTuple):
    """How far trials that train together have come."""

    members: int
    step: int
    """The steps that each has taken."""
    steps: int
    """The steps of a whole trial."""


@dataclass(frozen=True)
class TrialSpec:
    """Everything that determines the result of one training, and nothing else: no device, no display, no file name."""

    workload: str
    settings: Mapping[str, Any]
    """Plain values: data fingerprint and split, model, activation, optimizer, budget, precision."""
    root_seed: int
    seed: int
    roles: Mapping[Role, int] = field(default_factory=dict)
    """The seed index of each role whose own is not `seed`: empty, except in a variance design."""

    @cached_property
    def cell_id(self) -> str:
        """The identity of the cell: that of its trials without their seed indices."""
        return _digest(self._content(None))

    @cached_property
    def trial_id(self) -> str:
        """The identity of the trial, 20 hexadecimal digits."""
        roles = {"roles": {role.value: index for role, index in self.roles.items()}} if self.roles else {}
        return _digest({**self._content(self.seed), **roles})

    def index(self, role: Role) -> int:
        """Return the seed index of one role."""
        return self.roles.get(role, self.seed)

    def _content(self, seed: int | None) -> dict[str, Any]:
        return {
            "training_version": TRAINING_VERSION,
            "workload": self.workload,
            "settings": self.settings,
            "root_seed": self.root_seed,
            "seed": seed,
        }


@dataclass(frozen=True)
class Entrant:
    """A trial that trains in a cohort, with its differences from the other members."""

    seed: int
    """Its seed index."""
    phase: Phase = Phase.MEASURE
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The optimizer's hyperparameters in which it differs from the configuration."""
    stop: int | None = None
    """The validation after which a pruned search stops it; None: it competes within its cohort."""
    trial: TrialSpec | None = None
    """The trial that it is recorded as; None if it is only tried out."""

    @classmethod
    def of(cls, trial: TrialSpec, phase: Phase, settings: Mapping[str, Any] | None = None) -> "Entrant":
        """Return the entrant of a trial."""
        return cls(trial.seed, phase, settings or {}, trial=trial)

    @property
    def roles(self) -> Mapping[Role, int]:
        """The seed index of each role whose own is not `seed`."""
        return {} if self.trial is None else self.trial.roles

    def index(self, role: Role) -> int:
        """Return the seed index of one role."""
        return self.roles.get(role, self.seed)

    @property
    def spec(self) -> TrialSpec:
        """The trial, of an entrant that is recorded."""
        assert self.trial is not None
        return self.trial


@dataclass(frozen=True)
class CurvePoint:
    """One validation on the way."""

    epoch: float
    step: int
    train_loss: float | None
    """None: not known, because a program kept it to itself."""
    val_loss: float
    val_score: float
    monitored: float | None = None
    """The quantity that picks the epoch, negated if larger is better; None: the loss does."""

    @property
    def rank(self) -> float:
        """Return the value by which epochs are compared; lower is better."""
        return self.val_loss if self.monitored is None else self.monitored


def best_point(curve: Sequence[CurvePoint]) -> CurvePoint:
    """Return the validation whose weights are tested: the first of the best ones."""
    return min(curve, key=lambda point: point.rank)


@dataclass(frozen=True)
class TrialResult:
    """The result of one trial. A diverged trial carries the trivial predictor's metrics."""

    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    best_epoch: float | None = None
    diverged_step: int | None = None
    steps: int | None = None
    examples: int | None = None
    flops: int | None = None
    parameters: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    message: str | None = None
    log: str | None = None
    path: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """How its steps ran, with timings; stored in the provenance."""


@dataclass(frozen=True)
class Candidate:
    """One set of hyperparameters that a study asks for, by the key that each replaces."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class CandidateResult:
    """The result of a candidate: the value of each objective; None if a trial failed."""

    values: tuple[float, ...] | None
    pruned: bool = False


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
