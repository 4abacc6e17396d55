"""The part of the report about tuning: its sentences and tables, as markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.findings import Findings
from evalbench.report.tables import markdown
from evalbench.report.tuned import Choice, Gain, Tuned, error_of_mean, objective_of
from evalbench.report.units import counted, fixed, flops, listed, percent, plural, unit_of
from evalbench.statistics.intervals import Interval

SAMPLERS = {
    "RandomSampler": "random search",
    "TPESampler": "TPE",
    "GPSampler": "a Gaussian process",
    "CmaEsSampler": "CMA-ES",
    "QMCSampler": "a Sobol sequence",
    "grid": "a grid",
}
NUMBERS_ONLY = ("CmaEsSampler",)
ADAPTIVE = ("TPESampler", "GPSampler", "CmaEsSampler", "NSGAIISampler", "NSGAIIISampler")


def _tuning(found: Findings) -> Mapping[str, Any]:
    assert found.folder.evaluation.tuning is not None  # the template asks only then
    return found.folder.evaluation.tuning


def _tuned(found: Findings) -> Tuned:
    assert found.tuned is not None  # the template asks only then
    return found.tuned


def _sampler(found: Findings) -> str:
    name = str(_tuning(found)["sampler"]).rsplit(".", 1)[-1]
    return SAMPLERS.get(name, code(name))


def budget(found: Findings) -> str:
    """The tuning budget of a technique on a workload: `32 candidates × 2 seeds by random search`."""
    tuning = _tuning(found)
    seeds = plural(int(tuning["num_seeds"]), "seed")
    studies = int(tuning["num_studies"])
    repeated = f", {studies} times over" if studies > 1 else ""
    return f"{plural(int(tuning['num_trials']), 'candidate')} × {seeds} by {_sampler(found)}{repeated}"


def how(found: Findings) -> str:
    """What was done, and what the intervals of this report cover."""
    tuning, evaluation = _tuning(found), found.folder.evaluation
    names = list(dict.fromkeys(code(objectives[0]) for objectives in tuning["objectives"].values()))
    fixed = [code(name) for name, workload in evaluation.workloads.items() if workload.fixed_test_rows]
    given = f" (of {listed(fixed)} the rows that the data set does not give as test rows)" if fixed else ""
    said = [
        f"Every technique was tuned on every workload: {budget(found)}.",
        f"The tuner saw {percent(tuning['development'])} of the rows{given} and nothing else; within them each training"
        f" drew its own training and validation rows, and a candidate was judged by {listed(names)} on validation rows,"
        " the mean over its seeds (of equals the one with the lower validation loss is chosen).",
        "The best candidate was then measured with seeds that tuning never used, trained within the same rows and"
        " tested on the others, which no tuning had read.",
    ]
    name = str(tuning["sampler"]).rsplit(".", 1)[-1]
    if name in ADAPTIVE:
        said.append(
            f"Candidates were asked for {tuning['batch']} at a time: those of one batch cannot learn from each other,"
            " so the sampler was less adaptive than one that is asked one by one."
        )
    drawn = sorted({d for space in tuning["space"].values() for d, spec in space.items() if "choices" in spec})
    if name in NUMBERS_ONLY and drawn:
        said.append(
            f"It takes numbers alone: the choices ({listed([code(path) for path in drawn])}) were drawn at random."
        )
    if tuning["pruning"] is not None:
        eta, first = tuning["pruning"]["eta"], tuning["pruning"]["first_rung"]
        said.append(
            f"Successive halving: after {plural(first, 'validation')}, and each time {eta} times as many, one candidate"
            f" in {eta} went on, at least one, of the up to {tuning['batch']} that were asked for together and still"
            " trained; those that had diverged or run out of patience took no place. A pruned one counts with the value"
            " it had, as if its training had been paid in full."
        )
    said[-1] += "\n\n"  # what was done; what the intervals cover
    if evaluation.num_studies > 1:
        said.append(
            f"The whole search was repeated {evaluation.num_studies} times, each time with seeds of its own for tuning"
            " and for measuring, and the study is what repeats in this report: its intervals cover the uncertainty of"
            " tuning too. Techniques, and the settings that nobody tuned, are paired by study and seed."
        )
    else:
        said.append(
            "There is one study per technique and workload: the intervals cover the seeds of the measured trials, not"
            " what another search would have chosen (search.num_studies=3 would)."
        )
    said.append(
        "All measured trials of a workload share their test rows. The spread over seeds cannot show what other test"
        " rows would have given; the intervals that decide are widened in its place by test rows / training rows."
    )
    return " ".join(said).replace("\n\n ", "\n\n")


def parity(found: Findings) -> str:
    """What each technique was given, and what it took."""
    rows = [
        [
            code(one.technique),
            str(one.studies),
            counted(one.candidates),
            f"{one.finished} / {one.pruned} / {one.diverged} / {one.failed}",
            counted(one.trials),
            counted(one.steps),
            flops(one.flops),
            fixed(one.seconds, 1),
        ]
        for one in _tuned(found).spent
    ]
    headers = [
        "technique", "studies", "candidates", "finished / pruned / diverged / failed", "trainings", "optimizer steps",
        "FLOPs", "seconds",
    ]  # fmt: skip
    return markdown(headers, rows, 1)


def parity_sentence(found: Findings) -> str:
    """Whether the chances were equal."""
    sizes = [len(space) for space in _tuning(found)["space"].values()]
    if not found.folder.evaluation.tuning_parity:
        return "Parity fails: not every study has the same number of candidates, so no ring is above ASSESS."
    pruned = _tuning(found)["pruning"] is not None
    spent = "candidates and seeds, and the same most" if pruned else "candidates, seeds and"
    finished = f" {_finalists(found)}" if pruned else ""
    counted_once = (
        " Steps and FLOPs count each training once, up to its end, although candidates of several graphs train again"
        " from the start when they go on."
        if pruned
        else ""
    )
    most = (
        f" Equal numbers of candidates are not equal coverage: the spaces have {min(sizes)} to {max(sizes)} dimensions."
        if len(set(sizes)) > 1
        else ""
    )
    return (
        f"Every study had the same number of {spent} epochs or steps.{finished}{counted_once} Seconds are those of the"
        f" cohorts in which candidates trained, other cells perhaps beside them.{most}"
    )


def _finalists(found: Findings) -> str:
    """How many candidates halving left to finish, and whether it left each technique as many."""
    tuned = _tuned(found)
    if tuned.evenly_pruned:
        return "Halving left as many candidates of each technique to finish."
    counts = [f"{_span(ends)} of {code(technique)}" for technique, ends in tuned.finalists.items()]
    return f"Halving did not leave as many candidates of each technique to finish: {listed(counts)} in a study."


def _span(ends: tuple[int, int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"


def spaces(found: Findings) -> str:
    """The search space of each technique."""
    rows = [
        [code(technique) if place == 0 else "", code(path), _range(spec)]
        for technique, space in _tuning(found)["space"].items()
        for place, (path, spec) in enumerate(space.items())
    ]
    table = markdown(["technique", "hyperparameter", "range"], rows, 3)
    if all(study.space == _tuning(found)["space"][study.technique] for study in _tuned(found).studies.studies):
        return table
    return f"{table}\n\nSpaces differ between the settings of the other factors; these ranges span them all."


def _range(spec: Mapping[str, Any]) -> str:
    if "choices" in spec:
        return ", ".join(code(choice) for choice in spec["choices"])
    kind = (", log scale" if spec.get("log") else "") + (", whole numbers" if spec.get("integer") else "")
    return f"{number(spec['low'])} to {number(spec['high'])}{kind}"


def number(value: object) -> str:
    """A hyperparameter's value: three digits of a number, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def gains(found: Findings) -> str:
    """Default against tuned, per technique and workload."""
    rows = []
    for technique in found.folder.evaluation.techniques:
        mine = [gain for gain in _tuned(found).gains if gain.technique == technique]
        rows += [_gain_row(found, gain, place == 0) for place, gain in enumerate(mine)]
    level = percent(found.folder.evaluation.confidence)
    return markdown(
        ["technique", "workload", "unit", "default", "tuned", "tuned − default", f"{level} interval"], rows, 3
    )


