"""Optimizers as people write them, each with one trait that stacked members or an engine's own loop may get wrong.

The first line of each docstring names the trait and stands in docs/optimizers.md. None of them knows evalbench.
"""
# mypy: disable-error-code="no-untyped-def, return-value, no-any-return, arg-type, override, no-untyped-call, misc"

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn, optim

Named = list[tuple[str, nn.Parameter]]


class Descent(optim.Optimizer):
    """Gradient descent; how a subclass moves a parameter is its trait."""

    def __init__(self, params, lr: float = 0.1, **more: Any) -> None:
        super().__init__(params, {"lr": lr, **more})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.begin()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, group)
        return loss

    def begin(self) -> None:
        pass

    def move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        raise NotImplementedError


class StateOnInstance(Descent):
    """momentum in a dictionary on the instance, and a counter beside it"""

    def __init__(self, params, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.moments: dict[nn.Parameter, Tensor] = {}
        self.calls = 0

    def begin(self) -> None:
        self.calls += 1

    def move(self, parameter, group) -> None:
        moment = self.moments.setdefault(parameter, torch.zeros_like(parameter))
        moment.mul_(0.9).add_(parameter.grad)
        parameter.sub_(moment, alpha=group["lr"] / self.calls)


class StateInGroup(Descent):
    """a counter in the parameter group"""

    def begin(self) -> None:
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad, alpha=group["lr"] / group["k"])


class AssignsData(Descent):
    """`parameter.data = parameter.data - …`: a new tensor at each step"""

    def move(self, parameter, group) -> None:
        parameter.data = parameter.data - group["lr"] * parameter.grad


class ChangesGradient(Descent):
    """weight decay added to the gradient in place"""

    def move(self, parameter, group) -> None:
        parameter.grad.add_(parameter, alpha=0.1)
        parameter.sub_(parameter.grad, alpha=group["lr"])


class WithoutNoGrad(Descent):
    """moves `parameter.data` with autograd switched on"""

    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad, alpha=-group["lr"])


class Lion(Descent):
    """the sign of an interpolated momentum (Lion)"""

    def move(self, parameter, group) -> None:
        moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
        update = torch.sign(0.9 * moment + 0.1 * parameter.grad)
        parameter.mul_(1 - 0.1 * group["lr"]).sub_(update, alpha=0.1 * group["lr"])
        moment.mul_(0.99).add_(parameter.grad, alpha=0.01)


class Lars(Descent):
    """a step as large as the norm of its own parameter (LARS, LAMB)"""

    def move(self, parameter, group) -> None:
        trust = parameter.norm() / (parameter.grad.norm() + 1e-8)
        parameter.sub_(parameter.grad * (trust if trust > 0 else 1.0), alpha=group["lr"])


class Centralized(Descent):
    """the mean over a gradient's other axes is taken off"""

    def move(self, parameter, group) -> None:
        gradient = parameter.grad
        if gradient.ndim > 1:
            gradient = gradient - gradient.mean(tuple(range(1, gradient.ndim)), keepdim=True)
        parameter.sub_(gradient, alpha=group["lr"])


class GlobalNorm(Descent):
    """one step size from the norm of all gradients together"""

    def begin(self) -> None:
        gradients = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        self.norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad / (1 + self.norm), alpha=group["lr"])


class Prodigy(Descent):
    """a step size that all parameters decide together, kept in the group (D-Adaptation, Prodigy)"""

    def __init__(self, params, lr: float = 1.0) -> None:
        super().__init__(params, lr, d=0.01, numerator=0.0)

    def begin(self) -> None:
        group = self.param_groups[0]
        size = 0.0
        for parameter in group["params"]:
            state = self.state[parameter]
            start = state.setdefault("start", parameter.clone())
            state["sum"] = state.get("sum", 0) + group["d"] * parameter.grad
            group["numerator"] += group["d"] * float((parameter.grad * (start - parameter)).sum())
            size += float(state["sum"].abs().sum())
        group["d"] = max(group["d"], group["numerator"] / (size + 1e-12))

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad, alpha=group["lr"] * group["d"])


