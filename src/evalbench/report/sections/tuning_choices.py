"""What each study chose."""

from __future__ import annotations

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import TunedFindings, searched
from evalbench.report.analysis.tuning import Choice
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, number
from evalbench.report.section import Section, numbers_of
from evalbench.report.sections.tuning import repeated, short_path


def choices(tuned: TunedFindings) -> str:
    """Return the values that each study chose, the default in brackets; a value at a bound is marked."""
    rows = []
    for technique in tuned.evaluation.techniques:
        mine = [choice for choice in tuned.choices if choice.technique == technique]
        paths = list(tuned.search["space"].get(technique, {}))
        cells: dict[tuple[str, str, int], dict[str, Choice]] = {}
        for choice in mine:
            cells.setdefault((choice.workload, choice.factors, choice.study), {})[choice.path] = choice
        for (workload, factors, study), by_path in cells.items():
            where = ", ".join(
                filter(None, [code(workload), plain(factors), f"study {study}" if repeated(tuned) else ""])
            )
            values = ", ".join(f"{short_path(path)} {_value(by_path[path])}" for path in paths if path in by_path)
            rows.append([code(technique), where, values])
    return markdown(["technique", "workload", "chosen (default)"], rows, 3)


def _value(choice: Choice) -> str:
    text = f"**{number(choice.chosen)} ({choice.bound} bound)**" if choice.bound else plain(number(choice.chosen))
    return f"{text} ({plain(number(choice.default))})"


def bounds(tuned: TunedFindings) -> str:
    """Say which ranges should be widened."""
    at: dict[tuple[str, str, str], list[str]] = {}
    for choice in tuned.choices:
        if choice.bound is not None:
            at.setdefault((choice.technique, choice.path, choice.bound), []).append(code(choice.workload))
    if not at:
        return "No chosen value lies within 5 % of a bound of its range."
    parts = [
        f"{code(path)} of {code(technique)} at its {bound} bound on {listed(list(dict.fromkeys(where)))}"
        for (technique, path, bound), where in at.items()
    ]
    return f"Within 5 % of a bound: {'; '.join(parts)}. The best value may lie beyond it: widen the range."


def text(tuned: TunedFindings) -> str:
    """Return the table of chosen values, and name the ranges that end too soon."""
    return f"### What was chosen\n\n{bounds(tuned)} {numbers_of('tuning_choices')}\n\n{choices(tuned)}"


def numbers(tuned: TunedFindings) -> pd.DataFrame:
    """Return a row per study and hyperparameter."""
    return pd.DataFrame([vars(choice) for choice in tuned.choices])


CHOICES = Section(searched, text, {"tuning_choices": numbers})
