"""What limits an evaluation: each caveat only if it holds."""

from __future__ import annotations

from evalbench.names import code
from evalbench.record.repetitions import UNITS
from evalbench.record.schema import TRIVIAL
from evalbench.report.analysis.findings import Findings, judged, searched
from evalbench.report.analysis.scores import Score
from evalbench.report.render.units import listed
from evalbench.report.section import Section, always
from evalbench.report.sections import looks, splits, tuning
from evalbench.report.sections.answer import unequal_updates
from evalbench.statistics.intervals import fewest_decisive
from evalbench.tasks import imbalance
from evalbench.tasks.metric import CLASSES

FEW_DATA_SETS = 6  # below it, no test over data sets can reach .05


def caveats(findings: Findings) -> list[str]:
    """Return the limits of this evaluation, each only if it holds."""
    evaluation = findings.evaluation
    notes = [*_about_tuning(findings), *_about_data_sets(findings)]
    if unequal_updates(findings):
        notes.append(
            "The techniques did unequal work (see the answer): a difference in score may come from that alone."
        )
    if evaluation.rope_span is None and judged(findings) is not None:
        notes.append(f"The span of {code(evaluation.rope_unit)} is not known: nobody checked the ROPE.")
    notes += _about_unit(findings) if evaluation.foreign else splits.caveats(findings)
    notes += _about_pairs(findings)
    notes += _about_seeds(findings)
    notes += looks.caveats(findings)
    notes += _about_classes(findings)
    if any(_passes_bounds(findings, score) for score in findings.scores):
        notes.append("Some t intervals pass 0 or 100 %, because a t interval ignores the bounds of an accuracy.")
    notes += _about_endings(findings)
    if len(evaluation.provenance.get("machines", [])) > 1:
        notes.append("The trials ran on different machines, which may change results in the last digits.")
    if evaluation.factors:
        notes.append("The effects per level of the other factors are exploratory. Their intervals allow for no family.")
    return notes


def _about_tuning(findings: Findings) -> list[str]:
    evaluation, tuned = findings.evaluation, searched(findings)
    if tuned is not None:
        return tuning.caveats(tuned)
    if evaluation.tuned:
        return []
    if evaluation.foreign:
        return ["The table does not say that both sides were tuned alike: every recommendation is capped at TRIAL."]
    return ["No technique was tuned here. The differences hold at the settings listed, and may turn at others."]


def _about_classes(findings: Findings) -> list[str]:
    """Say where predicting the largest class alone has a high accuracy, which is the metric."""
    workloads = findings.evaluation.workloads
    shares = {score.workload: score.interval.mean for score in findings.scores if score.name == TRIVIAL}
    large = [
        f"{100 * share:.0f} % on {code(name)}"
        for name, share in shares.items()
        if workloads[name].kind in CLASSES and imbalance.misleads(workloads[name].described, share)
    ]
    if not large:
        return []
    return [f"The majority class alone has an accuracy of {listed(large)}: {imbalance.remedy(code)}."]


def _about_endings(findings: Findings) -> list[str]:
    notes, evaluation = [], findings.evaluation
    states = findings.folder.results["state"]
    results = findings.folder.results
    unknown = results["state"][results["finished"] == "not known"] if "finished" in results else states.iloc[:0]
    if count := int((unknown == "COMPLETE").sum()):
        notes.append(f"Of {count} trials it is not known whether they finished. Their last values count.")
    if evaluation.foreign and (states != "COMPLETE").any():
        notes.append(
            f"A run that failed counts as {evaluation.failed_score}{_own_score(findings)}. The table says neither how"
            " much worse it was nor whose fault that is."
        )
    elif (states == "DIVERGED").any():
        notes.append(
            f"A diverged trial counts with the score of {evaluation.failed_score}. One is enough to widen an interval."
        )
    if (verdicts := judged(findings)) is not None and verdicts.judged.unmatched:
        lacking = f"partner of the same {evaluation.repeated[0]}" if evaluation.paired else "score"
        left = "pairs" if evaluation.paired else "runs"
        notes.append(f"Runs without a {lacking} are left out. If they failed, the remaining {left} may be easier.")
    if not evaluation.foreign and findings.folder.results["score"].isna().any():
        notes.append("Failed trials are left out together with their partners, so the remaining pairs may be easier.")
    return notes


def _own_score(findings: Findings) -> str:
    worst = findings.evaluation.failed_as == "worst" and "DIVERGED" in set(findings.folder.results["state"])
    return " (a diverged run with its own score, if that is worse)" if worst else ""


