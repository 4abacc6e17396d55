"""LightningModules whose steps are plain enough to train as a cohort, in the place of one Lightning fit per trial.

A module is taken over if it has no hooks of its own, if its step reads its batch alone, if its optimizer can be made
anew, and if a cohort then takes the same first steps as Lightning does, in 64 bits.
"""

import inspect
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, optim
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from evalbench import own_code
from evalbench.config import Component, Config, OptimizerConfig
from evalbench.engine import paths
from evalbench.engine.objective import NotPlainError, Objective, overridden
from evalbench.engine.python_state import is_plain
from evalbench.engine.steps import reason_of
from evalbench.engine.training import device_of, make_cohort
from evalbench.engines.module_fit import ModuleFit, build
from evalbench.seeds import Role
from evalbench.trial import Entrant, TrialSpec
from evalbench.workloads import Dataset, split_methods

log = logging.getLogger(__name__)

NUM_STEPS = 4
"""The steps that a cohort and Lightning take side by side."""
TOLERANCE = 1e-6
"""The largest allowed difference after these steps, as a share of a tensor's largest number."""
USED = {"training_step", "configure_optimizers"}
NOT_CALLED = (
    "validation_",
    "test_",
    "predict_",
    "on_validation_",
    "on_test_",
    "on_predict_",
    "train_dataloader",
    "val_",
)
"""Beginnings of the names of methods that no fit of evalbench calls."""

_decided: dict[str, Config | NotPlainError] = {}
_asked: set[str] = set()


def as_cohort(config: Config, dataset: Dataset) -> Config:
    """Return the configuration of a cohort that trains as a cell's module does; raise `NotPlainError`, with the reason.

    The answer depends on nothing but what identifies the trials of the cell, and on whether it plans several.
    """
    if config.lightning.alone:
        raise NotPlainError("model.alone=true asks for it")
    if not paths.plans_several(config):
        raise NotPlainError("one trial is planned")
    chosen = [config.identity, config.training, config.code, config.trainer, config.microbatch_size]
    key = json.dumps([*chosen, asdict(config.split), dataset.fingerprint], default=str)  # a study has fewer rows
    if key not in _decided:
        try:
            _decided[key] = _checked(config, dataset)
        except NotPlainError as error:
            _decided[key] = error
        except Exception as error:  # a user's module may raise anything
            _decided[key] = NotPlainError(reason_of(error))
    decided = _decided[key]
    if isinstance(decided, NotPlainError):
        raise decided
    return replace(config, parts=decided.parts)


def warn(config: Config, dataset: Dataset) -> None:
    """Warn if the trials of a cell will train in fits of their own, slowly; once for each module."""
    target = config.lightning.component.target
    if target in _asked or config.lightning.alone or not paths.plans_several(config):
        return
    _asked.add(target)
    try:
        as_cohort(config, dataset)
    except NotPlainError as reason:
        log.warning("%s trains in one fit per trial, slowly: %s", target, reason)


def forget() -> None:
    """Check each module anew."""
    _decided.clear()


def _checked(config: Config, dataset: Dataset) -> Config:
    """Return the configuration of the cohort after its first steps; raise `NotPlainError`."""
    fit = ModuleFit(config, dataset, Entrant(0))
    module = build(config, dataset, 0)
    hooks = [name for name in overridden(module) if name not in USED and not name.startswith(NOT_CALLED)]
    if hooks:
        raise NotPlainError(f"it has its own {', '.join(hooks)}")
    inputs, targets = fit.data.gather(next(fit.batches.chunks(0, 1, 1)), [0])
    Objective(module.to(fit.data.mean.dtype).train(), None)(inputs[0, 0], targets[0, 0])
    optimizer, schedule = _optimizer(build(config, dataset, 0), fit)
    if schedule is not None and not split_methods.has_one_size(dataset, config.split):
        raise NotPlainError("its schedule depends on the number of steps, which differs between splits")
    model = config.lightning
    parts = {
        "model": model.component,
        "optimizer": OptimizerConfig(optimizer, model.batch_size, None, None),
        "schedule": schedule,
        "loss": None,
    }
    cohort = replace(config, parts={**config.parts, **parts})
    _compare(config, cohort, dataset, min(NUM_STEPS, fit.validation_steps[-1]))
    return cohort


