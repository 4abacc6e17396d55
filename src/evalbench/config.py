"""Hydra's tree, read once into frozen typed values; every check on a value stands here.

No room below this one sees a `DictConfig`. A value that breaks a rule raises `ConfigError`, which names the key, the
rule, the value and the remedy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evalbench import own_code, space
from evalbench.errors import ConfigError, InputError
from evalbench.names import LONGEST_FILE_NAME, file_name
from evalbench.space import Dimension
from evalbench.trial import Budget

PRECISIONS = ("32-true", "64-true", "bf16-mixed")
TRAINER_SPLITS = ("data", "members")
STRATEGIES = ("auto", "ddp")
SPACED = ("optimizer", "activation", "model", "schedule")
"""Groups whose options may carry a search space of their own."""
SAVES = ("none", "best", "all")
OURS = {
    "use budget=… instead": (
        "max_epochs", "max_steps", "max_time", "min_epochs", "min_steps", "fast_dev_run", "overfit_batches",
        "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches",
        "check_val_every_n_epoch", "val_check_interval", "reload_dataloaders_every_n_epochs",
    ),
    "use tracker=… instead": ("logger", "log_every_n_steps"),
    "use +optimizer.clip_norm=… instead": ("gradient_clip_val", "gradient_clip_algorithm"),
    "use trainer.microbatch_size=… instead": ("accumulate_grad_batches",),
    "leave it out": (
        "callbacks", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "num_sanity_val_steps",
        "barebones", "model_registry", "plugins",
    ),
}  # fmt: skip
"""Settings of Lightning's Trainer that are not the user's, because they would change results unseen, by the remedy."""
ANYTHING = (Exception, SystemExit)
"""What own code may raise: `sys.exit` in it must not end the program as if all were well."""
CHOSEN = ("dataset", "model", "activation", "optimizer", "schedule", "budget", "trainer")
"""Groups of which every cell has one option."""


@dataclass(frozen=True)
class Component:
    """An object that the user chose by `_target_`: its config group, dotted path and keyword arguments."""

    group: str
    target: str
    arguments: Mapping[str, Any]

    def build(self, *args: Any, **more: Any) -> Any:
        """Call the target with its settings and what is given here; a complaint of it becomes one line."""
        try:
            return self._factory(*args, **more)
        except InputError:
            raise
        except InstantiationException as error:
            raise self._refused(error.__cause__ or error) from error
        except ANYTHING as error:  # what the user chose may raise anything
            raise self._refused(error) from error

    @property
    def _factory(self) -> Callable[..., Any]:
        """The target with its settings; what may be nested in them is made anew for each call."""
        return self._instantiated() if any(map(_has_parts, self.arguments.values())) else self._plain_factory

    @cached_property
    def _plain_factory(self) -> Callable[..., Any]:
        return self._instantiated()

    def _instantiated(self) -> Callable[..., Any]:
        settings = {"_target_": self.target, "_partial_": True, **self.arguments}
        factory: Callable[..., Any] = hydra.utils.instantiate(settings, _convert_="all")
        return factory

    def locate(self) -> Any:
        """Return the target itself, not called."""
        try:
            return own_code.locate(self.target)
        except ANYTHING as error:  # importing a user's module may raise anything
            raise ConfigError(f"{self.group}._target_", "must be importable", self.target, _reason(error)) from error

    def spec(self) -> dict[str, Any]:
        """Return the part of a trial's identity."""
        return {"_target_": self.target, **self.arguments}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code behind the component: the part of a trial's identity that names cannot hold."""
        try:
            return own_code.behind(self.spec())
        except ANYTHING as error:  # importing a user's module may raise anything
            rule = "must be code that can be imported and read"
            raise ConfigError(f"{self.group}._target_", rule, self.target, _reason(error)) from error

    def _refused(self, error: BaseException) -> ConfigError:
        rule = f"must hold settings that {self.target} accepts"
        return ConfigError(self.group, rule, dict(self.arguments), _reason(error))


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return (
        lines[-1] if isinstance(error, TypeError | ValueError | ImportError) else f"{type(error).__name__}: {lines[-1]}"
    )


def _has_parts(value: Any) -> bool:
    """Whether an argument is more than a value or a list of values: it may hold objects of its own."""
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(part, Mapping | list) for part in parts)


