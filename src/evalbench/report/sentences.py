"""The sentences of a report that depend on what was found: the answer, the scope, and the caveats that hold."""

from __future__ import annotations

import math

from evalbench.report import tuning_page
from evalbench.report.findings import Difference, Findings, Overall, Score
from evalbench.report.tables import code, named
from evalbench.report.units import Unit, listed, percent, plural, times
from evalbench.statistics.intervals import Interval, family_confidence, fewest_decisive

FEW_DATA_SETS = 6  # below it, no test over data sets can reach .05


def answer(found: Findings) -> str:
    """The answer to the question, in one paragraph."""
    sentences = [_scope(found)]
    sentences += [_compared(found, overall) for overall in found.overall]
    if found.num_comparisons > 1:
        level = percent(found.family)
        sentences.append(f"The {found.num_comparisons} comparisons share one error rate: each interval is at {level}.")
    sentences += [text for text in (_unequal_updates(found), _linear(found)) if text]
    sentences.append(_endings(found))
    return " ".join(sentences)


def context(found: Findings) -> str:
    """What every reader must know besides the verdicts: the scope, the linear model, how trials ended."""
    if found.judged is None:
        return ""
    return " ".join(text for text in (_scope(found), _linear(found), _endings(found)) if text)


def how_to_read(found: Findings) -> str:
    """How to read the table of verdicts."""
    assert found.judged is not None  # the template asks only then
    rope = found.common.change(found.judged.design.rope).lstrip("+")
    baseline = code(found.judged.baseline)
    number = found.num_comparisons
    family = f", which allows for {number} comparisons" if number > 1 else ""
    source = (
        "declared beforehand" if found.folder.evaluation.rope_declared else "evalbench's default: none was declared"
    )
    unit = f"{found.common.difference}, averaged over data sets of equal weight" if len(found.data_sets) > 1 else ""
    return (
        f"Effect: technique minus {baseline} in {unit or found.common.difference}, with the"
        f" {percent(found.family)} interval{family}. A difference within ±{rope} (the ROPE, {source}) is"
        f" too small to matter. Techniques that cannot be told apart share a rank. Cost: time relative to {baseline}."
    )


def declared(found: Findings) -> str:
    """What was fixed before the results: the ROPE and the targets."""
    assert found.judged is not None  # the template asks only then
    rope = found.common.change(found.judged.design.rope).lstrip("+")
    targets = [
        f"{code(name)} {found.units[name].score(workload.target)}"
        for name, workload in found.folder.evaluation.workloads.items()
        if workload.target is not None
    ]
    default = "" if found.folder.evaluation.rope_declared else " (evalbench's default)"
    text = f"ROPE ±{rope} {found.common.difference}{default}"
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
    return (
        "Quality comes from the interval and the ROPE, cost from the interval of the cost ratio (10 % is the same);"
        f" together they give the ring, and caps lower it.{overall} EQUIVALENT is not given where the ROPE is below the"
        " noise floor of the test set. The finest difference is half the interval that no number of seeds would"
        " narrow. The rings at half and at double the ROPE show whether the choice of the ROPE matters."
    )


def how_proofs(found: Findings) -> str:
    """What the second methods are, and what they can say at all."""
    assert found.appendix is not None  # the template asks only then
    by = found.appendix.proofs[0].posterior_by
    text = f"p-values are the second line: Holm's are adjusted for the family. The last column is the {by}."
    resolution = found.appendix.proofs[0].resolution
    if resolution is not None:
        detectable = found.common.change(resolution.detectable).lstrip("+")
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
    return f"Right of zero is better for the first of the two{rope}.{thick}{scales}"


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
    rounds = int(found.folder.costs.groupby(["technique", "workload"]).size().min())
    return f"Seconds were measured in isolation, in {rounds} rounds interleaved over the techniques."


def budget(found: Findings) -> str:
    """The budget of a trial: `20 epochs`."""
    parts = []
    for name, value in found.folder.evaluation.budget.items():
        amount = f"{value:,g}" if float(value) % 1 else f"{value:,.0f}"
        parts.append(f"{amount} {name.rstrip('s') if value == 1 else name}")
    return listed(parts)


