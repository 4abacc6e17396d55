"""Draw the initial tensors of C members at once, and check them against networks that are built one by one."""

import logging
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from evalbench.engine import state
from evalbench.engine.construction import Construction, Recorder, ValueReads
from evalbench.models import OtherDrawsError, initial

log = logging.getLogger(__name__)
FEWEST = 8
"""The smallest number of members that are drawn at once: recording a constructor costs as much as a few networks."""
CHUNK_NUMBERS = {"cpu": 2**18, "cuda": 2**24}
"""Numbers drawn in one go, by the type of device: small enough to stay near a processor."""


class Build(Protocol):
    """Build the network of a member index, with its own random numbers or with those of `draw`."""

    def __call__(self, member_index: int, draw: initial.Draw | None = None) -> nn.Module:
        """Return a new network."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Hold the networks of the first and the last member, and the tensors of all members that depend on the seed."""

    first: nn.Module
    last: nn.Module
    values: dict[str, Tensor]  # (C, *shape)


def draw_all(build: Build, keys: Tensor, device: str) -> Drawn:
    """Draw the initial tensors of the members with these keys `(C,)` on a device.

    The first and the last member's are compared with their own networks, bit for bit. Raises `OtherDrawsError` with the
    reason for networks that must be built one by one, and any error of their constructor.
    """
    recorder = Recorder(keys[0])
    with recorder, ValueReads(recorder):
        first = build(0, recorder.draw)
    construction = Construction(recorder, state.tensors(first))
    last = build(len(keys) - 1)
    _check_alike(first, last, construction.names)
    own = [device] if torch.device(device).type in CHUNK_NUMBERS else []
    for name in dict.fromkeys([*own, "cpu"]):
        values = _in_chunks(construction, keys, torch.device(name), first)
        differing = _differing(values, first, 0) or _differing(values, last, len(keys) - 1)
        if differing is None:
            return Drawn(first, last, values)
        log.info("the initial %s drawn on %s differs from that of a network that is built alone", differing, name)
    raise OtherDrawsError(f"{differing} drawn for all members differs from that of a network that is built alone")


def _in_chunks(construction: Construction, keys: Tensor, device: torch.device, network: nn.Module) -> dict[str, Tensor]:
    named = {name: value for name, value in state.tensors(network).items() if name in construction.names}
    values = {name: value.new_empty((len(keys), *value.shape)) for name, value in named.items()}
    numbers = sum(value.numel() for value in named.values())
    size = max(1, CHUNK_NUMBERS[device.type] // max(1, numbers))
    for start in range(0, len(keys), size):
        for name, value in construction.repeat(keys[start : start + size].to(device)).items():
            values[name][start : start + size] = value
    return values


def _differing(values: dict[str, Tensor], network: nn.Module, slot: int) -> str | None:
    """Return the name of a tensor in a slot that has other bits than that of the member's own network, or None."""
    named = state.tensors(network)
    return next((name for name, value in values.items() if not state.same(value[slot], named[name])), None)


def _check_alike(first: nn.Module, last: nn.Module, drawn: list[str]) -> None:
    """Raise `OtherDrawsError` unless two networks differ in drawn tensors alone."""
    left, right = state.tensors(first), state.tensors(last)
    trained = [[name for name, value in network.named_parameters() if value.requires_grad] for network in (first, last)]
    if trained[0] != trained[1] or {k: v.shape for k, v in left.items()} != {k: v.shape for k, v in right.items()}:
        raise OtherDrawsError("its tensors are not the same for every seed")
    for name, value in left.items():
        if name not in drawn and not state.same(value, right[name]):
            raise OtherDrawsError(f"{name} depends on the seed, but not by torch's random functions alone")