@dataclass(frozen=True)
class ActivationConfig:
    """A non-linearity, and the gain that initial weights behind it are scaled by."""

    module: Component
    gain: float | None
    """None: it is computed from the function, so that the second moment of a layer's output is 1."""


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer class with its hyperparameters, and how many examples each of its steps sees."""

    component: Component
    batch_size: int | Literal["full"]
    clip_norm: float | None
    """Each member's gradients are scaled down to this norm."""
    others: Component | None
    """What trains the parameters that are not matrices, where the class takes matrices only."""

    def spec(self) -> dict[str, Any]:
        """Return the part of a trial's identity."""
        others = {} if self.others is None else {"others": self.others.spec()}
        clip = {} if self.clip_norm is None else {"clip_norm": self.clip_norm}
        return {**self.component.spec(), "batch_size": self.batch_size, **clip, **others}

    def rows_per_step(self, num_train: int) -> int:
        """Return the batch size in rows."""
        return num_train if self.batch_size == "full" else min(self.batch_size, num_train)


@dataclass(frozen=True)
class SplitConfig:
    """Shares of the rows; what is left is for training."""

    validation: float
    test: float
    """Under a search all rows outside the development part."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What one evaluation asks."""

    name: str
    question: str | None
    factor: str | None
    baseline: str | None
    rope: Mapping[str, float]
    """Unit to the smallest difference in it that matters."""


@dataclass(frozen=True)
class TrackerConfig:
    """Where trials are mirrored to."""

    trackers: Mapping[str, Component]
    """By the name that the user chose; none where results stay in the store."""
    live: bool
    """Curves are mirrored while a cohort trains, not at its end."""
    patience_seconds: float
    """How long the end of a sweep waits for trackers."""


@dataclass(frozen=True)
class Pruning:
    """Successive halving: at each rung the worst candidates end, so that one in `eta` goes on."""

    eta: int
    first_rung: int
    """The validation after which candidates are compared first; later rungs follow at its multiples by `eta`."""

    def spec(self) -> dict[str, int]:
        """Return the part of a tune trial's identity."""
        return {"eta": self.eta, "first_rung": self.first_rung}

    def is_rung(self, validation: int) -> bool:
        """Return whether candidates are compared after a validation, counted from 1."""
        rung = self.first_rung
        while rung < validation:
            rung *= self.eta
        return rung == validation

    def rungs(self, validations: int) -> list[int]:
        """Return the validations after which candidates of so many validations are compared; the last is none."""
        return [validation for validation in range(1, validations) if self.is_rung(validation)]


@dataclass(frozen=True)
class SearchConfig:
    """How every technique's hyperparameters are searched on every workload."""

    sampler: Component
    num_trials: int
    """Candidates of a study."""
    num_seeds: int
    """Trainings of a candidate, whose mean judges it."""
    num_studies: int
    development: float
    """The share of the rows that the search sees; measured trials are tested on the others."""
    batch: int | None
    """Candidates asked for at once; None: as many as there are, up to a cap."""
    objectives: tuple[str, ...]
    """What is judged, the first one above all; empty for the workload's own metric on validation rows."""
    pruning: Pruning | None
    storage: str | None
    """Where Optuna keeps the studies; None: beside the store."""
    runs_up_to: int
    """A tracker gets a run for each tune trial of a study of at most so many trials, else one run for the study."""
    space: tuple[Dimension, ...]
    """The technique's own dimensions, and those that the search adds to every technique's."""


