"""The optimizer of a technique."""

from dataclasses import dataclass
from typing import Any, Literal

from evalbench.config.component import Component
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer class with its hyperparameters, and the number of examples that each of its steps sees."""

    component: Component
    batch_size: int | Literal["full"]
    clip_norm: float | None
    """Each member's gradients are scaled down to this norm."""
    others: Component | None
    """The optimizer of the parameters that are not matrices, if the class takes matrices only."""

    def spec(self) -> dict[str, Any]:
        """Return the optimizer as plain values."""
        others = {} if self.others is None else {"others": self.others.spec()}
        clip = {} if self.clip_norm is None else {"clip_norm": self.clip_norm}
        return {**self.component.spec(), "batch_size": self.batch_size, **clip, **others}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial."""
        return {"optimizer": self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs."""
        return {**self.component.code(), **({} if self.others is None else self.others.code())}

    def rows_per_step(self, num_train: int) -> int:
        """Return the batch size in rows."""
        return num_train if self.batch_size == "full" else min(self.batch_size, num_train)


def read_optimizer(section: Reader) -> OptimizerConfig:
    """Take the optimizer out of its section; raise `ConfigError`."""
    lr = section.rest.get("lr", 0)
    if isinstance(lr, bool) or not isinstance(lr, int | float):
        raise ConfigError("optimizer.lr", "must be a number", lr, "for example optimizer.lr=0.01")
    batch_size = _batch_size(section)
    clip_norm = section.positive("clip_norm", example=1.0) if section.given("clip_norm") else None
    others = section.section("others").component() if section.given("others") else None
    return OptimizerConfig(section.component(), batch_size, clip_norm, others)


def _batch_size(section: Reader) -> int | Literal["full"]:
    if section.rest.get("batch_size") == "full":
        del section.rest["batch_size"]
        return "full"
    return section.integer("batch_size", least=1, remedy="use a whole number of at least 1, or full")
