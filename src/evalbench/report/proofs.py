"""The tables of the verdicts and of what proves them, as markdown."""

from __future__ import annotations

import math

from evalbench.names import code, plain
from evalbench.report.advice import order, work_cells
from evalbench.report.findings import Findings
from evalbench.report.tables import markdown
from evalbench.report.units import UNKNOWN, Unit, counted, fixed, flops, percent, plural, ratio, times
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import FEWEST_DATASETS

WORK = ("updates", "examples", "FLOPs")  # columns that a foreign table may know nothing of


def verdicts(found: Findings) -> str:
    """The table that decides: a row per technique, best rank first."""
    judged = found.judged
    assert judged is not None  # the template asks only then
    baseline = judged.baseline
    base = ["", code(baseline), "*baseline*", "", "", "1", *work_cells(found, baseline), "", ""]
    base[0] = str(judged.ranks[baseline])
    rows = []
    for name in order(found):
        verdict = next((v for v in judged.verdicts if v.candidate == name), None)
        if name == baseline:
            rows.append(base)
        elif verdict is not None:
            rows.append(_verdict_row(found, verdict))
        else:
            reason = "no pairs with the baseline"
            rows.append(["–", code(name), "**INVALID**", reason, "", "–", *work_cells(found, name), "", "0"])
    headers = [
        "rank", "technique", "ring", f"effect ({plain(found.common.difference)}) [{percent(found.family)} CI]", "wins",
        "cost ratio", *WORK, "data sets", "seeds",
    ]  # fmt: skip
    known = [
        place
        for place, name in enumerate(headers)
        if name not in WORK or any(row[place] not in ("–", UNKNOWN) for row in rows)
    ]
    return markdown([headers[place] for place in known], [[row[place] for place in known] for row in rows], 3)


def _verdict_row(found: Findings, verdict: Verdict) -> list[str]:
    assert found.judged is not None  # there is a verdict
    unit = found.common
    pairs = verdict.wins + verdict.ties + verdict.losses
    tied = f" ({verdict.ties} tied)" if verdict.ties else ""
    return [
        str(found.judged.ranks[verdict.candidate]),
        code(verdict.candidate),
        f"**{verdict.ring}**",
        f"{unit.change(verdict.effect.mean)} {unit.change_interval(verdict.effect)}",
        f"{verdict.wins}/{pairs}{tied}",
        _ratio(verdict),
        *work_cells(found, verdict.candidate),
        str(verdict.num_datasets),
        "1" if found.judged.design.one_score else str(verdict.num_pairs),
    ]


def _ratio(verdict: Verdict) -> str:
    cost = verdict.cost
    if not math.isfinite(cost.value):
        return "not measured"
    ends = f" [{ratio(cost.low)}, {ratio(cost.high)}]" if math.isfinite(cost.low) else ""
    return f"{ratio(cost.value)}{ends}"


def evidence(found: Findings) -> str:
    """The classes behind each ring, the caps, and what half and double the ROPE would have given."""
    assert found.judged is not None  # the template asks only then
    unit = found.common
    rows = []
    for v in found.judged.verdicts:
        rows.append(
            [
                code(v.candidate),
                str(v.quality),
                str(v.cost_class),
                "; ".join(cap.reason for cap in v.advice.caps) or "–",
                str(v.half_rope),
                str(v.ring),
                str(v.double_rope),
                unit.span(*v.prediction),
                unit.size(v.floor) if math.isfinite(v.floor) else "not known",
                unit.size(v.finest) if v.finest > 0 else "–",
            ]
        )
    headers = [
        "technique", "quality", "cost", "caps", "ring at ROPE/2", "ring", "ring at 2·ROPE",
        "prediction interval, a new data set", "noise floor", "finest difference",
    ]  # fmt: skip
    return markdown(headers, rows, 7)


def tests(found: Findings) -> str:
    """p-values and sizes, the second line of evidence."""
    assert found.appendix is not None  # the template asks only then
    unit = found.common
    rows = []
    for p in found.appendix.proofs:
        rows.append(
            [
                code(p.candidate),
                _p(p.p_t),
                p.test,
                _p(p.p_exact),
                _p(p.p_holm),
                _p(p.p_equivalence),
                fixed(unit.sign * p.size.dz, 2),
                unit.change(p.hodges_lehmann),
                fixed(p.improvement, 2),
                f"{p.posterior.worse:.2f} / {p.posterior.same:.2f} / {p.posterior.better:.2f}",
            ]
        )
    headers = [
        "technique", "t test p", "exact test", "its p", "Holm", "equivalence p", "dz", "Hodges–Lehmann",
        "P(better)", "P(worse / same / better)",
    ]  # fmt: skip
    return markdown(headers, rows, 1)


