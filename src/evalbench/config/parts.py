"""The parts of a technique: the one table of what a cell is made of, apart from its data and its budget.

A new part is one file that reads its settings and one line in `PARTS`. Everything else takes it from there: the search
spaces, the identity of trials and their own code, the runs in trackers and the settings in the report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalbench.config.activation import read_activation
from evalbench.config.compression import read_compression
from evalbench.config.engines import read_model
from evalbench.config.loss import read_loss
from evalbench.config.optimizer import read_optimizer
from evalbench.config.pretrained import read_adaptation
from evalbench.config.reader import Reader


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
    read: Callable[[Reader], Chosen | None]
    """Take the settings out of the group's section; None if the part is left out."""
    described: bool = True
    """Whether trackers tag runs with the option, and the report lists its settings."""
    absent: Mapping[str, Any] = field(default_factory=dict)
    """The entries in a trial's settings if the part is left out."""

    def identity(self, chosen: Chosen | None) -> Mapping[str, Any]:
        """Return the part's entries in the settings that identify a trial."""
        return self.absent if chosen is None else chosen.identity()


PARTS = (
    Part("optimizer", read_optimizer),
    Part("activation", read_activation),
    Part("model", read_model),
    Part("schedule", Reader.optional_component, described=False, absent={"schedule": None}),
    Part("loss", read_loss, described=False),
    Part("augmentation", Reader.optional_component),
    Part("resampling", Reader.optional_component),
    Part("adaptation", read_adaptation),
    Part("compression", read_compression),
)
"""In the order in which a search draws their hyperparameters; a new part goes to the end."""
