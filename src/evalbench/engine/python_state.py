"""What a network keeps in Python, outside its parameters and buffers: counters, caches, tensors in lists, closures."""

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evalbench.engine.state import fingerprint

TENSOR = "tensor"
"""What is seen of a tensor beside its checksum."""
MOST_VALUES = 20_000
"""Values of one network that are looked at; what lies behind them is not known."""
LIBRARIES = ("torch", "builtins", "evalbench", "pytorch_lightning", "lightning_fabric")
_OF_TORCH = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Values = dict[str, dict[str, Any]]
"""Values by the name of the module and of its attribute."""
Observation = tuple[dict[str, Any], dict[str, int]]
"""What can be seen, by path: values, and checksums of tensors."""
RANDOM = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


def is_plain(value: Any) -> bool:
    """Return whether a value is made of numbers, text and tensors alone, so that it can be saved without a pickle.

    Parameters are not: a copy of one would no longer be the one that trains.
    """
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    if isinstance(value, dict):
        return (
            type(value) is dict and all(isinstance(key, _PLAIN) for key in value) and all(map(is_plain, value.values()))
        )
    if isinstance(value, Tensor):
        return value.grad_fn is None and not isinstance(value, nn.Parameter)
    return type(value) in _PLAIN


def copied_values(network: nn.Module) -> Values:
    """Return copies of what a network's modules hold for themselves: no other modules, nothing that trains."""
    return {
        name: {key: copy.deepcopy(value) for key, value in _attributes(module).items() if _can_be_copied(value)}
        for name, module in network.named_modules()
    }


def plain_only(values: Values) -> Values:
    """Return those of the values that can be saved without a pickle."""
    return {name: {key: value for key, value in held.items() if is_plain(value)} for name, held in values.items()}


def set_values(network: nn.Module, values: Values) -> None:
    """Give a network's modules the values that they held once."""
    for name, module in network.named_modules():
        vars(module).update(copy.deepcopy(values.get(name, {})))


def _can_be_copied(value: Any) -> bool:
    if is_plain(value) or isinstance(value, RANDOM):
        return True
    if isinstance(value, list | tuple | set | deque):
        return all(map(_can_be_copied, value))
    if isinstance(value, dict | SimpleNamespace):
        return all(map(_can_be_copied, (value if isinstance(value, dict) else vars(value)).values()))
    return False


def cannot_be_saved(network: nn.Module, path: str) -> bool:
    """Return whether the attribute that a path leads into is no plain value."""
    for name, module in network.named_modules():
        for key, value in _attributes(module).items():
            own = f"{name}.{key}".lstrip(".")
            if path == own or path.startswith((f"{own}.", f"{own}[")):
                return not is_plain(value)
    return True


def observe(network: nn.Module) -> Observation:
    """Return what can be seen of a network's Python state, by path: values, and the checksums of tensors.

    Values are compared, never used. Parameters, buffers and what torch itself keeps in modules are left out.
    """
    known = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    known |= {id(module) for module in network.modules()}
    values: dict[str, Any] = {f"module {name}": _name(type(module)) for name, module in network.named_modules()}
    checksums: dict[str, int] = {}
    waiting: list[tuple[str, Any]] = [
        (f"{name}.{key}".lstrip("."), value)
        for name, module in network.named_modules()
        for key, value in {**_of_class(module), **_attributes(module)}.items()
    ]
    waiting.reverse()
    while waiting and len(values) + len(checksums) < MOST_VALUES:
        path, value = waiting.pop()
        if isinstance(value, _PLAIN):
            values[path] = repr(value)
        elif id(value) in known or isinstance(value, type | ModuleType | BuiltinFunctionType):
            continue
        elif isinstance(value, Tensor):
            known.add(id(value))
            computed = value.grad_fn is not None or value.device.type == "meta"  # it is computed anew in each pass
            checksums[path] = 0 if computed else fingerprint(value)
            values[path] = TENSOR
        else:
            known.add(id(value))
            values[path], parts = _opened(value)
            waiting.extend((path + place, part) for place, part in reversed(list(parts)))
    return values, checksums


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds beside what every module does; torch's own classes have private values as well."""
    private = "_" if type(module).__module__.startswith("torch.") else "_torchdynamo"
    return {key: value for key, value in vars(module).items() if key not in _OF_TORCH and not key.startswith(private)}


def _of_class(module: nn.Module) -> dict[str, Any]:
    """Return what a user's class holds itself, counters of calls for example."""
    users = (kind for kind in type(module).__mro__[::-1] if kind.__module__.partition(".")[0] not in LIBRARIES)
    return {
        key: value
        for kind in users
        for key, value in vars(kind).items()
        if isinstance(value, int | float | list | dict | None) and not key.startswith("__")
    }


GENERATORS: dict[type, Callable[[Any], Any]] = {
    random.Random: lambda value: value.getstate(),
    np.random.Generator: lambda value: repr(value.bit_generator.state),
    np.random.RandomState: lambda value: repr(value.get_state()),
    torch.Generator: lambda value: value.get_state().tolist(),
}
"""Generators of random numbers, and how to read the state of each."""


def _opened(value: Any) -> tuple[Any, Iterator[tuple[str, Any]]]:
    """Return what is seen of a value as a whole, and its parts with their places."""
    nothing: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, list | tuple | deque):
        return len(value), ((f"[{place}]", part) for place, part in enumerate(value))
    if isinstance(value, Mapping):
        return len(value), ((f"[{key!r}]", part) for key, part in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value)), nothing
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes() if value.dtype != object else None), nothing
    if isinstance(value, tuple(GENERATORS)):
        return next(state(value) for kind, state in GENERATORS.items() if isinstance(value, kind)), nothing
    if isinstance(value, nn.Module):
        held = {**dict(value.named_parameters()), **dict(value.named_buffers()), **_attributes(value)}
        return "module", ((f".{key}", part) for key, part in held.items())
    if isinstance(value, partial):
        return "partial", iter([(".func", value.func), (".args", value.args), (".keywords", value.keywords)])
    if isinstance(value, MethodType):
        return "method", iter([(".self", value.__self__)])
    if isinstance(value, FunctionType):
        cells = (
            (f"({name})", cell) for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        )
        return "function", ((name, cell.cell_contents) for name, cell in cells if _is_filled(cell))
    inside = getattr(value, "__dict__", None)
    if isinstance(inside, dict):
        return type(value).__name__, ((f".{key}", part) for key, part in inside.items())
    said = repr(value) if type(value).__module__ in ("itertools", "builtins") else ""
    return (type(value).__name__, "" if " at 0x" in said else said), nothing


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where nothing was bound yet
    except ValueError:
        return False
    return True


def plain_of_all(states: Mapping[int, Values]) -> dict[int, Values]:
    """Return `plain_only` of each member's values."""
    return {member: plain_only(values) for member, values in states.items()}
