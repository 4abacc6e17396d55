"""LightningModules as they are: their own step, optimizers, schedules and hooks, one fit per trial or as a cohort."""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch

from evalbench import models
from evalbench.config import Config
from evalbench.engine.objective import NotPlainError
from evalbench.engine.training import device_of
from evalbench.engines import cohort, module_cohort
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.fits import each
from evalbench.engines.module_fit import ModuleFit, build
from evalbench.engines.predicted import refuse_weights
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError
from evalbench.parts import epoch_rows
from evalbench.trial import Entrant, TrialResult
from evalbench.workloads import Dataset

NEEDED = ("training_step", "configure_optimizers", "forward")


class LightningEngine:
    """Train modules as a cohort if that gives what their own fits give; else fit one module per trial."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Build the module once, and ask whether its trials can train as a cohort."""
        target = config.lightning.component.target
        module = build(config, dataset, 0)
        if not isinstance(module, pl.LightningModule):
            rule = "must be a LightningModule for engine: lightning"
            raise ConfigError("model._target_", rule, target, "leave the engine out for a torch.nn.Module")
        for name in NEEDED:
            if inspect.getattr_static(type(module), name) is inspect.getattr_static(pl.LightningModule, name, None):
                raise ConfigError("model._target_", f"must have a {name} of its own", target, "write it")
        if not module.automatic_optimization:
            rule, remedy = "must leave the steps to Lightning", "automatic_optimization=False is not supported"
            raise ConfigError("model._target_", rule, target, remedy)
        if config.devices > 1:
            rule = "must be left out with engine: lightning"
            raise ConfigError("trainer.devices", rule, config.devices, "leave it out")
        refuse_weights(dataset, "a LightningModule, whose training_step gets inputs and targets")
        epoch_rows(config, dataset, len(dataset.targets))
        kind = torch.float32 if dataset.vocabulary is None else torch.int64
        inputs = torch.zeros(2, dataset.inputs.shape[1], dtype=kind)
        models.check_outputs(module, inputs, dataset.kind.output_shape(inputs, dataset.num_outputs))
        module_cohort.warn(config, dataset)

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Train the modules of the trials as a cohort if that gives the same; else fit each alone."""
        try:
            in_cohort = module_cohort.as_cohort(config, dataset)
        except NotPlainError as error:
            return self._fits(config, dataset, entrants, outlets, str(error))
        return cohort.ENGINE.train_all(in_cohort, dataset, entrants, name, outlets)

    def _fits(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], outlets: Outlets, reason: str
    ) -> Iterator[Trained]:
        on_cores = device_of(config).type == "cpu" and not torch.accelerator.is_available()  # others do not fork

        def fit(entrant: Entrant, folder: Path | None) -> tuple[TrialResult, list[str]]:
            return ModuleFit(config, dataset, entrant, reason).run(folder), []

        return each(config, entrants, fit, outlets, on_cores)

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return a cohort of one if trials train in cohorts, else whole fits of the first seed."""
        try:
            return cohort.ENGINE.timed(module_cohort.as_cohort(config, dataset), dataset)
        except NotPlainError:
            steps = ModuleFit(config, dataset, Entrant(0)).validation_steps[-1]
            return TimedFit(lambda: ModuleFit(config, dataset, Entrant(0)).run(), steps=steps)


ENGINE: Engine = LightningEngine()