def _about_pairs(findings: Findings) -> list[str]:
    """Say which runs of a foreign table are pairs, and who says so."""
    evaluation = findings.evaluation
    if not evaluation.foreign or findings.one_score:
        return []
    one = evaluation.repeated[0]
    if evaluation.pairing_declared:
        said = "" if evaluation.paired else " The numbers of runs mean nothing."
        return [f"Pairs were declared: `{evaluation.option('pairing', evaluation.pairing)}`.{said}"]
    if evaluation.paired:
        return [f"Rows of two techniques with the same {one} are pairs: they share their test rows."]
    return [
        f"The {evaluation.repeated[1]} of two techniques are not paired, since nobody declared that the same number is"
        f" the same split or the same seed of one program (`{evaluation.option('pairing', 'seed')}`). Pairs may narrow"
        " the intervals."
    ]


def _about_data_sets(findings: Findings) -> list[str]:
    evaluation = findings.evaluation
    count = len(findings.data_sets)
    if evaluation.parts_of_one_test:
        return [
            "The workloads are parts of one test set, each with the same weight. They say nothing about other tests."
        ]
    notes = []
    generated = [code(name) for name, workload in evaluation.workloads.items() if workload.generated]
    if generated:
        verb = "is" if len(generated) == 1 else "are"
        notes.append(f"{listed(generated)} {verb} generated, and left out of every mean over data sets.")
    if count == 0:
        notes.append("There is no real data set here, so the results say nothing about real data.")
    elif count == 1:
        notes.append("There is one data set, so the results say nothing about others.")
    elif count < FEW_DATA_SETS:
        notes.append(f"{count} data sets are few. The mean over them has a wide interval, and others may differ.")
    else:
        notes.append(
            f"The mean over {count} data sets speaks for data sets like these, which were not drawn at random."
        )
    return notes


def _about_unit(findings: Findings) -> list[str]:
    """Say what the rows of a foreign table repeat, and what follows."""
    unit, widened = findings.evaluation.unit, [name for name, rho in findings.rho.items() if rho]
    if findings.one_score:
        return []
    if unit is None:
        option = findings.evaluation.option("unit")
        return [f"The table does not say what its rows repeat (`{option}`): the intervals hold for these rows only."]
    row = f"A row is {UNITS[unit].meaning}"
    if findings.evaluation.unit_guessed:
        option = findings.evaluation.option("unit")
        row += f" (guessed from the column {code(findings.evaluation.unit_guessed)}: `{option}` declares it)"
    if findings.evaluation.folds_counted:
        option = findings.evaluation.option("folds")
        row += f", one of {findings.evaluation.folds} (counted in the table: `{option}` declares another number)"
    if widened:
        term = f"{splits.rho_words(findings, widened)} is added to 1/n for the rows that two of them share"
        return [f"{row}: {term} (Nadeau and Bengio, 2003)."]
    if unit == "split":
        return [f"{row}, but num_train and num_test are not given: the intervals hold for these rows only."]
    return [f"{row}: the intervals hold for {UNITS[unit].scope}, and nothing is added to 1/n."]


def _about_seeds(findings: Findings) -> list[str]:
    seeds, (one, many) = findings.evaluation.num_seeds, findings.evaluation.repeated
    if findings.one_score:
        return [
            "Every data set has one score per technique. The spread between"
            f" {'runs' if findings.evaluation.foreign else 'seeds'} is not known, and data sets repeat instead."
        ]
    if seeds < 2:
        return [f"With one {one} no interval can be computed. Nothing here separates an effect from chance."]
    notes = []
    if seeds < 10:
        notes.append(
            f"With {seeds} {many} only large differences can be resolved, and the t interval leans on normality."
        )
    needed = fewest_decisive(findings.family)
    if findings.comparisons and seeds < needed and findings.evaluation.paired:
        notes.append(
            f"With {seeds} {many} the exact interval of P(better) includes one half even if every pair is won"
            f" ({needed} would be needed): it cannot decide here."
        )
    return notes


def _passes_bounds(findings: Findings, score: Score) -> bool:
    unit = findings.units[score.workload]
    return unit.scale == 100 and score.interval.computed and (score.interval.low < 0 or score.interval.high > 1)


CAVEATS = Section(always, lambda findings: "## Caveats\n\n" + "\n".join(f"- {note}" for note in caveats(findings)))
