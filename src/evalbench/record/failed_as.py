"""What `--failed-as` may be: the score that stands for a run of a foreign table that failed."""

from __future__ import annotations

import math

from evalbench.errors import TableError

FAILED_AS = ("worst", "trivial", "censored")


def failed_as_number(failed_as: str, option: str = "failed_as") -> float | None:
    """Return the score that `failed_as` gives, which the caller writes as `option`; None if it is a word.

    Raises:
        TableError: it is neither a word of `FAILED_AS` nor a finite number.
    """
    if failed_as in FAILED_AS:
        return None
    try:
        value = float(failed_as)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TableError(
            f"{option} must be {', '.join(FAILED_AS)} or a score, not {failed_as!r}: it is the score of a run that"
            " failed"
        )
    return value


def failed_words(failed_as: str) -> str:
    """Return words for the score of a run that failed: `... counts as WORDS`."""
    known = {
        "worst": "one ROPE worse than the worst run of its data set",
        "trivial": "the trivial predictor on its split",
        "censored": "no score, and is left out",
    }
    return known.get(failed_as, f"a score of {failed_as}")
