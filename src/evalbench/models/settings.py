"""Settings of image models: whole numbers, and the size of patches."""

import math
from collections.abc import Sequence

from evalbench.errors import ConfigError


def check_counts(**counts: int) -> None:
    """Raise `ConfigError` for a setting of a model that is no whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"model.{name}", "must be a whole number of at least 1", value, f"use model.{name}=2")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise `ConfigError` for a setting of a model that is none of the choices."""
    if value not in choices or isinstance(value, bool):
        rule = "must be one of " + ", ".join(map(str, choices))
        raise ConfigError(f"model.{name}", rule, value, f"use model.{name}={choices[0]}")


def patch_of(sides: Sequence[int], most: int, least_patches: int) -> int:
    """Return the largest side of square patches that divides both sides into at least as many patches, in pixels."""
    largest = max(1, min(most, min(sides) // least_patches))
    common = math.gcd(*sides)
    return max(patch for patch in range(1, largest + 1) if common % patch == 0)
