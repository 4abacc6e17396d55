"""`evalbench compare OLD NEW [--gate]`: what changed beyond noise between two folders, tables or summaries."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from evalbench import programs
from evalbench.comparison.changes import compare
from evalbench.comparison.values import Change, Comparison
from evalbench.names import one_line, plain
from evalbench.record.options import add_arguments, options_of
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import NO_USE, end_text, is_useful, percent, ratio, signed

MOST_PROVENANCE = 20
PAIRED, UNPAIRED = "Paired by seed.", "Not paired: the seeds are independent."
OF_EFFECTS = "From summaries: changes of the effects against the baseline, as if the two evaluations shared no seed."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison and return the exit code: 0, 1 where the gate is closed, 2 for unusable tables."""
    return programs.run("error", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    options = None if asked.baseline is None else options_of(asked)
    comparison = compare(asked.old, asked.new, options)
    print(text(comparison))
    if not asked.gate:
        return 0
    if comparison.worse:
        print(f"\ngate: closed, {one_line(', '.join(comparison.worse))} got worse by more than the ROPE")
        return 1
    print("\ngate: open, nothing got worse by more than the ROPE with the evidence to say so")
    return 0


def text(comparison: Comparison) -> str:
    """Return the comparison as markdown."""
    decimals = comparison.decimals
    rows = [_row(change, comparison, decimals) for change in comparison.changes]
    lower = "; lower is better" if comparison.scale < 0 else ""
    size = f"new − old ({plain(comparison.unit)}{lower}) [{percent(comparison.confidence)} CI]"
    headers = ["technique", "change", size, "recommendation", "rank", "cost ratio"]
    paired = all(change.paired for change in comparison.changes)
    rope = f"{comparison.rope * abs(comparison.scale):.{decimals}f}"
    lines = [
        markdown(headers, rows, 2),
        "",
        f"On {len(comparison.workloads)} shared workloads; ROPE ±{rope}. "
        + (OF_EFFECTS if comparison.of_effects else PAIRED if paired else UNPAIRED),
    ]
    for title, names in (
        ("Only in the old evaluation", comparison.only_old),
        ("Only in the new evaluation", comparison.only_new),
        ("Workloads of one evaluation alone", comparison.dropped),
    ):
        if names:
            lines.append(f"{title}: {', '.join(map(plain, names))}.")
    if comparison.provenance:
        differing = [(what, *sides) for what, sides in comparison.provenance.items()]
        lines += ["", "Differs in provenance:", ""]
        lines.append(markdown(["what", "old", "new"], [[*map(plain, row)] for row in differing[:MOST_PROVENANCE]], 3))
        if len(differing) > MOST_PROVENANCE:
            lines.append(f"and {len(differing) - MOST_PROVENANCE} more")
    else:
        lines += ["", "Nothing differs in what is recorded of their making."]
    return "\n".join(lines)


def _row(change: Change, comparison: Comparison, decimals: int) -> list[str]:
    ends = sorted(value * comparison.scale for value in (change.low, change.high))
    interval = (
        f" [{', '.join(end_text(end, decimals) for end in ends)}]" if math.isfinite(change.low) else " (no interval)"
    )
    if not is_useful(change.low, change.high, comparison.reach) and math.isfinite(change.low):
        interval = f" ({NO_USE})"
    old, new = change.recommendations
    ranks, costs = change.ranks, change.cost
    return [
        plain(change.technique),
        change.words,
        signed(change.mean * comparison.scale, decimals) + interval,
        new if old == new else f"{old} → {new}",
        str(ranks[1]) if ranks[0] == ranks[1] else f"{ranks[0]} → {ranks[1]}",
        ratio(costs[1]) if ratio(costs[0]) == ratio(costs[1]) else f"{ratio(costs[0])} → {ratio(costs[1])}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = programs.Arguments(prog="evalbench compare", description=__doc__)
    parser.add_argument("old", type=Path, help="results.csv, summary.json, or the folder, of the earlier evaluation")
    parser.add_argument("new", type=Path, help="results.csv, summary.json, or the folder, of the later one")
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a technique got worse beyond the ROPE")
    add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
