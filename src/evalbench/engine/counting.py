"""What a trial takes, counted rather than timed: parameters and FLOPs."""

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from evalbench.workloads.dataset import Kind
from evalbench.workloads.losses import loss_function


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters, shared ones once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def flops_per_step(network: nn.Module, kind: Kind, rows: int, features: int, tokens: bool = False) -> int:
    """Return the FLOPs of one forward and backward pass over a batch: products, by `torch.utils.flop_counter`.

    Matrix products and convolutions count. Nothing is computed: the shapes alone are followed, on the meta device. The
    optimizer's update is not counted. `tokens` says that inputs are tokens, as they always are for language.
    """
    try:
        return _count(network.train(), kind, rows, features, tokens, "meta")
    except RuntimeError:  # a network that looks at values needs some to look at
        return _count(network.train(), kind, rows, features, tokens, "cpu")


def _count(network: nn.Module, kind: Kind, rows: int, features: int, tokens: bool, device: str) -> int:
    # Not the state dictionary, which lists tied weights twice and would untie them.
    state = {name: torch.zeros_like(value, device=device) for name, value in network.named_buffers()}
    for name, value in network.named_parameters():
        state[name] = torch.zeros_like(value, device=device).requires_grad_(value.requires_grad)
    language = kind is Kind.LANGUAGE
    inputs = torch.zeros(rows, features, device=device, dtype=torch.int64 if tokens or language else torch.float32)
    classes = torch.int64 if kind in (Kind.MULTICLASS, Kind.LANGUAGE) else torch.float32
    targets = torch.zeros((rows, features) if language else (rows,), device=device, dtype=classes)
    with FlopCounterMode(display=False) as counter:
        loss_function(kind)(functional_call(network, state, (inputs,)), targets).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