def _gain_row(found: Findings, gain: Gain, first: bool) -> list[str]:
    name = code(gain.technique) if first else ""
    if gain.workload is None:
        unit = found.common
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
    unit = found.units[gain.workload]
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


def gain_sentence(found: Findings) -> str:
    """In one sentence per technique what tuning bought over the data sets."""
    said = []
    for gain in _tuned(found).gains:
        if gain.workload is None:
            ends = f"{found.common.change(gain.interval.mean)} {plain(found.common.difference)}"
            interval = found.common.change_interval(gain.interval)
            said.append(f"{code(gain.technique)} {ends} {interval}")
    return f" Over the data sets, tuning bought {listed(said)}." if said else ""


def changed_verdicts(found: Findings) -> str:
    """The rings as they are, beside those that the default settings would have got on the same splits."""
    before = _tuned(found).defaults
    if before is None or found.judged is None:
        return ""
    unit = found.common
    rows = []
    for verdict in found.judged.verdicts:
        old = next((v for v in before.verdicts if v.candidate == verdict.candidate), None)
        if old is None:
            continue
        mark = "" if (old.quality, old.ring) == (verdict.quality, verdict.ring) else " ←"
        rows.append(
            [
                code(verdict.candidate),
                f"{unit.change(old.effect.mean)} {_ends(found, old.effect)}",
                f"{old.quality} → {old.ring}",
                f"{unit.change(verdict.effect.mean)} {_ends(found, verdict.effect)}",
                f"{verdict.quality} → {verdict.ring}{mark}",
            ]
        )
    if not rows:
        return ""
    headers = ["technique", "effect, defaults", "verdict, defaults", "effect, tuned", "verdict, tuned"]
    return markdown(headers, rows, 1)