class Langevin(Descent):
    """noise from torch's global generator in every step (SGLD)"""

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad + 0.1 * torch.randn_like(parameter), alpha=group["lr"])


class MatricesApart(optim.Optimizer):
    """makes its own groups, by shape, one of them without decay"""

    def __init__(self, params, lr: float = 0.1) -> None:
        params = list(params)
        matrices = {"params": [one for one in params if one.ndim > 1], "decay": 0.1}
        super().__init__([matrices, {"params": [one for one in params if one.ndim <= 1], "decay": 0.0}], {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["decay"]).sub_(parameter.grad, alpha=group["lr"])


class ScheduleFreeSgd(Descent):
    """schedule-free descent, told `train()` and `eval()` (Defazio et al. 2024)"""

    def __init__(self, params, lr: float = 0.1, beta: float = 0.9) -> None:
        super().__init__(params, lr, beta=beta, k=0, training=False)

    @torch.no_grad()
    def eval(self) -> None:
        self._swap(False, lambda beta: 1 - 1 / beta)

    @torch.no_grad()
    def train(self) -> None:
        self._swap(True, lambda beta: 1 - beta)

    def _swap(self, training: bool, weight: Callable[[float], float]) -> None:
        for group in self.param_groups:
            if group["training"] is not training:
                group["training"] = training
                for parameter in group["params"]:
                    if "z" in self.state[parameter]:
                        parameter.lerp_(self.state[parameter]["z"], weight(group["beta"]))

    def begin(self) -> None:
        for group in self.param_groups:
            if not group["training"]:
                raise RuntimeError("call train() before step()")
            group["k"] += 1

    def direction(self, parameter: nn.Parameter) -> Tensor:
        return parameter.grad

    def move(self, parameter, group) -> None:
        z = self.state[parameter].setdefault("z", parameter.clone())
        direction = self.direction(parameter)
        parameter.lerp_(z, 1 / group["k"])
        parameter.add_(direction, alpha=group["lr"] * (group["beta"] * (1 - 1 / group["k"]) - 1))
        z.sub_(direction, alpha=group["lr"])


class ScheduleFreeAdam(ScheduleFreeSgd):
    """schedule-free steps along Adam's direction"""

    def direction(self, parameter):
        state = self.state[parameter]
        square = state.setdefault("square", torch.zeros_like(parameter))
        square.mul_(0.99).addcmul_(parameter.grad, parameter.grad, value=0.01)
        return 0.1 * parameter.grad / (square / (1 - 0.99 ** self.param_groups[0]["k"])).sqrt().add(1e-8)


class Averaged(Descent):
    """evaluates the average of its weights: `eval()` puts it in, `train()` takes it out"""

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad, alpha=group["lr"])
        average = self.state[parameter].setdefault("average", parameter.clone())
        average.lerp_(parameter, 0.3)

    def eval(self) -> None:
        for parameter, state in self.state.items():
            state["last"], parameter.data = parameter.data.clone(), state["average"].clone()

    def train(self) -> None:
        for parameter, state in self.state.items():
            if "last" in state:
                parameter.data = state.pop("last")


class Sam(optim.Optimizer):
    """SAM around a base optimizer: gradients first, then a closure after the first move"""

    def __init__(self, params, base_optimizer, rho: float = 0.05, **more: Any) -> None:
        super().__init__(params, {"rho": rho, **more})
        self.base_optimizer = base_optimizer(self.param_groups, **more)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure=None) -> None:
        assert closure is not None, "SAM requires a closure"
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        norm = torch.stack([parameter.grad.norm() for parameter in parameters]).norm()
        for parameter in parameters:
            self.state[parameter]["old"] = parameter.data.clone()
            parameter.add_(parameter.grad * (self.param_groups[0]["rho"] / (norm + 1e-12)))
        self.zero_grad()
        with torch.enable_grad():
            closure()
        for parameter in parameters:
            parameter.data = self.state[parameter]["old"]
        self.base_optimizer.step()