@dataclass(frozen=True)
class Config:
    """The configuration of one cell."""

    dataset: Component
    target_score: float | None
    """The value of the workload's metric that counts as solved."""
    model: Component
    activation: ActivationConfig
    optimizer: OptimizerConfig
    schedule: Component | None
    label_smoothing: float
    budget: Budget
    split: SplitConfig
    precision: str
    devices: int
    """Processes that train the cell together, one per device."""
    trainer_split: Literal["data", "members"]
    """What they share out: every batch, or the members of the cohort."""
    strategy: str
    """Lightning's, where there are several devices."""
    trainer: Mapping[str, Any]
    """Settings that Lightning's `Trainer` takes as they are."""
    verify: bool
    """A user's network is compared with plain PyTorch in its first steps."""
    microbatch_size: int | None
    """Most rows that one pass takes; larger batches are accumulated, exactly. Never changes a result."""
    checkpoint_minutes: float
    """A cohort in training is saved that often."""
    checkpoint_folder: Path
    cost_rounds: int
    """Interleaved rounds in which every technique is timed alone; none leaves time out."""
    save: str
    """Of which trials the final weights are kept: of none, of the best in each cell, of all."""
    weights_folder: Path
    tracker: TrackerConfig
    store_url: str
    reports: Path
    evaluation: EvaluationConfig
    search: SearchConfig | None
    """None: the technique is measured as it stands."""
    root_seed: int
    num_seeds: int
    choices: Mapping[str, str]
    """Config group to chosen option."""
    overrides: Mapping[str, str]
    """Key to value, as this cell's command line says it."""
    log_folder: Path | None
    tree: Mapping[str, Any]
    """The whole resolved tree as plain values, for display only."""

    @property
    def code(self) -> dict[str, dict[str, str]]:
        """The user's own code that a trial runs; that of a loader is known by the data that it returns."""
        optimizer = self.optimizer
        parts = (self.model, self.activation.module, optimizer.component, optimizer.others, self.schedule)
        return {name: pieces for part in parts if part is not None for name, pieces in part.code().items()}

    @cached_property
    def technique(self) -> str:
        """The label of what is being judged: the factor's value in this cell."""
        factor = self.evaluation.factor
        return self.label(factor) if factor else f"{self.choices['model']}-{self.choices['optimizer']}"

    def with_values(self, values: Mapping[str, Any]) -> "Config":
        """Return the configuration with the values at some keys replaced, such as `optimizer.lr`, and checked."""
        if not values:
            return self
        return parse_plain(space.replaced(self.tree, values), self.choices, self.overrides, self.log_folder)

    def value(self, key: str) -> Any:
        """Return the value at a key such as `optimizer.betas.0`."""
        return space.value_at(self.tree, key)

    def label(self, factor: str) -> str:
        """Return the value of a factor in this cell: a group's option or a key's value."""
        if factor in self.choices:
            return self.choices[factor]
        value: Any = self.tree
        for part in factor.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise ConfigError(
                    "evaluation.factor", "must be a config group or a key", factor, _suggest(self.choices)
                )
            value = value[part]
        return str(value)


def parse(tree: DictConfig, hydra: Any) -> Config:
    """Read and check the configuration that Hydra composed for one job, given its own part of the tree beside it.

    Raises `ConfigError` for the first value that breaks a rule.
    """
    choices = {str(key): str(value) for key, value in hydra.runtime.choices.items() if "/" not in str(key)}
    folder = hydra.runtime.get("output_dir")
    try:
        plain = OmegaConf.to_container(
            OmegaConf.masked_copy(tree, [str(k) for k in tree if k != "hydra"]), resolve=True
        )
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(error.full_key or "config", "must be resolvable", reason, "correct the reference") from error
    assert isinstance(plain, dict)
    overrides = _overrides(hydra.overrides.task)
    return parse_plain({str(k): v for k, v in plain.items()}, choices, overrides, Path(folder) if folder else None)


