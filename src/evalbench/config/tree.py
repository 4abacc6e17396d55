"""Hydra's tree, read once into the frozen values of a `Config`; every check on a value stands in this package.

Only this package and the entry points see a `DictConfig`. A value that breaks a rule raises `ConfigError`, which
names the key, the rule, the value and the remedy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from evalbench import space
from evalbench.config.engines import engine_of, uses
from evalbench.config.judging import OwnMetric, read_task
from evalbench.config.looks import NUM_SEEDS, read_looks
from evalbench.config.parts import PARTS
from evalbench.config.reader import Reader, check_leaves
from evalbench.config.search import SearchConfig, read_search
from evalbench.config.split import check_repetitions, read_split
from evalbench.config.values import Config, EvaluationConfig, TrackerConfig
from evalbench.config.variance import read_variance
from evalbench.errors import ConfigError
from evalbench.names import LONGEST_FILE_NAME, file_name
from evalbench.space import Dimension
from evalbench.tasks.metric import METRICS, SKILL, SKILL_SPAN, Metric, is_wide
from evalbench.trial import Budget

PRECISIONS = ("32-true", "64-true", "bf16-mixed")
MATMUL_PRECISIONS = ("highest", "high", "medium")
TRAINER_SPLITS = ("data", "members")
STRATEGIES = ("auto", "ddp")
PATHS = ("auto", "batched", "lone", "compiled")
DATA = ("auto", "device", "host")
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


def parse(tree: DictConfig, hydra: Any) -> Config:
    """Read and check the configuration that Hydra composed for one job, given its own part of the tree beside it.

    Raises `ConfigError` for the first value that breaks a rule.
    """
    choices = {str(key): str(value) for key, value in hydra.runtime.choices.items() if "/" not in str(key)}
    try:
        plain = OmegaConf.to_container(
            OmegaConf.masked_copy(tree, [str(k) for k in tree if k != "hydra"]), resolve=True
        )
    except InterpolationToMissingValueError as error:
        missing = str(error).splitlines()[0].rpartition(": ")[2]
        raise ConfigError(missing, "must be given", remedy=f"add {missing}=VALUE to the command line") from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(error.full_key or "config", "must be resolvable", reason, "correct the reference") from error
    assert isinstance(plain, dict)
    return parse_plain({str(k): v for k, v in plain.items()}, choices, _overrides(hydra.overrides.task))


def log_folder() -> Path | None:
    """Return the folder of the Hydra job that this process runs; None outside of a job."""
    hydra: Any = HydraConfig.get() if HydraConfig.initialized() else None
    folder = hydra and hydra.runtime.get("output_dir")
    return Path(folder) if folder else None


def parse_plain(tree: Mapping[str, Any], choices: Mapping[str, str], overrides: Mapping[str, str]) -> Config:
    """Read and check a resolved tree of plain values; see `parse`."""
    check_leaves(tree)
    _check_chosen(tree, choices)
    top = Reader(tree, "")
    search, engine = _search(top, overrides)
    part_settings = {part.group: dict(top.rest[part.group]) for part in PARTS}
    dataset, store, cost = top.section("dataset"), top.section("store"), top.section("cost")
    target_score = dataset.optional_number("target_score")  # ours: the loader never sees it
    evaluation, task = top.section("evaluation"), read_task(top.section("task"))
    split = read_split(top.section("split"), search)
    looks = read_looks(top, evaluation, overrides, split.num_seeds or NUM_SEEDS)
    if len(looks) > 1 and search is not None and search.num_studies > 1:
        rule, remedy = "must be one look if the search is repeated", f"studies repeat there: give num_seeds={looks[-1]}"
        raise ConfigError("evaluation.looks", rule, list(looks), remedy)
    config = Config(
        **_trainer(top.section("trainer")),
        dataset=dataset.component(),
        task=task,
        target_score=target_score,
        engine=engine,
        parts=_parts(top, engine),
        part_settings=part_settings,
        budget=_budget(top.section("budget")),
        split=split,
        cost_rounds=cost.integer("rounds", least=0),
        save=top.choice("save", SAVES),
        weights_folder=Path(top.text("weights")),
        tracker=_tracker(top.section("tracker")),
        store_url=store.text("url"),
        reports=Path(top.text("reports")),
        evaluation=_evaluation(
            evaluation,
            looks,
            task.metric.metric if isinstance(task.metric, OwnMetric) else None,
            searched=search is not None,
        ),
        search=search,
        root_seed=_root_seed(top),
        num_seeds=looks[-1],
        choices=choices,
        overrides=overrides,
        tree=tree,
    )
    for section in (top, store, cost):
        section.finish()
    check_repetitions(split, config.num_seeds, config.evaluation.variance)
    _check_components(config)
    return config


def _parts(top: Reader, engine: str) -> dict[str, Any]:
    """Take the parts out that the engine trains with; None for each of the others."""
    sections = {part.group: top.section(part.group) for part in PARTS}
    used = (part for part in PARTS if uses(engine, part.group))
    return {**dict.fromkeys(sections), **{part.group: part.read(sections[part.group]) for part in used}}


def _search(top: Reader, overrides: Mapping[str, str]) -> tuple[SearchConfig | None, str]:
    """Take the search out, and the search spaces of all parts; return it with the name of the engine."""
    spaces = {part.group: _take_space(top, part.group) for part in PARTS}
    engine = engine_of(top.rest["model"])
    dimensions = [dimension for group, own in spaces.items() if uses(engine, group) for dimension in own]
    if {"search.num_trials", "search.num_candidates"} <= overrides.keys():
        rule = "must be left out beside search.num_candidates, which is its new name"
        raise ConfigError("search.num_trials", rule, overrides["search.num_trials"], "give one of them")
    return read_search(top.section("search"), dimensions, engine) if top.given("search") else None, engine


def _check_chosen(tree: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    for group in ("dataset", *(part.group for part in PARTS), "budget", "split", "trainer"):
        if group in tree and group not in choices:
            remedy = f"give one, {group}=OPTION, or sweep over several with -m {group}=A,B"
            raise ConfigError(group, "must be one option", remedy=remedy)


def _take_space(top: Reader, group: str) -> tuple[Dimension, ...]:
    """Take the search space out of a group's settings: its trials do not depend on it."""
    given = top.rest.get(group) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(group, "must be a group of settings", given, f"choose one: {group}=OPTION")
    settings = dict(given)
    dimensions = space.parse(settings.pop("space", None), group)
    top.rest[group] = settings
    return dimensions


