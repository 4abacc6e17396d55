"""Generated data: useful to look at, never counted as evidence about real data."""

import numpy as np
from sklearn.datasets import make_moons

from evalbench.errors import ConfigError
from evalbench.tasks import Kind
from evalbench.workloads.dataset import Dataset


def moons(name: str, num_rows: int, noise: float) -> Dataset:
    """Return two interleaved half circles, always the same rows for the same settings."""
    if num_rows < 50:
        raise ConfigError("dataset.num_rows", "must be at least 50", num_rows, "use for example 1000")
    if noise < 0:
        raise ConfigError("dataset.noise", "must not be negative", noise, "use for example 0.25")
    inputs, targets = make_moons(n_samples=num_rows, noise=noise, random_state=0)
    return Dataset(
        name=name,
        kind=Kind.BINARY,
        inputs=inputs.astype(np.float32),
        targets=targets.astype(np.int64),
        features=("x", "y"),
        numeric=np.ones(2, dtype=bool),
        classes=("upper", "lower"),
        generated=True,
        description=f"two interleaved half circles with noise {noise:g}",
    )
