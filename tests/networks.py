"""Small networks for tests, each with a trait that is hard for a cohort."""

import random

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Dropped(nn.Module):
    """Dropout between two layers."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(in_features, 16), nn.Linear(16, out_features)
        self.dropout = nn.Dropout(0.3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.dropout(torch.relu(self.first(inputs))))
        return outputs


class Noisy(Dropped):
    """Gaussian noise on the hidden units in training."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first(inputs))
        if self.training:
            hidden = hidden + 0.1 * torch.randn_like(hidden)
        outputs: Tensor = self.second(hidden)
        return outputs


class Normed(nn.Sequential):
    """BatchNorm, whose buffers move with every batch.

    The layer before it has no bias: its gradient is zero up to rounding, which Adam amplifies to a whole step.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        first = nn.Linear(in_features, 16, bias=False)
        super().__init__(first, nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, out_features))


class Tied(nn.Module):
    """One weight in two layers."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(in_features, 16), nn.Linear(16, in_features)
        self.second.weight = nn.Parameter(torch.randn(in_features, 16) / 4)
        self.again = nn.Linear(16, in_features)
        self.again.weight = self.second.weight
        self.last = nn.Linear(in_features, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        outputs: Tensor = self.last(torch.tanh(self.second(hidden)) + self.again(hidden))
        return outputs


class Branching(Dropped):
    """Control flow that depends on values: no batching rule can follow it."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.dropout(torch.relu(self.first(inputs)))
        if hidden.mean() > 0.2:
            hidden = hidden * 0.9
        outputs: Tensor = self.second(hidden)
        return outputs


class Probe(nn.Module):
    """A frozen body, the same for every seed, and a head that trains: a linear probe."""

    def __init__(self, in_features: int, out_features: int, width: int = 256) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.body = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.body.requires_grad_(False)
        self.head = nn.Linear(width, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


class PythonDraws(nn.Linear):
    """A layer whose biases come from Python's generator."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.bias.data.fill_(random.random())


def drawn_again(weight: Tensor) -> None:
    """Draw normal weights until all are small, as `nn.init.trunc_normal_` does in some versions of torch."""
    with torch.no_grad():
        nn.init.normal_(weight)
        while (weight.abs() > 1).any():
            weight.copy_(torch.where(weight.abs() > 1, torch.randn_like(weight), weight))


class TruncatedDraws(nn.Linear):
    """A layer whose weights are drawn again until all of them are small."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        drawn_again(self.weight)


class DrawnList(nn.Linear):
    """A layer that keeps drawn tensors in a list, where nothing moves or stacks them."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.scales = [torch.rand(out_features)]

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * self.scales[0]


class BranchingToo(Branching):
    """The same network under another name, because a warning about a network is given once in a process."""


class Recomputed(nn.Module):
    """Residual blocks whose activations `torch.utils.checkpoint` computes again; kept if `reentrant` is None."""

    def __init__(
        self, in_features: int, out_features: int, reentrant: bool | None = None, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first, self.last = nn.Linear(in_features, 8), nn.Linear(8, out_features)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 128), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(128, 8))
            for _ in range(4)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        for block in self.blocks:
            kept = self.reentrant is None
            hidden = hidden + (block(hidden) if kept else checkpoint(block, hidden, use_reentrant=self.reentrant))
        outputs: Tensor = self.last(hidden)
        return outputs
