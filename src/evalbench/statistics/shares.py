"""Which factor moves the score how much: shares of the variance in a balanced table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

RESIDUAL = "rest"


@dataclass(frozen=True)
class Share:
    """What one factor, or two together, explain of the variance within the data sets; between 0 and 1."""

    factors: tuple[str, ...]
    share: float


def variance_shares(table: pd.DataFrame, factors: Sequence[str], value: str, block: str) -> tuple[Share, ...]:
    """Return shares of the sum of squares of `value` around the mean of its block, by factor, by pair, and the rest.

    In a balanced table the parts are orthogonal and add up to one: `SS(A) = Σ (mean of level - mean)²`, `SS(AB) =
    Σ (mean of the two levels - mean)² - SS(A) - SS(B)`. The block itself (a data set) is taken out first, being no
    choice of anybody; `rest` holds seeds, blocks' own effects and higher interactions.

    Args:
        table: one row per trial: the factors, `value` and `block`.
        factors: names of the columns to explain by.
        value: the score, on a scale that the blocks share.
        block: column of the data set.

    Raises:
        ValueError: the table is not balanced over the factors: a share would then depend on the order of the factors.

    Source: Fisher's analysis of variance; Hutter, Hoos and Leyton-Brown, ICML 2014, for its use on settings.
    """
    names = list(factors)
    counts = table.groupby([*names, block], observed=True).size()
    full = int(np.prod([table[name].nunique() for name in [*names, block]]))
    if len(counts) < full or counts.nunique() > 1:
        raise ValueError("variance shares need as many trials at every setting")
    centered = table[value] - table.groupby(block)[value].transform("mean")
    total = float((centered**2).sum())
    if total <= 0:
        return tuple(Share((name,), 0.0) for name in [*names, RESIDUAL])

    def squares(of: list[str]) -> float:
        fitted = centered.groupby([table[name] for name in of]).transform("mean")
        return float((fitted**2).sum())

    single = {name: squares([name]) for name in names}
    shares = [Share((name,), amount / total) for name, amount in single.items()]
    for a, b in combinations(names, 2):
        shares.append(Share((a, b), max(0.0, squares([a, b]) - single[a] - single[b]) / total))
    shares.append(Share((RESIDUAL,), max(0.0, 1 - sum(share.share for share in shares))))
    return tuple(shares)
