"""LightningModules as they are: their own step, optimizers, schedules and hooks, one fit per trial.

Rows, their order and the initial weights come from the same seeds as a cohort's, and `forward` is validated and tested
as a cohort's network is: after each validation interval, and at the lowest validation loss.

Shapes: `B` rows of a batch, `D` features, `K` outputs.
"""

import copy
import inspect
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from evalbench import models, weights
from evalbench.config import Config
from evalbench.engine import counting
from evalbench.engine.batches import Batches
from evalbench.engine.data import Data
from evalbench.engine.training import device_of, quiet_lightning, shape_of
from evalbench.engine.validation import Validation
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.fits import each
from evalbench.engines.predicted import refuse_weights, split_of
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError
from evalbench.parts import epoch_rows
from evalbench.seeds import Role, derive
from evalbench.trial import CurvePoint, Entrant, State, TrialResult
from evalbench.workloads import Dataset, fit_scaling, references

log = logging.getLogger(__name__)

NEEDED = ("training_step", "configure_optimizers", "forward")


class LightningEngine:
    """Fit one module per trial."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Build the module once."""
        target = config.lightning.component.target
        module = _build(config, dataset, 0)
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

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Fit the modules of the trials."""
        on_cores = device_of(config).type == "cpu" and not torch.accelerator.is_available()  # others do not fork

        def fit(entrant: Entrant, folder: Path | None) -> tuple[TrialResult, list[str]]:
            return _Fit(config, dataset, entrant).run(folder), []

        return each(config, entrants, fit, outlets, on_cores)

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return whole fits of the first seed."""
        steps = _Fit(config, dataset, Entrant(0)).validation_steps[-1]
        return TimedFit(lambda: _Fit(config, dataset, Entrant(0)).run(), steps=steps)


ENGINE: Engine = LightningEngine()


def _build(config: Config, dataset: Dataset, seed: int) -> Any:
    return models.build_seeded(seed, config.lightning.component, config.activation, shape_of(dataset))


class _Fit(pl.Callback):
    """One trial: its rows, its module, and what is measured on the way."""

    def __init__(self, config: Config, dataset: Dataset, entrant: Entrant) -> None:
        self.config, self.dataset, self.entrant = config, dataset, entrant
        self.split = split_of(config, dataset, entrant)
        dtype = torch.float64 if config.precision == "64-true" else torch.float32
        self.data = Data(dataset, [self.split], dtype)
        rows, resampled = self.split.train, epoch_rows(config, dataset, len(self.split.train))
        size = min(config.lightning.batch_size, len(rows) if resampled is None else resampled.num_rows)
        self.batches = Batches(rows[None], size, [self.seed_of(Role.ORDER)], resampled)
        self.validation_steps = config.budget.validation_steps(self.batches.steps_per_epoch)
        self.validation = Validation(dataset, self.data)
        self.curve: list[CurvePoint] = []
        self.losses: list[Tensor] = []
        self.best: dict[str, Tensor] = {}
        self.steps = 0
        self.diverged_step: int | None = None

    def seed_of(self, role: Role) -> int:
        index = self.entrant.roles.get(role, self.entrant.seed)
        return derive(self.config.root_seed, self.dataset.name, role, index, self.entrant.phase)

    def run(self, folder: Path | None = None) -> TrialResult:
        """Fit the module, keep it in a folder, and return the result at its lowest validation loss."""
        module = _build(self.config, self.dataset, self.seed_of(Role.INIT))
        module.train()
        with quiet_lightning(), models.seeded(self.seed_of(Role.NOISE), device_of(self.config)):
            trainer = pl.Trainer(
                max_steps=-1,
                max_epochs=-(-self.validation_steps[-1] // self.batches.steps_per_epoch),
                precision=self.config.precision,  # type: ignore[arg-type]
                logger=False,
                callbacks=[self],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                devices=1,
                **self.config.trainer,
            )
            trainer.fit(module, _Steps(self))
            result = self._result(module.to("cpu").eval())
        if folder is not None and result.state is State.COMPLETE:
            state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            scaling = fit_scaling(self.dataset, self.split.train)
            with weights.writing(folder):
                weights.save(folder, self.config, self.dataset, scaling, state, None, result, self.entrant.trial)
        return result

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Count the step, and validate if it is time."""
        self.steps += 1
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None:
            self.losses.append(loss.detach().double().cpu())
        if self.steps not in self.validation_steps:
            return
        measured = self._measure(pl_module)
        train_loss = float(torch.stack(self.losses).mean()) if self.losses else None
        self.losses.clear()
        if not all(torch.tensor([measured.loss, train_loss or 0.0]).isfinite()):
            self.diverged_step = self.steps
        else:
            epoch = self.steps / self.batches.steps_per_epoch
            point = CurvePoint(epoch, self.steps, train_loss, measured.loss, measured.score, measured.monitored)
            if not self.curve or point.rank < min(earlier.rank for earlier in self.curve):
                self.best = copy.deepcopy(pl_module.state_dict())
            self.curve.append(point)
        trainer.should_stop = self.diverged_step is not None or self._is_over()

    def _is_over(self) -> bool:
        ranks = [point.rank for point in self.curve]
        patience = self.config.budget.patience
        tired = patience is not None and len(ranks) - 1 - ranks.index(min(ranks)) >= patience
        return tired or self.steps >= self.validation_steps[-1]

    def _measure(self, module: pl.LightningModule) -> Any:
        rows = self.data.validation_rows
        (measured,) = self.validation(self._outputs(module, rows), rows, [0])
        return measured

    @torch.no_grad()
    def _outputs(self, module: pl.LightningModule, rows: Tensor) -> Tensor:
        """Return the outputs `(1, rows, K)` on the CPU."""
        inputs, _ = self.data.gather(rows[None], [0])
        was_training = module.training
        try:
            outputs: Tensor = module.eval()(inputs[0, 0].to(module.device))
        finally:
            module.train(was_training)
        return outputs[None].to("cpu", self.data.mean.dtype)

    def _result(self, module: pl.LightningModule) -> TrialResult:
        tuning = not len(self.split.test)
        rows = self.data.validation_rows if tuning else self.data.test_rows
        diverged = self.diverged_step is not None
        if diverged:
            scored = type(self.split)(self.split.train, self.split.validation, rows[0].numpy())
            metrics = references.trivial(self.dataset, {0: scored})[0]
        else:
            module.load_state_dict(self.best)
            (metrics,) = self.validation.metrics(self._outputs(module, rows), rows, [0])
        best = min(self.curve, key=lambda point: point.rank, default=None)
        return TrialResult(
            state=State.DIVERGED if diverged else State.COMPLETE,
            metrics={f"val/{name.split('/')[1]}": value for name, value in metrics.items()} if tuning else metrics,
            curve=tuple(self.curve),
            best_epoch=None if best is None else best.epoch,
            diverged_step=self.diverged_step,
            steps=self.steps,
            examples=self.batches.examples(self.steps),
            parameters=counting.count_parameters(module),
            num_train=len(self.split.train),
            num_test=None if tuning else len(self.split.test),
        )


class _Steps:
    """The batches of an epoch, `(B, D)` inputs and their targets, anew in each epoch."""

    def __init__(self, fit: _Fit) -> None:
        self._fit, self._epoch = fit, 0

    def __len__(self) -> int:
        return self._fit.batches.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first, self._epoch = self._epoch * len(self), self._epoch + 1
        for rows in self._fit.batches.chunks(first, first + len(self), 1):
            inputs, targets = self._fit.data.gather(rows, [0])
            yield inputs[0, 0], targets[0, 0]
