"""Tasks as people write them: quantiles, survival, a loss of classes, and one whose prediction is the output itself."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench.tasks import OwnTask, own_metric
from evalbench.workloads import Dataset


class Quantiles(OwnTask):
    """Quantiles of a number, by the pinball loss (Koenker and Bassett 1978)."""

    scales_targets = True

    def __init__(self, levels: Any = (0.1, 0.5, 0.9)) -> None:
        self.levels = tuple(levels)
        covered = own_metric(self.covered, "maximize", unit="fraction")
        self.metrics = (own_metric(self.pinball, "minimize", best=0.0, words="pinball loss"), covered)

    def num_outputs(self, num_classes: int) -> int:
        return len(self.levels)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        above, levels = targets[:, None] - outputs, outputs.new_tensor(self.levels)
        return torch.maximum(levels * above, (levels - 1) * above).mean()

    def trivial_prediction(self, targets: Any, num_classes: int) -> Any:
        return np.quantile(targets, self.levels)

    def pinball(self, predictions: Any, targets: Any) -> float:
        above, levels = targets[:, None] - predictions, np.array(self.levels)
        return float(np.maximum(levels * above, (levels - 1) * above).mean())

    def covered(self, predictions: Any, targets: Any) -> float:
        return float(np.mean((predictions[:, 0] <= targets) & (targets <= predictions[:, -1])))


def concordance(predictions: Any, targets: Any) -> float:
    """Return the share of comparable pairs whose first to have the event has the higher risk, ties half."""
    times, events = targets.T
    pairs = (times[:, None] < times) & (events[:, None] == 1)
    ahead = np.sign(predictions[:, None] - predictions)
    return float(((ahead + 1) / 2)[pairs].mean())


class Survival(OwnTask):
    """The risk of an event, by Cox's partial likelihood among the rows of a batch; targets are (time, event)."""

    target_shape = (2,)
    metrics = (own_metric(concordance, "maximize", unit="fraction", best=1.0),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        risk, (times, events) = outputs.squeeze(-1), targets.unbind(-1)
        at_risk = torch.where(times >= times[:, None], risk, -torch.inf).logsumexp(-1)
        return ((at_risk - risk) * events).mean()

    def trivial_prediction(self, targets: Any, num_classes: int) -> Any:
        return 0.0


class Risk(pl.LightningModule):
    """A module of its own, with the loss of the task."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, inputs: Tensor) -> Any:
        return self.layer(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return Survival().loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def patients(count: int = 200) -> Dataset:
    """Return rows whose third input is the logarithm of their risk; a third is censored."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(count, 4)).astype(np.float32)
    times, until = generator.exponential(np.exp(-2 * inputs[:, 2])), generator.exponential(2, count)
    targets = np.stack([np.minimum(times, until), times <= until], 1).astype(np.float32)
    return Dataset("patients", Survival(), inputs, targets, tuple("abcd"), np.ones(4, dtype=bool))


class Poly(OwnTask):
    """Classes, by cross-entropy plus the probability of being wrong (Leng et al. 2022)."""

    is_classification = True

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = outputs.softmax(-1).gather(-1, targets[:, None])
        return F.cross_entropy(outputs, targets) + (1 - right).mean()


class Absolute(OwnTask):
    """Numbers, by the absolute error."""

    scales_targets = True
    metrics = ("mae", "r2")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.squeeze(-1) - targets).abs().mean()

    def trivial_prediction(self, targets: Any, num_classes: int) -> Any:
        return np.median(targets)
