"""The gradient of a batch as a weighted sum over its parts: micro-batches, and slices on other ranks."""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from evalbench.engine import optimizers
from evalbench.engine.state import Stack
from evalbench.engine.steps import Steps


def of_batch(
    steps: Steps, stack: Stack, batch: tuple[Tensor, Tensor, Tensor], max_rows: int | None, rank: int, ranks: int
) -> optimizers.Computed:
    """Return one step's gradients by name, each `(C, *shape)`, its losses `(C,)`, and the missing gradients.

    `batch` is inputs `(C, B, D)`, targets `(C, B)` and noise keys `(C,)`. One pass takes at most `max_rows` rows. Each
    part is weighted by its share of the rows. The missing gradients are the slots of members by parameter.
    """
    inputs, targets, key = batch
    rows = inputs.shape[1]
    start, stop = rows * rank // ranks, rows * (rank + 1) // ranks
    max_rows = max_rows or rows
    total: list[Tensor] = []
    without: optimizers.Without = {}
    for first in range(start, stop, max_rows):
        last = min(first + max_rows, stop)
        part = steps(stack, inputs[:, first:last], targets[:, first:last], key, first)
        for buffer, value in zip(stack.carried.values(), part.carried, strict=True):
            buffer.copy_(value)
        numbers = [*part.gradients, part.loss]
        if last - first < rows:
            torch._foreach_mul_(numbers, (last - first) / rows)
        absent = dict(zip(stack.trained, part.without, strict=False))
        without = {name: slots & absent[name] for name, slots in without.items()} if total else absent
        total = list(torch._foreach_add(total, numbers)) if total else numbers
    if ranks > 1:
        _sum_over_ranks(total)
        without = _without_on_all_ranks(without, len(stack.member_indices), inputs.device)
    return dict(zip(stack.trained, total[:-1], strict=True)), total[-1], without


def _sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Add up tensors over all ranks, in place and in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _without_on_all_ranks(without: optimizers.Without, count: int, device: torch.device) -> optimizers.Without:
    """Return the gradients that are missing on every rank, as slots of `count` by parameter."""
    if not without:
        return without
    flags = torch.tensor([[slot in absent for slot in range(count)] for absent in without.values()], device=device)
    counts = flags.int()
    torch.distributed.all_reduce(counts, torch.distributed.ReduceOp.MIN)
    return {name: frozenset(row.nonzero().flatten().tolist()) for name, row in zip(without, counts, strict=True)}


def clip_per_member(gradients: Mapping[str, Tensor], max_norm: float) -> dict[str, Tensor]:
    """Scale each member's gradients down to a norm of at most `max_norm`, as `torch.nn.utils.clip_grad_norm_` does."""
    parts = [torch.view_as_real(value) if value.is_complex() else value for value in gradients.values()]
    wide = reduce(torch.promote_types, (part.dtype for part in parts), torch.float32)
    squares = [part.flatten(1).to(wide).square().sum(1) for part in parts]
    norm = torch.stack(squares).sum(0).sqrt()  # (C,)
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    return {name: g * scale.view(-1, *[1] * (g.ndim - 1)).to(g.real.dtype) for name, g in gradients.items()}
