"""How a report is to be read: what its tables and figures show, and how their numbers were made."""

from __future__ import annotations

from evalbench.names import code, plain
from evalbench.report.findings import Findings
from evalbench.report.spending import untimed
from evalbench.report.units import listed, percent, plural
from evalbench.statistics.intervals import family_confidence


def how_to_read(found: Findings) -> str:
    """How to read the table of verdicts."""
    assert found.judged is not None  # the template asks only then
    rope = found.common.size(found.judged.design.rope)
    baseline = code(found.judged.baseline)
    number = found.num_comparisons
    family = f", which allows for {number} comparisons" if number > 1 else ""
    source = (
        "declared beforehand" if found.folder.evaluation.rope_declared else "evalbench's default: none was declared"
    )
    pairs = len(found.judged.pairs)
    stricter = f"; ranks allow for all {pairs} pairs, which is stricter than the verdicts" if pairs > 1 else ""
    unit = (
        f"{plain(found.common.difference)}, averaged over data sets of equal weight" if len(found.data_sets) > 1 else ""
    )
    return (
        f"Effect: technique minus {baseline} in {unit or plain(found.common.difference)}, with the"
        f" {percent(found.family)} interval{family}{found.common.better}. A difference within ±{rope} (the ROPE,"
        f" {source}) is too small to matter. Techniques that cannot be told apart share a rank{stricter}. Cost: time"
        f" relative to {baseline}."
    )


def declared(found: Findings) -> str:
    """What was fixed before the results: the ROPE and the targets."""
    assert found.judged is not None  # the template asks only then
    rope = found.common.size(found.judged.design.rope)
    targets = [
        f"{code(name)} {found.units[name].score(workload.target)}"
        for name, workload in found.folder.evaluation.workloads.items()
        if workload.target is not None
    ]
    default = "" if found.folder.evaluation.rope_declared else " (evalbench's default)"
    text = f"ROPE ±{rope} {plain(found.common.difference)}{default}"
    text += f"; targets {', '.join(targets)}" if targets else "; no targets"
    declaration = found.folder.evaluation.declared
    return text + (f" (declaration {code(declaration)})" if declaration else "")


def how_rings(found: Findings) -> str:
    """How a ring follows from the classes."""
    assert found.judged is not None  # the template asks only then
    several = len(found.data_sets) > 1
    overall = (
        " Over several data sets the equal-weight mean decides; where it is INCONCLUSIVE, what at least half of the"
        " data sets say while none says the opposite."
        if several
        else ""
    )
    failures = (
        " Where one side fails more often, EQUIVALENT is not given; a side that alone fails in more than half of the"
        " pairs, and more often by Fisher's exact test (p ≤ 0.05), has lost whatever the scores."
        if (found.folder.results["failed"] > 0).any()
        else ""
    )
    return (
        "Quality comes from the interval and the ROPE, cost from the interval of the cost ratio (10 % is the same);"
        f" together they give the ring, and caps lower it.{overall} EQUIVALENT is not given where the ROPE is below the"
        f" noise floor of the test set.{failures} The finest difference is half the interval that no number of seeds"
        " would narrow. The rings at half and at double the ROPE show whether the choice of the ROPE matters."
    )


def how_proofs(found: Findings) -> str:
    """What the second methods are, and what they can say at all."""
    assert found.appendix is not None  # the template asks only then
    by = found.appendix.proofs[0].posterior_by
    text = f"p-values are the second line: Holm's are adjusted for the family. The last column is the {by}."
    resolution = found.appendix.proofs[0].resolution
    if resolution is not None:
        detectable = found.common.size(resolution.detectable)
        text += (
            f" An exact test of so many pairs cannot give a p below {resolution.smallest_p:.2g}; for"
            f" {code(found.appendix.proofs[0].candidate)} a true difference of {detectable} is found with 80 % power."
        )
    return text


def difference_caption(found: Findings) -> str:
    """How to read the forest plot."""
    rope = "; within the shaded ROPE the difference is too small to matter" if found.judged is not None else ""
    thick = " Thin: the interval that decides; thick: the same for these rows only." if any(found.rho.values()) else ""
    scales = " Scales differ between the panels." if found.num_comparisons > 1 else ""
    side = "Right" if found.common.sign > 0 else "Left"
    return f"{side} of zero is better for the first of the two{rope}.{thick}{scales}"


