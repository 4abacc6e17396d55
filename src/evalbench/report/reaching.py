"""The page of `--curves`: success, time to target, and who is faster than whom."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from evalbench.names import code, plain
from evalbench.record.summary import write_summary
from evalbench.record.tables import write_table
from evalbench.report.analysis.reaching import Faster, Race, Success
from evalbench.report.plots import profiles, trials
from evalbench.report.render import html, style
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, percent, plural
from evalbench.report.render.units import ratio as printed_ratio
from evalbench.report.section import numbers_of
from evalbench.report.sections.how_read import shown
from evalbench.report.sections.targets import draw_profile
from evalbench.report.summary import bare, lone
from evalbench.statistics.targets import TAU_MAX
from evalbench.statistics.verdicts import Quality

QUESTION = "Which technique reaches the targets soonest?"


def frames(race: Race) -> dict[str, pd.DataFrame]:
    """Return the tables of numbers by name: `success`, `ratios`, `pairs` and `scores`."""
    success = [
        {
            "technique": one.technique, "workload": one.workload, "reached": one.reached, "runs": one.count,
            "share_low": one.low, "share_high": one.high, "median": one.median, "restricted_mean": one.mean.mean,
            "standard_error": one.mean.error, "horizon": race.reached.horizons[one.workload],
        }
        for one in race.successes
    ]  # fmt: skip
    scores = {"technique": race.reached.techniques, "algoperf_score": race.scores, "exact_score": race.areas}
    return {
        "success": pd.DataFrame(success),
        "ratios": pd.DataFrame([_ratio(one) for one in race.against]),
        "pairs": pd.DataFrame([_ratio(one) for one in race.pairs]),
        "scores": pd.DataFrame(scores).sort_values("algoperf_score", ascending=False, ignore_index=True),
    }


def _ratio(one: Faster) -> dict[str, object]:
    r = one.ratio
    return {"a": one.a, "b": one.b, "ratio": r.ratio, "low": r.low, "high": r.high, "quality": str(one.quality)}


def text(race: Race, name: str, rope: float, question: str | None = None, said: tuple[str, ...] = ()) -> str:
    """Return the page as Markdown."""
    names = ", ".join(race.reached.techniques)
    parts = [
        f"# {plain(name)}",
        f"**{plain(question or QUESTION)}**",
        *([_first_lines(race, rope)] if race.against else []),
        _table(race),
        _how(race),
        f"![Performance profiles of {plain(names)}](figures/targets.png)",
        "*Share of the targets that a technique reaches within a multiple of the fastest technique's time.*",
        f"## Runs that reached the target\n\n{_successes(race)}\n\n{numbers_of('success')}",
        *([f"## Who is faster than whom\n\n{_pairs(race)}\n\n{numbers_of('pairs')}"] if len(race.pairs) > 1 else []),
        *(["## How the table was read\n\n" + "\n".join(f"- {shown(line)}." for line in said)] if said else []),
    ]
    return "\n\n".join(parts) + "\n"


def _first_lines(race: Race, rope: float) -> str:
    share = f"±{100 * math.expm1(rope):.3g} %"
    level = percent(1 - (1 - race.confidence) / len(race.against))
    lines = []
    for one in race.against:
        r = one.ratio
        ends = f"{level} CI {printed_ratio(r.low)} to {printed_ratio(r.high)}; " if math.isfinite(r.low) else ""
        lines.append(
            f"- {code(one.a)} needs {printed_ratio(r.ratio)} times the time of {code(one.b)} ({ends}ROPE {share})."
            f" {one.quality} ({_words(one)})."
        )
    return "\n".join(lines)


def _words(one: Faster) -> str:
    return {
        Quality.SUPERIOR: "faster by more than the ROPE",
        Quality.BETTER: "faster, by how much is uncertain",
        Quality.EQUIVALENT: "practically as fast",
        Quality.NON_INFERIOR: "not practically slower",
        Quality.WORSE: "slower, by how much is uncertain",
        Quality.INFERIOR: "slower by more than the ROPE",
    }.get(one.quality, one.quality.words)


def _table(race: Race) -> str:
    order = sorted(range(len(race.scores)), key=lambda index: -race.scores[index])
    rows = []
    for index in order:
        name = race.reached.techniques[index]
        mine = [one for one in race.successes if one.technique == name]
        reached, runs = sum(one.reached for one in mine), sum(one.count for one in mine)
        rows.append([code(name), f"{reached}/{runs}", f"{race.scores[index]:.4f}", f"{race.areas[index]:.4f}"])
    headers = ["technique", "runs that reached the target", "AlgoPerf score", "exact score"]
    return f"{markdown(headers, rows, 1)}\n\n{numbers_of('scores')}"


def _how(race: Race) -> str:
    """Say what the numbers are, and what they leave out."""
    reached = race.reached
    over_runs = all(one.over_runs for one in race.pairs)
    unit = "runs" if over_runs else "workloads, which stand for others: each has one time per technique"
    sentences = [
        f"Times are counted in {code(reached.clock)}. *Times the time*: the geometric mean over workloads of the ratio"
        " of restricted means, the mean of the time to target with a miss counting as the whole horizon, so that a"
        " technique that misses needs at least that. Intervals"
        f" are over {unit}.",
        f"*AlgoPerf score*: the area under the performance profile between 1 and {TAU_MAX:g} times the fastest median"
        " time. It depends on the pool and has no interval.",
    ]
    if reached.unsolved:
        count = plural(len(reached.unsolved), "workload")
        sentences.append(
            f"Nobody solved {listed(list(map(code, reached.unsolved)))}: {count} that says nothing about who is faster,"
            " is left out of the ratios, and counts for no one in the scores."
        )
    if reached.stopped_early:
        sentences.append(
            f"{plural(reached.stopped_early, 'run')} stopped before the horizon without the target. They count as"
            " watched until then, not as failed (Kaplan and Meier); if they were given up, give them the state FAILED."
        )
    return " ".join(sentences)


def _successes(race: Race) -> str:
    rows = [
        [code(one.workload), code(one.technique), f"{one.reached}/{one.count}", _share(one), _time(one.median),
         f"{one.mean.mean:,.4g}", f"{race.reached.horizons[one.workload]:,.4g}"]
        for one in sorted(race.successes, key=lambda one: race.reached.workloads.index(one.workload))
    ]  # fmt: skip
    level = percent(race.confidence)
    headers = ["workload", "technique", "reached", f"exact {level} interval", "median", "restricted mean", "horizon"]
    return markdown(headers, rows, 2)


def _share(one: Success) -> str:
    return f"{100 * one.low:.0f} to {100 * one.high:.0f} %"


def _time(value: float) -> str:
    return "missed (∞)" if math.isinf(value) else f"{value:,.4g}"


def _pairs(race: Race) -> str:
    apart = [one for one in race.pairs if math.isfinite(one.ratio.low) and (one.ratio.low > 1 or one.ratio.high < 1)]
    level = percent(1 - (1 - race.confidence) / len(race.pairs))
    if not apart:
        return f"No two of {len(race.reached.techniques)} techniques can be told apart at {level} for each pair."
    rows = []
    for one in sorted(apart, key=lambda one: abs(math.log(one.ratio.ratio)), reverse=True):
        r, fast, slow = one.ratio, one.a, one.b
        value, ends = r.ratio, (r.low, r.high)
        if value > 1:
            fast, slow, value, ends = slow, fast, 1 / value, (1 / ends[1], 1 / ends[0])
        rows.append(
            [code(fast), code(slow), printed_ratio(value), f"{printed_ratio(ends[0])} to {printed_ratio(ends[1])}"]
        )
    told = f"{len(apart)} of {len(race.pairs)} pairs can be told apart, at {level} each, so that all hold together."
    return f"{told}\n\n{markdown(['faster', 'slower', 'times the time', 'interval'], rows, 2)}"


def save(
    race: Race,
    folder: Path,
    rope: float,
    question: str | None = None,
    said: tuple[str, ...] = (),
    standalone: bool = False,
) -> Path:
    """Write `report.md`, `report.html`, `summary.json`, the profile and the numbers; return the path of `report.md`."""
    for part in ("figures", "numbers"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with style.styled():
        figure = draw_profile(race.relative, race.reached.techniques, race.reached.clock, TAU_MAX)
        style.save(figure, folder / "figures" / "targets.png")
    for name, table in frames(race).items():
        if len(table):
            write_table(table, folder / "numbers" / f"{name}.csv", "%.10g")
    report, page = folder / "report.md", text(race, folder.resolve().name, rope, question, said)
    report.write_text(page, encoding="utf-8", newline="\n")
    plots = {"targets": profiles.of_times(race.relative, race.reached.clock, TAU_MAX)}
    interactive = trials.without_trials(plots, race.reached.techniques, standalone)
    (folder / "report.html").write_text(html.page(page, folder, (), interactive), encoding="utf-8", newline="\n")
    against = {one.a: f"{printed_ratio(one.ratio.ratio)} times the time of {one.b}" for one in race.against}
    techniques = [lone(technique, None, against.get(technique, "")) for technique in race.reached.techniques]
    summary = bare("curves", folder.resolve().name, question or QUESTION)
    write_summary(folder, {**summary, "techniques": techniques})
    return report
