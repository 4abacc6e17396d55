"""The non-linearity of a network."""

from dataclasses import dataclass
from typing import Any

from evalbench.config.component import Component
from evalbench.config.reader import Reader


@dataclass(frozen=True)
class ActivationConfig:
    """A non-linearity, and the gain that scales the initial weights behind it."""

    module: Component
    gain: float | None
    """None: computed from the function, so that the second moment of a layer's output is 1."""

    def spec(self) -> dict[str, Any]:
        """Return the activation as plain values."""
        return {**self.module.spec(), "gain": self.gain}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial."""
        return {"activation": self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs."""
        return self.module.code()


def read_activation(section: Reader) -> ActivationConfig:
    """Take the activation out of its section; raise `ConfigError`."""
    gain = section.positive("gain", example=1.0) if section.given("gain") else None
    return ActivationConfig(section.component(), gain)