def changed_sentence(found: Findings) -> str:
    """Whether a ring or a quality is another one after tuning."""
    before = _tuned(found).defaults
    assert before is not None
    assert found.judged is not None
    old = {v.candidate: (v.quality, v.ring) for v in before.verdicts}
    changed = [
        f"{code(v.candidate)} went from {old[v.candidate][0]}, {old[v.candidate][1]}, to {v.quality}, {v.ring}"
        for v in found.judged.verdicts
        if v.candidate in old and old[v.candidate] != (v.quality, v.ring)
    ]
    return f"With tuning {listed(changed)}." if changed else "Tuning changed no verdict."


def _ends(found: Findings, interval: Interval) -> str:
    return found.common.change_interval(interval)


def choices(found: Findings) -> str:
    """What each study chose, the default in brackets; a value at a bound is marked."""
    rows = []
    for technique in found.folder.evaluation.techniques:
        mine = [choice for choice in _tuned(found).choices if choice.technique == technique]
        paths = list(_tuning(found)["space"].get(technique, {}))
        cells: dict[tuple[str, str, int], dict[str, Choice]] = {}
        for choice in mine:
            cells.setdefault((choice.workload, choice.factors, choice.study), {})[choice.path] = choice
        for (workload, factors, study), by_path in cells.items():
            where = ", ".join(
                filter(None, [code(workload), plain(factors), f"study {study}" if _repeated(found) else ""])
            )
            values = ", ".join(f"{_short(path)} {_value(by_path[path])}" for path in paths if path in by_path)
            rows.append([code(technique), where, values])
    return markdown(["technique", "workload", "chosen (default)"], rows, 3)


def _repeated(found: Findings) -> bool:
    return found.folder.evaluation.num_studies > 1


