"""How techniques were tuned, and whether each had the same chances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evalbench.names import code, plain
from evalbench.report.analysis.findings import TunedFindings, searched
from evalbench.report.render.markdown import markdown
from evalbench.report.render.units import counted, fixed, flops, listed, number, percent, plural
from evalbench.report.section import Section, numbers_of

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


def _sampler(tuned: TunedFindings) -> str:
    name = str(tuned.search["sampler"]).rsplit(".", 1)[-1]
    return SAMPLERS.get(name, code(name))


def budget(tuned: TunedFindings) -> str:
    """Return the tuning budget of a technique on a workload: `32 candidates × 2 seeds by random search`."""
    tuning = tuned.search
    seeds = plural(int(tuning["num_seeds"]), "seed")
    studies = int(tuning["num_studies"])
    repeated = f", {studies} times over" if studies > 1 else ""
    return f"{plural(int(tuning['num_trials']), 'candidate')} × {seeds} by {_sampler(tuned)}{repeated}"


def how(tuned: TunedFindings) -> str:
    """Describe the search, and what the intervals of this report cover."""
    tuning, evaluation = tuned.search, tuned.evaluation
    names = list(dict.fromkeys(code(objectives[0]) for objectives in tuning["objectives"].values()))
    fixed = [code(name) for name, workload in evaluation.workloads.items() if workload.fixed_test_rows]
    given = f" (of {listed(fixed)} the rows that the data set does not give as test rows)" if fixed else ""
    said = [
        f"Every technique was tuned on every workload: {budget(tuned)}.",
        f"The tuner saw {percent(tuning['development'])} of the rows{given} and nothing else. Within them each training"
        f" drew its own training and validation rows. A candidate was judged by {listed(names)} on validation rows, the"
        " mean over its seeds (ties go to the lower validation loss).",
        "The best candidate was then measured with seeds that tuning never used. It was trained within the same rows"
        " and tested on the others, which no tuning had read.",
    ]
    name = str(tuning["sampler"]).rsplit(".", 1)[-1]
    if name in ADAPTIVE:
        said.append(
            f"Candidates were asked for {tuning['batch']} at a time. Candidates of one batch cannot learn from each"
            " other, so the sampler was less adaptive than if it were asked for one at a time."
        )
    drawn = sorted({d for space in tuning["space"].values() for d, spec in space.items() if "choices" in spec})
    if name in NUMBERS_ONLY and drawn:
        said.append(
            f"It takes numbers alone: the choices ({listed([code(path) for path in drawn])}) were drawn at random."
        )
    if tuning["pruning"] is not None:
        eta, first = tuning["pruning"]["eta"], tuning["pruning"]["first_rung"]
        said.append(
            f"Successive halving: after {plural(first, 'validation')}, and each time {eta} times as many, one"
            f" candidate in {eta} went on, at least one, of the up to {tuning['batch']} that were asked for together"
            " and still trained. Candidates that had diverged or run out of patience did not count. A pruned"
            " candidate counts with the value that it had, as if its training had been paid in full."
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
    said.append(_test_rows(tuned))
    return " ".join(said).replace("\n\n ", "\n\n")


def _test_rows(tuned: TunedFindings) -> str:
    """Say that measured trials share their test rows, and what that means for the intervals."""
    widened = any(tuned.findings.rho.values())
    so = "are widened by test rows / training rows" if widened else "speak of these test rows alone"
    return (
        "All measured trials of a workload share their test rows. The spread over seeds cannot show the effect of other"
        f" test rows, so the intervals that decide {so}."
    )


def parity(tuned: TunedFindings) -> str:
    """Return the number of candidates of each technique, how they ended, and their work."""
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
        for one in tuned.spent
    ]
    headers = [
        "technique", "studies", "candidates", "finished / pruned / diverged / failed", "trainings", "optimizer steps",
        "FLOPs", "seconds",
    ]  # fmt: skip
    return markdown(headers, rows, 1)


def parity_sentence(tuned: TunedFindings) -> str:
    """Say whether the chances were equal."""
    sizes = [len(space) for space in tuned.search["space"].values()]
    if not tuned.evaluation.tuning_parity:
        return "Parity fails: not every study has the same number of candidates, so no recommendation is above ASSESS."
    pruned = tuned.search["pruning"] is not None
    spent = "candidates and seeds, and the same most" if pruned else "candidates, seeds and"
    finished = f" {_finalists(tuned)}" if pruned else ""
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


def _finalists(tuned: TunedFindings) -> str:
    """Say how many candidates halving left to finish, and whether the number is the same for all techniques."""
    if tuned.evenly_pruned:
        return "Halving left as many candidates of each technique to finish."
    counts = [f"{_span(ends)} of {code(technique)}" for technique, ends in tuned.finalists.items()]
    return f"Halving did not leave as many candidates of each technique to finish: {listed(counts)} in a study."


def _span(ends: tuple[int, int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"


def spaces(tuned: TunedFindings) -> str:
    """Return the search space of each technique."""
    rows = [
        [code(technique) if index == 0 else "", code(path), _range(spec)]
        for technique, space in tuned.search["space"].items()
        for index, (path, spec) in enumerate(space.items())
    ]
    table = markdown(["technique", "hyperparameter", "range"], rows, 3)
    if all(study.space == tuned.search["space"][study.technique] for study in tuned.studies.studies):
        return table
    return f"{table}\n\nSpaces differ between the settings of the other factors; these ranges span them all."


def _range(spec: Mapping[str, Any]) -> str:
    if "choices" in spec:
        return ", ".join(code(choice) for choice in spec["choices"])
    kind = (", log scale" if spec.get("log") else "") + (", whole numbers" if spec.get("integer") else "")
    return f"{number(spec['low'])} to {number(spec['high'])}{kind}"


def failed(tuned: TunedFindings) -> str:
    """Return the candidates that failed, with messages: a row per study and message."""
    table = tuned.studies.candidates
    table = table[table["state"] == "FAILED"].assign(message=lambda t: t.get("message", ""))
    keys = ["technique", "workload", *tuned.evaluation.factors, "study", "message"]
    rows = []
    for key, mine in table.groupby(keys, sort=False):
        technique, workload, *levels, study, message = key
        where = ", ".join([code(workload), *map(code, levels), *([f"study {study:.0f}"] if repeated(tuned) else [])])
        numbers = listed([f"{number:.0f}" for number in mine["candidate"].head(5)])
        more = f" and {len(mine) - 5} more" if len(mine) > 5 else ""
        settings = ", ".join(
            f"{short_path(path)} {_setting(mine.iloc[0][path])}" for path in tuned.search["space"].get(technique, {})
        )
        rows.append([code(technique), where, numbers + more, settings, plain(message) or "not known"])
    return (
        markdown(["technique", "workload", "candidates", "the first one's settings", "message"], rows, 5)
        if rows
        else ""
    )


def _setting(value: object) -> str:
    """Return a value of a table, whose text may be a number."""
    try:
        return number(float(str(value)))
    except ValueError:
        return plain(value)


def short_path(path: str) -> str:
    """Return a hyperparameter's name without its group, if that is the optimizer."""
    return code(path.removeprefix("optimizer."))


