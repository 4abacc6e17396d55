"""Random numbers as a pure function of a trial's seed, the step, the user of the numbers, and the row.

The counter-based generator (Salmon et al. 2011) consists of tensor operations, so it can be vmapped and traced. Nothing
has a state. All operations are exact or rounded by IEEE 754, so that every device draws the same bits: the logarithms,
roots, and sines of processors differ.
Shapes: `C` members, `S` steps.
"""

import math
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
GOLDEN, CALL = 0x9E3779B9 - 2**32, 0x85EBCA6B - 2**32
"""Odd factors, as int32 numbers."""
SECOND_CALL = 2**20
"""What is added to the number of a call for the second uniform number behind a normal one."""
LOG_2 = (0.693138122559, 9.05800061445e-06)
"""ln 2 as a sum of two numbers, of which the first has few digits, so that its products with exponents are exact."""
LOG = (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841)
"""Coefficients of (ln((1 + s) / (1 - s)) - 2 s) / s by s², for |s| < 0.172 (FreeBSD's `logf`)."""
SINE = (1.570796290022376, -0.6459633598659523, 0.07968848054054099, -0.004672227923505774, 0.00015082056465657965)
"""Coefficients of sin(π x / 2) / x by x², for |x| ≤ 1: the largest error of the sine is 3.4e-9."""


def step_keys(seeds: Tensor, first_step: int, num_steps: int) -> Tensor:
    """Return a key per step and member, `(S, C)` int64, from the members' noise seeds `(C,)`."""
    steps = torch.arange(first_step, first_step + num_steps, device=seeds.device)[:, None]
    low = _mix(_narrow(seeds) ^ _mix(_times(steps, GOLDEN)))
    high = _mix(_narrow(seeds >> 32) ^ _mix(_narrow(_wide(low) + steps)))
    return (_wide(high) >> 1) << 32 | _wide(low)


def stream(keys: Tensor, user: str) -> Tensor:
    """Return the keys `(...)` of a user's own stream, such as a part of a technique; networks draw from the keys."""
    name = torch.full((), _signed(crc32(user.encode())), dtype=torch.int32, device=keys.device)
    low = _mix(_narrow(keys) ^ _mix(name))
    return (keys >> 32) << 32 | _wide(low)


def normal(keys: Tensor, shape: Sequence[int], call: int = 1, first_row: Tensor | int = 0) -> Tensor:
    """Return float32 numbers of a standard normal distribution, `(*keys.shape, *shape)`, by Box and Muller (1958).

    Two uniform numbers give a point of the plane, and so the numbers of two columns.
    """
    inner = math.prod(shape[1:])
    halves = (*shape[:1], -(-inner // 2))
    calls = call + torch.arange(2, device=keys.device) * SECOND_CALL
    distance, direction = uniform(keys[..., None], calls, halves, first_row).unbind(keys.ndim)
    radius = _root(log(1 - distance) * -2)
    angle = direction * 4 - 2  # quarter turns
    rest = 1 - angle.abs()
    pair = (radius * sine(rest), radius * torch.copysign(sine(1 - rest.abs()), angle))  # the cosine, the sine
    return torch.cat(pair, dim=-1)[..., :inner].reshape((*keys.shape, *shape))


def integers(keys: Tensor, call: int, shape: Sequence[int], below: int) -> Tensor:
    """Return whole numbers from 0 to `below` - 1, `(*keys.shape, *shape)` int64; `below` is at most 2²⁴."""
    return (uniform(keys, call, shape) * below).long().clamp(max=below - 1)


def exponential(keys: Tensor, shape: Sequence[int], call: int = 1, first_row: Tensor | int = 0) -> Tensor:
    """Return float32 numbers of an exponential distribution of mean 1, `(*keys.shape, *shape)`."""
    return -log(1 - uniform(keys, call, shape, first_row))


def uniform(keys: Tensor, call: Tensor | int, shape: Sequence[int], first_row: Tensor | int = 0) -> Tensor:
    """Return float32 numbers in [0, 1), 24 bits each, `(*keys.shape, *shape)`; axis 0 is counted from `first_row`.

    Calls of several numbers `(...)` are broadcast with the keys.
    """
    first, inner = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    rows = torch.arange(first, device=keys.device) + first_row
    columns = torch.arange(inner, device=keys.device)
    user = _narrow(keys) ^ (_signed(call * CALL) if isinstance(call, int) else _times(call, CALL))
    row_keys = _mix(_mix(_times(rows, GOLDEN)) ^ user[..., None])
    column_keys = _mix(_times(columns, GOLDEN) ^ _narrow(keys >> 32)[..., None])
    bits = _mix(column_keys[..., None, :] ^ row_keys[..., None])
    return (((bits >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24).reshape((*user.shape, *shape))


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of float32 numbers in (0, 1], with an error below one unit in the last place."""
    bits = _viewed(x, torch.int32) + (0x3F800000 - 0x3F3504F3)
    exponent = ((bits >> 23) - 127).to(torch.float32)
    rest = _viewed((bits & 0x7FFFFF) + 0x3F3504F3, torch.float32) - 1  # from √½ - 1 to √2 - 1
    s = rest / (rest + 2)
    square = s * s
    half = rest * rest * 0.5
    series = _polynomial(square, LOG) * square
    return s * (half + series) + exponent * LOG_2[1] - half + rest + exponent * LOG_2[0]


def sine(x: Tensor) -> Tensor:
    """Return sin(π x / 2) of float32 numbers with |x| ≤ 1: x is in quarter turns."""
    return _polynomial(x * x, SINE) * x


def _root(x: Tensor) -> Tensor:
    """Return the square root of float32 numbers as IEEE 754 rounds it, which torch's own on a CPU does not always."""
    return torch.sqrt(x.double()).float() if x.device.type == "cpu" else torch.sqrt(x)


def _viewed(x: Tensor, dtype: torch.dtype) -> Tensor:
    viewed: Tensor = _Viewed.apply(x, dtype)  # type: ignore[no-untyped-call]
    return viewed


class _Viewed(torch.autograd.Function):
    """The same bits as numbers of another type of the same size, also under `vmap`, which some versions refuse."""

    @staticmethod
    def forward(x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.view(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, None], x: Tensor, dtype: torch.dtype) -> tuple[Tensor, int | None]:
        return _viewed(x, dtype), in_dims[0]


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    *rest, highest = coefficients
    result = x * highest
    for coefficient in reversed(rest[1:]):
        result = (result + coefficient) * x
    return result + rest[0]


def _mix(x: Tensor) -> Tensor:
    """Map int32 numbers one to one so that every bit affects all bits (Wellons' lowbias32)."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _signed(0x846CA68B)
    return x ^ ((x >> 16) & 0xFFFF)


def _times(numbers: Tensor, factor: int) -> Tensor:
    """Return int64 numbers times a factor, modulo 2³² as int32.

    Inductor would multiply indices without the modulus. An operation on bits makes numbers of them.
    """
    return (_narrow(numbers) ^ 0) * factor


def _narrow(x: Tensor) -> Tensor:
    """Return the lowest 32 bits of int64 numbers as int32."""
    return x.to(torch.int32)


def _wide(x: Tensor) -> Tensor:
    """Return the bits of int32 numbers as int64 numbers from 0 to 2³² - 1."""
    return x.to(torch.int64) & MASK


def _signed(x: int) -> int:
    """Return the int32 number with the lowest 32 bits of `x`."""
    return (x + 2**31) % 2**32 - 2**31
