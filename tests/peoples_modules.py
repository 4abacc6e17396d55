"""LightningModules as people write them."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, override"

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS: list[int] = []
"""The epochs that a hook saw begin."""


class Net(nn.Sequential):
    """Two layers."""

    def __init__(self, in_features, out_features):
        super().__init__(nn.Linear(in_features, 16), nn.Tanh(), nn.Linear(16, out_features))


def net(in_features, out_features):
    return Net(in_features, out_features)


class Own(pl.LightningModule):
    """Its own step, optimizer and hook; it raises in the trial whose first weight is `bad`."""

    def __init__(self, in_features, out_features, lr=0.05, bad=None):
        super().__init__()
        self.net, self.lr, self.bad = Net(in_features, out_features), lr, bad
        self.first = next(self.parameters()).detach()[0, 0].item()

    def forward(self, inputs):
        return self.net(inputs)

    def on_train_epoch_start(self):
        EPOCHS.append(self.current_epoch)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        outputs = self(inputs)
        if self.bad is not None and abs(self.first - self.bad) < 1e-9:
            raise RuntimeError("my own error")
        if outputs.shape[-1] == 1:
            return F.mse_loss(outputs[:, 0], targets)
        return F.cross_entropy(outputs, targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Labels(Own):
    """A logit per label."""

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.binary_cross_entropy_with_logits(self(inputs), targets.float())


class NoStep(pl.LightningModule):
    """No training step."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.net = Net(in_features, out_features)

    def forward(self, inputs):
        return self.net(inputs)