def score_caption(found: Findings) -> str:
    """How to read the raw runs."""
    if found.judged is not None and found.judged.design.one_score:
        return "Every score is a point."
    scales = " Scales differ between the panels." if len(found.units) > 1 else ""
    arrows = " Arrows name references outside a panel." if not found.folder.references.empty else ""
    return f"Every trial is a point; a diamond is the mean of a technique with its interval.{scales}{arrows}"


def curve_caption(found: Findings) -> str:
    """What the bands of the learning curves are."""
    level = percent(found.folder.evaluation.confidence)
    if found.judged is None:
        return f"Mean validation score over the budget with the pointwise {level} interval."
    return (
        "Mean validation score over the budget. A band is the pointwise"
        f" {level} interval of the paired difference from the baseline, drawn around the technique's own line: where it"
        " leaves the baseline's line out, the difference is resolved at that point."
    )


def measured(found: Findings) -> str:
    """Whether time was measured."""
    if found.folder.costs.empty:
        return "No time was measured in isolation, so that every cost class is UNCLEAR."
    rounds = plural(int(found.folder.costs.groupby(["technique", "workload"])["round"].nunique().min()), "round")
    parts = [
        f" The cost ratio of {code(name)} leaves out {listed([code(w) for w in workloads])}: not every setting there"
        " was timed for both sides."
        for name, workloads in untimed(found.folder).items()
    ]
    return f"Seconds were measured in isolation, in {rounds} interleaved over the techniques.{''.join(parts)}"


def what_is_compared(found: Findings) -> str:
    """Factor, techniques and baseline in one line."""
    evaluation = found.folder.evaluation
    techniques = ", ".join(code(name) for name in evaluation.techniques)
    if evaluation.factor is None:
        return f"Nothing is compared with a baseline: {techniques} is described, next to two references."
    line = f"{code(evaluation.factor)}: {techniques}."
    return (
        f"{line} The baseline is {code(evaluation.baseline)}."
        if evaluation.baseline
        else f"{line} No baseline was declared."
    )


def other_factors(found: Findings) -> list[str]:
    """The other factors of the sweep with their levels."""
    return [f"{code(name)}: {', '.join(map(code, levels))}" for name, levels in found.folder.evaluation.factors.items()]


def splits(found: Findings) -> str:
    """The shares of the splits and the seeds that draw them."""
    evaluation = found.folder.evaluation
    shares = ", ".join(f"{percent(share)} {plain(name)}" for name, share in evaluation.splits.items())
    many = f"each of {evaluation.num_seeds} seeds" if evaluation.num_seeds > 1 else "the one seed"
    rows = " from those that tuning saw" if found.tuned is not None else ""
    drawn = f"drawn anew for {many}{rows} (root seed {evaluation.root_seed})"
    fixed = [workload for workload in evaluation.workloads.values() if workload.fixed_test_rows]
    parts = []
    for workload in fixed:
        validation = f"{percent(evaluation.splits['validation'])} of its {workload.rows:,} rows for validation"
        parts.append(
            f"{code(workload.name)} has the same {workload.fixed_test_rows:,} test rows for every seed, given by the"
            f" data set; {validation} and the others for training are {drawn}"
        )
    if len(fixed) < len(evaluation.workloads):
        others = " of the other workloads" if fixed else ""
        shared = "; the test rows are the same for all, training and validation rows are" if found.tuned else ","
        parts.append(f"{shares} of the rows{others}{shared} {drawn}")
    return "; ".join(parts)


def common_unit(found: Findings) -> str:
    """On which scale workloads are averaged and drawn side by side."""
    if found.common.metric == "skill":
        return (
            "The workloads have different metrics, so they are averaged and drawn side by side in **skill**:"
            " (score − trivial) / (best possible − trivial) on each split; 0 is the trivial predictor, 1 is perfect."
        )
    if len(found.folder.evaluation.workloads) == 1:
        return ""
    points = " (percentage points)" if found.common.scale == 100 else ""
    return f"Workloads are averaged and drawn side by side in **{plain(found.common.difference)}**{points}."