def parse_plain(
    tree: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: Mapping[str, str],
    log_folder: Path | None = None,
) -> Config:
    """Read and check a resolved tree of plain values; see `parse`."""
    for key, value in _leaves(tree):
        if value == "???":
            raise ConfigError(key, "must be given", remedy=f"add {key}=VALUE to the command line")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(key, "must be a finite number", value, "give another value")
    for group in CHOSEN:
        if group in tree and group not in choices:
            remedy = f"give one, {group}=OPTION, or sweep over several with -m {group}=A,B"
            raise ConfigError(group, "must be one option", remedy=remedy)
    top = _Section(tree, "")
    dimensions = [dimension for group in SPACED for dimension in _take_space(top, group)]
    search = _search(top.section("search"), dimensions) if top.given("search") else None
    optimizer, activation = top.section("optimizer"), top.section("activation")
    trainer, store, evaluation = top.section("trainer"), top.section("store"), top.section("evaluation")
    cost = top.section("cost")
    precision = trainer.choice("precision", PRECISIONS)
    devices, trainer_split = trainer.integer("devices", least=1), trainer.choice("split", TRAINER_SPLITS)
    strategy = trainer.choice("strategy", STRATEGIES)
    _check_devices(devices, trainer_split, strategy)
    if trainer.rest.get("num_nodes", 1) != 1:
        raise ConfigError("trainer.num_nodes", "must be 1 in this version", trainer.rest["num_nodes"], "leave it out")
    for remedy, keys in OURS.items():
        for key in keys:
            if key in trainer.rest:
                raise ConfigError(f"trainer.{key}", "is decided by evalbench", trainer.rest[key], remedy)
    dataset = top.section("dataset")
    target_score = dataset.optional_number("target_score")  # ours: the loader never sees it
    config = Config(
        dataset=dataset.component(),
        target_score=target_score,
        model=top.section("model").component(),
        activation=_activation(activation),
        optimizer=_optimizer(optimizer),
        schedule=_schedule(top.section("schedule")),
        budget=_budget(top.section("budget")),
        split=_split(top.section("split"), search),
        devices=devices,
        trainer_split="members" if trainer_split == "members" else "data",
        strategy=strategy,
        verify=trainer.flag("verify"),
        microbatch_size=_microbatch_size(trainer),
        checkpoint_minutes=trainer.positive("checkpoint_minutes", example=5),
        checkpoint_folder=Path(trainer.text("checkpoint_folder")),
        cost_rounds=cost.integer("rounds", least=0),
        save=top.choice("save", SAVES),
        weights_folder=Path(top.text("weights")),
        trainer=dict(trainer.rest),
        label_smoothing=_share(top.section("loss"), "label_smoothing"),
        precision=precision,
        tracker=_tracker(top.section("tracker")),
        store_url=store.text("url"),
        reports=Path(top.text("reports")),
        evaluation=EvaluationConfig(
            name=_folder_name(evaluation),
            question=evaluation.optional_text("question"),
            factor=evaluation.optional_text("factor"),
            baseline=evaluation.optional_text("baseline"),
            rope=_rope(evaluation.section("rope")),
        ),
        search=search,
        root_seed=_root_seed(top),
        num_seeds=top.integer("num_seeds", least=1),
        choices=choices,
        overrides=overrides,
        log_folder=log_folder,
        tree=tree,
    )
    for section in (top, store, evaluation, cost):
        section.finish()
    _check_components(config)
    return config


def _root_seed(top: "_Section") -> int:
    seed = top.integer("seed", least=0)
    if seed >= 2**63:  # the store's column has 64 bits
        raise ConfigError("seed", "must be below 2^63", seed, "for example seed=10")
    return seed


def _optimizer(section: "_Section") -> OptimizerConfig:
    lr = section.rest.get("lr", 0)
    if isinstance(lr, bool) or not isinstance(lr, int | float):
        raise ConfigError("optimizer.lr", "must be a number", lr, "for example optimizer.lr=0.01")
    batch_size = _batch_size(section)
    clip_norm = section.positive("clip_norm", example=1.0) if section.given("clip_norm") else None
    others = section.section("others").component() if section.given("others") else None
    return OptimizerConfig(section.component(), batch_size, clip_norm, others)


def _activation(section: "_Section") -> ActivationConfig:
    gain = section.positive("gain", example=1.0) if section.given("gain") else None
    return ActivationConfig(section.component(), gain)


def _microbatch_size(trainer: "_Section") -> int | None:
    return trainer.integer("microbatch_size", least=1) if trainer.given("microbatch_size") else None


def _schedule(section: "_Section") -> Component | None:
    if not section.given("_target_"):
        section.finish()
        return None
    return section.component()


def _check_devices(devices: int, split: str, strategy: str) -> None:
    if split == "members" and strategy != "auto":
        remedy = "members are trained without any communication: leave trainer.strategy out"
        raise ConfigError("trainer.strategy", "must be auto with trainer.split=members", strategy, remedy)
    if split == "data" and devices > 1 and strategy != "ddp":
        remedy = "add trainer.strategy=ddp, or trainer.split=members"
        raise ConfigError("trainer.strategy", "must be ddp on several devices", strategy, remedy)


