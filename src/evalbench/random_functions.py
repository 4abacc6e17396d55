"""torch's random functions, answered with numbers from a source of one's own instead of torch's global generator.

A `TorchFunctionMode` looks up each function that it sees: `answers` has torch's uniform, normal, exponential and
Bernoulli numbers, `composition` the functions of torch that are written in Python and may draw inside.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class NumberSource(Protocol):
    """Give random numbers of a shape in float32, other ones at each call."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Return numbers in [0, 1)."""
        ...

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return numbers of a standard normal distribution."""
        ...

    def exponential(self, shape: Sequence[int]) -> Tensor:
        """Return numbers of an exponential distribution of mean 1."""
        ...


def answers(source: NumberSource) -> Mapping[Any, Callable[..., Tensor]]:
    """Return the substitutes of torch's random functions, by function; none takes a generator."""

    def write(x: Tensor, numbers: Callable[[], Tensor]) -> Tensor:
        return x if x.is_meta else x.copy_(numbers())  # a tensor without values costs no draw

    def bernoulli(like: Tensor, p: Tensor | float) -> Tensor:
        return (source.uniform(like.shape) < p).to(like.dtype)

    def normal_around(mean: Any, std: Any = 1.0, size: Sequence[int] | None = None, **options: Any) -> Tensor:
        """Draw as `torch.normal` does: around tensors, or of a size."""
        if size is not None:
            drawn = _new(source.normal, (size,), options)
        else:
            tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
            like = sum(tensors[1:], tensors[0])  # has the broadcast shape
            drawn = source.normal(like.shape).to(like.dtype)
        scaled: Tensor = mean + std * drawn
        return scaled

    return {
        torch.rand_like: lambda like, **_: source.uniform(like.shape).to(like.dtype),
        torch.randn_like: lambda like, **_: source.normal(like.shape).to(like.dtype),
        torch.rand: lambda *size, **options: _new(source.uniform, size, options),
        torch.randn: lambda *size, **options: _new(source.normal, size, options),
        torch.bernoulli: lambda share, p=None: bernoulli(share, share if p is None else p),
        Tensor.bernoulli: lambda share, p=None: bernoulli(share, share if p is None else p),
        torch.normal: normal_around,
        Tensor.uniform_: lambda x, low=0.0, high=1.0: write(x, lambda: low + (high - low) * source.uniform(x.shape)),
        Tensor.normal_: lambda x, mean=0.0, std=1.0: write(x, lambda: mean + std * source.normal(x.shape)),
        Tensor.exponential_: lambda x, lambd=1.0: write(x, lambda: source.exponential(x.shape) / lambd),
        Tensor.bernoulli_: lambda x, p=0.5: write(x, lambda: bernoulli(x, p)),
    }


def _new(draw: Callable[[Sequence[int]], Tensor], size: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
    """Return new numbers of a size and options as `torch.rand` takes them."""
    size = options.get("size", size)
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    values = draw(shape).to(options.get("dtype") or torch.get_default_dtype())
    values = values if options.get("device") is None else values.to(options["device"])
    return values.requires_grad_() if options.get("requires_grad") else values


def substitute(
    answered: Mapping[Any, Callable[..., Any]], function: Any, kwargs: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """Return the answer to a function that is called with these arguments; None if it is called as it is."""
    if function not in answered or kwargs.get("generator") is not None:
        return None
    answer = answered[function]
    return lambda *args, **named: answer(*args, **{key: value for key, value in named.items() if key != "generator"})


@cache
def composition(function: FunctionType) -> Callable[..., Any] | None:
    """Return a copy of a function of `torch.nn.functional` or `torch.nn.init` that always runs its own code.

    The original hands itself to the active mode as a whole, which would not see what it calls. Return None for any
    other function.
    """
    if function.__globals__ is vars(F):
        overrides: dict[str, Any] = {name: _never for name in vars(F) if name.startswith("has_torch_function")}
    elif function.__globals__ is vars(nn.init):
        checks = SimpleNamespace(has_torch_function_variadic=_never)
        overrides = {"torch": SimpleNamespace(**{**vars(torch), "overrides": checks})}
    else:
        return None
    code, name = function.__code__, function.__name__
    copy = FunctionType(code, {**function.__globals__, **overrides}, name, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def call(mode: TorchFunctionMode, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function. If it is written in Python and may draw inside, the mode sees what it calls."""
    composed = composition(function) if isinstance(function, FunctionType) else None
    if composed is None:
        return function(*args, **kwargs)
    with mode:
        return composed(*args, **kwargs)


def _never(*_: Any, **__: Any) -> bool:
    return False
