"""Count the parameters and FLOPs of a trial."""

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from evalbench.tasks import Task


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters; shared parameters count once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def flops_per_step(network: nn.Module, task: Task, rows: int, features: int, tokens: bool = False) -> int | None:
    """Return the FLOPs of one forward and backward pass over a batch: products, by `torch.utils.flop_counter`.

    Matrix products and convolutions count. Nothing is computed if the shapes alone can be followed, on the meta
    device. A network that needs values is run once. None if neither can be done. The optimizer's update is not
    counted. `tokens` says that inputs are tokens, as they always are if each token has a target. The network stays in
    the mode, of training or of evaluation, that it is in.
    """
    was_training = network.training
    held = [(part, *named) for part in network.modules() for named in part.named_parameters(recurse=False)]
    try:
        for device in ("meta", "cpu"):
            try:
                return _count(network.train(), task, rows, features, tokens, device)
            except Exception:  # a user's network may raise anything
                continue
        return None
    finally:
        network.train(was_training)
        for part, name, value in held:
            if getattr(part, name) is not value:  # `functional_call` leaves its own in a module that has two names
                part._parameters[name] = value


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Add up the FLOPs of all operations while active."""

    total = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count its FLOPs."""
        result = operation(*args, **(kwargs or {}))
        formula = flop_registry.get(operation.overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def _count(network: nn.Module, task: Task, rows: int, features: int, tokens: bool, device: str) -> int:
    dtype = torch.int64 if tokens or task.per_token else torch.float32
    inputs = torch.zeros(rows, features, device=device, dtype=dtype)
    # Not the state dictionary, which lists tied weights twice and would untie them.
    state = {name: torch.zeros_like(value, device="meta") for name, value in network.named_buffers()}
    for name, value in network.named_parameters():
        state[name] = torch.zeros_like(value, device="meta").requires_grad_(value.requires_grad)
    with sdpa_kernel(SDPBackend.MATH), _Counter() as counter:  # type: ignore[no-untyped-call]
        outputs = network(inputs) if device == "cpu" else functional_call(network, state, (inputs,))
        size = outputs.shape[1] if task.answers else outputs.shape[-1]
        task.loss(outputs, task.example_targets(inputs, size)).backward()  # type: ignore[no-untyped-call]
    return int(counter.total)
