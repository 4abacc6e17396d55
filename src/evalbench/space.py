"""Search spaces: the ranges of hyperparameters, written next to a technique in its YAML.

A range is `{low: 1.0e-4, high: 1.0e-1, log: true}`, with `integer: true` for whole numbers, or `{choices: [16, 32]}`.
If both are given, choices win: the command line can add to a YAML, but not remove from it. A range has the key of the
value that it replaces; `betas: {"0": {...}}` reaches into a list.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evalbench.errors import ConfigError

RANGE_KEYS = frozenset(("low", "high", "log", "integer"))
NEAR = 0.05
"""A value is at an end of its range if its distance from the end is at most this share of the range."""


@dataclass(frozen=True)
class Dimension:
    """The values of one hyperparameter: numbers from `low` to `high`, or choices."""

    path: str
    """The key whose value it replaces, such as `optimizer.lr`."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()

    def spec(self) -> dict[str, Any]:
        """Return the dimension as plain values, as in a YAML."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {
            "low": self.low,
            "high": self.high,
            **({"log": True} if self.log else {}),
            **({"integer": True} if self.integer else {}),
        }

    def points(self, count: int) -> list[Any]:
        """Return all choices, or `count` values from `low` to `high`, evenly spaced on the dimension's scale."""
        if self.choices:
            return list(self.choices)
        fractions = [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
        values = [self._at(fraction) for fraction in fractions]
        return list(dict.fromkeys(round(value) for value in values)) if self.integer else values

    def _at(self, fraction: float) -> float:
        if self.log:
            value = math.exp(math.log(self.low) + fraction * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + fraction * (self.high - self.low)
        return min(max(value, self.low), self.high)


def spanned(spaces: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the dimensions of several spaces, each wide enough for all of them; given as `Dimension.spec` does.

    A dimension that is a range in one space and choices in another keeps the form of the first space.
    """
    union: dict[str, dict[str, Any]] = {}
    for path, spec in ((path, spec) for space in spaces for path, spec in space.items()):
        merged = union.setdefault(path, dict(spec))
        if "choices" in merged and "choices" in spec:
            merged["choices"] = [*merged["choices"], *(c for c in spec["choices"] if c not in merged["choices"])]
        elif "choices" not in merged and "choices" not in spec:
            merged |= {"low": min(merged["low"], spec["low"]), "high": max(merged["high"], spec["high"])}
            for flag in ("log", "integer"):
                if not spec.get(flag):
                    merged.pop(flag, None)
    return union


def position_of(spec: Mapping[str, Any], value: float) -> float:
    """Return the position of a value in a range, given as `Dimension.spec` does: 0 at its low end, 1 at its high."""
    low, high = float(spec["low"]), float(spec["high"])
    if spec.get("log"):
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


def bound_of(spec: Mapping[str, Any], value: Any) -> str | None:
    """Return `low` or `high` if a value is at that end of its range; choices have no ends."""
    if "choices" in spec:
        return None
    fraction = position_of(spec, float(value))
    return "low" if fraction <= NEAR else "high" if fraction >= 1 - NEAR else None


def parse(tree: Any, group: str) -> tuple[Dimension, ...]:
    """Read the dimensions under a key such as `optimizer.space`; raise `ConfigError`."""
    key = f"{group}.space"
    if tree is None:
        return ()
    if not isinstance(tree, Mapping):
        raise ConfigError(key, "must be a group of ranges", tree, "for example lr: {low: 0.001, high: 0.1, log: true}")
    return tuple(_dimensions(tree, key, group))


def _dimensions(tree: Mapping[str, Any], key: str, path: str) -> Iterator[Dimension]:
    for name, value in tree.items():
        inner_key, target = f"{key}.{name}", f"{path}.{name}" if path else str(name)
        if value is None:  # a dimension that the command line removed from the YAML
            continue
        if not isinstance(value, Mapping):
            rule = "must be a range or choices"
            raise ConfigError(inner_key, rule, value, "give {low: A, high: B}, {choices: [A, B]}, or null for none")
        if "choices" in value or RANGE_KEYS & value.keys():
            yield _dimension(value, inner_key, target)
        else:
            yield from _dimensions(value, inner_key, target)


def _dimension(value: Mapping[str, Any], key: str, path: str) -> Dimension:
    if "choices" in value:
        choices = value["choices"]
        plain = isinstance(choices, list) and all(isinstance(c, bool | int | float | str) or c is None for c in choices)
        if not plain or not choices or len({json.dumps(c) for c in choices}) < len(choices):
            rule = "must be a list of different numbers or words"
            raise ConfigError(f"{key}.choices", rule, dict(value), "for example {choices: [16, 32, 64]}")
        return Dimension(path, choices=tuple(choices))
    unknown = sorted(value.keys() - RANGE_KEYS)
    if unknown:
        raise ConfigError(f"{key}.{unknown[0]}", "is not a setting of a range", remedy="give low, high, log, integer")
    log, integer = (value.get(flag) or False for flag in ("log", "integer"))
    for flag, setting in (("log", log), ("integer", integer)):
        if not isinstance(setting, bool):
            raise ConfigError(f"{key}.{flag}", "must be true or false", setting, "leave it out for false")
    low, high = (_end(value.get(end), f"{key}.{end}", integer) for end in ("low", "high"))
    if low >= high:
        raise ConfigError(key, "must have low below high", dict(value), f"raise {key}.high")
    if log and low <= 0:
        raise ConfigError(f"{key}.low", "must be above 0 on a log scale", low, "raise it, or leave log out")
    return Dimension(path, low, high, log, integer)


def _end(value: Any, key: str, integer: bool) -> float:
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not numeric or (integer and value != int(value)):
        rule = "must be a whole number" if integer else "must be a number"
        raise ConfigError(key, rule, value, f"for example {key}={'16' if integer else '0.001'}")
    return int(value) if integer else float(value)


def replaced(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree with the values at some paths replaced; every path must exist."""
    new = dict(tree)
    for path, value in values.items():
        new = _replaced(new, path.split("."), value, path)
    return new


def _replaced(tree: Any, parts: list[str], value: Any, path: str) -> Any:
    first, *rest = parts
    key: Any = int(first) if isinstance(tree, list) and first.isdecimal() else first
    exists = key < len(tree) if isinstance(key, int) else isinstance(tree, Mapping) and key in tree
    if not exists:
        names = tree if isinstance(tree, Mapping) else range(len(tree)) if isinstance(tree, list) else ()
        listed = ", ".join(str(name) for name in names if name not in ("_target_", "space"))
        remedy = f"there are {listed}" if listed else "the value before the last dot has no parts"
        raise ConfigError("search space", "must name keys that the configuration has", path, remedy)
    if not rest and isinstance(tree[key], Mapping):
        remedy = f"name a key below it; to compare whole options, sweep over them: {path}=A,B"
        raise ConfigError("search space", "must name single values, not a group of settings", path, remedy)
    changed = {**tree} if isinstance(tree, Mapping) else [*tree]
    changed[key] = _replaced(tree[key], rest, value, path) if rest else value
    return changed


def value_at(tree: Any, path: str) -> Any:
    """Return the value at a path of a tree; the path must exist."""
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree
