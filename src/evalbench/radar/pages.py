"""`radar.html` and `index.html`: the radar with its evidence, and the table of all evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping

from evalbench.radar.history import BANDS, PastVerdict, TechnologyRadar, TrackedTechnique
from evalbench.radar.markup import link, page, said, shown, table
from evalbench.radar.picture import picture
from evalbench.radar.reading import PastEvaluation
from evalbench.report.render.units import plural
from evalbench.statistics.verdicts import Recommendation

MOST_MOVES = 5  # that are shown before the others fold away
MOST_OTHERS = 3  # recommendations of other evaluations beside a technique
MOST_NAMES = 6  # techniques in a row of the index
TABLES, RADAR = "evalbench.report.render/tables.js", "evalbench.radar/radar.js"
DIFFERENTLY = '<span class="differently">≠ judged differently under other conditions</span>'
MEANINGS = {
    Recommendation.ADOPT: "use it: better, or as good and cheaper, by evidence that nothing limits",
    Recommendation.TRIAL: "try it where you can go back: the evidence is good, and something limits it",
    Recommendation.ASSESS: "look closer: it may pay under some conditions",
    Recommendation.HOLD: "stay with the baseline: it is worse, or no better at a higher cost",
    Recommendation.INSUFFICIENT: "the evidence allows no recommendation yet",
    Recommendation.INVALID: "runs or scores are missing, so that it cannot be judged",
}


def radar_page(radar: TechnologyRadar) -> str:
    """Return `radar.html`."""
    parts = [
        _header("Technology radar", ("index.html", "All evaluations"), radar),
        _moves(radar),
        _map(radar),
        _open(radar),
        _evidence(radar),
        _how(),
        _left_out(radar),
    ]
    return page("Technology radar", "\n".join(filter(None, parts)), [RADAR])


def index_page(radar: TechnologyRadar) -> str:
    """Return `index.html`."""
    rows = [_evaluation(one) for one in reversed(radar.evaluations)]
    headers = ["date", "evaluation", "factor", "baseline", "recommendations", "on", "versions"]
    search = _search("name, technique, data set …", 'id="find" data-filter="#evaluations"', "")
    listed = f"{search}\n{table(headers, rows, 'evaluations')}" if rows else "<p>No evaluation has a summary here.</p>"
    parts = [_header("Evaluations", ("radar.html", "Technology radar"), radar), listed, _left_out(radar)]
    return page("Evaluations", "\n".join(filter(None, parts)), [TABLES])


def _search(hint: str, attributes: str, output: str) -> str:
    return (
        f'<p class="search"><label for="find">Search</label> <input type="search" {attributes} placeholder="{hint}">'
        f"<output{output}></output></p>"
    )


def _header(title: str, other: tuple[str, str], radar: TechnologyRadar) -> str:
    dates = [one.date for one in radar.evaluations if one.date]
    when = f", {dates[0]} to {dates[-1]}" if len(set(dates)) > 1 else f", {dates[0]}" if dates else ""
    undated = len(radar.evaluations) - len(dates)
    when += f" ({undated} without a date)" if undated else ""
    counts = (
        f"{plural(len(radar.evaluations), 'evaluation')}{when}. {plural(len(radar.techniques), 'technique')} of"
        f" {plural(len(radar.factors), 'factor')}: {_counts(radar)}."
    )
    files = "".join(f'<a href="{name}">{name}</a>' for name in ("radar.json", "radar.csv"))
    return f'<header><h1>{title}</h1><nav><a href="{other[0]}">{other[1]}</a>{files}</nav><p>{counts}</p></header>'


def _counts(radar: TechnologyRadar) -> str:
    counts = [(band.title(), sum(one.now.recommendation is band for one in radar.blips)) for band in BANDS]
    words = [f"{number} {band}" for band, number in counts if number]
    words += [f"{len(radar.open)} open"] if radar.open else []
    return ", ".join(words) or "none judged"


def _moves(radar: TechnologyRadar) -> str:
    """Return what moved and why, changes before new techniques."""
    if not radar.evaluations:
        return ""
    moves = sorted(radar.moves, key=lambda one: one.is_new)
    title = f"<h2>Moved {shown(radar.since)}</h2>{_undated(radar)}"
    if not moves:
        return f"{title}\n<p>Nothing moved.</p>"
    items = [f"<li>{_move(one)}</li>" for one in moves]
    rest = items[MOST_MOVES:]
    more = f"<details><summary>{len(rest)} more</summary><ul>{''.join(rest)}</ul></details>" if rest else ""
    return f'{title}\n<ul class="moves">{"".join(items[:MOST_MOVES])}</ul>{more}'


def _undated(radar: TechnologyRadar) -> str:
    """Say how evaluations without a date are ordered, if there are any beside others."""
    count = sum(not one.date for one in radar.evaluations)
    if not count or len(radar.evaluations) == 1:
        return ""
    older = "" if count == len(radar.evaluations) else "count as older than all others, and "
    return f"\n<p><small>Evaluations without a date ({count}) {older}follow the names of their folders.</small></p>"


def _move(one: TrackedTechnique) -> str:
    way = f"new, {_chip(one.now.recommendation)}"
    if one.before is not None:
        way = f"{_chip(one.before)} → {_chip(one.now.recommendation)}"
    earlier = [verdict for verdict in one.history[:-1] if verdict.recommendation is one.before]
    was = f" Before, by {shown(earlier[-1].evaluation.name)}: {shown(earlier[-1].words)}." if earlier else ""
    return f"{_to_evidence(one)} {way}: {_because(one.now)}.{was}{_warning(one)}"


def _because(verdict: PastVerdict) -> str:
    scope = verdict.evaluation.summary["scope"]["words"]
    return f"{shown(verdict.words)}{f', on {shown(scope)}' if scope else ''}"


def _warning(one: TrackedTechnique) -> str:
    return ' <strong class="contradicted">disputed</strong>' if one.contradictions else ""


def _to_evidence(one: TrackedTechnique) -> str:
    return f'<a href="#{one.identity.key}">{shown(one.label)}</a>'


def _chip(recommendation: Recommendation) -> str:
    words = {Recommendation.INSUFFICIENT: "open", Recommendation.INVALID: "not judged"}
    name = words.get(recommendation, recommendation.title())
    kind = recommendation.lower() if recommendation in BANDS else "open"
    return f'<span class="chip {kind}" title="{MEANINGS[recommendation]}">{name}</span>'


def _map(radar: TechnologyRadar) -> str:
    """Return the picture, beside it the list of its numbers and of the techniques that are open."""
    none = "<p>No technique has a recommendation yet.</p>"
    if not radar.techniques:
        return none
    signs = (
        '<p class="legend"><span class="sign new"></span> new <span class="sign in"></span> moved in'
        ' <span class="sign out"></span> moved out <span class="sign contradicted"></span> disputed: a newer'
        " evaluation contradicts an older one"
        f"{DIFFERENTLY if any(one.elsewhere for one in radar.blips) else ''}</p>"
    )
    search = _search("technique, data set …", 'id="find"', ' id="matches"')
    figure = none
    if radar.blips:
        figure = f'<div class="scroll">{picture(radar)}</div>{signs}<output id="pointed">&nbsp;</output>'
    lists = f'<div class="lists">{search}{_lists(radar)}</div>'
    return f'<section class="map"><figure>{figure}</figure>{lists}</section>'


def _lists(radar: TechnologyRadar) -> str:
    numbers = {one.identity: number for number, one in enumerate(radar.blips, 1)}
    parts = []
    for factor in radar.factors:
        parts.append(f'<section class="group"><h3>{shown(factor)}</h3>')
        for band in (*BANDS, None):
            mine = [one for one in radar.techniques if one.identity.factor == factor and one.now.band is band]
            items = "".join(_item(numbers.get(one.identity), one) for one in mine)
            items = f"<ol>{items}</ol>" if band else f"<ul>{items}</ul>"
            chip = _chip(band or Recommendation.INSUFFICIENT)
            parts.append(f'<div class="group"><h4>{chip}</h4>{items}</div>' if mine else "")
        parts.append("</section>")
    return "".join(parts)


def _item(number: int | None, one: TrackedTechnique) -> str:
    value = "" if number is None else f' value="{number}"'
    status = "" if one.status == "no change" else f" <small>{one.status}</small>"
    scope = " ".join([*(name for name, _ in one.now.evaluation.data_sets), one.now.words, one.now.evaluation.name])
    return (
        f'<li{value} data-id="{one.identity.key}" data-words="{shown(scope)}">{_to_evidence(one)}{status}'
        f"{_warning(one)}{_elsewhere(one)}</li>"
    )


def _elsewhere(one: TrackedTechnique) -> str:
    """Return what other evaluations recommend for a technique of this name, the newest ones."""
    others = []
    for other in one.elsewhere[:MOST_OTHERS]:
        conditions = f" ({shown(', '.join(other.conditions))})" if other.conditions else ""
        evaluation = shown(other.verdict.evaluation.name)
        others.append(f"{_chip(other.verdict.recommendation)} in {evaluation}{conditions}")
    more = len(one.elsewhere) - len(others)
    return f"<br><small>≠ {'; '.join(others)}{f'; {more} more' if more else ''}</small>" if others else ""


def _open(radar: TechnologyRadar) -> str:
    """Return the techniques that are no blips, each with what would settle it."""
    if not radar.open:
        return ""
    items = "".join(
        f"<li>{_to_evidence(one)} <small>{shown(one.identity.factor)}</small>: {_because(one.now)}."
        f" {said(one.now.technique.get('next', ''))}</li>"
        for one in radar.open
    )
    return f"<h2>Open: not enough evidence for a recommendation</h2>\n<ul>{items}</ul>"


def _evidence(radar: TechnologyRadar) -> str:
    if not radar.techniques:
        return ""
    numbers = {one.identity: number for number, one in enumerate(radar.blips, 1)}
    parts = ["<h2>Evidence</h2>"]
    for factor in radar.factors:
        mine = [one for one in radar.techniques if one.identity.factor == factor]
        parts.append(f"<h3>{shown(factor)}</h3>")
        parts += [_history(one, numbers.get(one.identity)) for one in mine]
    return "\n".join(parts)


def _history(one: TrackedTechnique, number: int | None) -> str:
    """Return the history of a technique, newest verdict first."""
    before = f"{number}. " if number else ""
    headers = ["date", "evaluation", "against", "on", "recommendation", "verdict", "interval", "other data sets"]
    headers += ["versions"]
    rows = [_verdict(verdict, one) for verdict in reversed(one.history)]
    return (
        f'<details id="{one.identity.key}"><summary>{before}{shown(one.label)} {_chip(one.now.recommendation)}'
        f"{_warning(one)} <small>{plural(len(one.history), 'evaluation')}</small></summary>"
        f"<p>{_definition(one)}</p>{_differently(one)}{_contradictions(one)}{table(headers, rows)}</details>"
    )


def _differently(one: TrackedTechnique) -> str:
    """Return the same as a paragraph."""
    others = _elsewhere(one).removeprefix("<br>")
    return f"<p>{others}</p>" if others else ""


def _definition(one: TrackedTechnique) -> str:
    """Say what counts as this technique."""
    identity = one.identity
    settings = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in one.now.settings.items())
    searched = ", ".join(one.now.searched) or "settings"
    if identity.settings_hash is None:
        known = "its settings are not known, so every technique of that name counts as this one"
    else:
        known = f"settings {identity.settings_hash[:8]}"
    tuned = f"; <code>{shown(searched)}</code>: tuned on each data set" if identity.tuned else ""
    last = "; none of its evaluations has a date, so the last by the name of its folder decides"
    return (
        f"{shown(identity.factor)} = {shown(identity.name)}, {shown(known)}"
        f"{f': <code>{shown(settings)}</code>' if settings else ''}{tuned}{last if one.is_by_name else ''}."
    )


def _verdict(verdict: PastVerdict, one: TrackedTechnique) -> list[str]:
    evaluation, technique = verdict.evaluation, verdict.technique
    data_sets = ", ".join(name for name, _ in evaluation.data_sets)
    limits = technique.get("caps") or []
    capped = f"<br><small>limited: {shown('; '.join(limits))}</small>" if limits else ""
    return [
        shown(evaluation.date or "not known"),
        link(evaluation.link, evaluation.name),
        shown(evaluation.summary["baseline"] or "–"),
        f"{shown(evaluation.summary['scope']['words'] or '–')}<br><small>{shown(data_sets)}</small>",
        f"{_chip(verdict.recommendation)}{capped}",
        f"{shown(verdict.words) or '–'}{_contradicted_by(verdict, one)}",
        shown(verdict.interval or "–"),
        shown(technique.get("generality") or "–"),
        shown(evaluation.versions or "not known"),
    ]


def _contradicted_by(verdict: PastVerdict, one: TrackedTechnique) -> str:
    newer = [c.newer.evaluation.name for c in one.contradictions if c.older is verdict]
    return f'<br><strong class="contradicted">contradicted by {shown(", ".join(newer))}</strong>' if newer else ""


def _contradictions(one: TrackedTechnique) -> str:
    items = [
        f"<li>{shown(c.newer.evaluation.name)} says: {shown(c.newer.words)}. {shown(c.older.evaluation.name)} said:"
        f" {shown(c.older.words)}. Both judge {shown(', '.join(c.data_sets))}."
        f" {'They differ in ' + shown(', '.join(c.differing)) if c.differing else 'Nothing recorded differs'}.</li>"
        for c in one.contradictions
    ]
    return f'<ul class="contradicted">{"".join(items)}</ul>' if items else ""


def _evaluation(one: PastEvaluation) -> list[str]:
    """Return the row of an evaluation in the index."""
    summary = one.summary
    answer = said(summary["answer"][0]) if summary["answer"] else ""
    data_sets = ", ".join(name for name, _ in one.data_sets)
    return [
        shown(one.date or "not known"),
        f"<strong>{link(one.link, one.name)}</strong><br><small>{shown(summary['question'])}</small><br>{answer}",
        shown(summary["factor"] or "–"),
        shown(summary["baseline"] or "–"),
        _recommendations(summary),
        f"{shown(summary['scope']['words'] or '–')}<br><small>{shown(data_sets)}</small>",
        shown(one.versions or "not known"),
    ]


def _recommendations(summary: Mapping[str, list[Mapping[str, str]]]) -> str:
    judged = [one for one in summary["techniques"] if one["recommendation"] is not None]
    chips = [f"<div>{_chip(Recommendation(one['recommendation']))} {shown(one['name'])}</div>" for one in judged]
    rest = chips[MOST_NAMES:]
    more = f"<details><summary>{len(rest)} more</summary>{''.join(rest)}</details>" if rest else ""
    return "".join(chips[:MOST_NAMES]) + more or "–"


def _how() -> str:
    meanings = "".join(f"<dt>{_chip(band)}</dt><dd>{words}</dd>" for band, words in MEANINGS.items())
    return (
        f"<h2>How to read the radar</h2>\n<dl>{meanings}</dl>\n"
        "<p>The <em>ROPE</em> is the smallest difference that matters, declared before the results. <em>Other data"
        " sets</em> says whether the effect generalizes to data sets like these.</p>\n"
        "<p>The last verdict on a technique decides where it stands. Two verdicts are about one technique if factor,"
        " name, settings (with the user's own code) and tuning are the same. A newer verdict contradicts an older one"
        " if both are against the same baseline, on a data set that they share, and one says better, the other worse."
        " Evaluations without a date count as older than all others; among themselves they follow the names of their"
        " folders. <em>≠</em>: under other conditions (settings, tuning, baseline, metrics, data sets) the last"
        " recommendation is another.</p>"
    )


def _left_out(radar: TechnologyRadar) -> str:
    items = "".join(f"<li>{shown(folder)}: {said(reason)}</li>" for folder, reason in radar.left_out)
    return f"<h2>Left out</h2>\n<ul>{items}</ul>" if items else ""