def _scope(found: Findings) -> str:
    evaluation = found.folder.evaluation
    trials = plural(len(found.folder.results), "trial")
    single = code(next(iter(evaluation.workloads)))
    where = plural(len(evaluation.workloads), "workload") if len(evaluation.workloads) > 1 else single
    seeds = f"{plural(evaluation.num_seeds, 'seed')} each ({trials})"
    if evaluation.factor is None:
        techniques = listed([code(name) for name in evaluation.techniques])
        verb = "was" if len(evaluation.techniques) == 1 else "were"
        return f"{techniques} {verb} trained for {budget(found)} on {where}, {seeds}."
    values = plural(len(evaluation.techniques), "value")
    if evaluation.foreign:
        sizes = [len(found.folder.results[found.folder.results["workload"] == name]) for name in evaluation.workloads]
        each = "one score each" if max(sizes) == len(evaluation.techniques) else f"{trials} in all"
        return f"{values} of {code(evaluation.factor)} were compared on {where}, {each}."
    given = f"At {budget(found)} per trial and the settings listed below"
    return f"{given}, {values} of {code(evaluation.factor)} were compared on {where}, {seeds}."


def _compared(found: Findings, overall: Overall) -> str:
    """What one candidate did against its comparator: the overall effect where there is one, then the counts."""
    candidate, comparator = _the(overall.candidate), _the(overall.comparator)
    mine = [d for d in found.differences if (d.candidate, d.comparator) == (overall.candidate, overall.comparator)]
    if overall.interval is not None:
        data_sets = plural(len(overall.workloads), "data set")
        effect = _effect(found.common, overall.interval, candidate, comparator, "data set")
        return f"Averaged over {data_sets}, {effect}; {_counts(mine)}."
    if len(mine) == 1:
        only = mine[0]
        effect = _effect(found.units[only.workload], only.effect.interval, candidate, comparator, "pair")
        wins = f", better in {only.effect.wins} of {plural(only.effect.count, 'pair')}" if only.effect.count else ""
        return f"On {code(only.workload)}, {effect}{wins}."
    few = "there are too few data sets for a mean over them"
    return f"For {candidate} against {comparator}, {few}; {_counts(mine)}."


def _the(name: str) -> str:
    """A technique as code, a reference with its article."""
    return named(name) if named(name) != name else f"the {name}"


def _effect(unit: Unit, interval: Interval, candidate: str, comparator: str, each: str) -> str:
    if not interval.count:
        return f"{candidate} and {comparator} have no pair to compare"
    size = f"{unit.change(interval.mean)} {unit.difference}"
    if not interval.computed:
        why = "they differ by the same in each" if interval.count > 1 else "one is not enough"
        return (
            f"{candidate} minus {comparator} is {size} over {plural(interval.count, each)}, without an interval ({why})"
        )
    ends = f"{size} ({percent(interval.confidence)} interval {unit.change_interval(interval)})"
    if interval.side == 0:
        return f"the difference between {candidate} and {comparator} is not resolved: {ends}"
    return f"{candidate} was {'better' if interval.side > 0 else 'worse'} than {comparator}: {ends}"


def _counts(differences: list[Difference]) -> str:
    intervals = [difference.effect.interval for difference in differences]
    sides = [interval.side for interval in intervals if interval.computed]
    parts = [f"above zero on {sides.count(1)}", f"below zero on {sides.count(-1)}", f"across zero on {sides.count(0)}"]
    if len(sides) < len(intervals):
        parts.append(f"not computed on {len(intervals) - len(sides)}")
    return f"by workload, the interval lies {listed(parts)} of {len(intervals)}"


def _unequal_updates(found: Findings) -> str:
    """The largest ratio of optimizer steps (or of examples) between two techniques, where it is not one."""
    evaluation = found.folder.evaluation
    if evaluation.factor is None:
        return ""
    equal = "epochs" if "epochs" in evaluation.budget else "steps"
    several = len(evaluation.workloads) > 1
    parts = []
    for name, words in (("steps", "as many optimizer steps"), ("examples", "as many examples")):
        most = _largest_ratio(found, name)
        if most is not None:
            ratio, workload, more, less = most
            much = f"{'up to ' if several else ''}{times(ratio)} times {words}"
            parts.append(f"{code(more)} took {much} as {code(less)}" + (f" (on {code(workload)})" if several else ""))
    return f"Equal {equal} are not equal work: {listed(parts)}." if parts else ""


