"""Observe and copy a network's Python state: counters, caches, tensors in lists, closures.

Python state is everything that a network keeps outside its parameters and buffers.
"""

import copy
import random
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evalbench.engine.state import fingerprint

TENSOR = "tensor"
"""The observed value of a tensor, whose content is observed by its checksum."""
MOST_VALUES = 20_000
"""The maximal number of observed values of a network; further values are not observed."""
LIBRARIES = ("torch", "builtins", "evalbench", "pytorch_lightning", "lightning_fabric")
_OF_TORCH = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Values = dict[str, dict[str, Any]]
"""Values by the name of the module and of its attribute."""
Observation = tuple[dict[str, Any], dict[str, int]]
"""Observed values by path, and checksums of tensors by path."""
RANDOM = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


def is_plain(value: Any) -> bool:
    """Return whether a value consists of numbers, text and tensors, so that it can be saved without a pickle.

    Parameters are not plain: a copy would no longer be the parameter that trains.
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
    """Return copies of the attributes of a network's modules, without other modules and without tensors that train."""
    return {
        name: {key: copy.deepcopy(value) for key, value in _attributes(module).items() if _can_be_copied(value)}
        for name, module in network.named_modules()
    }


def plain_only(values: Values) -> Values:
    """Return the values that can be saved without a pickle."""
    return {name: {key: value for key, value in held.items() if is_plain(value)} for name, held in values.items()}


def set_values(network: nn.Module, values: Values) -> None:
    """Set the attributes of a network's modules to copies of the values."""
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
    """Return whether the attribute that contains a path is no plain value."""
    for name, module in network.named_modules():
        for key, value in _attributes(module).items():
            own = f"{name}.{key}".lstrip(".")
            if path == own or path.startswith((f"{own}.", f"{own}[")):
                return not is_plain(value)
    return True


def observe(network: nn.Module) -> Observation:
    """Return a network's observed Python state by path: values, and the checksums of tensors.

    Values are compared, never used. Parameters, buffers and torch's own attributes of modules are left out.
    """
    seen_ids = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    seen_ids |= {id(module) for module in network.modules()}
    values: dict[str, Any] = {f"module {name}": _name(type(module)) for name, module in network.named_modules()}
    checksums: dict[str, int] = {}
    queue: list[tuple[str, Any]] = [
        (f"{name}.{key}".lstrip("."), value)
        for name, module in network.named_modules()
        for key, value in {**_of_class(module), **_attributes(module)}.items()
    ]
    queue.reverse()
    while queue and len(values) + len(checksums) < MOST_VALUES:
        path, value = queue.pop()
        if isinstance(value, _PLAIN):
            values[path] = repr(value)
        elif id(value) in seen_ids or isinstance(value, type | ModuleType | BuiltinFunctionType):
            continue
        elif isinstance(value, Tensor):
            seen_ids.add(id(value))
            computed = value.grad_fn is not None or value.device.type == "meta"  # computed anew in each pass
            checksums[path] = 0 if computed else fingerprint(value)
            values[path] = TENSOR
        else:
            seen_ids.add(id(value))
            values[path], parts = _opened(value)
            queue.extend((path + inner_path, part) for inner_path, part in reversed(list(parts)))
    return values, checksums


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes beside those of every module; leave out private ones of torch's own classes."""
    private = "_" if type(module).__module__.startswith("torch.") else "_torchdynamo"
    return {key: value for key, value in vars(module).items() if key not in _OF_TORCH and not key.startswith(private)}


def _of_class(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a user's class itself, for example counters of calls."""
    user_classes = (cls for cls in type(module).__mro__[::-1] if cls.__module__.partition(".")[0] not in LIBRARIES)
    return {
        key: value
        for cls in user_classes
        for key, value in vars(cls).items()
        if isinstance(value, int | float | list | dict | None) and not key.startswith("__")
    }


def _opened(value: Any) -> tuple[Any, Iterator[tuple[str, Any]]]:
    """Return a value's summary, and its parts with their paths inside it."""
    generator_state = _generator_state(value)
    if generator_state is not None:
        return generator_state, iter(())
    if isinstance(value, list | tuple | deque):
        return len(value), ((f"[{index}]", part) for index, part in enumerate(value))
    if isinstance(value, Mapping):
        return len(value), ((f"[{key!r}]", part) for key, part in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value)), iter(())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes() if value.dtype != object else None), iter(())
    if isinstance(value, nn.Module):
        held = {**dict(value.named_parameters()), **dict(value.named_buffers()), **_attributes(value)}
        return "module", ((f".{key}", part) for key, part in held.items())
    return _opened_callable(value) or _opened_object(value)


def _generator_state(value: Any) -> Any:
    """Return the state of a random generator; None for any other value."""
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    return value.get_state().tolist() if isinstance(value, torch.Generator) else None


def _opened_callable(value: Any) -> tuple[Any, Iterator[tuple[str, Any]]] | None:
    """Return `_opened` of a partial, method or function; None for any other value."""
    if isinstance(value, partial):
        return "partial", iter([(".func", value.func), (".args", value.args), (".keywords", value.keywords)])
    if isinstance(value, MethodType):
        return "method", iter([(".self", value.__self__)])
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        return "function", ((f"({name})", cell.cell_contents) for name, cell in cells if _is_filled(cell))
    return None


def _opened_object(value: Any) -> tuple[Any, Iterator[tuple[str, Any]]]:
    """Return `_opened` of an object of any other class."""
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        return type(value).__name__, ((f".{key}", part) for key, part in attributes.items())
    text = repr(value) if type(value).__module__ in ("itertools", "builtins") else ""
    return (type(value).__name__, "" if " at 0x" in text else text), iter(())


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises if nothing is bound yet
    except ValueError:
        return False
    return True


def plain_of_all(states: Mapping[int, Values]) -> dict[int, Values]:
    """Return `plain_only` of the values by member index."""
    return {member_index: plain_only(values) for member_index, values in states.items()}
