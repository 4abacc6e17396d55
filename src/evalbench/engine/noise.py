"""Random numbers inside a network, as a pure function of the trial's noise seed, the step and the row.

A counter-based generator (Salmon et al. 2011) written as tensor operations: it can be vmapped and traced, so dropout
masks do not depend on the cohort, on how a batch is cut into micro-batches, or on which rank holds a row.
Shapes: `C` members, `S` steps, `B` rows of a batch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def step_keys(seeds: Tensor, first_step: int, num_steps: int) -> Tensor:
    """Return a key per step and member, `(S, C)` int64, from the members' noise seeds `(C,)`."""
    steps = torch.arange(first_step, first_step + num_steps, device=seeds.device)[:, None]
    low = _mix((seeds & MASK) ^ _mix(steps * GOLDEN & MASK))
    high = _mix((seeds >> 32) ^ _mix(low + steps & MASK))
    return (high >> 1) << 32 | low


def uniform(key: Tensor, call: int, shape: Sequence[int], first_row: Tensor) -> Tensor:
    """Return float32 numbers in [0, 1), 24 bits each, of a shape whose first axis are rows, from a scalar key."""
    inner = math.prod(shape[1:])
    rows = torch.arange(shape[0], device=key.device) + first_row
    columns = torch.arange(inner, device=key.device)
    low, high = key & MASK, key >> 32
    row_keys = _mix(_mix(rows * GOLDEN & MASK) ^ low ^ (call * 0x85EBCA6B & MASK))
    bits = _mix(_mix((columns * GOLDEN & MASK) ^ high) ^ row_keys[:, None])
    return ((bits >> 8).to(torch.float32) * 2.0**-24).reshape(tuple(shape))


class MemberNoise(TorchFunctionMode):
    """While active, dropout and random tensors come from `key` instead of the global generator.

    Attention is written out, because the CPU's fused kernel has no batching rule, and its dropout is ours too.
    """

    def __init__(self, key: Tensor, first_row: Tensor) -> None:
        """Take a scalar int64 key and, as a scalar too, the number of the batch's row that comes first here."""
        super().__init__()
        self._key, self._first_row, self._calls = key, first_row, 0
        self._ours: dict[Any, Callable[..., Tensor]] = {
            F.dropout: self._dropout,
            F.dropout1d: self._channel_dropout,
            F.dropout2d: self._channel_dropout,
            F.dropout3d: self._channel_dropout,
            F.scaled_dot_product_attention: self._attention,
            torch.rand_like: lambda like, **_: self._uniform(like.shape).to(like.dtype),
            torch.randn_like: lambda like, **_: self._normal(like.shape).to(like.dtype),
        }

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer what is random; leave the rest alone."""
        return self._ours.get(function, function)(*args, **(kwargs or {}))

    def _uniform(self, shape: Sequence[int]) -> Tensor:
        self._calls += 1
        return uniform(self._key, self._calls, shape, self._first_row)

    def _normal(self, shape: Sequence[int]) -> Tensor:
        radius = torch.sqrt(-2 * torch.log(1 - self._uniform(shape)))  # Box and Muller 1958
        return radius * torch.cos(2 * math.pi * self._uniform(shape))

    def _dropout(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return self._masked(inputs, inputs.shape, p) if training and p > 0 else inputs

    def _channel_dropout(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return inputs
        return self._masked(inputs, (*inputs.shape[:2], *[1] * (inputs.ndim - 2)), p)

    def _masked(self, inputs: Tensor, shape: Sequence[int], p: float) -> Tensor:
        if p >= 1:
            return torch.zeros_like(inputs)
        return inputs * ((self._uniform(shape) >= p).to(inputs.dtype) / (1 - p))

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if enable_gqa:
            raise NotImplementedError("grouped-query attention inside a cohort")
        scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return self._dropout(torch.softmax(scores, dim=-1), dropout_p) @ value


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers that spreads every bit over all others (Wellons' lowbias32), in int64 tensors."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)