def _largest_ratio(found: Findings, name: str) -> tuple[float, str, str, str] | None:
    best: tuple[float, str, str, str] | None = None
    for workload in found.folder.evaluation.workloads:
        costs = [c for c in found.costs if c.workload == workload and math.isfinite(getattr(c, name))]
        if len(costs) < 2:
            continue
        less = min(costs, key=lambda c: float(getattr(c, name)))
        more = max(costs, key=lambda c: float(getattr(c, name)))
        ratio = getattr(more, name) / getattr(less, name) if getattr(less, name) else math.nan
        if ratio > 1.01 and (best is None or ratio > best[0]):
            best = (ratio, workload, more.technique, less.technique)
    return best


def _linear(found: Findings) -> str:
    """Whether the linear model has a better mean than every technique somewhere, and whether the intervals say so."""
    if found.linear_ahead is None:
        return ""
    total = len(found.folder.evaluation.workloads)
    every = "every technique" if len(found.folder.evaluation.techniques) > 1 else "the network"
    if not found.linear_ahead:
        return f"On no workload was the mean score of the linear model better than that of {every}."
    where = [code(ahead.workload) for ahead in found.linear_ahead]
    sure = [code(ahead.workload) for ahead in found.linear_ahead if ahead.supported]
    support = f"on {listed(sure)} by intervals that exclude zero" if sure else "on none by intervals that exclude zero"
    return (
        f"The mean score of the linear model was better than that of {every}"
        f" on {len(where)} of {plural(total, 'workload')} ({listed(where)}), {support}."
    )


def _endings(found: Findings) -> str:
    states = found.folder.results["state"]
    diverged, failed = int((states == "DIVERGED").sum()), int((states == "FAILED").sum())
    if not diverged and not failed:
        return "No trial diverged and none failed."
    first = (
        f"{plural(diverged, 'trial')} diverged and counted with the score of the trivial predictor"
        if diverged
        else "No trial diverged"
    )
    second = f"{failed} failed and {'is' if failed == 1 else 'are'} left out" if failed else "none failed"
    return f"{first}; {second}."


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
    shares = ", ".join(f"{percent(share)} {name}" for name, share in evaluation.splits.items())
    many = f"each of {evaluation.num_seeds} seeds" if evaluation.num_seeds > 1 else "the one seed"
    if found.tuned is not None:
        return (
            f"{shares} of the rows; the test rows are the same for all, training and validation rows are drawn anew for"
            f" {many} from those that tuning saw (root seed {evaluation.root_seed})"
        )
    return f"{shares} of the rows, drawn anew for {many} (root seed {evaluation.root_seed})"


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
    return f"Workloads are averaged and drawn side by side in **{found.common.difference}**{points}."