def _trainer(section: Reader) -> dict[str, Any]:
    """Return the fields of a `Config` that the trainer's settings give."""
    devices, split = section.integer("devices", least=1), section.choice("split", TRAINER_SPLITS)
    fields: dict[str, Any] = {
        "precision": section.choice("precision", PRECISIONS),
        "matmul_precision": section.choice("matmul_precision", MATMUL_PRECISIONS),
        "profile": section.flag("profile"),
        "devices": devices,
        "trainer_split": split,
        "strategy": section.choice("strategy", STRATEGIES),
        "verify": section.flag("verify"),
        "path": section.choice("path", PATHS),
        "data": section.choice("data", DATA),
        "compile_folder": Path(section.text("compile_folder")),
        "microbatch_size": section.integer("microbatch_size", least=1) if section.given("microbatch_size") else None,
        "checkpoint_minutes": section.positive("checkpoint_minutes", example=5),
        "checkpoint_folder": Path(section.text("checkpoint_folder")),
    }
    _check_devices(devices, split, fields["strategy"])
    if section.rest.get("num_nodes", 1) != 1:
        raise ConfigError("trainer.num_nodes", "must be 1 in this version", section.rest["num_nodes"], "leave it out")
    for remedy, keys in OURS.items():
        for key in keys:
            if key in section.rest:
                raise ConfigError(f"trainer.{key}", "is decided by evalbench", section.rest[key], remedy)
    return {**fields, "trainer": dict(section.rest)}


def _evaluation(section: Reader, looks: tuple[int, ...], own: Metric | None, searched: bool) -> EvaluationConfig:
    evaluation = EvaluationConfig(
        name=_folder_name(section),
        question=section.optional_text("question"),
        factor=section.optional_text("factor"),
        baseline=section.optional_text("baseline"),
        rope=_rope(section.section("rope"), section.flag("confirm_rope"), own),
        looks=looks,
        generated=section.flag("generated"),
        variance=read_variance(section, searched),
    )
    section.finish()
    return evaluation


def _root_seed(top: Reader) -> int:
    seed = top.integer("seed", least=0)
    if seed >= 2**63:  # the store's column has 64 bits
        raise ConfigError("seed", "must be below 2^63", seed, "for example seed=10")
    return seed


def _check_devices(devices: int, split: str, strategy: str) -> None:
    if split == "members" and strategy != "auto":
        remedy = "members are trained without any communication: leave trainer.strategy out"
        raise ConfigError("trainer.strategy", "must be auto with trainer.split=members", strategy, remedy)
    if split == "data" and devices > 1 and strategy != "ddp":
        remedy = "add trainer.strategy=ddp, or trainer.split=members"
        raise ConfigError("trainer.strategy", "must be ddp on several devices", strategy, remedy)


def _budget(section: Reader) -> Budget:
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


def _tracker(section: Reader) -> TrackerConfig:
    live = section.flag("live")
    patience_seconds = section.positive("patience_seconds", example=120)
    if "_target_" in section.rest:
        remedy = "begin the tracker's YAML file with the line '# @package tracker.NAME'"
        raise ConfigError("tracker._target_", "must stand below the tracker's name", section.rest["_target_"], remedy)
    trackers = {name: section.section(name).component() for name in list(section.rest)}
    return TrackerConfig(trackers, live, patience_seconds)


def _rope(section: Reader, confirmed: bool, own: Metric | None) -> dict[str, float]:
    """Return the ROPE by unit; refuse one above a tenth of its metric's span that is not confirmed."""
    spans = {name: metric.span for name, metric in METRICS.items()} | {SKILL: SKILL_SPAN}
    if own is not None:
        spans[own.name] = own.span
    rope = {unit: section.positive(unit, 0.01) for unit in list(section.rest)}
    for unit, width in rope.items():
        span = spans.get(unit)
        if is_wide(width, span) and not confirmed:
            rule = f"must be at most a tenth of the span of {unit} ({span:g})"
            raise ConfigError(f"{section.name}.{unit}", rule, width, "a larger one needs evaluation.confirm_rope=true")
    return rope


def _folder_name(evaluation: Reader) -> str:
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
