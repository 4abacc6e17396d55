"""Random numbers as a pure function of the trial's noise seed, the step, the user of the numbers, and the row.

The counter-based generator (Salmon et al. 2011) consists of tensor operations, so it can be vmapped and traced. Nothing
has a state.
Shapes: `C` members, `S` steps.
"""

import math
from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor
from torch.func import vmap

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def step_keys(seeds: Tensor, first_step: int, num_steps: int) -> Tensor:
    """Return a key per step and member, `(S, C)` int64, from the members' noise seeds `(C,)`."""
    steps = torch.arange(first_step, first_step + num_steps, device=seeds.device)[:, None]
    low = _mix((seeds & MASK) ^ _mix(steps * GOLDEN & MASK))
    high = _mix((seeds >> 32) ^ _mix(low + steps & MASK))
    return (high >> 1) << 32 | low


def stream(keys: Tensor, user: str) -> Tensor:
    """Return the keys `(...)` of a user's own stream, such as a part of a technique; networks draw from the keys."""
    low = _mix((keys & MASK) ^ _mix(torch.full((), crc32(user.encode()), device=keys.device)))
    return (keys >> 32) << 32 | low


def normal(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Return float32 numbers of a standard normal distribution, `(*keys.shape, *shape)`, by Box and Muller (1958)."""

    def draw(key: Tensor) -> Tensor:
        first, second = (uniform(key, call, shape, torch.zeros_like(key)) for call in (1, 2))
        return torch.sqrt(-2 * torch.log(1 - first)) * torch.cos(2 * math.pi * second)

    return vmap(draw)(keys.flatten()).reshape(*keys.shape, *shape)


def uniform(key: Tensor, call: int, shape: Sequence[int], first_row: Tensor) -> Tensor:
    """Return float32 numbers in [0, 1), 24 bits each, from a scalar key; the first axis is counted from `first_row`."""
    first, inner = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    rows = torch.arange(first, device=key.device) + first_row
    columns = torch.arange(inner, device=key.device)
    low, high = key & MASK, key >> 32
    row_keys = _mix(_mix(rows * GOLDEN & MASK) ^ low ^ (call * 0x85EBCA6B & MASK))
    bits = _mix(_mix((columns * GOLDEN & MASK) ^ high) ^ row_keys[:, None])
    return ((bits >> 8).to(torch.float32) * 2.0**-24).reshape(tuple(shape))


def _mix(x: Tensor) -> Tensor:
    """Map 32-bit numbers in int64 tensors one to one so that every bit affects all bits (Wellons' lowbias32)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)
