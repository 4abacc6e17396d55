"""The loss that trials are trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalbench.config.component import Component
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError


@dataclass(frozen=True)
class LossConfig:
    """A loss, and the weights of classes in it."""

    component: Component | None
    """None: the task's own loss."""
    label_smoothing: float = 0.0
    """Of the task's own loss: the share of the way that targets are moved to uniform."""
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    """`balanced`: each class weighs the same, by its rows among a trial's training rows. A map: weights by class."""

    @property
    def label(self) -> str:
        """Return the name of the loss for messages."""
        return "default" if self.component is None else self.component.target

    def spec(self) -> dict[str, Any]:
        """Return the loss as plain values."""
        spec = {"label_smoothing": self.label_smoothing} if self.component is None else self.component.spec()
        weights = self.class_weights if isinstance(self.class_weights, str | None) else dict(self.class_weights)
        return {**spec, **({} if weights is None else {"class_weights": weights})}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial: `loss` if it is not the task's own."""
        others = self.component is not None or self.class_weights is not None
        return {"label_smoothing": self.label_smoothing, **({"loss": self.spec()} if others else {})}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs."""
        return {} if self.component is None else self.component.code()


def read_loss(section: Reader) -> LossConfig:
    """Take the loss out of its section; raise `ConfigError`."""
    weights = _class_weights(section.rest.pop("class_weights", None))
    if section.given("_target_"):
        return LossConfig(section.component(), class_weights=weights)
    smoothing = section.rest.pop("label_smoothing", None)
    section.finish()
    if isinstance(smoothing, bool) or not isinstance(smoothing, int | float) or not 0 <= smoothing < 1:
        rule = "must be a share from 0 to below 1"
        raise ConfigError("loss.label_smoothing", rule, smoothing, "for example 0.1")
    return LossConfig(None, float(smoothing), weights)


def _class_weights(given: Any) -> Literal["balanced"] | dict[str, float] | None:
    if given is None:
        return None
    if given == "balanced":
        return "balanced"
    numbers = list(given.values()) if isinstance(given, Mapping) else []
    if any(isinstance(number, bool) or not isinstance(number, int | float) or number < 0 for number in numbers):
        rule = "must have numbers of at least 0"
        raise ConfigError("loss.class_weights", rule, dict(given), "for example loss.class_weights={yes:3}")
    if not numbers:
        rule, remedy = "must be balanced, or weights by class", "for example loss.class_weights={yes:3}"
        raise ConfigError("loss.class_weights", rule, given, remedy)
    return {str(name): float(number) for name, number in given.items()}
