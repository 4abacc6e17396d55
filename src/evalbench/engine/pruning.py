"""An optimizer whose steps leave pruned weights at zero.

A pruned weight keeps its last value, so that it can come back if others are chosen later. The network computes with
zeros alone. Masks are chosen for each member by itself, and ties are broken by the order of the weights, so that each
member has the same number of zeros in any cohort.

Shapes: every stacked tensor is `(C, *shape)`; `P` weights of a member that are pruned together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from evalbench.engine.optimizers import NO_SLOTS, CohortOptimizer, SplitOptimizer, Without
from evalbench.engine.state import Stack, num_bytes
from evalbench.errors import ConfigError
from evalbench.parts.pruning import WeightPruning

Tensors = dict[str, Tensor]


class Pruned:
    """Step as another optimizer does, and set pruned weights to zero; it has the interface of `CohortOptimizer`."""

    def __init__(
        self,
        optimizer: CohortOptimizer | SplitOptimizer,
        parameters: Mapping[str, nn.Parameter],
        names: Sequence[str],
        pruning: WeightPruning,
        steps: int,
    ) -> None:
        """Take the optimizer, all stacked parameters, the names of those that are pruned, and the steps of a trial.

        Raises `ConfigError` for an optimizer that computes its gradients itself.
        """
        if optimizer.calls.closure:
            rule = "must be none for an optimizer that needs a closure, whose steps cannot keep weights at zero"
            raise ConfigError("compression", rule, remedy="choose another optimizer, for example adam")
        self._optimizer, self._pruning = optimizer, pruning
        self._shares = pruning.shares(steps)
        self._last_update = max(self._shares, default=steps + 1)
        self._taken = 0
        self._parameters = {name: parameters[name] for name in names if name in parameters}
        values = {name: parameter.detach() for name, parameter in self._parameters.items()}
        self._masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in values.items()}
        self._whole = {name: value.clone() for name, value in values.items()} if self._shares else {}
        """The weights with the last values of pruned ones."""
        self._moved = {name: torch.zeros_like(value) for name, value in values.items()} if pruning.by_movement else {}
        """By how much each weight moved away from zero, up to the learning rate."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    @property
    def why_not_captured(self) -> str:
        """The reason why a CUDA graph cannot hold the step."""
        return "the weights that are pruned change"

    def schedule(self, step: int) -> None:
        """Set the hyperparameters of a step, and note its number."""
        self._taken = step
        self._optimizer.schedule(step)

    def step(self, gradients: Mapping[str, Tensor], without: Without = NO_SLOTS, keys: Tensor | None = None) -> None:
        """Update the parameters in place, and leave pruned weights at zero; see `CohortOptimizer.step`."""
        for name, moved in self._moved.items():
            value = self._whole[name] if self._whole else self._parameters[name].data
            moved.addcmul_(gradients[name], value, value=-1)
        masked = {name: gradients[name] * mask for name, mask in self._masks.items()} if self._whole else {}
        self._optimizer.step({**gradients, **masked}, without, keys)
        self._taken += 1
        if not self._whole:
            return
        for name, parameter in self._parameters.items():
            self._whole[name] = torch.where(self._masks[name], parameter.data, self._whole[name])
        if self._taken in self._shares:
            self._masks = self._chosen(self._whole, self._shares[self._taken])
        for name, parameter in self._parameters.items():
            parameter.data.copy_(torch.where(self._masks[name], self._whole[name], 0))

    def _chosen(self, whole: Tensors, share: float) -> Tensors:
        """Return the masks of the weights that stay: false for the share with the lowest scores."""
        scores = self._moved or {name: value.abs() for name, value in whole.items()}
        return _masks(scores, share, self._pruning.scope)

    def kept(self, stack: Stack) -> Stack:
        """Return a stack as its members are kept: with the share of zeros that they have in the end."""
        current = {name: stack.trained[name] for name in self._parameters}
        whole = {name: torch.where(self._masks[name], current[name], one) for name, one in self._whole.items()}
        is_final = self._taken >= self._last_update
        masks = self._masks if is_final else self._chosen(whole or current, self._pruning.sparsity)
        pruned = {name: torch.where(masks[name], (whole or current)[name], 0) for name in current}
        return replace(stack, trained={**stack.trained, **pruned})

    def keep(self, slots: Sequence[int], parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep the members in some slots, given their new parameters."""
        self._optimizer.keep(slots, parameters)
        self._go_on(lambda value: value[list(slots)], parameters)

    def move(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Move the optimizer's tensors to the parameters' new device or dtype."""
        self._optimizer.move(function, parameters)
        self._go_on(function, parameters)
        self._masks = {name: mask.bool() for name, mask in self._masks.items()}

    def _go_on(self, function: Callable[[Tensor], Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = {name: parameters[name] for name in self._parameters}
        self._masks, self._whole, self._moved = (
            {name: function(value) for name, value in part.items()} for part in (self._masks, self._whole, self._moved)
        )

    def state(self) -> list[dict[str, Any]]:
        """Return the states to save, the last one that of the pruning."""
        own = {"masks": self._masks, "whole": self._whole, "moved": self._moved, "taken": self._taken}
        return [*self._optimizer.state(), own]

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Load saved states of the same members in the same order."""
        *others, own = states
        self._optimizer.load_state(others)
        device = next(iter(self._parameters.values())).device
        self._masks, self._whole, self._moved = (
            {name: value.to(device) for name, value in own[part].items()} for part in ("masks", "whole", "moved")
        )
        self._taken = own["taken"]

    @property
    def state_bytes(self) -> int:
        """The size of the optimizer's state, masks and pruned weights included."""
        held = (self._masks, self._whole, self._moved)
        return self._optimizer.state_bytes + sum(num_bytes(part.values()) for part in held)


def _masks(scores: Tensors, share: float, scope: str) -> Tensors:
    """Return masks that are false for the share with the lowest scores, of all tensors or of each."""
    names = list(scores)
    masks: Tensors = {}
    for group in [names] if scope == "global" else [[name] for name in names]:
        flat = torch.cat([scores[name].flatten(1) for name in group], dim=1)  # (C, P)
        lowest = flat.argsort(dim=1, stable=True)[:, : round(share * flat.shape[1])]
        kept = torch.ones_like(flat, dtype=torch.bool).scatter_(1, lowest, False)
        parts = torch.split(kept, [scores[name][0].numel() for name in group], dim=1)
        masks |= {name: part.view_as(scores[name]) for name, part in zip(group, parts, strict=True)}
    return masks


@torch.no_grad()
def prune(network: nn.Module, names: Sequence[str], pruning: WeightPruning | None) -> None:
    """Set the smallest weights of a network to zero, as many as in the end of its training."""
    values = {name: network.get_parameter(name) for name in names}
    if pruning is not None:
        scores = {name: value.abs()[None] for name, value in values.items()}
        for name, mask in _masks(scores, pruning.sparsity, pruning.scope).items():
            values[name].mul_(mask[0])


Optimizer = CohortOptimizer | SplitOptimizer | Pruned


def pruned(
    optimizer: CohortOptimizer | SplitOptimizer,
    parameters: Mapping[str, nn.Parameter],
    names: Sequence[str],
    pruning: WeightPruning | None,
    steps: int,
) -> Optimizer:
    """Return the optimizer of a trial of some steps, with the pruning if there is any; raise `ConfigError`."""
    return optimizer if pruning is None else Pruned(optimizer, parameters, names, pruning, steps)


def kept(optimizer: Optimizer, stack: Stack) -> Stack:
    """Return a stack as its members are kept: as it is, or pruned."""
    return optimizer.kept(stack) if isinstance(optimizer, Pruned) else stack
