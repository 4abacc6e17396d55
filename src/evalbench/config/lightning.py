"""A LightningModule that trains by itself: `engine: lightning` in a model's YAML file."""

from dataclasses import dataclass
from typing import Any

from evalbench.config.component import Component
from evalbench.config.reader import Reader


@dataclass(frozen=True)
class LightningConfig:
    """A class of LightningModules, and the rows of each of its steps."""

    component: Component
    batch_size: int
    alone: bool = False
    """Whether each trial is a fit of its own, also if the module's step could train as a cohort."""

    def spec(self) -> dict[str, Any]:
        """Return the module as plain values."""
        alone = {"alone": True} if self.alone else {}
        return {"engine": "lightning", **self.component.spec(), "batch_size": self.batch_size, **alone}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial."""
        return {"model": self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs."""
        return self.component.code()


def read_lightning(section: Reader) -> LightningConfig:
    """Take the module out of its section; raise `ConfigError`."""
    batch_size = section.integer("batch_size", least=1) if section.given("batch_size") else 32
    alone = section.flag("alone") if "alone" in section.rest else False
    return LightningConfig(section.component(), batch_size, alone)