def pooled(found: Findings) -> str:
    """Random effects over the data sets."""
    assert found.appendix is not None  # the template asks only then
    unit = found.common
    rows = []
    for p in found.appendix.proofs:
        e = p.pooled
        if e is None:
            continue
        rows.append(
            [
                code(p.candidate),
                unit.change(e.mean),
                unit.span(e.low, e.high),
                unit.span(*e.prediction),
                unit.size(math.sqrt(e.tau2)),
                f"{100 * e.i2:.0f} %",
                fixed(e.q, 2),
            ]
        )
    if not rows:
        return ""
    headers = ["technique", "random-effects mean", "interval", "prediction interval", "tau", "I²", "Q"]
    return markdown(headers, rows, 1)


def leave_one_out(found: Findings) -> str:
    """The overall mean without each data set in turn."""
    assert found.judged is not None  # the template asks only then
    verdicts = [v for v in found.judged.verdicts if v.leave_one_out]
    if not verdicts:
        return ""
    unit = found.common
    rows = [["*none*", *(unit.change(v.effect.mean) for v in verdicts)]]
    rows += [[code(n), *(unit.change(v.leave_one_out[n]) for v in verdicts)] for n in verdicts[0].leave_one_out]
    return markdown(["left out", *(code(v.candidate) for v in verdicts)], rows, 1)


def one_score(found: Findings) -> str:
    """The scores of a table with one per technique and data set: a row per data set."""
    names = found.folder.evaluation.techniques
    cells = {
        (s.workload, s.name): found.units[s.workload].score(s.interval.mean)
        + (" (failed)" if s.num_failed or s.num_diverged else "")
        for s in found.scores
    }
    references = list(dict.fromkeys(s.name for s in found.scores if s.reference))
    rows = [[code(w), *(cells.get((w, n), "–") for n in (*names, *references))] for w in found.units]
    return markdown(["workload", *map(code, names), *(f"*{name}*" for name in references)], rows, 1)


def one_score_differences(found: Findings) -> str:
    """Their differences from the baseline: a row per data set, and the mean with its interval."""
    assert found.judged is not None  # the template asks only then
    unit, verdicts = found.common, found.judged.verdicts
    rows = [
        [code(e.workload), *(unit.change(v.sets[place].interval.mean) for v in verdicts)]
        for place, e in enumerate(verdicts[0].sets if verdicts else ())
    ]
    mean = [f"{unit.change(v.effect.mean)} {unit.change_interval(v.effect)}" for v in verdicts]
    rows.append([f"**mean, {percent(found.family)} interval**", *mean])
    return markdown(["workload", *(code(v.candidate) for v in verdicts)], rows, 1)


def all_pairs(found: Findings) -> str:
    """Row minus column, in the common unit; bold where the interval excludes zero."""
    assert found.judged is not None  # the template asks only then
    unit, names = found.common, list(found.judged.scores)
    cells: dict[tuple[str, str], str] = {}
    for pair in found.judged.pairs:
        for a, b, sign in ((pair.a, pair.b, 1), (pair.b, pair.a, -1)):
            text = unit.change(sign * pair.mean)
            cells[a, b] = f"**{text}**" if pair.low > 0 or pair.high < 0 else text
    rows = [[code(a), str(found.judged.ranks[a]), *(cells.get((a, b), "") for b in names)] for a in names]
    return markdown(["row − column", "rank", *map(code, names)], rows, 1)


def omnibus(found: Findings) -> str:
    """Ranks of each technique on each data set, and Wilcoxon for each pair."""
    assert found.appendix is not None  # the template asks only then
    omnibus = found.appendix.omnibus
    if omnibus is None:
        return ""
    rows = [
        [code(name), fixed(omnibus.test.average_ranks[i], 3), *(f"{rank:g}" for rank in omnibus.ranks[:, i])]
        for i, name in enumerate(omnibus.techniques)
    ]
    return markdown(["technique", "average rank", *map(code, omnibus.workloads)], rows, 1)


def omnibus_sentence(found: Findings) -> str:
    """Iman and Davenport's test, and the critical difference."""
    assert found.appendix is not None  # the template asks only then
    o = found.appendix.omnibus
    if o is None:
        return ""
    t = o.test
    if math.isnan(t.p):
        return "All techniques tie on every data set: there is nothing to rank."
    f = "∞" if math.isinf(t.f) else f"{t.f:.2f}"
    return (
        f"Friedman χ² = {t.chi2:.2f} (not corrected for ties), Iman–Davenport F({t.degrees[0]}, {t.degrees[1]}) = {f},"
        f" {p_is(t.p)}; Kendall's W = {t.kendalls_w:.2f}. Nemenyi's critical difference at"
        f" {percent(found.folder.evaluation.confidence)} is {o.critical_difference:.2f} ranks."
    )


def pair_tests(found: Findings) -> str:
    """Wilcoxon's test over the data sets for every pair, after Holm; nothing where it cannot reach the level."""
    assert found.appendix is not None  # the template asks only then
    o = found.appendix.omnibus
    if o is None or len(o.workloads) < FEWEST_DATASETS:
        return ""
    rows = [[f"{code(a)} − {code(b)}", _p(raw), _p(after)] for (a, b), (raw, after) in o.pair_p.items()]
    return markdown(["pair", "Wilcoxon p", "Holm over all pairs"], rows, 1)


