"""The table of scores at the terminal, in blocks of techniques that fit its width, never without intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from evalbench.evaluation.plan import Plan
from evalbench.names import one_line
from evalbench.record.schema import REFERENCES
from evalbench.report import Report
from evalbench.statistics.intervals import Interval
from evalbench.tasks.metric import Metric
from evalbench.terminal.names import cut_all

REFERENCE_ROWS = ("linear", "trivial")
MOST_LINES = 60
"""A longer table is for the report."""
GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column: its head, its texts, and its style."""

    head: str
    texts: Sequence[str]
    style: str = ""

    @property
    def width(self) -> int:
        """The columns of the terminal that it takes."""
        return max(map(cell_len, [self.head, *self.texts]))


def print_scores(console: Console, plan: Plan, report: Report) -> None:
    """Print the mean of each technique on each workload with half its interval, in blocks that fit the width."""
    metrics = {cell.workload: cell.dataset.metric for cell in plan.cells}
    names = _names(metrics, console.width)
    blocks = list(fit(names, _columns(plan, report, metrics, console.width), console.width))
    if sum(len(names.texts) + 3 for _ in blocks) > MOST_LINES:
        return
    legend = ", * baseline" if plan.baseline else ""
    score = "tuned test score" if plan.config.search else "test score"
    points = " in points" if any(map(_in_points, metrics.values())) else ""
    console.print()
    console.print(Text(f"{plan.name}: {score}{points}, mean ± 95 % interval{legend}", "bold"))
    for block in blocks:
        console.print()
        for text in lines_of(block):
            console.print(text, soft_wrap=True)
    console.print()


def fit(names: Column, columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Yield blocks of columns that fit the width, each with the names before it; a block has one column at least."""
    block, used = [names], names.width + 1
    for column in columns:
        if len(block) > 1 and used + len(GAP) + column.width > width:
            yield block
            block, used = [names], names.width + 1
        block.append(column)
        used += len(GAP) + column.width
    yield block


def lines_of(block: Sequence[Column]) -> Iterator[Text]:
    """Yield the lines of a block: heads, a rule, and a line per workload."""
    names, columns = block[0], block[1:]
    for row, cells in enumerate(zip(*([column.head, *column.texts] for column in block), strict=True)):
        text = Text(" " + _padded(cells[0], names.width), "" if row else "bold")
        for column, cell in zip(columns, cells[1:], strict=True):
            style = column.style if row else f"bold {column.style}".strip()
            text.append(GAP).append(" " * (column.width - cell_len(cell)) + cell, style)
        text.rstrip()
        yield text
        if not row:
            yield Text(" " + "─" * (sum(column.width for column in block) + len(GAP) * len(columns)))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _names(metrics: Mapping[str, Metric], width: int) -> Column:
    """Return the workloads, with the metric where it is no accuracy."""
    units = ["" if metric.name == "accuracy" else f" ({metric.words})" for metric in metrics.values()]
    names = cut_all(list(map(one_line, metrics)), max(8, width // 3 - max(map(cell_len, units))))
    return Column("workload", [name + unit for name, unit in zip(names, units, strict=True)])


def _columns(plan: Plan, report: Report, metrics: Mapping[str, Metric], width: int) -> list[Column]:
    """Return a column per technique, and those of the linear and the trivial predictor."""
    scores = {(score.workload, score.name): score.interval for score in report.findings.scores}
    heads = cut_all([one_line(name) + "*" * (name == plan.baseline) for name in plan.techniques], max(12, width // 4))
    columns = []
    for name, head in zip(plan.techniques, heads, strict=True):
        texts = [_score(scores.get((workload, name)), report, workload, metric) for workload, metric in metrics.items()]
        columns.append(Column(head, _aligned(texts)))
    for reference in REFERENCE_ROWS:
        known = [scores.get((workload, REFERENCES[reference])) for workload in metrics]
        texts = [
            _score(interval, report, workload, metric, half=False)
            for interval, (workload, metric) in zip(known, metrics.items(), strict=True)
        ]
        columns.append(Column(reference, texts, "dim"))
    return columns


def _aligned(texts: Sequence[str]) -> list[str]:
    """Return texts with their `±` below each other."""
    halves = [text.partition(" ± ") for text in texts]
    width = max(len(half) for _, _, half in halves)
    return [
        f"{mean}{sign}{half:>{width}}" if sign else mean + " " * (width + 3) * bool(width)
        for mean, sign, half in halves
    ]


def _score(interval: Interval | None, report: Report, workload: str, metric: Metric, half: bool = True) -> str:
    """Return a mean, with half its interval if that is asked for and not wider than all possible scores."""
    if interval is None:
        return "–"  # each job died before it had computed it
    if not interval.count:
        return "failed"
    unit = report.findings.units[workload]
    scale, decimals = (100.0, 1) if _in_points(metric) else (1.0, unit.decimals)
    width, reach = interval.high - interval.low, unit.reach if half else math.inf
    shown = f" ± {scale * width / 2:.{decimals}f}" if half and interval.computed and width <= reach else ""
    return f"{scale * interval.mean:.{decimals}f}{shown}"


def _in_points(metric: Metric) -> bool:
    """Return whether scores are shares of the best score, printed in points; others keep their own unit."""
    return metric.best == 1 and metric.direction == "maximize"