def how_differences(found: Findings) -> str:
    """How the paired differences and their intervals were made."""
    evaluation = found.folder.evaluation
    if found.judged is not None and found.judged.design.one_score:
        return (
            f"Scores are paired by workload; {_better_side(found)} than the baseline. The interval is a t"
            f" interval over the data sets, at {percent(found.family)} so that the family holds together."
        )
    family = (
        f" The {found.num_comparisons} comparisons are one family: the level is"
        f" 1 − {1 - evaluation.confidence:.3g}/{found.num_comparisons} = {percent(found.family)} (Bonferroni)."
        if found.num_comparisons > 1
        else ""
    )
    averaged = (
        " Differences are taken within each setting of the other factors and averaged over the settings of a seed."
        if evaluation.factors
        else ""
    )
    return (
        "Trials are paired by workload"
        + (", seed and setting of the other factors" if evaluation.factors else " and seed")
        + f"; {_better_side(found)} for the first of the two."
        + averaged
        + f" The interval is a t interval over {'studies' if evaluation.num_studies > 1 else 'seeds'}"
        + (
            f", widened because {_why_widened(found)};"
            " it is the one to decide by. *These rows only* leaves the widening out and says nothing about new rows."
            if any(found.rho.values())
            else "."
        )
        + (
            f" The seeds from {found.folder.num_pilot} on were added once: intervals use the spread of those before."
            if found.folder.num_pilot is not None
            else ""
        )
        + " *Wins* counts the pairs that the first one won; P(better) is the probability to win a pair, with its exact"
        " interval (a tie counts half)." + family
    )


def _better_side(found: Findings) -> str:
    less = list(dict.fromkeys(unit.metric for unit in found.units.values() if unit.sign < 0))
    if len({unit.sign for unit in found.units.values()}) == 2:
        return f"a positive difference is better, in {listed(less)} a negative one,"
    return f"a {'negative' if less else 'positive'} difference is better"


def _why_widened(found: Findings) -> str:
    evaluation = found.folder.evaluation
    reasons = {
        "every seed draws its split from the same rows": evaluation.redrawn,
        "all trials share their test rows": evaluation.workloads.keys() - set(evaluation.redrawn),
    }
    return " or ".join(reason for reason, workloads in reasons.items() if workloads)


def bold(found: Findings) -> str:
    """What bold means in the table of scores, and how often it applies."""
    count = len(found.folder.evaluation.techniques)
    if count < 2:
        return ""
    level = percent(family_confidence(found.folder.evaluation.confidence, count * (count - 1) // 2))
    marked = sum(score.best for score in found.scores)
    total = plural(len(found.folder.evaluation.workloads), "workload")
    met = f"That holds on {marked} of {total}." if marked else "None is."
    others = "the other technique says" if count == 2 else "all other techniques say"
    interval = "interval" if count == 2 else "intervals"
    allows = "" if count == 2 else ", which allows for all pairs"
    return f"A mean is bold where its paired {interval} against {others} that it is better (at {level}{allows}). {met}"


def figure_text(found: Findings, name: str) -> str:
    """The alternative text of a figure."""
    evaluation = found.folder.evaluation
    techniques = ", ".join(evaluation.techniques)
    names = ", ".join(evaluation.workloads)
    texts = {
        "scores": f"Scores of every trial of {techniques} on {names}, with means, intervals and references",
        "differences": f"Paired differences {', '.join(f'{a} minus {b}' for a, b in found.comparisons)} on {names},"
        " with intervals",
        "tradeoff": f"Effect against cost of {techniques}, relative to the baseline, with intervals and Pareto front",
        "targets": f"Share of the targets on {names} that {techniques} reach within multiples of the fastest time",
        "ranks": f"Critical-difference diagram: average ranks of {techniques} over the data sets",
        "profiles": f"Share of runs of {techniques} that are better than each score",
        "tuning_best": f"Best validation score of {techniques} against the number of candidates on {names}",
        "tuning_parallel": "Parallel coordinates of the candidates, shaded by their rank",
        "tuning_slices": f"Rank of the candidates of {techniques} against each hyperparameter",
        "tuning_front": f"Candidates of {techniques} by two objectives on {names}, with the front",
        "curves_epochs": f"Validation score of {techniques} over the epochs on {names}",
        "curves_steps": f"Validation score of {techniques} over optimizer steps, log scale, on {names}",
    }
    return plain(texts[name])
