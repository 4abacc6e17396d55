"""The configuration of one cell as frozen typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from evalbench import space
from evalbench.config.activation import ActivationConfig
from evalbench.config.command import CommandConfig
from evalbench.config.component import Component
from evalbench.config.compression import DistillationConfig
from evalbench.config.engines import COHORT, ENGINES, uses
from evalbench.config.estimator import EstimatorConfig
from evalbench.config.judging import TaskConfig
from evalbench.config.lightning import LightningConfig
from evalbench.config.loss import LossConfig
from evalbench.config.optimizer import OptimizerConfig
from evalbench.config.parts import PARTS, Part
from evalbench.config.pretrained import PretrainedConfig
from evalbench.config.reader import Reader, check_leaves
from evalbench.config.search import SearchConfig
from evalbench.config.split import SplitConfig
from evalbench.errors import ConfigError
from evalbench.trial import Budget


@dataclass(frozen=True)
class EvaluationConfig:
    """The question of one evaluation."""

    name: str
    question: str | None
    factor: str | None
    baseline: str | None
    rope: Mapping[str, float]
    """Unit to the smallest difference that matters."""
    generated: bool
    """Generated workloads count in the first verdict."""
    looks: tuple[int, ...]
    """Numbers of seeds after which the techniques are judged, ascending."""
    variance: Mapping[str, int] | None
    """Source of noise to its levels in the variance design; None: the noise is not decomposed."""


@dataclass(frozen=True)
class TrackerConfig:
    """The trackers that trials are mirrored to."""

    trackers: Mapping[str, Component]
    """By the name that the user chose; none if results stay in the store."""
    live: bool
    """Curves are mirrored while a cohort trains, not at its end."""
    patience_seconds: float
    """Longest wait for trackers at the end of a sweep."""


@dataclass(frozen=True)
class Config:
    """The configuration of one cell."""

    dataset: Component
    task: TaskConfig
    target_score: float | None
    """The value of the workload's metric that counts as solved."""
    engine: str
    """What trains it: a key of `ENGINES`."""
    parts: Mapping[str, Any]
    """Config group to the value of that part of the technique: a `Chosen`, or None if the part is left out."""
    part_settings: Mapping[str, Mapping[str, Any]]
    """Config group to the settings that the part was read from."""
    budget: Budget
    split: SplitConfig
    precision: str
    matmul_precision: str
    """That of products and convolutions of float32 numbers: `highest`, `high` or `medium`, as torch names them."""
    profile: bool
    """One validation interval of the cell's first cohort is recorded for people to look at. Changes no result."""
    devices: int
    """Processes that train the cell together, one per device."""
    trainer_split: Literal["data", "members"]
    """What the processes share: every batch, or the members of the cohort."""
    strategy: str
    """Lightning's, if there are several devices."""
    trainer: Mapping[str, Any]
    """Settings that Lightning's `Trainer` takes as they are."""
    verify: bool
    """A user's network is compared with plain PyTorch in its first steps."""
    path: str
    """How steps run: auto, batched, lone or compiled; all but auto are part of a trial's identity."""
    data: str
    """Where inputs stay: auto, device or host; never part of results."""
    compile_folder: Path
    """The folder of compiled programs, for this user alone."""
    microbatch_size: int | None
    """Most rows of one pass; larger batches are accumulated exactly. Never changes a result."""
    checkpoint_minutes: float
    """Interval between two checkpoints of a cohort in training."""
    checkpoint_folder: Path
    cost_rounds: int
    """Interleaved rounds in which every technique is timed alone; 0 disables timing."""
    save: str
    """Trials whose final weights are kept: none, the best of each cell, or all."""
    weights_folder: Path
    tracker: TrackerConfig
    store_url: str
    reports: Path
    evaluation: EvaluationConfig
    search: SearchConfig | None
    """None: the technique is measured as it stands."""
    root_seed: int
    num_seeds: int
    """Trials of the cell: the last look."""
    choices: Mapping[str, str]
    """Config group to chosen option."""
    overrides: Mapping[str, str]
    """Key to value, as this cell's command line says it."""
    tree: Mapping[str, Any]
    """The whole resolved tree as plain values, for display only."""

    @property
    def accelerator(self) -> str:
        """The kind of device to train on, as Lightning names it."""
        return str(self.trainer.get("accelerator", "auto"))

    @property
    def model(self) -> Component:
        """The network."""
        model: Component | PretrainedConfig = self.parts["model"]
        return model.component if isinstance(model, PretrainedConfig) else model

    @property
    def estimator(self) -> EstimatorConfig:
        """The estimator in the place of a network."""
        estimator: EstimatorConfig = self.parts["model"]
        return estimator

    @property
    def lightning(self) -> LightningConfig:
        """The LightningModule that trains by itself."""
        lightning: LightningConfig = self.parts["model"]
        return lightning

    @property
    def command(self) -> CommandConfig:
        """The command line in the place of a network."""
        command: CommandConfig = self.parts["model"]
        return command

    @property
    def activation(self) -> ActivationConfig:
        """The network's non-linearity."""
        activation: ActivationConfig = self.parts["activation"]
        return activation

    @property
    def optimizer(self) -> OptimizerConfig:
        """The optimizer."""
        optimizer: OptimizerConfig = self.parts["optimizer"]
        return optimizer

    @property
    def schedule(self) -> Component | None:
        """The learning rate's schedule; None for a constant rate."""
        schedule: Component | None = self.parts["schedule"]
        return schedule

    @property
    def loss(self) -> LossConfig:
        """The loss that is trained on."""
        loss: LossConfig = self.parts["loss"]
        return loss

    @property
    def adaptation(self) -> Component | None:
        """How a network with pretrained weights is adapted; None: all its parameters train."""
        adaptation: Component | None = self.parts["adaptation"]
        return adaptation

    @property
    def compression(self) -> Component | DistillationConfig | None:
        """How the network becomes smaller; None: it stays as it is trained."""
        compression: Component | DistillationConfig | None = self.parts["compression"]
        return compression

    @property
    def used_parts(self) -> tuple[Part, ...]:
        """The parts that its trials depend on."""
        return tuple(part for part in PARTS if uses(self.engine, part.group))

    @property
    def identity(self) -> dict[str, Any]:
        """The entries of these parts in the settings that identify a trial."""
        entries = [part.identity(self.parts[part.group]) for part in self.used_parts]
        return {key: value for part in entries for key, value in part.items()}

    @property
    def used_choices(self) -> dict[str, str]:
        """Config group to chosen option, without the parts that play no role."""
        unused = {part.group for part in PARTS} - {part.group for part in self.used_parts}
        return {group: option for group, option in self.choices.items() if group not in unused}

    @property
    def length(self) -> Budget:
        """The budget of its trials; what the engine trains at once is one step, validated at its end."""
        return self.budget if ENGINES[self.engine].budget else Budget(steps=1, validations=1)

    @property
    def training(self) -> dict[str, Any]:
        """What determines a result beside the parts, as it stands in a trial's identity: budget, precision, path."""
        engine = ENGINES[self.engine]
        budget = {"budget": self.budget.spec()} if engine.budget else {}
        forced = {"path": self.path} if self.engine == COHORT and self.path != "auto" else {}
        return {**budget, **(self.numbers if engine.precision else {}), **forced}

    @property
    def member_settings(self) -> dict[str, Any]:
        """The settings in which trials that train together may differ: the optimizer's own."""
        return dict(self.optimizer.component.arguments) if self.engine == COHORT else {}

    @property
    def numbers(self) -> dict[str, str]:
        """The precision of all numbers, as it stands in a trial's identity: the default of products is left out."""
        products = {} if self.matmul_precision == "highest" else {"matmul_precision": self.matmul_precision}
        return {"precision": self.precision, **products}

    @cached_property
    def code(self) -> dict[str, dict[str, str]]:
        """The user's own code that a trial runs; a loader is known by the data that it returns."""
        chosen = [part for part in self.parts.values() if part is not None]
        return {name: pieces for part in chosen for name, pieces in part.code().items()}

    @cached_property
    def technique(self) -> str:
        """The label of the technique: the factor's value in this cell."""
        factor = self.evaluation.factor
        return self.label(factor) if factor else "-".join(self.named_parts)

    @property
    def named_parts(self) -> list[str]:
        """The chosen model, and the chosen optimizer of a network."""
        return [self.used_choices[group] for group in ("model", "optimizer") if group in self.used_choices]

    def with_values(self, values: Mapping[str, Any]) -> "Config":
        """Return the configuration with the values at some keys of its parts replaced, such as `optimizer.lr`.

        Only the parts that change are read and checked anew; raises `ConfigError`.
        """
        if not values:
            return self
        settings = space.replaced(self.part_settings, values)
        changed = [part for part in PARTS if settings[part.group] is not self.part_settings[part.group]]
        for part in changed:
            check_leaves(settings[part.group], part.group)
        new = {part.group: part.read(Reader(settings[part.group], part.group)) for part in changed}
        tree = space.replaced(self.tree, values)
        return replace(self, parts={**self.parts, **new}, part_settings=settings, tree=tree)

    def value(self, key: str) -> Any:
        """Return the value at a key of a part, such as `optimizer.betas.0`."""
        return space.value_at(self.part_settings, key)

    def label(self, factor: str) -> str:
        """Return the value of a factor in this cell: a group's option or a key's value."""
        if factor in self.choices:
            return self.choices[factor]
        value: Any = self.tree
        for key in factor.split("."):
            if not isinstance(value, Mapping) or key not in value:
                remedy = "for example " + ", ".join(sorted(self.choices)[:4]) + ", model.depth"
                raise ConfigError("evaluation.factor", "must be a config group or a key", factor, remedy)
            value = value[key]
        return str(value)
