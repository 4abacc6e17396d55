"""Problems that evalbench knows by name: a command has their data, and reports its scores."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evalbench.errors import ConfigError
from evalbench.tasks import METRICS, Kind, Metric
from evalbench.tasks.metric import canonical, guessed_direction
from evalbench.workloads.dataset import Dataset


@dataclass(frozen=True, eq=False)
class NamedWorkload(Dataset):
    """A problem without rows: what its scores repeat, and what makes two of them a pair, is declared or not known."""

    unit: str | None = None
    """What a seed repeats, a key of `record.repetitions.UNITS`."""
    folds: int | None = None
    pairing: str | None = None
    """What makes two runs a pair, one of `record.repetitions.PAIRINGS`."""

    def __post_init__(self) -> None:
        """Accept it without rows."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of its name: nothing more is known of its data."""
        return hashlib.sha256(f"named {self.name}".encode()).hexdigest()[:16]

    @property
    def declared(self) -> dict[str, Any]:
        """Return what is declared of its repetitions."""
        return {"unit": self.unit, "folds": self.folds, "pairing": self.pairing}


def load(
    name: str,
    metric: str,
    direction: str | None = None,
    unit: str | None = None,
    folds: int | None = None,
    pairing: str | None = None,
) -> NamedWorkload:
    """Return the problem of a name, whose scores are of a metric; raise `ConfigError`."""
    known = METRICS.get(canonical(metric))
    direction = direction or guessed_direction(metric)
    if direction not in ("maximize", "minimize"):
        rule = f"must be maximize or minimize for {metric}, whose name does not tell"
        raise ConfigError("dataset.direction", rule, direction, "say which is better")
    own = known if known is not None and known.direction == direction else Metric(metric, direction)  # type: ignore[arg-type]
    nothing = np.zeros((0, 0), dtype=np.float32)
    return NamedWorkload(
        str(name), Kind.REPORTED, nothing, nothing[:, 0:0].reshape(0), (), np.zeros(0, dtype=bool),
        description="known to its command alone", primary=own, unit=unit, folds=folds, pairing=pairing,
    )  # fmt: skip
