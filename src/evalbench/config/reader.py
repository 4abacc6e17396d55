"""A part of the configuration's tree, read value by value."""

import logging
import math
from collections.abc import Mapping, Sequence
from multiprocessing import parent_process
from typing import Any

from evalbench.config.component import Component
from evalbench.errors import ConfigError

log = logging.getLogger(__name__)
_noted: set[str] = set()


class Reader:
    """A part of the tree, emptied value by value, so that unknown keys are left over."""

    def __init__(self, tree: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.rest = dict(tree)

    def section(self, key: str) -> "Reader":
        """Take out a group of settings."""
        value = self._take(key)
        if not isinstance(value, Mapping):
            full = self._full(key)
            remedy = f"give one of them, {full}.NAME=VALUE" if self.name else f"choose one: {key}=OPTION"
            raise ConfigError(full, "must be a group of settings", value, remedy)
        return Reader(value, self._full(key))

    def component(self) -> Component:
        """Take out the rest: an object that the user chose by `_target_`."""
        target = self.text("_target_")
        return Component(self.name, target, dict(self.rest))

    def optional_component(self) -> Component | None:
        """Take out the rest: an object that the user chose by `_target_`; None if there is no `_target_`."""
        if self.given("_target_"):
            return self.component()
        self.finish()
        return None

    def given(self, key: str) -> bool:
        """Return whether an optional value is there; a null is taken out."""
        if self.rest.get(key) is None:
            self.rest.pop(key, None)
        return key in self.rest

    def integer(self, key: str, least: int, remedy: str | None = None) -> int:
        """Take out a whole number."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            rule = f"must be a whole number of at least {least}"
            raise ConfigError(self._full(key), rule, value, remedy or f"for example {self._full(key)}={max(least, 10)}")
        return value

    def positive(self, key: str, example: float) -> float:
        """Take out a finite number above 0."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ConfigError(
                self._full(key), "must be a number above 0", value, f"for example {self._full(key)}={example}"
            )
        return float(value)

    def flag(self, key: str) -> bool:
        """Take out true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise ConfigError(self._full(key), "must be true or false", value, f"for example {self._full(key)}=true")
        return value

    def text(self, key: str) -> str:
        """Take out a text that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise ConfigError(self._full(key), "must be text", value, "quote it if it looks like a number")
        return value

    def optional_text(self, key: str) -> str | None:
        """Take out a text or null."""
        value = self._take(key)
        return None if value is None else str(value)

    def optional_number(self, key: str) -> float | None:
        """Take out a finite number; None if it is null or not there."""
        value = self.rest.pop(key, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise ConfigError(self._full(key), "must be a number", value, f"for example {self._full(key)}=0.95")
        return float(value)

    def choice(self, key: str, options: Sequence[str]) -> str:
        """Take out one of some words."""
        value = self._take(key)
        if value not in options:
            raise ConfigError(self._full(key), "must be one of " + ", ".join(options), value, "choose one of them")
        return str(value)

    def rename(self, old: str, new: str) -> None:
        """Take the value of an old key for the new one, if it is given, and say so once."""
        if not self.given(old):
            return
        self.rest[new] = self.rest.pop(old)
        note = f"{self._full(old)} is now called {self._full(new)}"
        if note not in _noted and parent_process() is None:  # jobs read the same configuration
            _noted.add(note)
            log.warning(note)

    def finish(self) -> None:
        """Refuse unknown keys."""
        if self.rest:
            remedy = "remove it, or correct its name"
            raise ConfigError(self._full(next(iter(self.rest))), "is not a setting of evalbench", remedy=remedy)

    def _take(self, key: str) -> Any:
        if key not in self.rest:
            raise ConfigError(self._full(key), "must be given", remedy=f"add {self._full(key)}=VALUE")
        return self.rest.pop(key)

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def check_leaves(tree: Any, prefix: str = "") -> None:
    """Refuse values that are missing or not finite, anywhere in a tree; raise `ConfigError`."""
    for key, value in _leaves(tree, prefix):
        if value == "???":
            raise ConfigError(key, "must be given", remedy=f"add {key}=VALUE to the command line")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(key, "must be a finite number", value, "give another value")


def _leaves(tree: Any, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(tree, list):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return [(prefix, tree)]
    return [leaf for key, value in tree.items() for leaf in _leaves(value, f"{prefix}.{key}" if prefix else str(key))]
