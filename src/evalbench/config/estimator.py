"""An estimator with `fit` and `predict` in the place of a network: `engine: sklearn` in a model's YAML file."""

from dataclasses import dataclass
from typing import Any

from evalbench.config.component import Component
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

SEEDS = ("random_state", "random_seed", "seed")
"""Settings of estimators that evalbench sets from each trial's seed."""


@dataclass(frozen=True)
class EstimatorConfig:
    """A class of estimators, and the class that takes its place if targets are numbers."""

    component: Component
    regressor: Component | None

    def spec(self) -> dict[str, Any]:
        """Return the estimator as plain values."""
        regressor = {} if self.regressor is None else {"regressor": self.regressor.target}
        return {"engine": "sklearn", **self.component.spec(), **regressor}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial."""
        return {"model": self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs, and the versions of packages that evalbench does not bring."""
        return {**self.component.code(), **({} if self.regressor is None else self.regressor.code())}


def read_estimator(section: Reader) -> EstimatorConfig:
    """Take the estimator out of its section; raise `ConfigError`."""
    regressor = section.text("regressor") if section.given("regressor") else None
    component = section.component()
    for key in SEEDS:
        if component.arguments.get(key) is not None:
            rule, remedy = "must be left out", "each trial sets it from its own seed"
            raise ConfigError(f"{section.name}.{key}", rule, component.arguments[key], remedy)
    arguments = component.arguments
    return EstimatorConfig(component, None if regressor is None else Component(section.name, regressor, arguments))
