"""The name of an evaluation: that of its sweep, with a suffix if the command line made it another one."""

import hashlib
import json
from collections.abc import Iterable

NEUTRAL_KEYS = (
    "sweep", "num_seeds", "evaluation", "cost", "store", "reports", "save", "weights", "tracker", "trainer", "hydra"
)  # fmt: skip
"""Overrides that leave an evaluation what it is, with all keys below them."""
NOT_NEUTRAL = ("evaluation.factor", "evaluation.baseline", "trainer.precision")


def name_for(name: str, overrides: Iterable[str]) -> str:
    """Return the evaluation's name, with a suffix where the command line made it another evaluation.

    `overrides` are the command line's, such as `optimizer=sgd,adam`; one that names the evaluation decides.
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
