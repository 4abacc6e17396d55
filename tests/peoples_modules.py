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


class Plain(pl.LightningModule):
    """A module with nothing but its step and its optimizer."""

    def __init__(self, in_features, out_features, lr=0.05, dropout=0.0, how="sgd"):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(in_features, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, out_features)
        )
        self.lr, self.how = lr, how

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = F.cross_entropy(self(inputs), targets) + 0.01 * sum((p**2).sum() for p in self.net[0].parameters())
        self.log("train_loss", loss, prog_bar=True)
        return {"loss": loss}

    def configure_optimizers(self):
        if self.how == "sgd":
            return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        if self.how == "groups":
            return torch.optim.SGD([{"params": [p]} for p in self.parameters()], lr=self.lr)
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.1)
        if self.how == "epochs":
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]
        steps = int(self.trainer.estimated_stepping_batches)
        make = {"steps": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=steps),
                "cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps),
                "plateau": lambda: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)}  # fmt: skip
        setting = {"scheduler": make[self.how](), "interval": "step", "monitor": "train_loss"}
        return {"optimizer": optimizer, "lr_scheduler": setting}


class ByEpoch(Plain):
    """Its loss depends on the epoch."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)["loss"] * (1 + self.current_epoch)


class ByBatch(Plain):
    """Its loss depends on the number of the batch."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)["loss"] * (batch_idx % 2)


class Short(Plain):
    """Its step takes a batch alone."""

    def training_step(self, batch):
        return super().training_step(batch, None)


class Counting(Plain):
    """It counts its steps in Python."""

    count = 0

    def training_step(self, batch, batch_idx):
        self.count += 1
        return super().training_step(batch, batch_idx)["loss"] * self.count


class Half(torch.optim.SGD):
    """An optimizer with a setting that it keeps for itself."""

    def __init__(self, parameters, lr=1.0, share=1.0):
        super().__init__(parameters, lr=lr)
        self.share = share

    def step(self, closure=None):
        loss = closure()
        for parameter in self.param_groups[0]["params"]:
            parameter.grad *= self.share
        super().step()
        return loss


class Halved(Plain):
    """Its optimizer cannot be made anew from its settings."""

    def configure_optimizers(self):
        return Half(self.parameters(), lr=self.lr, share=0.5)


class Printing(Plain):
    """It reads its loss as a number."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        self.last = loss.item()
        return loss


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
