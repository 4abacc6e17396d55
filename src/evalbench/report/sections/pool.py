"""Elo, win rate, mean reciprocal rank and improvability: scores that depend on the pool of techniques."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.findings import Findings, judged
from evalbench.report.analysis.pool import PoolScore
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import UNKNOWN, fixed, percent
from evalbench.report.section import Section, numbers_of


def _pool(findings: Findings) -> Sequence[PoolScore] | None:
    verdicts = judged(findings)
    return (verdicts.pool or None) if verdicts else None


def table(pool: Sequence[PoolScore]) -> str:
    """Return a row per technique, the highest rating first."""
    rows = [
        [
            code(score.technique),
            f"{fixed(score.elo, 0)} [{fixed(score.elo_low, 0)}, {fixed(score.elo_high, 0)}]",
            percent(round(score.win_rate, 3)),
            fixed(score.reciprocal_rank, 2),
            UNKNOWN if math.isnan(score.improvability) else percent(round(score.improvability, 3)),
        ]
        for score in sorted(pool, key=lambda score: -score.elo)
    ]
    return markdown(["technique", "Elo", "win rate", "mean reciprocal rank", "improvability"], rows, 1)


def text(pool: Sequence[PoolScore]) -> str:
    """Return the table, and what it depends on."""
    return (
        "These scores depend on the pool: another technique in it changes them. *Elo* with its interval over redrawn"
        " data sets: 400 points are odds of 10 to 1, their mean is 1000. *Win rate*: share of the other techniques"
        " that are beaten. *Improvability*: share of the error that the best technique of a data set does not make"
        f" (Erickson et al., 2025). {numbers_of('pool')}\n\n{table(pool)}"
    )


POOL = Section(_pool, text, {"pool": lambda pool: pd.DataFrame([asdict(score) for score in pool])})
