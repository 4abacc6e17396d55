"""What tuning bought, and what it changed in the verdicts."""

from __future__ import annotations

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import TunedFindings, judged, searched
from evalbench.report.analysis.tuning import Gain
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, percent
from evalbench.report.section import Section, numbers_of
from evalbench.statistics.judging import Verdict


def gains(tuned: TunedFindings) -> str:
    """Return tuned and default scores, per technique and workload."""
    rows = []
    for technique in tuned.evaluation.techniques:
        mine = [gain for gain in tuned.gains if gain.technique == technique]
        rows += [_gain_row(tuned, gain, index == 0) for index, gain in enumerate(mine)]
    level = percent(tuned.evaluation.confidence)
    return markdown(
        ["technique", "workload", "unit", "default", "tuned", "tuned − default", f"{level} interval"], rows, 3
    )


def _gain_row(tuned: TunedFindings, gain: Gain, first: bool) -> list[str]:
    name = code(gain.technique) if first else ""
    if gain.workload is None:
        unit = tuned.findings.common
        where = f"**mean over {gain.interval.count} data sets**"
        return [
            name,
            where,
            plain(unit.short),
            "",
            "",
            unit.change(gain.interval.mean),
            unit.change_interval(gain.interval),
        ]
    unit = tuned.findings.units[gain.workload]
    interval = gain.interval
    return [
        name,
        code(gain.workload),
        plain(unit.short) + unit.better,
        unit.score(gain.default),
        unit.score(gain.tuned),
        unit.change(interval.mean),
        unit.change_interval(interval),
    ]


def gain_sentence(tuned: TunedFindings) -> str:
    """Say what tuning bought each technique over the data sets."""
    said = []
    for gain in tuned.gains:
        if gain.workload is None:
            ends = f"{tuned.findings.common.change(gain.interval.mean)} {plain(tuned.findings.common.difference)}"
            interval = tuned.findings.common.change_interval(gain.interval)
            said.append(f"{code(gain.technique)} {ends} {interval}")
    return f" Over the data sets, tuning bought {listed(said)}." if said else ""


def _changes(tuned: TunedFindings) -> list[tuple[Verdict, Verdict]]:
    """Return the verdicts of the default settings beside those of the tuned ones."""
    after = judged(tuned.findings)
    if tuned.defaults is None or after is None:
        return []
    before = {verdict.challenger: verdict for verdict in tuned.defaults.verdicts}
    return [(before[new.challenger], new) for new in after.judged.verdicts if new.challenger in before]


def _differ(old: Verdict, new: Verdict) -> bool:
    return (old.quality, old.recommendation) != (new.quality, new.recommendation)


def changed_verdicts(tuned: TunedFindings) -> str:
    """Return the verdicts beside those that the default settings would have got on the same splits."""
    unit = tuned.findings.common
    rows = [
        [
            code(new.challenger),
            f"{unit.change(old.effect.mean)} {unit.change_interval(old.effect)}",
            f"{old.quality} → {old.recommendation}",
            f"{unit.change(new.effect.mean)} {unit.change_interval(new.effect)}",
            f"{new.quality} → {new.recommendation}{' ←' if _differ(old, new) else ''}",
        ]
        for old, new in _changes(tuned)
    ]
    headers = ["technique", "effect, defaults", "verdict, defaults", "effect, tuned", "verdict, tuned"]
    return markdown(headers, rows, 1) if rows else ""


def changed_sentence(tuned: TunedFindings) -> str:
    """Say which verdicts tuning changed."""
    changed = [
        f"{code(new.challenger)} went from {old.quality}, {old.recommendation}, to {new.quality}, {new.recommendation}"
        for old, new in _changes(tuned)
        if _differ(old, new)
    ]
    return f"With tuning {listed(changed)}." if changed else "Tuning changed no verdict."


def gain_numbers(tuned: TunedFindings) -> pd.DataFrame:
    """Return a row per technique and workload, and per technique over the data sets."""
    rows = []
    for g in tuned.gains:
        common = tuned.findings.common
        sign = (common if g.workload is None else tuned.findings.units[g.workload]).sign
        low, high = sorted((sign * g.interval.low, sign * g.interval.high))
        rows.append(
            {
                "technique": g.technique,
                "workload": g.workload or "(mean over data sets)",
                "default": g.default,
                "tuned": g.tuned,
                "difference": sign * g.interval.mean,
                "low": low,
                "high": high,
                "common": common.sign * g.common,
            }
        )
    return pd.DataFrame(rows)


def verdict_numbers(tuned: TunedFindings) -> pd.DataFrame:
    """Return a row per candidate: the verdict that the default settings would have got."""
    common, before = tuned.findings.common, tuned.defaults
    return pd.DataFrame(
        {
            "candidate": v.challenger,
            "effect": common.shown(v.effect.mean),
            **dict(zip(("low", "high"), common.ends(v.effect.low, v.effect.high), strict=True)),
            "quality": str(v.quality),
            "ring": str(v.recommendation),
        }
        for v in (before.verdicts if before is not None else ())
    )


def text(tuned: TunedFindings) -> str:
    """Return the gains by tuning, and the verdicts that it changed."""
    said = f"The tuned setting minus the default one, on the same seeds and splits.{gain_sentence(tuned)}"
    parts = ["### What tuning bought", f"{said} {numbers_of('tuning_gains')}", gains(tuned)]
    changed = changed_verdicts(tuned)
    if changed:
        parts += [
            "### What tuning changed in the verdicts",
            f"{changed_sentence(tuned)} The default settings are judged on the same splits, with the cap for untuned"
            f" techniques. {numbers_of('default_verdicts')}",
            changed,
        ]
    return "\n\n".join(parts)


GAINS = Section(searched, text, {"tuning_gains": gain_numbers, "default_verdicts": verdict_numbers})
