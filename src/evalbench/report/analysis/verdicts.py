"""The verdicts of an evaluation: each technique against the baseline, all pairs, and the same without what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from evalbench.errors import TableError
from evalbench.record.declared import ROPE
from evalbench.record.folder import Folder
from evalbench.record.rows import CLUSTER
from evalbench.record.schema import TRIVIAL
from evalbench.record.skill import best_possible
from evalbench.report.analysis.pairs import Contrast, clusters_of, common_scores, items_of, sorted_matrix
from evalbench.report.render.units import Unit
from evalbench.statistics.costs import UNKNOWN, Ratio
from evalbench.statistics.decisions import Rule, decide
from evalbench.statistics.design import Challenger, Design, Differences, evidence_of, used
from evalbench.statistics.intervals import Floats
from evalbench.statistics.items import Items
from evalbench.statistics.judging import Verdict, judge
from evalbench.statistics.matrices import Matrix, matrix
from evalbench.statistics.paired import never_gained
from evalbench.statistics.ranks import shared_ranks
from evalbench.statistics.settings import average_settings
from evalbench.statistics.unpaired import TwoSamples
from evalbench.statistics.verdicts import QUALITIES, Quality, Recommendation, failures_are_ok
from evalbench.tasks.metric import TOKENS

SIGN_FLIP_SEED = 20_260_101


@dataclass(frozen=True)
class PairOutcome:
    """One of all pairs of techniques, in the common unit; exploratory, its level allowing for all pairs."""

    a: str
    b: str
    mean: float  # a minus b
    low: float
    high: float
    quality: Quality  # of a against b


@dataclass(frozen=True)
class Judgment:
    """What the evidence says about every technique."""

    baseline: str
    design: Design
    rope_unit: str
    verdicts: tuple[Verdict, ...]  # in the order of the techniques, the baseline left out
    survivors: Mapping[str, Verdict]  # the same without pairs in which a side failed, if there are such
    pairs: tuple[PairOutcome, ...]
    ranks: Mapping[str, int]  # techniques that cannot be told apart share one
    scores: Mapping[str, Matrix]  # of each technique in the common unit, seeds averaged over the settings
    failed: Mapping[str, Matrix]  # of each technique: 1 if a run failed and has a score that it did not reach, else 0
    incomplete: Mapping[str, str]  # candidate -> why cells are missing
    clusters: Matrix | None  # of each item, if they come in clusters
    unmatched: Mapping[str, int]  # candidate -> runs of a foreign table, of either side, that have no partner

    def verdict(self, candidate: str) -> Verdict:
        """Return the verdict on one candidate."""
        return next(verdict for verdict in self.verdicts if verdict.challenger == candidate)

    def difference(self, a: str, b: str) -> Differences:
        """Return the scores of `a` minus those of `b` on the seeds that both have; without pairs, those of both."""
        return _compared(self.scores, self.failed, a, b, self.design, self.clusters)[0]


def judgment(
    folder: Folder,
    contrasts: list[Contrast],
    common: Unit,
    rho: Mapping[str, float],
    left_out: pd.DataFrame,
    costs: Mapping[str, Ratio],
) -> Judgment:
    """Judge every candidate against the baseline.

    Raises:
        TableError: no ROPE is declared for the common unit.
    """
    evaluation = folder.evaluation
    rope_unit = "skill" if common.is_skill else next(iter(evaluation.workloads.values())).measure
    design = _design(folder, common, rho, rope_unit, len(contrasts))
    incomplete, unmatched = _gaps(folder, left_out)
    failed = _failed(folder)
    challengers = [
        Challenger(
            name=contrast.candidate,
            differences=_differences(contrast, folder),
            cost=costs.get(contrast.candidate, UNKNOWN),
            complete=contrast.candidate not in incomplete,
            failures_ok=failures_are_ok(*failed[contrast.candidate], *failed[contrast.comparator]),
            decided=_differences(contrast, folder, "decided" if contrast.paired else "failed"),
        )
        for contrast in contrasts
    ]
    judged = [candidate for candidate in challengers if _comparable(candidate.differences, design)]
    verdicts = {v.challenger: v for v in judge(judged, design, np.random.default_rng(SIGN_FLIP_SEED))}
    survivors = _survivors(folder, contrasts, challengers, design, tuple(verdicts))
    scores, gone = _scores(folder, common.is_skill)
    clusters = _clusters(folder)
    pairs, ranks = _all_pairs(scores, gone, design, clusters)
    ordered = tuple(verdicts[name] for name in evaluation.techniques if name in verdicts)
    return Judgment(
        str(evaluation.baseline),
        design,
        rope_unit,
        ordered,
        survivors,
        pairs,
        ranks,
        scores,
        gone,
        incomplete,
        clusters,
        unmatched,
    )


def _clusters(folder: Folder) -> Matrix | None:
    """Return the cluster of each item; None if each item is alone."""
    if folder.evaluation.clusters is None:
        return None
    return matrix(clusters_of(folder), CLUSTER, tuple(folder.evaluation.workloads))


def _design(folder: Folder, common: Unit, rho: Mapping[str, float], rope_unit: str, num_challengers: int) -> Design:
    evaluation = folder.evaluation
    return Design(
        rope=_rope(folder, rope_unit),
        rho=np.array([rho.get(name, 0.0) for name in evaluation.workloads]),
        counted=tuple(not workload.generated for workload in evaluation.workloads.values()),
        floors=_floors(folder, common.is_skill),
        alpha=1 - evaluation.confidence,
        looks=evaluation.looks,
        generated_too=evaluation.generated,
        one_score=_one_score(folder),
        tuned=evaluation.tuned,
        tuning_parity=evaluation.tuning_parity,
        num_challengers=num_challengers,
        paired=evaluation.paired,
        fixed_sets=evaluation.parts_of_one_test,
    )


def _gaps(folder: Folder, left_out: pd.DataFrame) -> tuple[dict[str, str], dict[str, int]]:
    """Return why cells are missing, and the number of runs without a partner, by candidate.

    Nothing was planned in a foreign table: what both sides have is compared, and no cell is missing.
    """
    by_candidate = left_out.groupby("candidate", sort=False)
    if folder.evaluation.foreign:
        return {}, {str(name): int(count) for name, count in by_candidate["count"].sum().items()}
    return {str(name): "; ".join(dict.fromkeys(reasons)) for name, reasons in by_candidate["reason"]}, {}


def _rope(folder: Folder, unit: str) -> float:
    declared = folder.evaluation.rope
    width = declared.get(unit, ROPE.get(unit))
    if width is None:
        raise TableError(
            f"no smallest difference that matters is declared for {unit!r}: declare the ROPE of this unit"
            " (evaluation.rope in the configuration, --rope for a table)"
        )
    return width


def _one_score(folder: Folder) -> bool:
    """Return whether a foreign table has one score per technique and data set: the data sets are then the pairs."""
    counts = folder.results.groupby(["technique", "workload"], sort=False).size()
    return folder.evaluation.foreign and bool((counts == 1).all()) and len(folder.evaluation.workloads) > 1


def _floors(folder: Folder, in_skill: bool) -> Floats:
    """Return the noise floor of each workload's test set in the common unit; nan if its metric has no formula.

    It is that of the first look: what was decided then must not change with later seeds of the baseline.
    """
    evaluation = folder.evaluation
    first = evaluation.looks[0] if len(evaluation.looks) > 1 else math.inf
    references = folder.references[folder.references["seed"] < first]
    floors = []
    for name, workload in evaluation.workloads.items():
        mine = folder.cell(name, str(evaluation.baseline))
        base = mine[(mine["state"] == "COMPLETE") & (mine["seed"] < first)]
        num_test = float(base["num_test"].mean()) if len(base) else math.nan
        score = float(base["score"].mean()) if len(base) else math.nan
        formula = None if workload.kind == TOKENS else workload.described.floor  # tokens of a row are no rows
        floor = math.nan
        if math.isfinite(num_test) and math.isfinite(score) and formula is not None:
            floor = formula(score, round(num_test))
            if in_skill:
                trivial = references[(references["workload"] == name) & (references["reference"] == TRIVIAL)]["score"]
                floor /= abs(best_possible(workload) - float(trivial.mean()))
        floors.append(floor)
    return np.array(floors)


def _failed(folder: Folder) -> dict[str, tuple[float, int]]:
    """Return the number of failed trials and of all trials, by technique."""
    gone = folder.results.groupby("technique")["failed"].agg(["sum", "size"])
    return {str(name): (float(row["sum"]), int(row["size"])) for name, row in gone.iterrows()}


def _differences(contrast: Contrast, folder: Folder, value: str = "common") -> Differences:
    workloads = tuple(folder.evaluation.workloads)
    if folder.evaluation.parts_of_one_test and value == "common":
        return items_of(contrast.table, workloads, value)
    return contrast.samples(workloads, value) if not contrast.paired else _of_pairs(contrast.table, folder, value)


def _of_pairs(table: pd.DataFrame, folder: Folder, value: str) -> Matrix:
    seeds, _ = average_settings(table, list(folder.evaluation.factors), [value])
    return matrix(seeds, value, tuple(folder.evaluation.workloads))


def _comparable(differences: Differences, design: Design) -> bool:
    """Return whether every workload that counts has a pair: without one there is nothing to average."""
    return all(differences.counts[index] > 0 for index in used(design)) if differences.seeds else False


def _survivors(
    folder: Folder, contrasts: list[Contrast], challengers: list[Challenger], design: Design, names: tuple[str, ...]
) -> dict[str, Verdict]:
    """Return the verdicts without the pairs in which a side failed: a sensitivity check, never the answer."""
    results = folder.results
    keys = ["workload", "seed", *folder.evaluation.factors]
    gone = results[results["failed"] > 0]
    if gone.empty:
        return {}
    reduced: list[Challenger] = []
    changed = []
    for contrast, candidate in zip(contrasts, challengers, strict=True):
        lost = gone[gone["technique"].isin([contrast.candidate, contrast.comparator])][keys].drop_duplicates()
        if lost.empty:
            reduced.append(candidate)
            continue
        if contrast.paired:
            kept = contrast.table.merge(lost, on=keys, how="left", indicator="lost", sort=False)
            kept = kept[kept["lost"] == "left_only"].drop(columns="lost")
        else:
            kept = contrast.table[contrast.table["failed"] == 0]
        left = _differences(replace(contrast, table=kept), folder)
        reduced.append(replace(candidate, differences=left, decided=None))
        changed.append(candidate.name)
    judged = [c for c in reduced if c.name in names and _comparable(c.differences, design)]
    verdicts = judge(judged, design, np.random.default_rng(SIGN_FLIP_SEED))
    return {verdict.challenger: verdict for verdict in verdicts if verdict.challenger in changed}


def _scores(folder: Folder, in_skill: bool) -> tuple[dict[str, Matrix], dict[str, Matrix]]:
    trials = common_scores(folder, in_skill)
    scores, failed = {}, {}
    for technique in folder.evaluation.techniques:
        mine = trials[trials["technique"] == technique]
        if not folder.evaluation.paired:
            scores[technique] = sorted_matrix(mine, "common", tuple(folder.evaluation.workloads))
            failed[technique] = sorted_matrix(mine, "failed", tuple(folder.evaluation.workloads))
            continue
        seeds, _ = average_settings(mine, list(folder.evaluation.factors), ["common", "failed"])
        scores[technique] = matrix(seeds, "common", tuple(folder.evaluation.workloads))
        failed[technique] = matrix(seeds, "failed", tuple(folder.evaluation.workloads))
    return scores, failed


def difference(a: Matrix, b: Matrix, decided: Matrix | None = None) -> Matrix:
    """Return `a - b` on the seeds that both have; `decided` (of these seeds) as in `never_gained`."""
    positions = [{seed: index for index, seed in enumerate(m.seeds)} for m in (a, b)]
    seeds = tuple(seed for seed in a.seeds if seed in positions[1])
    rows = [[position[seed] for seed in seeds] for position in positions]
    values = a.values[rows[0]] - b.values[rows[1]]
    return Matrix(values if decided is None else never_gained(values, decided.values), seeds, a.workloads)


def _compared(
    scores: Mapping[str, Matrix],
    failed: Mapping[str, Matrix],
    a: str,
    b: str,
    design: Design,
    clusters: Matrix | None,
) -> tuple[Differences, Differences]:
    """Return the differences of two techniques, and which of them failures decide (see `failures`)."""
    if not design.paired:
        return TwoSamples(scores[a], scores[b]), TwoSamples(failed[a], failed[b])
    decided = difference(failed[b], failed[a])
    differences = difference(scores[a], scores[b], decided)
    return _items(differences, clusters) if design.fixed_sets else differences, decided


def _items(differences: Matrix, clusters: Matrix | None) -> Items:
    """Return the differences of items with the clusters of those that are there."""
    if clusters is None:
        return Items(differences)
    rows = np.searchsorted(clusters.seeds, differences.seeds)
    return Items(differences, Matrix(clusters.values[rows], differences.seeds, differences.workloads))


def _all_pairs(
    scores: Mapping[str, Matrix], failed: Mapping[str, Matrix], design: Design, clusters: Matrix | None
) -> tuple[tuple[PairOutcome, ...], dict[str, int]]:
    names = list(scores)
    beats = np.zeros((len(names), len(names)), dtype=bool)
    pairs = list(combinations(range(len(names)), 2))
    outcomes = []
    for i, j in pairs:
        d, decided = _compared(scores, failed, names[i], names[j], design, clusters)
        if not d.seeds or min(d.counts[index] for index in used(design)) == 0:
            nan = math.nan
            outcomes.append(PairOutcome(names[i], names[j], nan, nan, nan, Quality.INCONCLUSIVE))
            continue
        use = used(design)
        mask = np.isin(np.arange(len(design.rho)), use)
        evidence = evidence_of([(d, decided)], design.rho, design.floors).on(mask)
        rule = Rule(design.rope, design.alpha / len(pairs), by_set=design.one_score, paired=design.paired)
        decisions = decide(evidence, rule)
        side = int(decisions.by_failures[0]) or int(decisions.low[0] > 0) - int(decisions.high[0] < 0)
        beats[i, j], beats[j, i] = side > 0, side < 0
        ends = (float(decisions.mean[0]), float(decisions.low[0]), float(decisions.high[0]))
        outcomes.append(PairOutcome(names[i], names[j], *ends, QUALITIES[int(decisions.quality[0])]))
    return tuple(outcomes), dict(zip(names, shared_ranks(beats), strict=True))


def recommended(verdict: Verdict) -> str:
    """Return the recommendation in one word."""
    return "OPEN" if verdict.recommendation is Recommendation.INSUFFICIENT else str(verdict.recommendation)
