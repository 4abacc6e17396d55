"""The engines that train, and the parts of the configuration that each of them takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalbench.config.command import CommandConfig, read_command
from evalbench.config.component import Component
from evalbench.config.estimator import EstimatorConfig, read_estimator
from evalbench.config.lightning import LightningConfig, read_lightning
from evalbench.config.pretrained import OWN, TARGET, PretrainedConfig, read_pretrained
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

COHORT, COMMAND = "cohort", "command"


@dataclass(frozen=True)
class EngineChoice:
    """A row of the table."""

    groups: frozenset[str] | None = frozenset({"model"})
    """The parts that make its techniques; other parts play no role. None: all parts."""
    budget: bool = False
    """Whether the budget, in epochs or steps, is the length of its trials."""
    precision: bool = False
    """Whether evalbench decides on the precision of its numbers."""


ENGINES: Mapping[str, EngineChoice] = {
    COHORT: EngineChoice(groups=None, budget=True, precision=True),
    "sklearn": EngineChoice(groups=frozenset({"model", "resampling"})),
    COMMAND: EngineChoice(),
    "lightning": EngineChoice(groups=frozenset({"model", "activation", "resampling"}), budget=True, precision=True),
}
"""By the value of `engine` in a model's YAML file; without it, a network trains in a cohort."""


def engine_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the engine that a model's settings choose; raise `ConfigError` for an unknown one."""
    name = settings.get("engine") or COHORT
    if name not in ENGINES:
        raise ConfigError("model.engine", "must be one of " + ", ".join(ENGINES), name, "choose one of them")
    return str(name)


def uses(engine: str, group: str) -> bool:
    """Return whether the trials of an engine depend on a part."""
    groups = ENGINES[engine].groups
    return groups is None or group in groups


def read_model(
    section: Reader,
) -> Component | EstimatorConfig | CommandConfig | LightningConfig | PretrainedConfig:
    """Take what learns out of the section `model`, as its engine takes it; raise `ConfigError`."""
    engine = engine_of(section.rest)
    section.rest.pop("engine", None)
    if engine == "lightning":
        return read_lightning(section)
    if engine == COMMAND:
        return read_command(section)
    if engine == "sklearn":
        return read_estimator(section)
    return read_pretrained(section) if section.rest.get("_target_") in (TARGET, OWN) else section.component()