def _batch_size(optimizer: "_Section") -> int | Literal["full"]:
    if optimizer.rest.get("batch_size") == "full":
        del optimizer.rest["batch_size"]
        return "full"
    return optimizer.integer("batch_size", least=1, remedy="use a whole number of at least 1, or full")


def _budget(section: "_Section") -> Budget:
    if ("epochs" in section.rest) == ("steps" in section.rest):
        raise ConfigError(
            "budget", "must be in epochs or in steps", section.rest, "choose budget=epochs or budget=steps"
        )
    patience = section.integer("patience", least=1) if section.given("patience") else None
    if "epochs" in section.rest:
        budget = Budget(epochs=section.integer("epochs", least=1), patience=patience)
    else:
        steps, validations = section.integer("steps", least=1), section.integer("validations", least=1)
        budget = Budget(steps=steps, validations=validations, patience=patience)
    section.finish()
    return budget


def _share(section: "_Section", key: str) -> float:
    value = section.rest.pop(key, None)
    section.finish()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"{section.name}.{key}", "must be a share from 0 to below 1", value, "for example 0.1")
    return float(value)


def _take_space(top: "_Section", group: str) -> tuple[Dimension, ...]:
    """Take the search space out of a group's settings: its trials do not depend on it."""
    given = top.rest.get(group) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(group, "must be a group of settings", given, f"choose one: {group}=OPTION")
    settings = dict(given)
    found = space.parse(settings.pop("space", None), group)
    top.rest[group] = settings
    return found


def _search(section: "_Section", dimensions: Sequence[Dimension]) -> SearchConfig:
    added = space.parse(section.rest.pop("space", None), "")
    merged = tuple({dimension.path: dimension for dimension in (*dimensions, *added)}.values())
    if not merged:
        rule = "must have at least one dimension to search"
        remedy = "give the technique's YAML a space, or add +search.space.model.width={low: 16, high: 256, log: true}"
        raise ConfigError("search.space", rule, remedy=remedy)
    for dimension in merged:
        if dimension.path.split(".")[0] not in SPACED:
            rule = f"must be about {', '.join(SPACED)}"
            raise ConfigError("search.space", rule, dimension.path, "every technique must meet the same problem")
    development = section.positive("development", 0.7)
    if development >= 1:
        raise ConfigError("search.development", "must leave rows for the test", development, "for example 0.7")
    search = SearchConfig(
        sampler=section.section("sampler").component(),
        num_trials=section.integer("num_trials", least=2),
        num_seeds=section.integer("num_seeds", least=1),
        num_studies=section.integer("num_studies", least=1),
        development=development,
        batch=section.integer("batch", least=1) if section.given("batch") else None,
        objectives=_objectives(section),
        pruning=_pruning(section.section("pruning")) if section.given("pruning") else None,
        storage=section.optional_text("storage"),
        runs_up_to=section.integer("runs_up_to", least=0),
        space=merged,
    )
    section.finish()
    if search.pruning is not None and search.batch == 1:
        rule = "must be above 1 where candidates are pruned"
        raise ConfigError("search.batch", rule, search.batch, "those that are asked for together compete: raise it")
    if search.pruning is not None and len(search.objectives) > 1:
        rule = "must be null with more than one objective"
        raise ConfigError("search.pruning", rule, search.pruning.spec(), "halving needs one order of the candidates")
    return search


def _objectives(section: "_Section") -> tuple[str, ...]:
    if not section.given("objectives"):
        return ()
    names = section.rest.pop("objectives")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        rule = "must be a list of names"
        raise ConfigError("search.objectives", rule, names, "for example [val/log_loss,cost/step_seconds]")
    if len(set(names)) < len(names):
        raise ConfigError("search.objectives", "must be different ones", names, "remove what is listed twice")
    return tuple(names)


def _pruning(section: "_Section") -> Pruning:
    pruning = Pruning(section.integer("eta", least=2), section.integer("first_rung", least=1))
    section.finish()
    return pruning


def _split(section: "_Section", search: SearchConfig | None) -> SplitConfig:
    split = SplitConfig(section.positive("validation", 0.2), section.positive("test", 0.2))
    section.finish()
    if search is not None:  # the rows outside the development part are the test rows of every trial
        split = SplitConfig(split.validation, round(1 - search.development, 10))
    if split.validation + split.test >= 1:
        total = split.validation + split.test
        raise ConfigError("split", "must leave rows for training", total, "make validation + test less than 1")
    return split


