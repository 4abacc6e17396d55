"""Features of texts by the part of a pretrained network that does not train, computed once per data set.

A probe trains a head on what the rest of the network says of a row. That rest is the same for all trials and all steps,
so its outputs take its place. Only outputs on which the head depends are kept.

Shapes: `N` rows, `B` rows of a batch, `T` tokens of a row, `F` features of a row.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evalbench.models.shared_weights import SharedWeights
from evalbench.workloads import Dataset

ROWS = 64
"""Rows of one pass."""
TRIED = 4
"""Rows on which the outputs of the cut network are compared with those of the whole one."""
MOST_BYTES = 2**31
"""The size of the features of a data set above which they are computed anew in each step."""
Key = str | int | None


@dataclass(frozen=True)
class Output:
    """A tensor that a part of a network returns, `(B, *shape)`: its name there, and whether it is stored."""

    key: Key
    shape: tuple[int, ...]
    stored: bool = True


@dataclass(frozen=True)
class FrozenPart:
    """A part of a network that does not train, with what it returns."""

    name: str
    kind: type
    outputs: tuple[Output, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """A data set as the head of a network sees it, `(N, T + F)`, and the parts of the network that it does without."""

    dataset: Dataset
    parts: tuple[FrozenPart, ...]


class StoredOutputs(nn.Module):
    """Return, in the place of a part of a network, what it has returned for the same rows."""

    def __init__(self, part: FrozenPart) -> None:
        super().__init__()
        self.part = part
        self.values: Sequence[Tensor] = ()
        """The stored outputs of the rows of a batch, while it is there."""

    def forward(self, *_: Any, **__: Any) -> Any:
        """Return the outputs as the part did; those that nothing depends on are zeros."""
        anchor, stored = self.values[0], iter(self.values[1:])
        named: dict[Any, Tensor] = {
            output.key: next(stored) if output.stored else anchor.new_zeros(len(anchor), *output.shape)
            for output in self.part.outputs
        }
        if issubclass(self.part.kind, Tensor):
            return named[None]
        return self.part.kind(**named) if issubclass(self.part.kind, Mapping) else tuple(named.values())


def frozen_parts(network: nn.Module, prefix: str = "") -> Iterator[str]:
    """Yield the names of the largest parts that have parameters, of which none trains."""
    for name, child in network.named_children():
        trains = [parameter.requires_grad for parameter in child.parameters()]
        if trains and not any(trains):
            yield f"{prefix}{name}"
        elif trains:
            yield from frozen_parts(child, f"{prefix}{name}.")


def seen_by_head(network: SharedWeights, dataset: Dataset, device: torch.device) -> Seen | None:
    """Return a data set with features as inputs; None if they cannot take the place of the network's frozen parts.

    They cannot if the head depends on more than the tensors that these parts return, or if they are too large.
    """
    whole = network.to(device).eval()
    few = _tokens(dataset, slice(0, TRIED), device)
    with torch.no_grad():
        expected, returned = _run(whole, few)
        parts = _needed(whole, returned, few)
        if parts is None or not torch.allclose(_on_features(whole, parts, returned, few), expected, atol=1e-6):
            return None
        width = _packed(parts, returned, few).shape[1]
        if 4 * width * len(dataset.inputs) > MOST_BYTES:
            return None
        features = np.empty((len(dataset.inputs), width), np.float32)
        for first in range(0, len(features), ROWS):
            tokens = _tokens(dataset, slice(first, first + ROWS), device)
            features[first : first + ROWS] = _packed(parts, _run(whole, tokens)[1], tokens).cpu().numpy()
    names, none = tuple(f"feature {number}" for number in range(width)), np.zeros(width, dtype=bool)
    inputs: dict[str, Any] = {
        "inputs": features,
        "features": names,
        "numeric": none,
        "vocabulary": None,
        "encoding": None,
    }
    return Seen(replace(dataset, **inputs, are_features=True), parts)


def cut(network: SharedWeights, parts: Sequence[FrozenPart], num_tokens: int) -> None:
    """Put stored outputs in the places of parts: from now on the network takes `(B, T + F)`, tokens first."""
    stand_ins = [StoredOutputs(part) for part in parts]
    for stand_in in stand_ins:
        owner, _, leaf = stand_in.part.name.rpartition(".")
        setattr(network.network.get_submodule(owner), leaf, stand_in)

    @contextmanager
    def unpacked(inputs: Tensor) -> Iterator[Tensor]:
        tokens, rest = inputs[:, :num_tokens], inputs[:, num_tokens:]
        for stand_in in stand_ins:
            values = [rest]  # whose number of rows and type are those of the outputs
            for output in stand_in.part.outputs:
                if output.stored:
                    size = math.prod(output.shape)
                    values.append(rest[:, :size].reshape(-1, *output.shape))
                    rest = rest[:, size:]
            stand_in.values = values
        try:
            yield tokens.long()
        finally:
            for stand_in in stand_ins:
                stand_in.values = ()

    network.unpacked = unpacked


def _tokens(dataset: Dataset, rows: slice, device: torch.device) -> Tensor:
    return torch.as_tensor(dataset.inputs[rows], device=device).long()


Returned = dict[str, tuple[type, dict[Key, Tensor]]]
"""By the name of a part, the type of what it returned and its tensors by name."""


def _run(network: SharedWeights, tokens: Tensor) -> tuple[Tensor, Returned]:
    """Return the outputs of a network, and what its frozen parts returned, in the order of their calls."""
    returned: Returned = {}

    def hook_of(name: str) -> Any:
        def note(module: nn.Module, given: Any, output: Any) -> None:
            tensors = {key: value for key, value in _named(output).items() if isinstance(value, Tensor)}
            returned[name] = type(output), tensors

        return note

    names = frozen_parts(network.network)
    hooks = [network.network.get_submodule(name).register_forward_hook(hook_of(name)) for name in names]
    try:
        outputs: Tensor = network(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, returned


def _named(output: Any) -> dict[Key, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    return dict(enumerate(output)) if isinstance(output, tuple) else {None: output}


def _needed(network: SharedWeights, returned: Returned, tokens: Tensor) -> tuple[FrozenPart, ...] | None:
    """Return the parts with the outputs on which those of the network depend; None if that is none."""
    rows = len(tokens)
    if not returned or any(len(value) != rows for _, named in returned.values() for value in named.values()):
        return None
    every = tuple(
        FrozenPart(name, kind, tuple(Output(key, tuple(value.shape[1:])) for key, value in named.items()))
        for name, (kind, named) in returned.items()
    )
    parts = []
    for part in every:
        outputs = []
        for output in part.outputs:
            kind, named = returned[part.name]
            missing = torch.full_like(named[output.key], math.nan)
            unknown = {**returned, part.name: (kind, {**named, output.key: missing})}
            stored = bool(_on_features(network, every, unknown, tokens).isnan().any())
            outputs.append(replace(output, stored=stored))
        parts.append(replace(part, outputs=tuple(outputs)))
    return tuple(parts) if any(output.stored for part in parts for output in part.outputs) else None


def _on_features(network: SharedWeights, parts: Sequence[FrozenPart], returned: Returned, tokens: Tensor) -> Tensor:
    """Return the outputs of a copy of the network that is cut, on what its parts returned."""
    copied = copy.deepcopy(network, {id(value): value for value in network.parameters()})
    cut(copied, parts, tokens.shape[1])
    outputs: Tensor = copied(_packed(parts, returned, tokens))
    return outputs


def _packed(parts: Sequence[FrozenPart], returned: Returned, tokens: Tensor) -> Tensor:
    """Return the tokens and the stored outputs as one row of numbers each, `(B, T + F)`."""
    stored = [returned[part.name][1][output.key] for part in parts for output in part.outputs if output.stored]
    return torch.cat([tokens.float(), *(value.flatten(1).float() for value in stored)], dim=1)
