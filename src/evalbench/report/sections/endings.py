"""How trials ended: what diverged, what failed."""

from __future__ import annotations

from evalbench.names import code, plain
from evalbench.record.endings import ENDINGS as ENDED
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, plural
from evalbench.report.section import Section, always


def failures(findings: Findings) -> str:
    """Return the cells that failed, with their messages."""
    rows = []
    for failure in findings.evaluation.failures:
        factors = ", ".join(f"{name}={level}" for name, level in failure.factors.items())
        log = code(failure.log) if failure.log else "–"
        rows.append(
            [
                code(failure.technique),
                code(failure.workload),
                code(factors) if factors else "–",
                plain(failure.message),
                log,
            ]
        )
    return markdown(["technique", "workload", "other factors", "message", "log"], rows, 5)


def divergences(findings: Findings) -> str:
    """Return the failed runs that count, with their step, and with the reason if a table gives it."""
    evaluation, results = findings.evaluation, findings.folder.results
    says_why = evaluation.foreign and "message" in results
    rows = []
    for row in results[results["failed"] == 1].to_dict("records"):
        step = row.get("diverged_step")
        rows.append(
            [
                code(row["technique"]),
                code(row["workload"]),
                *(code(row[factor]) for factor in evaluation.factors),
                str(row["seed"]),
                *([ENDED[row["state"]]] if evaluation.foreign else []),
                f"{float(step):,.0f}" if step else "–",
                findings.units[row["workload"]].score(row["score"]),
                *([plain(row["message"]) or "–"] if says_why else []),
            ]
        )
    headers = [
        "technique",
        "workload",
        *map(code, evaluation.factors),
        evaluation.repeated[0],
        *(["ended"] if evaluation.foreign else []),
        "at step",
        "counted as score",
        *(["message"] if says_why else []),
    ]
    return markdown(headers, rows, 2 + len(evaluation.factors))


def text(findings: Findings) -> str:
    """Return which trials failed or diverged, and how they count."""
    evaluation, states = findings.evaluation, findings.folder.results["state"]
    if evaluation.foreign and not (states != "COMPLETE").any():
        return "## Failures and divergences\n\nNo run failed."
    if evaluation.foreign:
        worst = evaluation.failed_as == "worst" and (states == "DIVERGED").any()
        option = evaluation.option("failed_as")
        keeps = " A run that diverged with a worse score keeps its own." if worst else ""
        said = (
            f"{_count_endings(findings)}. Such a run counts as {evaluation.failed_score} (`{option}`), and as never"
            f" reaching a target.{keeps} The table does not say whose fault a failure was: if it was not the"
            " technique's, repeat the run."
        )
        return "\n\n".join(["## Failures and divergences", said, divergences(findings)])
    return "\n\n".join(["## Failures and divergences", *_diverged(findings), *_failed(findings)])


def _count_endings(findings: Findings) -> str:
    """Return how many runs ended in each way: `Of 40 runs, 2 diverged and 1 timed out`."""
    counts = findings.folder.results["state"].value_counts()
    ended = [f"{counts[state]:,} {words}" for state, words in ENDED.items() if state in counts]
    return f"Of {plural(len(findings.folder.results), 'run')}, {listed(ended)}"


def _diverged(findings: Findings) -> list[str]:
    if "DIVERGED" not in findings.folder.results["state"].to_numpy():
        return ["No trial diverged."]
    score = findings.evaluation.failed_score
    return [
        f"*Diverged* is a finding about the technique: the trial counts with the score of {score}, as a loss, and as"
        " never reaching a target.",
        divergences(findings),
    ]


def _failed(findings: Findings) -> list[str]:
    if findings.evaluation.failures:
        return ["*Failed* is a fault of the evaluation, not a finding:", failures(findings)]
    count = int((findings.folder.results["state"] == "FAILED").sum())
    return [f"{count} trials failed. Their messages are in `results.csv`." if count else "No trial failed."]


ENDINGS = Section(always, text)
