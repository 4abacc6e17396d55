"""The name of an evaluation: that of its sweep, with a suffix if the command line made it another one."""

import hashlib
import json
from collections.abc import Iterable

NEUTRAL_KEYS = (
    "sweep", "num_seeds", "evaluation", "cost", "store", "reports", "save", "weights", "tracker", "trainer", "hydra"
)  # fmt: skip
"""Overrides that do not make another evaluation, with all keys below them."""
NOT_NEUTRAL = ("evaluation.factor", "evaluation.baseline", "trainer.precision", "trainer.matmul_precision")


def name_for(name: str, overrides: Iterable[str]) -> str:
    """Return the evaluation's name, with a suffix if the overrides make it another evaluation.

    `overrides` are those of the command line, such as `optimizer=sgd,adam`. `evaluation.name=...` counts more.
    """
    changes = []
    for text in overrides:
        key = text.split("=", 1)[0].lstrip("+~").split("@")[0]
        if key == "evaluation.name":
            return name
        if key.split(".")[0] not in NEUTRAL_KEYS or key in NOT_NEUTRAL:
            changes.append(text)
    if not changes:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(sorted(changes)).encode()).hexdigest()[:6]}"
