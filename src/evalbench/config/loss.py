"""The loss that trials are trained on."""

from dataclasses import dataclass
from typing import Any

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
    balanced: bool = False
    """Each class weighs the same, by its rows among a trial's training rows."""

    @property
    def label(self) -> str:
        """Return the name of the loss for messages."""
        return "default" if self.component is None else self.component.target

    def spec(self) -> dict[str, Any]:
        """Return the loss as plain values."""
        spec = {"label_smoothing": self.label_smoothing} if self.component is None else self.component.spec()
        return {**spec, **({"class_weights": "balanced"} if self.balanced else {})}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial: `loss` if it is not the task's own."""
        others = self.component is not None or self.balanced
        return {"label_smoothing": self.label_smoothing, **({"loss": self.spec()} if others else {})}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs."""
        return {} if self.component is None else self.component.code()


def read_loss(section: Reader) -> LossConfig:
    """Take the loss out of its section; raise `ConfigError`."""
    balanced = section.given("class_weights") and bool(section.choice("class_weights", ("balanced",)))
    if section.given("_target_"):
        return LossConfig(section.component(), balanced=balanced)
    smoothing = section.rest.pop("label_smoothing", None)
    section.finish()
    if isinstance(smoothing, bool) or not isinstance(smoothing, int | float) or not 0 <= smoothing < 1:
        rule = "must be a share from 0 to below 1"
        raise ConfigError("loss.label_smoothing", rule, smoothing, "for example 0.1")
    return LossConfig(None, float(smoothing), balanced)
