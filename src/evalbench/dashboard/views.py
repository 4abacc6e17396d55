"""Choose the views of an evaluation's dashboard and build them as W&B's workspace and report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalbench.mirror.runs import axis_of
from evalbench.tracking.wandb import AXIS_NAMES

GROUP = "technique"
MOST_COLUMNS = 6
"""Largest number of settings in a parallel-coordinates view."""


@dataclass(frozen=True)
class Views:
    """The views of one evaluation, as plain values."""

    evaluation: str
    question: str
    curves: Mapping[str, Sequence[str]]
    """The plotted metrics of each workload, by technique, with the range over runs as a band."""
    axis: str
    """The horizontal axis of the curves: `epoch` or `step`."""
    searched: bool
    """True if a search added runs of candidates beside the measured runs."""
    settings: Sequence[str]
    """Settings that differ between runs: the left axes of the parallel-coordinates view."""
    results: Sequence[str]
    """Summary values: the right axes of the parallel-coordinates view."""
    tables: Sequence[str]
    """Tables of the evaluation's own run."""

    def lines(self) -> list[str]:
        """Describe the views, a line per section."""
        return [
            *(
                f"{workload}: curves over {self.axis}s, grouped by {GROUP} with bands: {', '.join(names)}"
                for workload, names in self.curves.items()
            ),
            f"parallel coordinates: {', '.join([*self.settings, *self.results])}",
            f"tables: {', '.join(self.tables)}",
        ]


def views(evaluation: str, about: Mapping[str, Any]) -> Views:
    """Return the views that fit an evaluation, from its stored description."""
    cells = about["cells"]
    metrics = {cell["workload"]: cell["metric"] for cell in cells}
    levels: dict[str, dict[str, None]] = {}
    for cell in cells:
        values = {**cell["choices"], "dataset": cell["workload"]}
        values |= {k: v for g in ("optimizer", "model") for k, v in cell["settings"][g].items() if k != "_target_"}
        for key, value in values.items():
            levels.setdefault(key, {})[str(value)] = None
    varied = [key for key, values in levels.items() if len(values) > 1 and key != GROUP]
    return Views(
        evaluation=evaluation,
        question=about["question"] or evaluation,
        curves={w: [f"val/{metric.split('/')[1]}", "val/loss", "train/loss"] for w, metric in metrics.items()},
        axis=axis_of(cells[0]["settings"]),
        searched=any(cell["studies"] for cell in cells),
        settings=[GROUP, *varied[:MOST_COLUMNS]],
        results=[*dict.fromkeys(metrics.values()), "cost/steps", "cost/flops"],
        tables=["verdicts", "results"] if about["factor"] else ["results"],
    )


def workspace(views: Views, entity: str, project: str) -> Any:
    """Return the unsaved workspace; its panels draw a line for each cell, because the runs are grouped by cell."""
    import wandb_workspaces.workspaces as ws

    metrics = list(dict.fromkeys(name for names in views.curves.values() for name in names))
    groups = {"dataset": len(views.curves) > 1, "hyperparameters": views.searched, GROUP: True}
    return ws.Workspace(
        entity=entity,
        project=project,
        name=views.evaluation,
        sections=[
            ws.Section(name="Curves", panels=_curves(metrics, views.axis), is_open=True),
            ws.Section(name="Parallel coordinates", panels=_parallel(views), is_open=True),
            ws.Section(name="Verdicts", panels=_tables(views), is_open=True),
        ],
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == views.evaluation],
            groupby=[ws.Config(key) for key, needed in groups.items() if needed],
        ),
    )


def report(views: Views, entity: str, project: str) -> Any:
    """Return the unsaved report; each workload has curves of its own, because means over workloads say little."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces.expr import Config, Metric

    def grid(panels: list[Any], *only: Any, groups: Sequence[str] = ()) -> Any:
        filters = [Metric("Group") == views.evaluation, *only]
        runs = wr.Runset(entity=entity, project=project, name=views.evaluation, filters=filters, groupby=list(groups))
        return wr.PanelGrid(runsets=[runs], panels=panels)

    judged = [Config("hyperparameters") == "tuned"] if views.searched else []
    blocks = [
        wr.H1(text=views.question),
        wr.H2(text="Verdicts"),
        grid(_tables(views), Metric("JobType") == "evaluation"),
        wr.H2(text="Curves"),
        wr.P(text=f"Means over the runs of each {GROUP}; the bands are their range."),
    ]
    for workload, names in views.curves.items():
        panels = _curves(names, views.axis)
        of_workload = grid(panels, Config("dataset") == workload, *judged, groups=[f"config.{GROUP}"])
        blocks += [wr.H3(text=workload), of_workload]
    blocks += [wr.H2(text="Settings and results"), grid(_parallel(views), Metric("JobType") != "evaluation")]
    return wr.Report(entity=entity, project=project, title=views.evaluation, description=views.question, blocks=blocks)


def _curves(names: Sequence[str], axis: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    bands = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax", "max_runs_to_show": 1000}
    return [wr.LinePlot(title=name, x=AXIS_NAMES[axis], y=[name], **bands) for name in names]


def _parallel(views: Views) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in views.settings]
    columns += [wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name)) for name in views.results]
    return [wr.ParallelCoordinatesPlot(columns=columns)]


def _tables(views: Views) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.WeavePanelSummaryTable(table_name=name) for name in views.tables]
