"""Scaled dot-product attention of all members at once, by torch's fused kernels.

A fused kernel never stores the scores of all pairs of positions, so it reads and writes a fraction of the memory. These
kernels have no batching rule, and `vmap` would call them member by member. But they treat every example by itself:
here the member axis is folded into the batch, `(C, B, heads, T, d)` to `(C * B, heads, T, d)`, in both passes.

Shapes: `C` members, `B` examples, `T` positions of queries, `U` positions of keys, `d` numbers per head.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_aten = torch.ops.aten
FUSED_DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
"""The dtypes that a fused kernel takes, by the type of the device."""
BIAS_ALIGNMENT = 16
"""The rows of a mask begin at multiples of this number of elements, as CUDA's kernel wants them."""
CAUSAL_FROM_TOP_LEFT = 1  # torch's `sdp::CustomMaskType`
_fused = ContextVar("fused", default=True)


@contextmanager
def for_compiler(device: str) -> Iterator[None]:
    """Write attention out while active, on CUDA: Inductor fuses what is written out, and cannot call these kernels."""
    token = _fused.set(device != "cuda")
    try:
        yield
    finally:
        _fused.reset(token)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return what `torch.nn.functional.scaled_dot_product_attention` does, `(B, heads, T, d)`, also under `vmap`.

    `dropout` changes the weights `(B, heads, T, U)` of the positions. It needs them, so that attention with dropout is
    written out, as are a mask that takes part in the gradient, and dtypes and shapes without a fused kernel.
    """
    if torch.is_autocast_enabled(query.device.type):
        query, key, value = (_autocast(part) for part in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if dropout is not None or not _fused.get() or not _fits(query, key, value, attn_mask):
        return written_out(query, key, value, attn_mask, dropout, is_causal, scale)
    mask = None if attn_mask is None else _added(attn_mask, query)
    outputs: Tensor = _Fused.apply(query, key, value, mask, is_causal, scale)[0]  # type: ignore[no-untyped-call]
    return outputs


def written_out(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: Callable[[Tensor], Tensor] | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    """Return attention as two products around a softmax; a position that sees nothing gets zeros."""
    scores = (query * scale) @ key.transpose(-2, -1)  # (B, heads, T, U)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        weights = scores.softmax(-1)
    else:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1) if is_causal else _safe_softmax(scores)
    return (weights if dropout is None else dropout(weights)) @ value


def _safe_softmax(scores: Tensor) -> Tensor:
    """Return a softmax over the last axis; zeros where all scores are minus infinity."""
    if scores.device.type == "cuda" and torch.is_autocast_enabled("cuda"):
        # Autocast would cast after the gradient was chosen, which then refuses the other type.
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    weights: Tensor = torch.ops.aten._safe_softmax(scores, -1)
    return weights


def _autocast(part: Tensor) -> Tensor:
    kept = part.dtype == torch.float64 or not part.is_floating_point()
    return part if kept else part.to(torch.get_autocast_dtype(part.device.type))


def _fits(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Return whether a fused kernel computes this attention."""
    return (
        query.dtype in FUSED_DTYPES.get(query.device.type, ())
        and (query.device.type != "cuda" or torch.version.hip is None)
        and {key.dtype, value.dtype} == {query.dtype}
        and query.ndim == key.ndim == value.ndim == 4
        and query.shape[:2] == key.shape[:2]
        and query.shape[-1] == key.shape[-1]
        and key.shape == value.shape
        and query.numel() > 0
        and key.numel() > 0
        and (mask is None or not mask.requires_grad)
    )