def aggregates(found: Findings) -> str:
    """Interquartile mean with both bootstraps, and how often each technique ranks first."""
    assert found.appendix is not None  # the template asks only then
    unit, rows = found.common, []
    for name, value in found.appendix.iqm.items():
        these, like = value.these, value.like_these
        runs = not (found.judged and found.judged.design.one_score)  # without them there is nothing to draw anew
        best = found.appendix.best[name]
        rows.append(
            [
                code(name),
                unit.score(unit.sign * value.value),
                _scores(unit, these) if runs else "–",
                _scores(unit, like),
                f"{best[0]:.2f}" if runs else "–",
                f"{best[1]:.2f}",
            ]
        )
    headers = ["technique", f"IQM ({plain(unit.label)})", "these data sets", "data sets like these"]
    return markdown([*headers, "P(best), these", "P(best), like these"], rows, 1) if rows else ""


def _scores(unit: Unit, oriented: tuple[float, float]) -> str:
    return f"[{', '.join(unit.score(end) for end in sorted(unit.sign * end for end in oriented))}]"


def shares(found: Findings) -> str:
    """Which factor moves the score how much."""
    assert found.appendix is not None  # the template asks only then
    rows = [[" × ".join(map(code, s.factors)), f"{100 * s.share:.1f} %"] for s in found.appendix.shares]
    rows = [[text.replace("`rest`", "rest (seeds, data sets' own effects)"), share] for text, share in rows]
    return markdown(["source", "share of the variance within data sets"], rows, 1) if rows else ""


def checks(found: Findings) -> str:
    """Every assumption with its check."""
    rows = [[c.assumption, c.check, plain(c.outcome), c.holds] for c in found.checks]
    return markdown(["assumption", "how it was checked", "outcome", "holds"], rows, 4)


def front(found: Findings) -> str:
    """Quality against cost."""
    unit, rows = found.common, []
    for place in found.front:
        mean, low, high = place.effect
        ends = f" {unit.span(low, high)}" if mean or low else ""
        cost = f" [{ratio(place.cost[1])}, {ratio(place.cost[2])}]" if place.cost[1] < place.cost[2] else ""
        rows.append(
            [
                code(place.technique),
                f"{unit.change(mean)}{ends}",
                f"{ratio(place.cost[0])}{cost}",
                "yes" if place.front else "no",
                f"{place.probability:.2f}",
            ]
        )
    by = "seconds" if not found.folder.costs.empty else "FLOPs"
    headers = [
        "technique",
        f"effect ({plain(unit.difference)})",
        f"cost ratio ({by})",
        "on the front",
        "P(on the front)",
    ]
    return markdown(headers, rows, 1) if rows else ""


def milestones(found: Findings) -> str:
    """Time to target on each workload that declares one."""
    if found.milestones is None:
        return ""
    rows, last = [], ""
    for m in found.milestones.rows:
        unit = found.units[m.workload]
        first = m.workload != last
        rows.append(
            [
                code(m.workload) if first else "",
                f"{unit.score(m.target)} {plain(unit.label)}" if first else "",
                code(m.technique),
                f"{m.reached}/{m.count}",
                _time(m.steps, counted(m.steps)),
                _time(m.flops, flops(m.flops)),
                "not measured" if math.isnan(m.seconds) else _time(m.seconds, f"{m.seconds:.3g} s"),
            ]
        )
        last = m.workload
    headers = ["workload", "target (validation)", "technique", "reached", "updates", "FLOPs", "isolated seconds"]
    return markdown(headers, rows, 3)


def speed_ups(found: Findings) -> str:
    """How many times faster than the baseline, over the workloads that both reach."""
    if found.milestones is None or not found.milestones.speed_ups:
        return ""
    parts = []
    for name, gain in found.milestones.speed_ups.items():
        misses = f"only it: {gain.only_candidate}, only the baseline: {gain.only_baseline}, neither: {gain.neither}"
        if gain.both:
            where = f"over {plural(gain.both, 'target')} that both reach"
            parts.append(f"{code(name)} needs {times(1 / gain.ratio)} times the baseline's time {where} ({misses})")
        else:
            parts.append(f"{code(name)} and the baseline reach no target in common ({misses})")
    text = f"Counted in {found.milestones.measured_by}: " + "; ".join(parts) + "."
    if found.milestones.algoperf is not None:
        names = found.folder.evaluation.techniques
        scores = ", ".join(f"{code(n)} {s:.2f}" for n, s in zip(names, found.milestones.algoperf, strict=True))
        text += f" AlgoPerf score (depends on who is in the pool): {scores}."
    return text


def _time(value: float, text: str) -> str:
    return "missed (∞)" if math.isinf(value) else text


def p_is(value: float) -> str:
    """A p-value in a sentence: `p = .012`, `p < .001`."""
    return f"p {_p(value)}" if value < 0.001 else f"p = {_p(value)}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