def _tracker(section: "_Section") -> TrackerConfig:
    live = section.flag("live")
    patience_seconds = section.positive("patience_seconds", example=120)
    if "_target_" in section.rest:
        remedy = "begin the tracker's YAML file with the line '# @package tracker.NAME'"
        raise ConfigError("tracker._target_", "must stand below the tracker's name", section.rest["_target_"], remedy)
    trackers = {name: section.section(name).component() for name in list(section.rest)}
    return TrackerConfig(trackers, live, patience_seconds)


def _rope(section: "_Section") -> dict[str, float]:
    return {unit: section.positive(unit, 0.01) for unit in list(section.rest)}


def _folder_name(evaluation: "_Section") -> str:
    name = evaluation.text("name")
    if file_name(name) != name:
        rule = "must be usable as the name of a folder anywhere"
        remedy = f"use at most {LONGEST_FILE_NAME} of a-z, A-Z, 0-9, '-', '_' and '.', the first one no '-' or '.'"
        raise ConfigError("evaluation.name", rule, name, remedy)
    return name


def _check_components(config: Config) -> None:
    """Everything chosen by `_target_` must exist; heavy libraries are not imported for that."""
    for component in (config.dataset, *config.tracker.trackers.values()):
        if not callable(component.locate()):
            key = f"{component.group}._target_"
            raise ConfigError(key, "must be callable", component.target, "name a class or a function")


def _overrides(task: Sequence[str]) -> dict[str, str]:
    pairs = (text.lstrip("+~").split("=", 1) for text in task)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _leaves(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(tree, list):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return [(prefix, tree)]
    return [leaf for key, value in tree.items() for leaf in _leaves(value, f"{prefix}.{key}" if prefix else str(key))]


def _suggest(names: Mapping[str, Any]) -> str:
    return "for example " + ", ".join(sorted(names)[:4]) + ", model.depth"


class _Section:
    """A part of the tree whose values are taken out one by one, so that what is left over is unknown."""

    def __init__(self, tree: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.rest = dict(tree)

    def section(self, key: str) -> "_Section":
        value = self._take(key)
        if not isinstance(value, Mapping):
            raise ConfigError(self._full(key), "must be a group of settings", value, f"choose one: {key}=OPTION")
        return _Section(value, self._full(key))

    def component(self) -> Component:
        target = self.text("_target_")
        return Component(self.name, target, dict(self.rest))

    def given(self, key: str) -> bool:
        """Return whether an optional value is there; a null is taken out."""
        if self.rest.get(key) is None:
            self.rest.pop(key, None)
        return key in self.rest

    def integer(self, key: str, least: int, remedy: str | None = None) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            rule = f"must be a whole number of at least {least}"
            raise ConfigError(self._full(key), rule, value, remedy or f"for example {self._full(key)}={max(least, 10)}")
        return value

    def positive(self, key: str, example: float) -> float:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ConfigError(
                self._full(key), "must be a number above 0", value, f"for example {self._full(key)}={example}"
            )
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise ConfigError(self._full(key), "must be true or false", value, f"for example {self._full(key)}=true")
        return value

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise ConfigError(self._full(key), "must be text", value, "quote it if it looks like a number")
        return value

    def optional_text(self, key: str) -> str | None:
        value = self._take(key)
        return None if value is None else str(value)

    def optional_number(self, key: str) -> float | None:
        value = self.rest.pop(key, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise ConfigError(self._full(key), "must be a number", value, f"for example {self._full(key)}=0.95")
        return float(value)

    def choice(self, key: str, options: Sequence[str]) -> str:
        value = self._take(key)
        if value not in options:
            raise ConfigError(self._full(key), "must be one of " + ", ".join(options), value, "choose one of them")
        return str(value)

    def finish(self) -> None:
        if self.rest:
            remedy = "remove it, or correct its name"
            raise ConfigError(self._full(next(iter(self.rest))), "is not a setting of evalbench", remedy=remedy)

    def _take(self, key: str) -> Any:
        if key not in self.rest:
            raise ConfigError(self._full(key), "must be given", remedy=f"add {self._full(key)}=VALUE")
        return self.rest.pop(key)

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key