def _added(mask: Tensor, query: Tensor) -> Tensor:
    """Return a mask as numbers to add to the scores, `(1 or B, 1 or heads, 1 or T, U)`."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -math.inf)
    return mask.to(query.dtype).reshape(*[1] * (4 - mask.ndim), *mask.shape)


class _Fused(torch.autograd.Function):
    """Attention by a fused kernel: outputs, and the logarithms of the sums that the backward pass needs."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        query, key, value = (_dense(part) for part in (query, key, value))
        bias = _bias(mask, query, key)
        if query.device.type == "cpu":
            outputs, sums = _aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, 0.0, is_causal, attn_mask=bias, scale=scale
            )
            return outputs, sums
        parts = (part.transpose(1, 2) for part in (query, key, value))
        causal = CAUSAL_FROM_TOP_LEFT if is_causal else 0
        outputs, sums, *_ = _aten._efficient_attention_forward(
            *parts, bias, None, None, None, None, 0.0, causal, True, scale=scale
        )
        return outputs.transpose(1, 2), sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        query, key, value, mask, ctx.is_causal, ctx.scale = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(query, key, value, mask, *output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        changes = _FusedBackward.apply(gradient, *ctx.saved_tensors, ctx.is_causal, ctx.scale)  # type: ignore[no-untyped-call]
        return *changes, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        return _fold(_Fused, info.batch_size, in_dims, arguments, mask_index=3)


class _FusedBackward(torch.autograd.Function):
    """The gradients of `_Fused` for queries, keys and values; they have no gradients themselves, as in torch."""

    @staticmethod
    def forward(
        gradient: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        outputs: Tensor,
        sums: Tensor,
        is_causal: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradient, query, key, value = (_dense(part) for part in (gradient, query, key, value))
        bias = _bias(mask, query, key)
        if query.device.type == "cpu":
            changes = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
                gradient, query, key, value, outputs, sums, 0.0, is_causal, attn_mask=bias, scale=scale
            )
            return changes[0], changes[1], changes[2]
        parts = (part.transpose(1, 2) for part in (gradient, query, key, value))
        lengths, causal = (None, None, query.shape[2], key.shape[2]), CAUSAL_FROM_TOP_LEFT if is_causal else 0
        unused = torch.empty((), dtype=torch.int64, device=query.device)  # the state of the kernel's own dropout
        # Were the keys split, sums would have another order in each run, and for another number of members.
        options = {"scale": scale, "num_splits_key": 1}
        changes = _aten._efficient_attention_backward(
            *parts, bias, outputs.transpose(1, 2), *lengths, sums, 0.0, unused, unused, causal, False, **options
        )
        return changes[0].transpose(1, 2), changes[1].transpose(1, 2), changes[2].transpose(1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("the fused kernels of attention have no second derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        return _fold(_FusedBackward, info.batch_size, in_dims, arguments, mask_index=4)


def _fold(
    function: Any, count: int, axes: Sequence[int | None], arguments: Sequence[Any], mask_index: int
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Call a function of this module for a number of members at once; return its results with a leading axis `C`."""
    examples = next(
        argument.shape[0] if axis is None else argument.movedim(axis, 0).shape[1]
        for argument, axis in zip(arguments, axes, strict=True)
        if isinstance(argument, Tensor)
    )
    folded = []
    for index, (argument, axis) in enumerate(zip(arguments, axes, strict=True)):
        if not isinstance(argument, Tensor) or (index == mask_index and axis is None and len(argument) == 1):
            folded.append(argument)  # a mask that all examples share stays small
            continue
        batch = argument.expand(count, *argument.shape) if axis is None else argument.movedim(axis, 0)
        folded.append(batch.expand(count, examples, *batch.shape[2:]).flatten(0, 1))
    results = tuple(result.unflatten(0, (count, examples)) for result in function.apply(*folded))
    return results, (0,) * len(results)


def _dense(part: Tensor) -> Tensor:
    """Return the numbers of a head next to each other in memory, as the kernels read them."""
    return part if part.stride(-1) == 1 else part.contiguous()


def _bias(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """Return a mask as a view `(B, heads, T, U)`, with rows that are aligned in memory on CUDA."""
    if mask is None:
        return None
    length = key.shape[2]
    if query.device.type == "cuda":
        wide = F.pad(mask.expand(*mask.shape[:-1], length), (0, -length % BIAS_ALIGNMENT))
        mask = wide[..., :length]
    return mask.expand(*query.shape[:3], length)
