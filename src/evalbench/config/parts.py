"""The parts of a technique: the one table of what a cell is made of beside its data and its budget.

A new part is one file that reads its settings and one line in `PARTS`. Everything else takes it from there: the search
spaces, the identity of trials and their own code, the runs in trackers and the settings in the report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from evalbench.config.component import Component
from evalbench.config.loss import read_loss
from evalbench.config.section import Section
from evalbench.errors import ConfigError


class Chosen(Protocol):
    """The value of a part: what the user chose of it."""

    def spec(self) -> Mapping[str, Any]:
        """Return it as plain values, for people."""

    def identity(self) -> Mapping[str, Any]:
        """Return its entries in the settings that identify a trial: plain values."""

    def code(self) -> dict[str, dict[str, str]]:
        """Return the user's own code that it runs, see `Component.code`."""


@dataclass(frozen=True)
class Part:
    """A row of the table."""

    group: str
    """The config group: every cell has one option of it."""
    read: Callable[[Section], Chosen | None]
    """Take the settings out of the group's section; None if the part is left out."""
    described: bool = True
    """Whether trackers tag runs with the option, and the report lists its settings."""
    absent: Mapping[str, Any] = field(default_factory=dict)
    """The entries in a trial's settings if the part is left out."""

    def identity(self, chosen: Chosen | None) -> Mapping[str, Any]:
        """Return the part's entries in the settings that identify a trial."""
        return self.absent if chosen is None else chosen.identity()


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


def _optimizer(section: Section) -> OptimizerConfig:
    lr = section.rest.get("lr", 0)
    if isinstance(lr, bool) or not isinstance(lr, int | float):
        raise ConfigError("optimizer.lr", "must be a number", lr, "for example optimizer.lr=0.01")
    batch_size = _batch_size(section)
    clip_norm = section.positive("clip_norm", example=1.0) if section.given("clip_norm") else None
    others = section.section("others").component() if section.given("others") else None
    return OptimizerConfig(section.component(), batch_size, clip_norm, others)


def _batch_size(section: Section) -> int | Literal["full"]:
    if section.rest.get("batch_size") == "full":
        del section.rest["batch_size"]
        return "full"
    return section.integer("batch_size", least=1, remedy="use a whole number of at least 1, or full")


def _activation(section: Section) -> ActivationConfig:
    gain = section.positive("gain", example=1.0) if section.given("gain") else None
    return ActivationConfig(section.component(), gain)


def _schedule(section: Section) -> Component | None:
    if not section.given("_target_"):
        section.finish()
        return None
    return section.component()


PARTS = (
    Part("optimizer", _optimizer),
    Part("activation", _activation),
    Part("model", Section.component),
    Part("schedule", _schedule, described=False, absent={"schedule": None}),
    Part("loss", read_loss, described=False),
)
"""In the order in which a search draws their hyperparameters; a new part goes to the end."""
