"""The page of `--against VALUE`: each technique against a constant, one-sided, as rules of speed runs have it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from evalbench.errors import TableError
from evalbench.names import code, plain
from evalbench.record.declared import Declaration
from evalbench.record.foreign import frame_to_folder
from evalbench.record.options import Options
from evalbench.record.summary import write_summary
from evalbench.record.tables import write_table
from evalbench.report.analysis.scope import scope_of
from evalbench.report.render import html
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import p_is, p_value, plural, unit_of
from evalbench.report.section import numbers_of
from evalbench.report.sections.how_read import text as how_read
from evalbench.report.summary import bare, lone
from evalbench.statistics.constant import Claim, better_than
from evalbench.statistics.significance import holm

FEWEST = 2


@dataclass(frozen=True)
class AgainstConstant:
    """Techniques against a constant; a technique on several workloads must beat it on each."""

    name: str
    value: float
    alpha: float
    evaluation: Declaration
    claims: dict[tuple[str, str], Claim]  # by technique and workload
    p: dict[str, float]  # of each technique: the largest of its workloads, after Holm over the techniques

    @property
    def verdicts(self) -> pd.DataFrame:
        """Return a row per technique and workload: mean, runs, one-sided bound, p, and whether it beats it."""
        return pd.DataFrame(
            {
                "technique": technique,
                "workload": workload,
                "against": self.value,
                "mean": claim.mean,
                "sd": claim.sd,
                "runs": claim.count,
                "bound": claim.bound,
                "p": claim.p,
                "p_holm": self.p[technique],
                "beats": self.beats(technique),
            }
            for (technique, workload), claim in self.claims.items()
        )

    def beats(self, technique: str) -> bool:
        """Return whether the technique is better than the constant on every workload, by the evidence."""
        return self.p[technique] <= self.alpha

    @property
    def markdown(self) -> str:
        """Return the text of `report.md`."""
        first = next(iter(self.evaluation.workloads.values()))
        unit = unit_of(first.metric, first.unit, self.value, first.direction)
        better = "lower" if first.direction == "minimize" else "higher"
        shown = f"{self.value:g}"
        lines = []
        for technique in self.evaluation.techniques:
            verdict = "BEATS IT" if self.beats(technique) else "NOT SHOWN"
            mine = [claim for (name, _), claim in self.claims.items() if name == technique]
            runs = plural(sum(claim.count for claim in mine), "run")
            p = self.p[technique]
            why = "no spread, so no test" if math.isnan(p) else f"one-sided {p_is(p)}"
            lines.append(
                f"- {code(technique)}: expected {plain(unit.metric)} {better} than {shown}? **{verdict}** ({why},"
                f" {runs})."
            )
        rows = [
            [code(w), code(t), f"{c.mean:.5g}", f"{c.sd:.2g}", str(c.count), f"{c.bound:.5g}", p_value(c.p)]
            for (t, w), c in self.claims.items()
        ]
        bound = f"one-sided {100 * (1 - self.alpha):g} % bound"
        several = " A technique must beat it on every workload: its p is the largest of them (Berger, 1982)."
        return (
            "\n\n".join(
                [
                    f"# {plain(self.name)}",
                    f"**Which technique has a {better} {plain(unit.metric)} than {shown}?**",
                    "\n".join(lines),
                    markdown(["workload", "technique", "mean", "SD", "runs", bound, "p"], rows, 2),
                    "One-sided t test of the mean of the runs against the constant (Student, 1908), Holm over the"
                    f" techniques.{several if len(self.evaluation.workloads) > 1 else ''} The claim is about the"
                    f" expected score of a run, not about every run. {numbers_of('constant')}",
                    *([how_read(said)] if (said := self.evaluation.provenance["read"]) else []),
                ]
            )
            + "\n"
        )

    def save(self, folder: str | Path) -> Path:
        """Write `report.md`, `report.html`, `summary.json` and `numbers/constant.csv`; return `report.md`."""
        path = Path(folder)
        (path / "numbers").mkdir(parents=True, exist_ok=True)
        write_table(self.verdicts, path / "numbers" / "constant.csv", "%.10g")
        (path / "report.md").write_text(self.markdown, encoding="utf-8", newline="\n")
        (path / "report.html").write_text(html.page(self.markdown, path), encoding="utf-8", newline="\n")
        techniques = [
            lone(name, None, "beats it" if self.beats(name) else "not shown") for name in self.evaluation.techniques
        ]
        question = f"Which technique is better than {self.value:g}?"
        write_summary(path, {**bare("constant", self.name, question), "techniques": techniques})
        return path / "report.md"


def against(
    table: pd.DataFrame, value: float, options: Options, alpha: float = 0.05, name: str = "results"
) -> AgainstConstant:
    """Test each technique of a table against a constant.

    Raises:
        TableError: the table cannot be judged, metrics differ, or a technique has one run.
    """
    options = _alone(options, table)
    runs = table.groupby(["technique", "workload"]).cumcount()  # nothing is paired, so any number will do
    folder = frame_to_folder(name, table.assign(seed=runs), options)
    evaluation, results = folder.evaluation, folder.results
    metrics = {workload.metric for workload in evaluation.workloads.values()}
    if len(metrics) > 1:
        raise TableError(
            f"a constant belongs to one metric, and the table has {', '.join(sorted(metrics))}: choose one"
        )
    if evaluation.factors:
        raise TableError(
            f"a technique against a constant takes one setting, and {', '.join(evaluation.factors)} varies: choose one"
            " (--where NAME=VALUE)"
        )
    if (results["failed"] > 0).any():
        row = results[results["failed"] > 0].iloc[0]
        raise TableError(
            f"a run of {row['technique']} on {row['workload']} failed and has no score to set against {value:g}: leave"
            " it out and say so, or give it the score that it counts with"
        )
    scope = scope_of(evaluation, results)
    sign = 1 if next(iter(evaluation.workloads.values())).direction == "maximize" else -1
    claims = {}
    for technique in evaluation.techniques:
        for workload in evaluation.workloads:
            mine = results[(results["technique"] == technique) & (results["workload"] == workload)]["score"]
            if len(mine) < FEWEST:
                raise TableError(f"{technique} has {plural(len(mine), 'run')} on {workload}: a test needs {FEWEST}")
            claims[technique, workload] = better_than(mine, value, sign, alpha, scope.rho.get(workload, 0.0))
    worst = [max(claims[t, w].p for w in evaluation.workloads) for t in evaluation.techniques]
    known = [p for p in worst if not math.isnan(p)]
    adjusted = iter(holm(known))
    p = {
        t: math.nan if math.isnan(x) else float(next(adjusted))
        for t, x in zip(evaluation.techniques, worst, strict=True)
    }
    return AgainstConstant(name, value, alpha, evaluation, claims, p)


def _alone(options: Options, table: pd.DataFrame) -> Options:
    """Return options for which one technique is enough; no ROPE is needed for a one-sided claim."""
    first = str(table["technique"].iloc[0]) if len(table) else ""
    return replace(options, alone=True, baseline=options.baseline or first, rope=options.rope or 1e-12)