def _optimizer(module: pl.LightningModule, fit: ModuleFit) -> tuple[Component, Component | None]:
    """Return the optimizer that a module configures, and its schedule."""
    steps_per_epoch, epochs = fit.batches.steps_per_epoch, fit.max_epochs
    total = steps_per_epoch * epochs
    known = {"max_epochs": epochs, "num_training_batches": steps_per_epoch, "estimated_stepping_batches": total}
    module.trainer = SimpleNamespace(**known)  # type: ignore[assignment]
    configured: Any = module.configure_optimizers()
    schedulers: Any = []
    if isinstance(configured, Mapping):
        configured, schedulers = configured.get("optimizer"), configured.get("lr_scheduler") or []
    elif isinstance(configured, tuple) and len(configured) == 2 and isinstance(configured[0], list | tuple):
        configured, schedulers = configured
    optimizers = configured if isinstance(configured, list | tuple) else [configured]
    schedulers = schedulers if isinstance(schedulers, list | tuple) else [schedulers]
    if len(optimizers) != 1 or not isinstance(optimizers[0], optim.Optimizer) or len(schedulers) > 1:
        raise NotPlainError("its configure_optimizers does not return one optimizer with at most one schedule")
    component = _component(optimizers[0], module)
    if not schedulers:
        return component, None
    setting = schedulers[0] if isinstance(schedulers[0], Mapping) else {"scheduler": schedulers[0]}
    rates = _rates(setting, optimizers[0], total, steps_per_epoch)
    start = component.arguments["lr"]
    if not start:
        raise NotPlainError("its schedule begins with a learning rate of 0")
    factors = {"lr_lambda": _Factors([rate / start for rate in rates])}
    return component, Component("schedule", "torch.optim.lr_scheduler.LambdaLR", factors)


def _component(optimizer: optim.Optimizer, module: pl.LightningModule) -> Component:
    """Return the class and the settings of an optimizer over all parameters."""
    if len(optimizer.param_groups) != 1:
        raise NotPlainError("its optimizer has several groups of parameters")
    (group,) = optimizer.param_groups
    trained = [id(parameter) for parameter in module.parameters() if parameter.requires_grad]
    if sorted(trained) != sorted(map(id, group["params"])):
        raise NotPlainError("its optimizer does not have all parameters that train")
    chosen = type(optimizer)
    target, named = f"{chosen.__module__}.{chosen.__qualname__}", inspect.signature(chosen).parameters
    settings = {key: group[key] for key in optimizer.defaults if key in named}
    if "initial_lr" in group:  # a schedule has begun
        settings["lr"] = group["initial_lr"]
    if not all(map(is_plain, settings.values())) or own_code.locate(target) is not chosen:
        raise NotPlainError(f"its optimizer {chosen.__name__} cannot be made anew from its settings")
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return Component("optimizer", target, plain)


class _Factors:
    """The learning rate of each step, relative to that of the optimizer."""

    def __init__(self, factors: Sequence[float]) -> None:
        self._factors = factors

    def __call__(self, step: int) -> float:
        return self._factors[min(step, len(self._factors) - 1)]


def _rates(setting: Mapping[str, Any], optimizer: optim.Optimizer, steps: int, steps_per_epoch: int) -> list[float]:
    """Return the learning rates of a number of steps, by a scheduler that is stepped as Lightning steps it."""
    scheduler, frequency = setting["scheduler"], setting.get("frequency", 1)
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
        raise NotPlainError("its schedule may depend on more than the number of steps")
    (group,) = optimizer.param_groups
    others = {key: value for key, value in group.items() if key not in ("params", "lr")}
    per_epoch = setting.get("interval", "epoch") == "epoch"
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer took no step
        for step in range(steps):
            rates.append(float(group["lr"]))
            if any(group[key] != value for key, value in others.items()):
                raise NotPlainError("its schedule changes more than the learning rate")
            epoch, index = divmod(step, steps_per_epoch)
            is_due = index + 1 == steps_per_epoch and (epoch + 1) % frequency == 0
            if is_due if per_epoch else (index + 1) % frequency == 0:
                scheduler.step()
    return rates


def _compare(config: Config, cohort_config: Config, dataset: Dataset, steps: int) -> None:
    """Take some steps by Lightning and in a cohort of two; raise `NotPlainError` if they differ."""
    precision = config.precision if device_of(config).type == "mps" else "64-true"
    expected = ModuleFit(replace(config, precision=precision), dataset, Entrant(0)).first_steps(steps)
    twin = TrialSpec(dataset.name, {}, config.root_seed, 1, {Role.SPLIT: 0})  # other splits may have other sizes
    cohort, _ = make_cohort(replace(cohort_config, precision=precision), dataset, [Entrant(0), Entrant(1, trial=twin)])
    if cohort.why_one_by_one is not None:
        raise NotPlainError(cohort.why_one_by_one)
    if cohort.keeps_python_state:
        raise NotPlainError("it keeps state in Python")
    if config.microbatch_size is not None and (reason := cohort.why_not_in_parts()) is not None:
        raise NotPlainError(f"its batches cannot be split by trainer.microbatch_size: {reason}")
    cohort = cohort.to(device_of(config))
    first = 0
    with torch.no_grad():
        for rows in cohort.data.inputs.staged(cohort.batches.chunks(0, steps, cohort.steps_in_chunk())):
            cohort.train_chunk(rows.to(cohort.noise_seeds.device), first)
            first += len(rows)
    for name, value in cohort.current_weights(0).items():
        if not _close(value.cpu(), expected[name]):
            raise NotPlainError(f"{name} differs from that of a Lightning fit after {steps} steps")


def _close(value: Tensor, expected: Tensor) -> bool:
    if value.shape != expected.shape or not value.numel():
        return value.shape == expected.shape
    value, expected = value.double(), expected.double()
    return bool((value - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp(min=TOLERANCE))
