"""What all figures of a page share: the looks of the techniques, the workloads, and a row per trial."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evalbench.names import one_line, short
from evalbench.report.analysis.findings import Findings
from evalbench.report.render import style
from evalbench.report.render.html import Interactive
from evalbench.report.render.markup import MANY_COLUMNS
from evalbench.report.render.plots import Plot

MOST_ROWS = 1000
"""Trials that the table of a page has: of more, some of each technique and workload."""
RUNS = ("run_url", "tracker_run")
"""Columns of `results.csv` with the address of a trial's run in a tracker, or with the id that trackers know it by."""


def trial_table(findings: Findings) -> pd.DataFrame:
    """Return the trials in the order of their numbers: those of `results.csv`."""
    return findings.folder.results.reset_index(drop=True)


def trial_numbers(findings: Findings) -> dict[tuple[Any, ...], int]:
    """Return the number of each trial, by technique, workload, levels of the other factors, and seed."""
    table = trial_table(findings)
    keys = ["technique", "workload", *findings.evaluation.factors, "seed"]
    return {key: number for number, key in enumerate(table[keys].itertuples(index=False, name=None))}


def shared(findings: Findings) -> dict[str, Any]:
    """Return what a page's script needs to dress and to describe the points of its figures."""
    evaluation, table = findings.evaluation, trial_table(findings)
    techniques, workloads = list(evaluation.techniques), list(evaluation.workloads)
    return {
        "techniques": [{"name": _name(name), **style.look(index)} for index, name in enumerate(techniques)],
        "workloads": [{"name": _name(name), "unit": one_line(findings.units[name].label)} for name in workloads],
        "scale": style.DIVERGING,
        "darkScale": style.DARK_DIVERGING,
        "repeated": evaluation.repeated[0],
        "trials": {
            "workload": _indices(table["workload"], workloads),
            "seed": [None if pd.isna(seed) else int(seed) for seed in table["seed"]],
            "score": _scores(findings, table),
            "ended": {n: s.lower() for n, s in enumerate(map(str, table["state"])) if s != "COMPLETE"},
            "setting": _settings(table, list(evaluation.factors)),
            "runs": {number: run for number, run in enumerate(_runs(table)) if run},
        },
    }


def without_trials(plots: Mapping[str, Plot], techniques: Sequence[str], standalone: bool) -> Interactive:
    """Return what the figures of a page need whose points are no trials."""
    looks = [{"name": _name(name), **style.look(index)} for index, name in enumerate(techniques)]
    return Interactive(plots, {"techniques": looks}, standalone=standalone)


def rows(findings: Findings) -> str:
    """Return the table of trials as HTML; of very many trials, every n-th, with a note."""
    table, evaluation = trial_table(findings), findings.evaluation
    step = -(-len(table) // MOST_ROWS)
    factors, runs = list(evaluation.factors), _runs(table)
    headers = ["technique", "workload", *factors, evaluation.repeated[0], "score", "unit", "state"]
    headers += ["run"] if any(runs) else []
    scores, settings = _scores(findings, table), [tuple(row) for row in table[factors].to_numpy(object)]
    units = table["workload"].map({name: unit.label for name, unit in findings.units.items()})
    columns = [table["technique"], table["workload"], settings, table["seed"], scores, units, table["state"], runs]
    lines = []
    for number, (technique, workload, setting, seed, score, unit, state, run) in enumerate(zip(*columns, strict=True)):
        if number % step:
            continue
        words = [technique, workload, *setting]
        cells = [f'<td class="words">{html.escape(one_line(word))}</td>' for word in words]
        cells += [f'<td class="number">{"" if pd.isna(seed) else int(seed)}</td>']
        cells += [f'<td class="number">{score or "–"}</td>']
        cells += [f"<td>{html.escape(one_line(unit))}</td>", f"<td>{html.escape(str(state).lower())}</td>"]
        cells += [f"<td>{_link(run)}</td>"] if any(runs) else []
        lines.append(f'<tr id="trial-{number}">{"".join(cells)}</tr>')
    return _frame(headers, lines, len(table), step)


def _frame(headers: Sequence[str], lines: Sequence[str], count: int, step: int) -> str:
    note = f"<p>The table has {len(lines):,} of {count:,} trials, every {step}th; the folder has all.</p>\n"
    numbers = {"score", headers[headers.index("score") - 1]}
    head = "".join(
        f'<th class="{"number" if header in numbers else "words"}">{html.escape(one_line(header))}</th>'
        for header in headers
    )
    size = " many" if len(headers) >= MANY_COLUMNS else ""
    return (
        (note if step > 1 else "")
        + '<label class="filter">Filter <input type="search" data-filter="#every-trial"><output></output></label>\n'
        + f'<div class="wide{size}"><table class="sortable" id="every-trial"><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>\n"
    )


def _name(name: str) -> str:
    return short(one_line(name))


def _indices(names: pd.Series[Any], order: list[str]) -> list[int]:
    numbers = {name: index for index, name in enumerate(order)}
    return [numbers[str(name)] for name in names]


def _scores(findings: Findings, table: pd.DataFrame) -> list[str | None]:
    pairs = zip(table["workload"], table["score"], strict=True)
    return [None if pd.isna(score) else findings.units[workload].score(score) for workload, score in pairs]


def _settings(table: pd.DataFrame, factors: list[str]) -> list[str]:
    if not factors:
        return []
    levels = table[factors].itertuples(index=False, name=None)
    return [", ".join(f"{one_line(f)}={one_line(v)}" for f, v in zip(factors, row, strict=True)) for row in levels]


def _runs(table: pd.DataFrame) -> list[str]:
    """Return the address or the id of each trial's run in trackers, empty if neither is known."""
    column = next((name for name in RUNS if name in table.columns), None)
    return [""] * len(table) if column is None else table[column].fillna("").astype(str).map(one_line).tolist()


def _link(run: str) -> str:
    is_address = run.startswith(("https://", "http://"))
    return f'<a href="{html.escape(run)}">tracker</a>' if is_address else f"<code>{html.escape(run)}</code>"
