"""Call the fused kernel of an optimizer instance without the bookkeeping of its `step`.

On small networks an instance's `step` takes ten times as long as its kernel. This slows down small cohorts, and any
cohort whose members differ in more than their seeds and so have an instance each. Here the kernel is called on the
instance's own state and settings, so that the instance can be scheduled and saved as usual. Torch's interface to its
kernels is private. Tests compare each class with its `step`, bit for bit; a class or torch version without the kernel
uses its `step`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, optim

from evalbench.config import Component
from evalbench.engine import calls

Update = Callable[[list[Tensor]], None]
"""Update an instance's parameters from their gradients, in the parameters' order."""


def flags(optimizer_class: Any, component: Component, parameters: Mapping[str, Tensor], fused: bool) -> dict[str, bool]:
    """Return the settings that choose the fastest implementation for stacked parameters, unless the user chose one.

    Fused updates are 2.5 times faster on the CPU; they take no parameters without a gradient, so `fused` must allow
    them. On CUDA, `capturable` keeps the state on the device, so that a graph can hold the step.
    """
    given = component.arguments.keys()
    if optimizer_class not in calls.OF_TORCH or calls.FLAGS & given:
        return {}
    known = inspect.signature(optimizer_class).parameters
    values = list(parameters.values())
    fused = fused and "fused" in known and "maximize" not in given
    kinds = {(value.device, value.dtype) for value in values}
    on_cuda = all(value.device.type == "cuda" for value in values)
    chosen = {
        "fused": fused and all(_has_fused_kernel(optimizer_class, device, dtype) for device, dtype in kinds),
        "capturable": on_cuda,
    }
    return {name: True for name, wanted in chosen.items() if wanted and name in known}


@cache
def _has_fused_kernel(optimizer_class: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether torch takes a fused step of a parameter on this device; Adagrad has no kernel on CUDA."""
    parameter = torch.zeros(1, device=device, dtype=dtype, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer_class([parameter], fused=True).step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return False
    return True


def why_not_captured(optimizer_class: Any, component: Component) -> str | None:
    """Return the reason why a CUDA graph cannot hold the step of an optimizer with our own `flags`, else None.

    A class can be captured if it counts its steps on the device, or not at all.
    """
    name = component.target
    if optimizer_class not in calls.OF_TORCH:
        return f"{name} is not torch's own, and may keep numbers in Python"
    if calls.FLAGS & component.arguments.keys():
        return f"the implementation of {name} is chosen in the configuration"
    if optimizer_class is optim.SGD or "capturable" in inspect.signature(optimizer_class).parameters:
        return None
    return f"{name} counts its steps in Python"


def update_maker(optimizer_class: type[optim.Optimizer]) -> Callable[[optim.Optimizer], Update] | None:
    """Return the function that makes the update of an instance that has taken a step; None if there is no kernel."""
    makers = {optim.Adam: _adam, optim.AdamW: _adam, optim.SGD: _sgd}
    has_kernels = all(hasattr(torch, name) for name in ("_fused_adam_", "_fused_adamw_", "_fused_sgd_"))
    return makers.get(optimizer_class) if has_kernels else None


def _adam(optimizer: optim.Optimizer) -> Update:
    (group,) = optimizer.param_groups
    parameters = group["params"]
    states = [optimizer.state[parameter] for parameter in parameters]
    averages, squares, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
    largest = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_

    def update(gradients: list[Tensor]) -> None:
        torch._foreach_add_(steps, 1)
        kernel(
            parameters,
            gradients,
            averages,
            squares,
            largest,
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
        )

    return update


def _sgd(optimizer: optim.Optimizer) -> Update:
    (group,) = optimizer.param_groups
    parameters = group["params"]
    buffers = [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters] if group["momentum"] else []

    def update(gradients: list[Tensor]) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            buffers,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
        )

    return update