def _short(path: str) -> str:
    """A hyperparameter's name without its group, where that is the optimizer."""
    return code(path.removeprefix("optimizer."))


def _value(choice: Choice) -> str:
    text = f"**{number(choice.chosen)} ({choice.bound} bound)**" if choice.bound else plain(number(choice.chosen))
    return f"{text} ({plain(number(choice.default))})"


def bounds(found: Findings) -> str:
    """Which ranges should be widened."""
    at: dict[tuple[str, str, str], list[str]] = {}
    for choice in _tuned(found).choices:
        if choice.bound is not None:
            at.setdefault((choice.technique, choice.path, choice.bound), []).append(code(choice.workload))
    if not at:
        return "No chosen value lies within 5 % of a bound of its range."
    parts = [
        f"{code(path)} of {code(technique)} at its {bound} bound on {listed(list(dict.fromkeys(where)))}"
        for (technique, path, bound), where in at.items()
    ]
    return f"Within 5 % of a bound: {'; '.join(parts)}. The best value may lie beyond it: widen the range."


def best_found(found: Findings) -> str:
    """How to read the curves of the best found."""
    tuned = _tuned(found)
    last = "the best of all candidates"
    if tuned.independent:
        return (
            "Expected validation score of the best of n candidates, computed from all candidates of a study, which"
            f" random search draws one by one (Dodge et al., 2019, without replacement); the curve ends at {last}."
            " Where it has not levelled off, more candidates would find better ones."
        )
    repeated = plural(found.folder.evaluation.num_studies, "study", "studies")
    few = "" if found.folder.evaluation.num_studies >= 3 else " Fewer than three studies show little of their spread."
    return (
        f"Best validation score so far, mean over {repeated}. An expected best of n would need candidates that were"
        f" drawn independently.{few}"
    )


def band(found: Findings) -> str:
    """What the band around the best found is, if there is one."""
    tuned = _tuned(found)
    if tuned.independent:
        return "; the band is its standard deviation, estimated from the same candidates"
    return "; the band is the standard deviation of the studies" if found.folder.evaluation.num_studies > 1 else ""


def importance(found: Findings) -> str:
    """Each hyperparameter's share of the variance of the validation score, by technique."""
    table = _tuned(found).importance
    rows = []
    for technique in found.folder.evaluation.techniques:
        mine = table[table["technique"] == technique]
        if mine["path"].nunique() < 2:
            continue  # one alone explains everything
        for place, (path, one) in enumerate(mine.groupby("path", sort=False)):
            low, high = 100 * float(one["share"].min()), 100 * float(one["share"].max())
            name, error = code(technique) if place == 0 else "", 100 * error_of_mean(one["error"])
            doubt = f"± {error:.0f}" if math.isfinite(error) else "not known"
            rows.append(
                [name, code(path), f"{100 * float(one['share'].mean()):.0f} %", doubt, f"{low:.0f} to {high:.0f} %"]
            )
    headers = ["technique", "hyperparameter", "mean over the workloads", "standard error", "lowest to highest"]
    return markdown(headers, rows, 2) if rows else ""


def failed(found: Findings) -> str:
    """The candidates that could not be trained, with why: those of a study that failed alike in one row."""
    table = _tuned(found).studies.candidates
    table = table[table["state"] == "FAILED"].assign(message=lambda t: t.get("message", ""))
    keys = ["technique", "workload", *found.folder.evaluation.factors, "study", "message"]
    rows = []
    for key, mine in table.groupby(keys, sort=False):
        technique, workload, *levels, study, message = key
        where = ", ".join([code(workload), *map(code, levels), *([f"study {study:.0f}"] if _repeated(found) else [])])
        numbers = listed([f"{number:.0f}" for number in mine["candidate"].head(5)])
        more = f" and {len(mine) - 5} more" if len(mine) > 5 else ""
        settings = ", ".join(
            f"{_short(path)} {_setting(mine.iloc[0][path])}" for path in _tuning(found)["space"].get(technique, {})
        )
        rows.append([code(technique), where, numbers + more, settings, plain(message) or "not known"])
    return (
        markdown(["technique", "workload", "candidates", "the first one's settings", "message"], rows, 5)
        if rows
        else ""
    )


