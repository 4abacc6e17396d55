"""One trial of a LightningModule: one Lightning fit, validated and tested as a member of a cohort is.

Rows, their order and the initial weights come from the same seeds as a cohort's. `forward` is validated after each
validation interval, and tested at the lowest validation loss.

Shapes: `B` rows of a batch, `D` features, `K` outputs.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from evalbench import draws, models, weights
from evalbench.config import Config
from evalbench.engine import counting
from evalbench.engine.batches import Batches
from evalbench.engine.data import Data
from evalbench.engine.noise import MemberNoise
from evalbench.engine.training import device_of, quiet_lightning, shape_of
from evalbench.engine.validation import Validation
from evalbench.engines.predicted import split_of
from evalbench.parts import epoch_rows
from evalbench.seeds import Role, derive
from evalbench.trial import CurvePoint, Entrant, State, TrialResult
from evalbench.workloads import Dataset, fit_scaling, references


def build(config: Config, dataset: Dataset, seed: int) -> Any:
    """Return the module of a trial, with initial weights of a seed."""
    return models.build_seeded(seed, config.lightning.component, config.activation, shape_of(dataset))


class ModuleFit(pl.Callback):
    """One trial: its rows, its module, and what is measured on the way."""

    def __init__(self, config: Config, dataset: Dataset, entrant: Entrant, reason: str | None = None) -> None:
        """Take the trial, and why it does not train in a cohort."""
        self.config, self.dataset, self.entrant, self.reason = config, dataset, entrant, reason
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
        self.stop_after: int | None = None
        self.diverged_step: int | None = None

    def seed_of(self, role: Role) -> int:
        """Return the number from which a role of the trial is drawn."""
        index = self.entrant.roles.get(role, self.entrant.seed)
        return derive(self.config.root_seed, self.dataset.name, role, index, self.entrant.phase)

    def run(self, folder: Path | None = None) -> TrialResult:
        """Fit the module, keep it in a folder, and return the result at its lowest validation loss."""
        module = build(self.config, self.dataset, self.seed_of(Role.INIT))
        with self._seeded():
            self._fit(module)
            result = self._result(module.to("cpu").eval())
        if folder is not None and result.state is State.COMPLETE:
            state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            about = (self.split, fit_scaling(self.dataset, self.split.train), state, None, result, self.entrant.trial)
            with weights.writing(folder):
                weights.save(folder, self.config, self.dataset, *about)
        return result

    def first_steps(self, count: int) -> dict[str, Tensor]:
        """Take some steps with the noise of a member of a cohort; return the tensors after them, by name."""
        module = build(self.config, self.dataset, self.seed_of(Role.INIT))
        step, seed = module.training_step, torch.tensor([self.seed_of(Role.NOISE)])

        @wraps(step)
        def training_step(batch: tuple[Tensor, Tensor], *arguments: Any) -> Any:
            key = draws.step_keys(seed.to(module.device), self.steps, 1)[0, 0]
            with MemberNoise(key, torch.zeros_like(key), len(batch[0]), eager=True):
                return step(batch, *arguments)

        module.training_step, self.stop_after = training_step, count
        with self._seeded():
            self._fit(module)
        return {name: value.detach().cpu() for name, value in (*module.named_parameters(), *module.named_buffers())}

    @property
    def max_epochs(self) -> int:
        """The epochs in which the steps of the budget lie."""
        return -(-self.validation_steps[-1] // self.batches.steps_per_epoch)

    def _seeded(self) -> AbstractContextManager[None]:
        return models.seeded(self.seed_of(Role.NOISE), device_of(self.config))

    def _fit(self, module: pl.LightningModule) -> None:
        with quiet_lightning():
            trainer = pl.Trainer(
                max_steps=-1,
                max_epochs=self.max_epochs,
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
            trainer.fit(module.train(), _Steps(self))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Count the step, and validate if it is time."""
        self.steps += 1
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None:
            self.losses.append(loss.detach().double().cpu())
        if self.steps == self.stop_after:
            trainer.should_stop = True
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
        trainer.should_stop = trainer.should_stop or self.diverged_step is not None or self._is_over()

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
            path={"name": "fit", "reason": self.reason},
        )


class _Steps:
    """The batches of an epoch, `(B, D)` inputs and their targets, anew in each epoch."""

    def __init__(self, fit: ModuleFit) -> None:
        self._fit, self._epoch = fit, 0

    def __len__(self) -> int:
        return self._fit.batches.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first, self._epoch = self._epoch * len(self), self._epoch + 1
        for rows in self._fit.batches.chunks(first, first + len(self), 1):
            inputs, targets = self._fit.data.gather(rows, [0])
            yield inputs[0, 0], targets[0, 0]