def repeated(tuned: TunedFindings) -> bool:
    """Return whether the whole search was repeated."""
    return tuned.evaluation.num_studies > 1


def sentence(tuned: TunedFindings) -> str:
    """Return the sentence of a verdict about the tuning budget."""
    if not tuned.evaluation.tuning_parity:
        return f"They were not tuned alike, at most: {budget(tuned)} on each workload."
    if not tuned.evenly_pruned:
        return f"Both had {budget(tuned)} on each workload, but not as many that finished (see *Tuning*)."
    return f"Both were tuned alike: {budget(tuned)} on each workload."


def caveats(tuned: TunedFindings) -> list[str]:
    """Return the limits of an evaluation that was tuned."""
    at = [choice for choice in tuned.choices if choice.bound is not None]
    total = len(tuned.choices)
    notes = [f"The techniques were tuned with {budget(tuned)}: more candidates, or wider ranges, may turn differences."]
    if at:
        share = f"{len(at)} of {plural(total, 'chosen value')}"
        notes.append(f"{share} {'lies' if len(at) == 1 else 'lie'} at a bound of the search (see *Tuning*).")
    return notes


def text(tuned: TunedFindings) -> str:
    """Describe the search with its table."""
    rows = failed(tuned)
    parts = ["## Tuning", how(tuned), parity(tuned), f"{parity_sentence(tuned)} {numbers_of('tuning_budget')}"]
    if rows:
        parts += ["Candidates that failed are left out. The same command tries them again.", rows]
    return "\n\n".join([*parts, spaces(tuned)])


def numbers(tuned: TunedFindings) -> pd.DataFrame:
    """Return a row per technique with the work of its search."""
    return pd.DataFrame([vars(spent) for spent in tuned.spent])


TUNING = Section(searched, text, {"tuning_budget": numbers})
