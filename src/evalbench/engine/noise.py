"""Draw random numbers inside a network from the trial's own stream (`draws`).

Dropout masks depend neither on the cohort, nor on how a batch is split into micro-batches, nor on which rank holds a
row.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from evalbench import draws
from evalbench.engine.attention import attention
from evalbench.random_functions import answers, call, substitute

SELU_LOWEST = -1.7580993408473766


class MemberNoise(TorchFunctionMode):
    """Draw random tensors from `key` instead of torch's global generator, while active.

    This covers all variants of dropout, also inside functions of `torch.nn.functional`, and torch's uniform, normal,
    exponential and Bernoulli numbers. All other random functions use the global generators. torch's attention becomes
    `attention`, which takes dropout of this kind and has a batching rule.

    A random tensor is split along with the batch if its first axis is the batch's, or a multiple of it as in attention.
    Any other random tensor is the same in each part of a batch.
    """

    def __init__(self, key: Tensor, first_row: Tensor, rows: int | None = None, eager: bool = False) -> None:
        """Take a scalar int64 key, the batch's row number of the first row (a scalar), and the number of rows.

        Without a number of rows, each random tensor's first axis counts as rows. `eager` is for plain PyTorch, outside
        any transform: in-place functions work in place, and torch's global generator counts the draws, because
        `torch.utils.checkpoint` winds it back to repeat a pass.
        """
        super().__init__()
        self._key, self._first_row, self._rows = key, first_row, rows
        self._calls = 0
        self._numbers: dict[int, int] | None = {} if eager else None
        self._replaced: dict[Any, Callable[..., Any]] = {
            F.dropout: self._dropout,
            torch.dropout: self._dropout,
            F.dropout1d: self._channel_dropout,
            F.dropout2d: self._channel_dropout,
            F.dropout3d: self._channel_dropout,
            torch.feature_dropout: self._channel_dropout,
            F.alpha_dropout: self._alpha_dropout,
            torch.alpha_dropout: self._alpha_dropout,
            F.feature_alpha_dropout: self._feature_alpha_dropout,
            torch.feature_alpha_dropout: self._feature_alpha_dropout,
            F.rrelu: self._rrelu,
            torch.rrelu: self._rrelu,
            F.scaled_dot_product_attention: self._attention,
        }
        self._answers = answers(self)

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace random functions; call all other functions unchanged."""
        kwargs = kwargs or {}
        if function in self._replaced:
            return self._replaced[function](*args, **kwargs)
        answer = substitute(self._answers, function, kwargs)
        if answer is not None:
            return answer(*args, **kwargs)
        return call(self, function, args, kwargs)

    def _call(self) -> int:
        """Return the number of this draw, from 1."""
        if self._numbers is None:
            self._calls += 1
            return self._calls
        return self._numbers.setdefault(_count(torch.default_generator), len(self._numbers) + 1)

    def counted(self, seed: int) -> Tensor:
        """Return the state of a generator of this seed after it has counted the draws so far."""
        generator = torch.Generator().manual_seed(seed)
        for _ in self._numbers or ():
            _count(generator)
        return generator.get_state()

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Return numbers in [0, 1), the rows of a batch by their numbers."""
        return draws.uniform(self._key, self._call(), shape, self._first(shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return numbers of a standard normal distribution, the rows of a batch by their numbers."""
        return draws.normal(self._key, shape, self._call(), self._first(shape))

    def exponential(self, shape: Sequence[int]) -> Tensor:
        """Return numbers of an exponential distribution of mean 1, the rows of a batch by their numbers."""
        return draws.exponential(self._key, shape, self._call(), self._first(shape))

    def _first(self, shape: Sequence[int]) -> Tensor:
        """Return the number of a tensor's first row."""
        per_row, rest = divmod(shape[0], self._rows or shape[0] or 1) if shape else (0, 1)
        return self._first_row * (0 if rest else per_row)

    def _dropout(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return self._masked(inputs, inputs.shape, p, inplace) if training and p > 0 else inputs

    def _channel_dropout(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return self._masked(inputs, _channels(inputs), p, inplace) if training and p > 0 else inputs

    def _masked(self, inputs: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
        factor = torch.zeros_like(inputs) if p >= 1 else (self.uniform(shape) >= p).to(inputs.dtype) / (1 - p)
        return self._write_to(inputs, inputs * factor) if inplace else inputs * factor

    def _write_to(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Write the outputs into the inputs, except inside transforms, whose gradients do not support writes."""
        return outputs if self._numbers is None else inputs.copy_(outputs)

    def _alpha_dropout(self, inputs: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
        return self._alpha_masked(inputs, inputs.shape, p, inplace) if training and p > 0 else inputs

    def _feature_alpha_dropout(
        self, inputs: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
    ) -> Tensor:
        return self._alpha_masked(inputs, _channels(inputs), p, inplace) if training and p > 0 else inputs

    def _alpha_masked(self, inputs: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
        """Set units to SELU's lowest value and keep mean and variance (Klambauer et al. 2017)."""
        kept = (self.uniform(shape) >= p).to(inputs.dtype)
        scale = ((1 - p) * (1 + p * SELU_LOWEST**2)) ** -0.5 if p < 1 else 0.0
        outputs = scale * (inputs * kept + SELU_LOWEST * (1 - kept) - SELU_LOWEST * p)
        return self._write_to(inputs, outputs) if inplace else outputs

    def _rrelu(
        self,
        inputs: Tensor,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        training: bool = False,
        inplace: bool = False,
    ) -> Tensor:
        slope = (
            lower + (upper - lower) * self.uniform(inputs.shape).to(inputs.dtype) if training else (lower + upper) / 2
        )
        outputs = torch.where(inputs >= 0, inputs, inputs * slope)
        return self._write_to(inputs, outputs) if inplace else outputs

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
        if enable_gqa:  # each head of keys and values serves a group of the queries' heads
            groups = query.shape[-3] // key.shape[-3]
            key, value = (part.repeat_interleave(groups, -3) for part in (key, value))
        dropout = partial(self._dropout, p=dropout_p) if dropout_p > 0 else None
        return attention(query, key, value, attn_mask, dropout, is_causal, scale)


def _count(generator: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


def _channels(inputs: Tensor) -> tuple[int, ...]:
    return (*inputs.shape[:2], *[1] * (inputs.ndim - 2))
