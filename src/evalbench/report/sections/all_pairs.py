"""Every pair of techniques."""

from __future__ import annotations

import math
from dataclasses import asdict

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.section import Section, numbers_of
from evalbench.statistics.all_pairs import PairTest

NOT_TESTED = PairTest(*[math.nan] * 5)


def table(findings: JudgedFindings) -> str:
    """Return a table of row minus column, in the common unit; bold if the interval excludes zero."""
    unit, names = findings.common, list(findings.judged.scores)
    cells: dict[tuple[str, str], str] = {}
    for pair in findings.judged.pairs:
        for a, b, sign in ((pair.a, pair.b, 1), (pair.b, pair.a, -1)):
            text = unit.change(sign * pair.mean)
            cells[a, b] = f"**{text}**" if pair.low > 0 or pair.high < 0 else text
    rows = [[code(a), str(findings.judged.ranks[a]), *(cells.get((a, b), "") for b in names)] for a in names]
    return markdown(["row − column", "rank", *map(code, names)], rows, 1)


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return every pair of techniques, with Wilcoxon over the data sets if there are several."""
    omnibus = findings.robustness.omnibus
    rows = []
    for pair in findings.judged.pairs:
        test = omnibus.pair_p.get((pair.a, pair.b), NOT_TESTED) if omnibus else NOT_TESTED
        low, high = findings.common.ends(pair.low, pair.high)
        ends = {"difference": findings.common.shown(pair.mean), "low": low, "high": high}
        rows.append(
            {
                "a": pair.a,
                "b": pair.b,
                **ends,
                "quality": str(pair.quality),
                **{f"wilcoxon_{name}": p for name, p in asdict(test).items()},
            }
        )
    return pd.DataFrame(rows)


def text(findings: JudgedFindings) -> str:
    """Return the table, and how to read it."""
    return (
        f"## All pairs\n\nRow minus column in {plain(findings.common.difference)}{findings.common.better}. A difference"
        " is bold if an interval that allows for all pairs excludes zero. Techniques that cannot be told apart share a"
        " rank: one more than the number of techniques shown to be better. Exploratory."
        f" {numbers_of('pairs')}\n\n{table(findings)}"
    )


ALL_PAIRS = Section(judged, text, {"pairs": numbers})
