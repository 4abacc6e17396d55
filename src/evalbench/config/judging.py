"""The metrics that the user chooses: the primary one, and the one that picks the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalbench.config.component import Component
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError
from evalbench.tasks.metric import METRICS, Direction, Metric
from evalbench.tasks.own import is_torchmetrics, own_metric

LOSS, METRIC = "loss", "metric"
"""What `task.monitor` may be beside a metric: the validation loss, or whatever the primary metric is."""


@dataclass(frozen=True)
class OwnMetric:
    """A metric of the user's by `_target_`, described."""

    component: Component
    metric: Metric

    def spec(self) -> dict[str, Any]:
        """Return the metric as plain values."""
        return {**self.component.spec(), "name": self.metric.name, "direction": self.metric.direction}


@dataclass(frozen=True)
class TaskConfig:
    """What the user says of the task; None where the data set decides."""

    metric: str | OwnMetric | None
    """The primary metric, read once on the test rows."""
    monitor: str | OwnMetric
    """What picks the epoch on validation rows: `loss`, `metric`, or a metric."""
    own: Component | None = None
    """A task of the user's own, in place of that of the data set."""

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that the metrics run."""
        own = [one.component for one in (self.metric, self.monitor) if isinstance(one, OwnMetric)]
        return {name: pieces for component in own for name, pieces in component.code().items()}


def read_task(section: Reader) -> TaskConfig:
    """Take the choice of metrics out of their section; raise `ConfigError`."""
    is_own = section.given("_target_")
    metric, monitor = (_read(section, key, is_own) for key in ("metric", "monitor"))
    return TaskConfig(metric, LOSS if monitor is None else monitor, section.optional_component())


def _read(section: Reader, key: str, is_own: bool) -> str | OwnMetric | None:
    if not section.given(key):
        return None
    name = f"{section.name}.{key}"
    if isinstance(section.rest[key], Mapping):
        return _own(section.section(key))
    words = [*METRICS, *([LOSS, METRIC] if key == "monitor" else [])]
    value = section.text(key)
    if value not in words and not is_own:  # its metrics are not known yet
        remedy = "choose one of them, or give a metric of your own: {_target_: package.function, direction: maximize}"
        raise ConfigError(name, "must be one of " + ", ".join(words), value, remedy)
    return value


def _own(section: Reader) -> OwnMetric:
    given = {key: section.rest.pop(key, None) for key in ("name", "direction", "unit", "best", "words")}
    component = section.component()
    target = component.locate()
    if not callable(target):
        raise ConfigError(f"{section.name}._target_", "must be callable", component.target, "name a function or class")
    name = str(given["name"] or component.target.rpartition(".")[2])
    if name in METRICS or "/" in name:
        rule = "must not be the name of a metric of evalbench, and have no '/'"
        raise ConfigError(f"{section.name}.name", rule, name, "give it another one")
    metric = own_metric(
        target,
        _direction(section.name, given["direction"], target, component),
        name=name,
        unit=str(given["unit"] or ""),
        best=Reader(given, section.name).optional_number("best"),
        words=str(given["words"] or ""),
        call=component.build,
    )
    return OwnMetric(component, metric)


def _direction(section: str, given: Any, target: Any, component: Component) -> Direction:
    if given is None and is_torchmetrics(target):
        higher = getattr(component.build(), "higher_is_better", None)
        given = None if higher is None else "maximize" if higher else "minimize"
    if given == "maximize":
        return "maximize"
    if given == "minimize":
        return "minimize"
    rule = "must be maximize or minimize"
    raise ConfigError(f"{section}.direction", rule, given, "say which way the metric is better")
