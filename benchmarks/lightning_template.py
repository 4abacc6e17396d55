"""Train with the most common setup: one Lightning `Trainer.fit` per trial, one trial per Hydra job, basic launcher.

The code follows the common Lightning+Hydra template: a LightningModule that logs torchmetrics, a data module of
DataLoaders, everything instantiated from YAML, the best checkpoint tested at the end.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from unittest import mock

import hydra
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, Subset, TensorDataset
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.work import Trial, Work
from evalbench.config import Component

Batch = list[Tensor]

known: dict[str, Work] = {}
"""The works that `work=` can name."""
tested: dict[int, float] = {}
"""Test accuracy by seed, of the last sweep."""


class LitNetwork(pl.LightningModule):
    """One network with its loss and metrics."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: Component,
        criterion: Callable[[Tensor, Tensor], Tensor],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.net, self.optimizer, self.criterion = net, optimizer, criterion
        self.train_acc, self.val_acc, self.test_acc = (
            MulticlassAccuracy(num_classes, average="micro") for _ in range(3)
        )
        self.train_loss, self.val_loss, self.test_loss = MeanMetric(), MeanMetric(), MeanMetric()
        self.val_acc_best = MaxMetric()

    def model_step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, predictions and targets of one batch."""
        inputs, targets = batch
        outputs = self.net(inputs)
        return self.criterion(outputs, targets), outputs.argmax(-1), targets

    def on_train_start(self) -> None:
        """Reset the metrics after Lightning's sanity check."""
        self.val_loss.reset()
        self.val_acc.reset()
        self.val_acc_best.reset()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        loss, predictions, targets = self.model_step(batch)
        self.train_loss(loss)
        self.train_acc(predictions, targets)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy of one batch."""
        loss, predictions, targets = self.model_step(batch)
        self.val_loss(loss)
        self.val_acc(predictions, targets)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Log the best accuracy so far."""
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy of one batch."""
        loss, predictions, targets = self.model_step(batch)
        self.test_loss(loss)
        self.test_acc(predictions, targets)
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("test/acc", self.test_acc, on_step=False, on_epoch=True, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer."""
        return cast(torch.optim.Optimizer, self.optimizer.build(self.parameters()))


class TrialOrder(Sampler[int]):
    """Shuffle in the order of the other engines, so that accuracies are comparable trial by trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.number = trial, -1

    def __iter__(self) -> Iterator[int]:
        self.number += 1
        for rows in self.trial.epoch(self.number):
            yield from rows.tolist()

    def __len__(self) -> int:
        return len(self.trial.split.train)


class TrialData(pl.LightningDataModule):
    """Hold the loaders of one trial."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.trial = trial
        self.data = TensorDataset(trial.inputs, trial.targets)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch."""
        return DataLoader(self.data, self.trial.batches.batch_size, sampler=TrialOrder(self.trial))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation rows, in large batches."""
        return DataLoader(Subset(self.data, self.trial.split.validation.tolist()), batch_size=512)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test rows, in large batches."""
        return DataLoader(Subset(self.data, self.trial.split.test.tolist()), batch_size=512)


def train(config: DictConfig) -> None:
    """Train and test one trial."""
    pl.seed_everything(config.seed, workers=True, verbose=False)
    work = known[config.work]
    trial, cell = work.trial(config.seed), work.cell
    model = LitNetwork(trial.network, cell.config.optimizer.component, work.loss, cell.dataset.num_outputs)
    callbacks = [hydra.utils.instantiate(callback) for callback in config.callbacks.values()]
    logger = hydra.utils.instantiate(config.logger)
    trainer = hydra.utils.instantiate(config.trainer, callbacks=callbacks, logger=logger, **_budget(work, trial))
    trainer.fit(model, TrialData(trial))
    (metrics,) = trainer.test(model, TrialData(trial), ckpt_path="best", weights_only=False, verbose=False)
    tested[config.seed] = metrics["test/acc"]


def sweep(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Run `--multirun seed=…` in this process; return the test accuracies in the order of the seeds."""
    tested.clear()
    known[work.name] = work
    assert work.cell  # compose now, because Hydra cannot compose inside a Hydra job
    chosen = [f"work='{work.name}'", f"seed={','.join(map(str, seeds))}", f"hydra.sweep.dir={folder}"]
    main = hydra.main(version_base="1.3", config_path=".", config_name="lightning_template")(train)
    with mock.patch.object(sys, "argv", ["lightning_template", "--multirun", *chosen]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on small epochs, at every trial
        main()
    return [tested[seed] for seed in seeds]


def _budget(work: Work, trial: Trial) -> dict[str, Any]:
    """Return the budget as arguments of Lightning's Trainer."""
    budget = work.cell.config.budget
    if budget.epochs is not None:
        return {"max_epochs": budget.epochs}
    interval = trial.validation_steps[-1] // len(trial.validation_steps)
    return {"max_steps": budget.steps, "val_check_interval": interval, "check_val_every_n_epoch": None}
