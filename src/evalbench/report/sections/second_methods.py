"""Second methods: tests, sizes, posteriors and pooled effects beside the interval that decides."""

from __future__ import annotations

import math

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import JudgedFindings, judged
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import fixed
from evalbench.report.render.units import p_value as _p
from evalbench.report.section import Section, numbers_of


def how(findings: JudgedFindings) -> str:
    """Explain the second methods, and what they can show at all."""
    by = findings.robustness.proofs[0].posterior_by
    text = (
        f"The p-values are a second line of evidence. Holm's are adjusted for the family. The last column is the {by}."
    )
    resolution = findings.robustness.proofs[0].resolution
    if resolution is not None:
        detectable = findings.common.size(resolution.detectable)
        text += (
            f" An exact test of this number of pairs cannot give a p below {resolution.smallest_p:.2g};"
            f" for {code(findings.robustness.proofs[0].candidate)} a true difference of {detectable} is found with 80 %"
            " power."
        )
    return text


def tests(findings: JudgedFindings) -> str:
    """Return the p-values and sizes, the second line of evidence."""
    unit = findings.common
    rows = []
    for p in findings.robustness.proofs:
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
                " / ".join(fixed(share, 2) for share in (p.posterior.worse, p.posterior.same, p.posterior.better)),
            ]
        )
    headers = [
        "technique", "t test p", "exact test", "its p", "Holm", "equivalence p", "dz", "Hodges–Lehmann",
        "P(better)", "P(worse / same / better)",
    ]  # fmt: skip
    return markdown(headers, rows, 1)


def pooled(findings: JudgedFindings) -> str:
    """Return the random effects over the data sets."""
    unit = findings.common
    rows = []
    for p in findings.robustness.proofs:
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


def numbers(findings: JudgedFindings) -> pd.DataFrame:
    """Return the second line of evidence, a row per candidate."""
    rows = []
    unit = findings.common
    for p in findings.robustness.proofs if findings.robustness else ():
        pooled = {}
        if p.pooled is not None:
            (low, high), ahead = unit.ends(p.pooled.low, p.pooled.high), unit.ends(*p.pooled.prediction)
            pooled = {
                "random_effects_mean": unit.shown(p.pooled.mean),
                "random_effects_low": low,
                "random_effects_high": high,
                "prediction_low": ahead[0],
                "prediction_high": ahead[1],
                "tau": unit.shown_size(math.sqrt(p.pooled.tau2)),
                "i2": p.pooled.i2,
                "q": p.pooled.q,
            }
        resolution = {}
        if p.resolution is not None:
            resolution = {"smallest_p": p.resolution.smallest_p, "detectable": unit.shown_size(p.resolution.detectable)}
        rows.append(
            {
                "candidate": p.candidate,
                "t_p": p.p_t,
                "exact_test": p.test,
                "exact_p": p.p_exact,
                "exact_p_holm": p.p_holm,
                "equivalence_p": p.p_equivalence,
                "dz": p.size.dz * unit.sign,
                "hedges": p.size.hedges * unit.sign,
                "hodges_lehmann": unit.shown(p.hodges_lehmann),
                "probability_better": p.improvement,
                "posterior": p.posterior_by,
                "posterior_worse": p.posterior.worse,
                "posterior_same": p.posterior.same,
                "posterior_better": p.posterior.better,
                **pooled,
                **resolution,
            }
        )
    return pd.DataFrame(rows)


def text(findings: JudgedFindings) -> str:
    """Return the table of tests, and the pooled effects."""
    if not findings.robustness.proofs:
        return ""
    parts = ["## Second methods", f"{how(findings)} {numbers_of('proofs')}", tests(findings)]
    effects = pooled(findings)
    if effects:
        unit = plain(findings.common.difference)
        parts.append(f"Random effects over the data sets (DerSimonian–Laird, Hartung–Knapp interval), in {unit}:")
        parts.append(effects)
    return "\n\n".join(parts)


SECOND_METHODS = Section(judged, text, {"proofs": numbers})
