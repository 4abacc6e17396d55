"""An object that the user chose by `_target_`, to be built and to be identified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from evalbench import own_code
from evalbench.errors import ConfigError, InputError

ANYTHING = (Exception, SystemExit)
"""Errors that own code may raise: its `sys.exit` must not end the program as a success."""


@dataclass(frozen=True)
class Component:
    """An object that the user chose by `_target_`: its config group, dotted path and keyword arguments."""

    group: str
    target: str
    arguments: Mapping[str, Any]

    def build(self, *args: Any, **more: Any) -> Any:
        """Call the target with its settings and these arguments; an error of it becomes one line."""
        try:
            return self._factory(*args, **more)
        except InputError:
            raise
        except InstantiationException as error:
            raise self._refused(error.__cause__ or error) from error
        except ANYTHING as error:  # what the user chose may raise anything
            raise self._refused(error) from error

    @property
    def _factory(self) -> Callable[..., Any]:
        """The target with its settings; objects nested in them are built anew for each call."""
        return self._instantiated() if any(map(_has_parts, self.arguments.values())) else self._plain_factory

    @cached_property
    def _plain_factory(self) -> Callable[..., Any]:
        return self._instantiated()

    def _instantiated(self) -> Callable[..., Any]:
        settings = {"_target_": self.target, "_partial_": True, **self.arguments}
        factory: Callable[..., Any] = hydra.utils.instantiate(settings, _convert_="all")
        return factory

    def locate(self) -> Any:
        """Return the target itself, not called."""
        try:
            return own_code.locate(self.target)
        except ANYTHING as error:  # importing a user's module may raise anything
            raise ConfigError(f"{self.group}._target_", "must be importable", self.target, _reason(error)) from error

    def spec(self) -> dict[str, Any]:
        """Return the component as plain values."""
        return {"_target_": self.target, **self.arguments}

    def identity(self) -> dict[str, Any]:
        """Return the entries in the settings that identify a trial, of a component that is a part by itself."""
        return {self.group: self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code behind the component: the part of a trial's identity that names cannot hold."""
        return self._code

    @cached_property
    def _code(self) -> dict[str, dict[str, str]]:
        try:
            return own_code.behind(self.spec())
        except ANYTHING as error:  # importing a user's module may raise anything
            rule = "must be code that can be imported and read"
            raise ConfigError(f"{self.group}._target_", rule, self.target, _reason(error)) from error

    def _refused(self, error: BaseException) -> ConfigError:
        rule = f"must hold settings that {self.target} accepts"
        return ConfigError(self.group, rule, dict(self.arguments), _reason(error))


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return (
        lines[-1] if isinstance(error, TypeError | ValueError | ImportError) else f"{type(error).__name__}: {lines[-1]}"
    )


def _has_parts(value: Any) -> bool:
    """Return whether an argument may hold objects: it is more than a value or a list of values."""
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(part, Mapping | list) for part in parts)
