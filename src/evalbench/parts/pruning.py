"""WeightPruning: weights that become zero, one by one, and stay so.

A schedule raises the share of zeros with the third power of the steps that are left (Zhu and Gupta 2017). At once, the
share is reached after the training. What is pruned are the weights of linear layers and convolutions: not biases,
normalizations and embeddings.
"""

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from evalbench.config import Component, DistillationConfig
from evalbench.errors import ConfigError

SCHEDULES, SCOPES = ("gradual", "one_shot"), ("global", "layer")


@dataclass(frozen=True)
class WeightPruning(ABC):
    """How many weights become zero, and when; which ones is the kind of pruning."""

    sparsity: float = 0.5
    """The share of zeros among the weights in the end."""
    scope: str = "global"
    """`global`: the share holds over all layers; `layer`: in each one."""
    schedule: str = "gradual"
    """`gradual`: while it trains; `one_shot`: after it."""
    begin: float = 0.1
    """The share of the steps before the first weights become zero."""
    end: float = 0.75
    """The share of the steps after which no others do."""
    updates: int = 20
    """The number of steps at which weights are chosen anew."""

    by_movement: ClassVar[bool]
    """Whether weights are chosen by their way during training, not by their size."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings without a meaning."""
        shares = {"sparsity": self.sparsity, "begin": self.begin, "end": self.end}
        for name, share in shares.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise _refused(name, "must be a share from 0 to 1", share, getattr(type(self), name))
        if not 0 < self.sparsity < 1:
            raise _refused("sparsity", "must be a share above 0 and below 1", self.sparsity, 0.5)
        if self.begin >= self.end:
            raise _refused("end", f"must be above compression.begin, {self.begin:g}", self.end, 0.75)
        if isinstance(self.updates, bool) or not isinstance(self.updates, int) or self.updates < 1:
            raise _refused("updates", "must be a whole number of at least 1", self.updates, 20)
        for name, options in (("schedule", SCHEDULES), ("scope", SCOPES)):
            if getattr(self, name) not in options:
                rule = f"must be {' or '.join(options)}"
                raise _refused(name, rule, getattr(self, name), options[0])

    def shares(self, steps: int) -> dict[int, float]:
        """Return the share of zeros from some steps on, by their number counted from 1, of a training of `steps`."""
        if self.schedule == "one_shot":
            return {}
        first, last = round(self.begin * steps), max(1, round(self.end * steps))
        count = min(self.updates, max(1, last - first))
        return {
            first + round((last - first) * number / count): self.sparsity * (1 - (1 - number / count) ** 3)
            for number in range(1, count + 1)
        }


class MagnitudePruning(WeightPruning):
    """The smallest weights become zero."""

    by_movement = False


class MovementPruning(WeightPruning):
    """The weights that moved most towards zero become zero (Sanh et al. 2020)."""

    by_movement = True


def _refused(name: str, rule: str, value: object, example: object) -> ConfigError:
    key = f"compression.{name}"
    return ConfigError(key, rule, value, f"for example {key}={example}")


def pruning_of(chosen: Component | DistillationConfig | None) -> WeightPruning | None:
    """Return the chosen pruning; None for another compression, or none; raise `ConfigError`."""
    if not isinstance(chosen, Component) or not issubclass(chosen.locate(), WeightPruning):
        return None
    pruning: WeightPruning = chosen.build()
    return pruning


def weights_of(network: nn.Module) -> list[str]:
    """Return the names of the weights that are pruned; raise `ConfigError` if one of them does not train, or for none.

    They are matrices and filters: parameters of at least two axes that are called weights, except those of embeddings.
    """
    embedded = {id(one.weight) for one in network.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)}
    weights = {
        name: value
        for name, value in network.named_parameters()
        if value.ndim > 1 and "weight" in name.rpartition(".")[2] and id(value) not in embedded
    }
    frozen = [name for name, value in weights.items() if not value.requires_grad]
    if frozen or not weights:
        rule = "must be none for a network without weights of layers" if not frozen else f"needs {frozen[0]} to train"
        raise ConfigError("compression", rule, remedy="choose adaptation=full, another model, or compression=none")
    return list(weights)