def how_differences(found: Findings) -> str:
    """How the paired differences and their intervals were made."""
    evaluation = found.folder.evaluation
    if found.judged is not None and found.judged.design.one_score:
        return (
            "Scores are paired by workload; a positive difference is better than the baseline. The interval is a t"
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
        + "; a positive difference is better for the first of the two."
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


def _why_widened(found: Findings) -> str:
    return "all trials share their test rows" if found.tuned else "every seed draws its split from the same rows"


def caveats(found: Findings) -> list[str]:
    """What limits this evaluation; each one only where it holds."""
    evaluation = found.folder.evaluation
    notes = []
    if evaluation.foreign and not evaluation.tuned:
        notes.append("The table does not say that both sides were tuned alike: every ring is capped at TRIAL.")
    elif found.tuned is not None:
        notes += tuning_page.caveats(found)
    elif not evaluation.tuned:
        notes.append(
            "No technique was tuned here: the differences hold at the settings listed, and may turn at others."
        )
    notes += _about_data_sets(found)
    if _unequal_updates(found):
        notes.append(
            "The techniques did unequal work (see the answer): a difference in score may come from that alone."
        )
    if any(found.rho.values()):
        notes.append(_about_splits(found))
    elif evaluation.foreign:
        notes.append("The table does not say how many rows were trained and tested on: test data are taken as fresh.")
    notes += _about_seeds(found)
    if any(_passes_bounds(found, score) for score in found.scores):
        notes.append("Some t intervals pass 0 or 100 %: the t interval does not know the bounds of an accuracy.")
    states = found.folder.results["state"]
    if (states == "DIVERGED").any():
        notes.append(
            "A diverged trial counts with the score of the trivial predictor: one is enough to widen an interval."
        )
    if (states == "FAILED").any():
        notes.append(
            "Failed trials are left out together with their partners: the pairs that remain may be easier ones."
        )
    if len(evaluation.provenance.get("machines", [])) > 1:
        notes.append("The trials ran on different machines, which may change results in the last digits.")
    if evaluation.factors:
        notes.append("The effects per level of the other factors are exploratory: their intervals allow for no family.")
    return notes


def _about_data_sets(found: Findings) -> list[str]:
    evaluation = found.folder.evaluation
    count = len(found.data_sets)
    notes = []
    generated = [code(name) for name, workload in evaluation.workloads.items() if workload.generated]
    if generated:
        verb = "is" if len(generated) == 1 else "are"
        notes.append(f"{listed(generated)} {verb} generated, and left out of every mean over data sets.")
    if count == 0:
        notes.append("There is no real data set here: nothing can be said about one.")
    elif count == 1:
        notes.append("There is one data set: nothing can be said about others.")
    elif count < FEW_DATA_SETS:
        notes.append(f"{count} data sets are few: the mean over them has a wide interval, and others may differ.")
    else:
        notes.append(
            f"The mean over {count} data sets speaks for data sets like these, which were not drawn at random."
        )
    return notes


def _about_splits(found: Findings) -> str:
    shares = sorted(set(found.rho.values()))
    rho = f"{shares[0]:.2f}" if f"{shares[0]:.2f}" == f"{shares[-1]:.2f}" else f"{shares[0]:.2f} to {shares[-1]:.2f}"
    if found.tuned is not None:
        return (
            "All trials of a workload are tested on the same rows, and train on rows of one pool: their spread misses"
            f" what other rows would have changed. The intervals add test rows / training rows (here {rho}) to 1/n in"
            " its place, as for splits that are redrawn (Nadeau and Bengio, 2003): an allowance, not an estimate."
        )
    return (
        "Every seed redraws its split from one pool of rows, so the seeds are not independent. The intervals add"
        f" test rows / training rows (here {rho}) to 1/n for this (Nadeau and Bengio, 2003): more seeds cannot"
        " shrink them beyond that, only more rows can."
    )


def _about_seeds(found: Findings) -> list[str]:
    seeds = found.folder.evaluation.num_seeds
    if found.judged is not None and found.judged.design.one_score:
        return ["Every data set has one score per technique: the spread between seeds is not known, data sets repeat."]
    if seeds < 2:
        return ["With one seed no interval can be computed: nothing here separates an effect from chance."]
    notes = []
    if seeds < 10:
        notes.append(
            f"With {seeds} seeds only large differences can be resolved, and the t interval leans on normality."
        )
    needed = fewest_decisive(found.family)
    if found.comparisons and seeds < needed:
        notes.append(
            f"With {seeds} seeds the exact interval of P(better) includes one half even if every pair is won"
            f" ({needed} would be needed): it cannot decide here."
        )
    return notes


def _passes_bounds(found: Findings, score: Score) -> bool:
    unit = found.units[score.workload]
    return unit.scale == 100 and score.interval.computed and (score.interval.low < 0 or score.interval.high > 1)


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
        "profiles": f"Share of runs of {techniques} above each score",
        "tuning_best": f"Best validation score of {techniques} against the number of candidates on {names}",
        "tuning_parallel": "Parallel coordinates of the candidates, shaded by their rank",
        "tuning_slices": f"Rank of the candidates of {techniques} against each hyperparameter",
        "tuning_front": f"Candidates of {techniques} by two objectives on {names}, with the front",
        "curves_epochs": f"Validation score of {techniques} over the epochs on {names}",
        "curves_steps": f"Validation score of {techniques} over optimizer steps, log scale, on {names}",
    }
    return texts[name].replace("[", "(").replace("]", ")")
