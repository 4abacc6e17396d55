"""Paired differences from the baseline or the references, also at each level of the other factors."""

from __future__ import annotations

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.differences import LevelEffect
from evalbench.report.analysis.findings import Findings, JudgedFindings, judged
from evalbench.report.render.markdown import MOST_ROWS, markdown, named
from evalbench.report.render.units import fixed, listed, percent
from evalbench.report.section import Section, always, numbers_of


def how_differences(findings: Findings) -> str:
    """Explain how the paired differences and their intervals were made."""
    evaluation = findings.evaluation
    if findings.one_score:
        return (
            f"Scores are paired by workload; {_better_side(findings)} than the baseline. The interval is a t"
            f" interval over the data sets, at {percent(findings.family)} so that the family holds together."
        )
    if not evaluation.paired:
        return _how_without_pairs(findings)
    family = (
        f" The {len(findings.comparisons)} comparisons are one family: the level is"
        f" 1 − {1 - evaluation.confidence:.3g}/{len(findings.comparisons)} = {percent(findings.family)} (Bonferroni)."
        if len(findings.comparisons) > 1
        else ""
    )
    one = evaluation.repeated[0]
    averaged = (
        f" Differences are taken within each setting of the other factors and averaged over the settings of a {one}."
        if evaluation.factors
        else ""
    )
    return (
        f"{evaluation.one_result.capitalize()}s are paired by workload"
        + (f", {one} and setting of the other factors" if evaluation.factors else f" and {one}")
        + f"; {_better_side(findings)} for the first of the two."
        + averaged
        + f" The interval is a t interval over {evaluation.repeated[1]}"
        + (
            f", widened because {_why_widened(findings)};"
            " it is the one to decide by. *These rows only* leaves the widening out and says nothing about new rows."
            if any(findings.rho.values())
            else "."
        )
        + " *Wins* counts the pairs that the first one won; P(better) is the probability to win a pair, with its exact"
        " interval (a tie counts half)." + family
    )


def _how_without_pairs(findings: Findings) -> str:
    """Explain differences of runs that are not paired."""
    many = findings.evaluation.repeated[1]
    widened = (
        f", widened because {_why_widened(findings)}; *these rows only* leaves that out"
        if any(findings.rho.values())
        else ""
    )
    return (
        f"The {many} of two techniques are not paired; {_better_side(findings)} for the first of the two. The interval"
        f" is Welch's, at {percent(findings.family)} so that the family holds together{widened}. *Wins* counts all"
        " pairs of a run of the first with a run of the second; P(better) is their share, a tie counting half, with"
        " Brunner and Munzel's interval."
    )


def _better_side(findings: Findings) -> str:
    less = list(dict.fromkeys(unit.metric for unit in findings.units.values() if unit.sign < 0))
    if len({unit.sign for unit in findings.units.values()}) == 2:
        return f"a positive difference is better, in {listed(less)} a negative one,"
    return f"a {'negative' if less else 'positive'} difference is better"


def _why_widened(findings: Findings) -> str:
    folds = [workload.folds is not None for workload in findings.evaluation.workloads.values()]
    by_fold, one = findings.evaluation.unit == "fold" or all(folds), findings.evaluation.repeated[0]
    return "folds share training rows" if by_fold else f"every {one} draws its split from the same rows"


def common_unit(findings: Findings) -> str:
    """Say on which scale workloads are averaged and drawn side by side."""
    if findings.common.is_skill:
        return (
            "The workloads have different metrics, so they are averaged and drawn side by side in **skill**:"
            " (score − trivial) / (best possible − trivial) in percent on each split. 0 is the trivial predictor, and"
            " 100 is perfect."
        )
    if len(findings.evaluation.workloads) == 1:
        return ""
    points = " (percentage points)" if findings.common.scale == 100 else ""
    return f"Workloads are averaged and drawn side by side in **{plain(findings.common.difference)}**{points}."


def table(findings: Findings, candidate: str, comparator: str) -> str:
    """Return the paired differences of one comparison on each workload, and over the data sets."""
    level = percent(findings.family)
    mixed = findings.common.is_skill
    rows = []
    for difference in findings.differences:
        if (difference.candidate, difference.comparator) != (candidate, comparator):
            continue
        unit, effect = findings.units[difference.workload], difference.effect
        wins = f"{effect.wins}/{effect.count}" + (f" ({effect.ties} tied)" if effect.ties else "")
        low, high = effect.win_interval
        rows.append(
            [
                code(difference.workload),
                plain(unit.short) + unit.better,
                unit.change(effect.interval.mean),
                unit.change_interval(effect.interval),
                unit.change_interval(effect.rows_only),
                *([findings.common.change(difference.common.mean)] if mixed else []),
                wins if effect.count else "–",
                f"[{low:.2f}, {high:.2f}]" if effect.count else "–",
                fixed(effect.correlation, 2),
            ]
        )
    for overall in findings.overall:
        if (overall.candidate, overall.comparator) == (candidate, comparator) and overall.interval is not None:
            unit = findings.common
            mean, ends = unit.change(overall.interval.mean), unit.change_interval(overall.interval, "data set")
            name = f"**mean over {len(overall.workloads)} data sets**"
            rows.append([name, plain(unit.short), mean, ends, "", *([mean] if mixed else []), "", "", ""])
    headers = ["workload", "unit", "difference", f"{level} interval", "these rows only"]
    kind = " exact" if findings.evaluation.paired else ""
    headers += [*(["in skill"] if mixed else []), "wins", f"P(better), {level}{kind}", "run correlation"]
    alone = not any(findings.rho.values())
    unused = {"these rows only"} if alone and findings.evaluation.foreign else set()
    unused |= set() if findings.evaluation.paired else {"run correlation"}
    kept = [index for index, header in enumerate(headers) if header not in unused]
    return markdown([headers[index] for index in kept], [[row[index] for index in kept] for row in rows], 2)