def _setting(value: object) -> str:
    """A value of a table, where text may be a number."""
    try:
        return number(float(str(value)))
    except ValueError:
        return plain(value)


def front(found: Findings) -> str:
    """The candidates that nothing else beats in all objectives."""
    table = _tuned(found).front
    if table.empty:
        return ""
    rows = []
    objectives: Mapping[str, list[str]] = _tuning(found)["objectives"]
    for (technique, workload), mine in table[table["on_front"]].groupby(["technique", "workload"], sort=False):
        names = objectives[str(workload)]
        for _, one in mine.sort_values(names[0]).iterrows():
            values = ", ".join(f"{code(name)} {float(one[name]):.4g}" for name in names)
            rows.append([code(technique), code(workload), str(int(one["candidate"])), values])
    return markdown(["technique", "workload", "candidate", "objectives"], rows, 4)


def sentence(found: Findings) -> str:
    """What a verdict from tuned techniques says of its budget."""
    if found.tuned is None:
        return ""
    if not found.folder.evaluation.tuning_parity:
        return f"They were not tuned alike, at most: {budget(found)} on each workload."
    if not found.tuned.evenly_pruned:
        return f"Both had {budget(found)} on each workload, but not as many that finished (see *Tuning*)."
    return f"Both were tuned alike: {budget(found)} on each workload."


def caveats(found: Findings) -> list[str]:
    """What limits an evaluation that was tuned."""
    at = [choice for choice in _tuned(found).choices if choice.bound is not None]
    total = len(_tuned(found).choices)
    notes = [f"The techniques were tuned with {budget(found)}: more candidates, or wider ranges, may turn differences."]
    if at:
        share = f"{len(at)} of {plural(total, 'chosen value')}"
        notes.append(f"{share} {'lies' if len(at) == 1 else 'lie'} at a bound of the search (see *Tuning*).")
    return notes


def objective_label(found: Findings, workload: str) -> tuple[str, float]:
    """The words for a workload's first objective on an axis, and the factor to print it by."""
    name, _ = objective_of(found.folder, workload)
    unit = unit_of(name, "fraction" if name.endswith(("accuracy", "macro_f1", "auroc")) else "", math.nan)
    return f"validation {unit.label}", unit.scale


def tables(found: Findings) -> dict[str, pd.DataFrame]:
    """Every number of the section, as data."""
    tuned = found.tuned
    if tuned is None:
        return {}
    gains = []
    for g in tuned.gains:
        sign = (found.common if g.workload is None else found.units[g.workload]).sign
        low, high = sorted((sign * g.interval.low, sign * g.interval.high))
        gains.append(
            {
                "technique": g.technique,
                "workload": g.workload or "(mean over data sets)",
                "default": g.default,
                "tuned": g.tuned,
                "difference": sign * g.interval.mean,
                "low": low,
                "high": high,
                "common": found.common.sign * g.common,
            }
        )
    before = tuned.defaults.verdicts if tuned.defaults is not None else ()
    return {
        "tuning_budget": pd.DataFrame([vars(spent) for spent in tuned.spent]),
        "tuning_gains": pd.DataFrame(gains),
        "tuning_choices": pd.DataFrame([vars(choice) for choice in tuned.choices]),
        "tuning_importance": tuned.importance,
        "tuning_front": tuned.front,
        "default_verdicts": pd.DataFrame(
            {
                "candidate": v.candidate,
                "effect": v.effect.mean * found.common.oriented,
                **dict(zip(("low", "high"), found.common.ends(v.effect.low, v.effect.high), strict=True)),
                "quality": str(v.quality),
                "ring": str(v.ring),
            }
            for v in before
        ),
    }
