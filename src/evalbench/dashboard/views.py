"""What an evaluation's dashboard shows, and the same as W&B's workspace and report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GROUP = "technique"
MOST_COLUMNS = 6
"""Settings that a parallel-coordinates view shows."""


@dataclass(frozen=True)
class Views:
    """The views of one evaluation, plain values."""

    evaluation: str
    question: str
    curves: Sequence[str]
    """Metrics over epochs, grouped by technique, with the range over runs as a band."""
    settings: Sequence[str]
    """Settings that differ between runs, the left axes of the parallel-coordinates view."""
    results: Sequence[str]
    """Summary values, its right axes."""
    tables: Sequence[str]
    """Tables of the evaluation's own run."""

    def lines(self) -> list[str]:
        """Say what there is to see, a line per section."""
        return [
            f"curves over epochs, grouped by {GROUP} with bands: {', '.join(self.curves)}",
            f"parallel coordinates: {', '.join([*self.settings, *self.results])}",
            f"tables: {', '.join(self.tables)}",
        ]


def views(evaluation: str, about: Mapping[str, Any]) -> Views:
    """Return the views that fit an evaluation, from what the store says about it for trackers."""
    cells = about["cells"]
    metrics = dict.fromkeys(cell["metric"] for cell in cells)
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        values = {**cell["choices"], "dataset": cell["workload"]}
        values |= {k: v for g in ("optimizer", "model") for k, v in cell["settings"][g].items() if k != "_target_"}
        for key, value in values.items():
            found.setdefault(key, {})[str(value)] = None
    varied = [key for key, values in found.items() if len(values) > 1 and key != GROUP]
    return Views(
        evaluation=evaluation,
        question=about["question"] or evaluation,
        curves=[*(f"val/{metric.split('/')[1]}" for metric in metrics), "val/loss", "train/loss"],
        settings=[GROUP, *varied[:MOST_COLUMNS]],
        results=[*metrics, "cost/steps", "cost/flops"],
        tables=["verdicts", "results"] if about["factor"] else ["results"],
    )


def workspace(views: Views, entity: str, project: str) -> Any:
    """Return the workspace, not saved yet."""
    import wandb_workspaces.workspaces as ws

    curves, parallel, tables = _panels(views)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=views.evaluation,
        sections=[
            ws.Section(name="Curves", panels=curves, is_open=True),
            ws.Section(name="Parallel coordinates", panels=parallel, is_open=True),
            ws.Section(name="Verdicts", panels=tables, is_open=True),
        ],
        runset_settings=ws.RunsetSettings(filters=[ws.Metric("Group") == views.evaluation], groupby=[ws.Config(GROUP)]),
    )


def report(views: Views, entity: str, project: str) -> Any:
    """Return the report, not saved yet."""
    import wandb_workspaces.reports.v2 as wr

    curves, parallel, tables = _panels(views)

    def grid(panels: list[Any]) -> Any:
        runs = wr.Runset(
            entity=entity,
            project=project,
            name=views.evaluation,
            filters=f"Metric('group') == '{views.evaluation}'",
            groupby=[f"config.{GROUP}"],
        )
        return wr.PanelGrid(runsets=[runs], panels=panels)

    return wr.Report(
        entity=entity,
        project=project,
        title=views.evaluation,
        description=views.question,
        blocks=[
            wr.H1(text=views.question),
            wr.H2(text="Verdicts"),
            grid(tables),
            wr.H2(text="Curves"),
            wr.P(text=f"Means over the runs of each {GROUP}; the bands are their range."),
            grid(curves),
            wr.H2(text="Settings and results"),
            grid(parallel),
        ],
    )


def _panels(views: Views) -> tuple[list[Any], list[Any], list[Any]]:
    import wandb_workspaces.reports.v2 as wr

    curves: list[Any] = [
        wr.LinePlot(
            title=name,
            x="epoch",
            y=[name],
            groupby=wr.Config(GROUP),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=1000,
        )
        for name in views.curves
    ]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in views.settings]
    columns += [wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name)) for name in views.results]
    tables: list[Any] = [wr.WeavePanelSummaryTable(table_name=name) for name in views.tables]
    return curves, [wr.ParallelCoordinatesPlot(columns=columns)], tables