def one_score_table(findings: JudgedFindings) -> str:
    """Return differences from the baseline, a row per data set, and the mean with its interval."""
    unit, verdicts = findings.common, findings.judged.verdicts
    rows = [
        [code(e.workload), *(unit.change(v.sets[index].interval.mean) for v in verdicts)]
        for index, e in enumerate(verdicts[0].sets if verdicts else ())
    ]
    mean = [f"{unit.change(v.effect.mean)} {unit.change_interval(v.effect, 'data set')}" for v in verdicts]
    rows.append([f"**mean, {percent(findings.family)} interval**", *mean])
    return markdown(["workload", *(code(v.challenger) for v in verdicts)], rows, 1)


def levels(findings: Findings, factor: str) -> str:
    """Return the difference at each level of one other factor."""
    mine = [effect for effect in findings.levels if effect.factor == factor]
    cells = {(e.candidate, e.comparator, e.workload, e.level): e for e in mine}
    lines = list(dict.fromkeys((e.candidate, e.comparator, e.workload) for e in mine))
    lines.sort(key=lambda line: findings.comparisons.index((line[0], line[1])))  # stable: overall comes last of each
    names = findings.evaluation.factors[factor]
    rows = []
    for candidate, comparator, workload in lines:
        name = f"**mean over {len(findings.data_sets)} data sets**" if workload is None else code(workload)
        texts = [_level(findings, cells.get((candidate, comparator, workload, level))) for level in names]
        rows.append([f"{named(candidate)} − {named(comparator)}", name, *texts])
    return markdown(["comparison", "workload", *(f"{code(factor)} = {code(level)}" for level in names)], rows, 2)


def _level(findings: Findings, effect: LevelEffect | None) -> str:
    if effect is None or not effect.interval.count:
        return "–"
    return f"{findings.common.change(effect.interval.mean)} {findings.common.change_interval(effect.interval)}"


def left_out(findings: Findings) -> str:
    """Return the pairs that could not be formed, and why."""
    rows = [
        [
            f"{named(row['candidate'])} − {named(row['comparator'])}",
            code(row["workload"]),
            plain(row["reason"]),
            str(row["count"]),
        ]
        for row in findings.left_out.to_dict("records")
    ]
    return markdown(["comparison", "workload", "reason", "pairs left out"], rows, 3)


def level_numbers(findings: Findings) -> pd.DataFrame:
    """Return the effect at each level of the other factors."""
    return pd.DataFrame(
        {
            "factor": e.factor,
            "level": e.level,
            "workload": e.workload or "(mean over data sets)",
            "candidate": e.candidate,
            **findings.common.numbers(e.interval),
        }
        for e in findings.levels
    )


def text(findings: Findings) -> str:
    """Return a table per comparison, the pairs that are left out, and a table per other factor."""
    if not findings.comparisons:
        return ""
    evaluation, judged_findings = findings.evaluation, judged(findings)
    against = f"baseline {code(evaluation.baseline)}" if evaluation.baseline else "references"
    files = "[differences.csv](figures/differences.csv)" + (
        ", [effects.csv](numbers/effects.csv)" * bool(judged_findings)
    )
    parts = [
        f"## {'Paired differences' if evaluation.paired else 'Differences'} from the {against}",
        f"{how_differences(findings)} {common_unit(findings)} Numbers: {files}.",
    ]
    if judged_findings and findings.one_score:
        parts.append(one_score_table(judged_findings))
    elif len(findings.comparisons) * len(findings.units) > MOST_ROWS:
        parts.append("The tables of so many comparisons are in the file: the figure above shows each of them.")
    else:
        for candidate, comparator in findings.comparisons:
            parts += [f"### {named(candidate)} − {named(comparator)}", table(findings, candidate, comparator)]
    if findings.left_out.empty:
        parts.append("All pairs are complete." if evaluation.paired else "")
    else:
        parts += ["Pairs left out because they are not complete:", left_out(findings)]
    for factor, names in evaluation.factors.items():
        parts += [
            f"### By {code(factor)}: {plain(', '.join(names))}",
            f"The same differences at each level, in {plain(findings.common.difference)} with"
            f" {percent(evaluation.confidence)} intervals; exploratory. {numbers_of('levels')}",
            levels(findings, factor),
        ]
    return "\n\n".join(part for part in parts if part)


DIFFERENCES = Section(always, text, {"levels": level_numbers})