class LineSearch(Descent):
    """halves its step until the loss falls, with a closure"""

    def step(self, closure) -> None:
        loss = float(closure())
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        start = [(parameter.detach().clone(), parameter.grad.clone()) for parameter in parameters]
        rate = 10 * self.param_groups[0]["lr"]
        for _ in range(8):
            with torch.no_grad():
                for parameter, (value, gradient) in zip(parameters, start, strict=True):
                    parameter.copy_(value - rate * gradient)
            if float(closure()) < loss:
                break
            rate /= 2


class Lookahead(optim.Optimizer):
    """a wrapper that holds another optimizer and shares its groups and state (Lookahead)"""

    def __init__(self, base: optim.Optimizer, every: int = 2, share: float = 0.5) -> None:
        super().__init__(base.param_groups, base.defaults)
        self.base, self.every, self.share, self.calls = base, every, share, 0
        self.param_groups, self.state = base.param_groups, base.state
        self.slow = [[parameter.detach().clone() for parameter in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure=None) -> None:
        self.base.step()
        self.calls += 1
        if self.calls % self.every == 0:
            for group, slow in zip(self.param_groups, self.slow, strict=True):
                for parameter, value in zip(group["params"], slow, strict=True):
                    value.lerp_(parameter, self.share)
                    parameter.copy_(value)


def lookahead(params, lr: float = 0.1) -> optim.Optimizer:
    """a function that wraps one optimizer in another"""
    return Lookahead(optim.SGD(params, lr=lr, momentum=0.9))


def without_decay_of_biases(named_parameters: Named, lr: float = 0.01, weight_decay: float = 0.5) -> optim.Optimizer:
    """a function of named parameters: no weight decay on biases"""
    decayed = [parameter for name, parameter in named_parameters if not name.endswith("bias")]
    others = [parameter for name, parameter in named_parameters if name.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return optim.AdamW(groups, lr=lr)


def by_layer(named_parameters: Named, lr: float = 0.1, decay: float = 0.5) -> optim.Optimizer:
    """a function of named parameters: a learning rate for each layer"""
    names = [name for name, _ in named_parameters]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    rates = {layer: lr * decay**depth for depth, layer in enumerate(reversed(layers))}
    groups = [{"params": [one], "lr": rates[name.rpartition(".")[0]]} for name, one in named_parameters]
    return optim.SGD(groups, lr=lr, momentum=0.9)


def head_alone(named_parameters: Named, lr: float = 0.1) -> optim.Optimizer:
    """a function that leaves some parameters out"""
    return optim.SGD([parameter for _, parameter in named_parameters][-2:], lr=lr)


def of_module(model: nn.Module, lr: float = 0.1) -> optim.Optimizer:
    """a function that wants the network itself"""
    return optim.SGD(model.parameters(), lr=lr)


def a_pair(params, lr: float = 0.1) -> tuple[optim.Optimizer, None]:
    """a function that returns an optimizer and something else, as Lightning takes it"""
    return optim.SGD(params, lr=lr), None


class NeedsGraph(Descent):
    """second derivatives of the loss, through gradients with a graph (AdaHessian)"""

    def move(self, parameter, group) -> None:
        with torch.enable_grad():
            (curvature,) = torch.autograd.grad(parameter.grad.sum(), parameter)
        parameter.sub_(curvature, alpha=group["lr"])


class BackwardItself(Descent):
    """calls `backward()` on the result of the closure"""

    def step(self, closure) -> None:
        closure().backward()


class RandomWhenMade(Descent):
    """draws random numbers in its constructor"""

    def __init__(self, params, lr: float = 0.1) -> None:
        super().__init__(params, lr, scale=float(torch.rand(())))

    def move(self, parameter, group) -> None:
        parameter.sub_(parameter.grad, alpha=group["lr"] * group["scale"])


class NotAnOptimizer:
    """a class of one's own that is no `torch.optim.Optimizer`"""

    def __init__(self, params, lr: float = 0.1) -> None:
        self.params, self.lr = list(params), lr
