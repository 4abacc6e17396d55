"""The looks of an evaluation: after how many seeds which technique was decided, and the trials that this saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from evalbench.names import code
from evalbench.report.analysis.findings import Findings
from evalbench.report.analysis.looks import LooksTaken, LookTaken, looks_taken
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import listed, plural
from evalbench.report.section import Section, numbers_of
from evalbench.statistics.judging import Verdict

WORDS = {
    "SUPERIOR": "is better by more than the ROPE",
    "BETTER": "is better",
    "EQUIVALENT": "is equivalent",
    "NON-INFERIOR": "is not inferior",
    "MIXED": "depends on the data",
    "WORSE": "is worse",
    "INFERIOR": "is worse by more than the ROPE",
    "INCONCLUSIVE": "stays open",
}
"""What a quality class says of a technique."""


def decisions(look: LookTaken, name: Callable[[str], str] = str) -> str:
    """Say what a look decided: `bgd is worse (decided); adam is open, next look at 10 seeds`."""
    said = [f"{name(v.challenger)} {WORDS[str(v.quality)]} ({v.looks.stopped})" for v in look.stopped]
    said += [f"{name(technique)} cannot be judged" for technique in look.unjudged]
    if look.open and look.next_seeds is not None:
        said.append(f"{_are_open(look.open, name)}, next look at {plural(look.next_seeds, 'seed')}")
    elif look.open:
        said += [f"{name(v.challenger)} {WORDS[str(v.quality)]} (last look)" for v in look.open]
    return "; ".join(said)


def saving(looks: LooksTaken) -> str:
    """Say how many trials the looks saved: `trained 132 of 360 trials: 63 % saved by looks`."""
    share = 1 - looks.num_trials / looks.num_planned
    return f"trained {looks.num_trials:,} of {looks.num_planned:,} trials: {100 * share:.0f} % saved by looks"


def _are_open(verdicts: Sequence[Verdict], name: Callable[[str], str]) -> str:
    return f"{listed([name(v.challenger) for v in verdicts])} {'is' if len(verdicts) == 1 else 'are'} open"


def _interim(findings: Findings) -> LooksTaken | None:
    looks = looks_taken(findings)
    return looks if looks is not None and looks.interim else None


def notice(looks: LooksTaken) -> str:
    """Return the line that marks an interim report."""
    last = looks.looks[-1]
    return (
        f"**Interim report: look {last.number} of {looks.num_looks}, {plural(last.num_seeds, 'seed')}.**"
        f" {_are_open(last.open, code)}: the same command goes on to {plural(last.next_seeds or 0, 'seed')}."
    )


def text(looks: LooksTaken) -> str:
    """Return the table of the looks."""
    rows = [
        [str(look.number), str(look.num_seeds), f"{look.num_trials:,}", decisions(look, code)] for look in looks.looks
    ]
    said = f"{plural(looks.num_looks, 'look')} were declared, each with the same share of the error rate."
    rule = "A technique that is decided, or that more seeds cannot decide, gets no more seeds."
    saved = "" if looks.interim else f" Together the looks {saving(looks)}."
    heading = f"## Looks\n\n{said} {rule}{saved} {numbers_of('looks')}"
    return heading + "\n\n" + markdown(["look", "seeds", "trials so far", "decided"], rows, 4)


def numbers(looks: LooksTaken) -> pd.DataFrame:
    """Return a row per look and candidate that was open before it."""
    return pd.DataFrame(
        {
            "look": look.number,
            "seeds": look.num_seeds,
            "trials": look.num_trials,
            "candidate": verdict.challenger,
            "quality": str(verdict.quality) if verdict in look.stopped else "",
            "stopped": str(verdict.looks.stopped) if verdict in look.stopped else "",
        }
        for look in looks.looks
        for verdict in (*look.stopped, *look.open)
    )


def caveats(findings: Findings) -> list[str]:
    """Return what is known of looks at the results that this evaluation did not declare."""
    evaluation, notes = findings.evaluation, []
    if evaluation.extended_from is not None:
        notes.append(
            f"The seeds from {evaluation.extended_from} on were added after a look that was not declared. So the error"
            " rate is above the one that the intervals name."
        )
    for before in evaluation.judged_before or ():
        when = f"{'a look' if len(before.looks) == 1 else 'looks'} at {listed(list(map(str, before.looks)))} seeds"
        seeds = f"{before.seeds[0]} to {before.seeds[-1]}" if len(before.seeds) > 1 else str(before.seeds[0])
        notes.append(
            f"{plural(before.trials, 'trial')} ({listed([code(name) for name in before.techniques])}, seeds {seeds})"
            f" had been judged before, in {code(before.evaluation)} with {when}. The error rate holds for each"
            " evaluation by itself, not for both together."
        )
    return notes


INTERIM = Section(_interim, notice)
LOOKS = Section(looks_taken, text, {"looks": numbers})
