"""What evaluations say about each technique over time: the last verdict, what moved, and what is contradicted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from evalbench.radar.reading import Archive, PastEvaluation
from evalbench.report.render.units import end_text, percent, ratio, signed
from evalbench.statistics.verdicts import Quality, Recommendation

BANDS = (Recommendation.ADOPT, Recommendation.TRIAL, Recommendation.ASSESS, Recommendation.HOLD)
"""The recommendations that a radar shows, from its middle outwards. Everything else is open."""
SIDES = {Quality.SUPERIOR: 1, Quality.BETTER: 1, Quality.WORSE: -1, Quality.INFERIOR: -1}
MOST_SETTINGS = 3  # that a label names


@dataclass(frozen=True)
class Identity:
    """What makes two verdicts be about one technique."""

    factor: str
    name: str
    settings_hash: str | None  # None: its settings are not known
    tuned: bool

    @property
    def key(self) -> str:
        """Return a short text that stays the same from radar to radar, for links."""
        content = [self.factor, self.name, self.settings_hash, self.tuned]
        return f"t-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class PastVerdict:
    """The verdict of one evaluation on one technique, as its summary has it."""

    evaluation: PastEvaluation
    technique: Mapping[str, Any]

    @property
    def recommendation(self) -> Recommendation:
        """Return the recommendation."""
        return Recommendation(self.technique["recommendation"])

    @property
    def band(self) -> Recommendation | None:
        """Return the recommendation if a radar shows it, None if the technique is open."""
        return self.recommendation if self.recommendation in BANDS else None

    @property
    def side(self) -> int:
        """Return 1 for a verdict of better than the baseline, -1 for worse, else 0."""
        quality = self.technique["quality"]
        return 0 if quality is None else SIDES.get(Quality(quality), 0)

    @property
    def words(self) -> str:
        """Return the verdict in a few words, with the effect and the cost: `better (+1.20 points), cheaper (0.5×)`."""
        size = f" ({self.effect})" if self.effect else ""
        classes = {"CHEAPER": "cheaper", "SAME": "same cost", "DEARER": "costlier", "UNCLEAR": "cost unclear"}
        cost = classes.get(self.technique.get("cost_class") or "", "")
        times = f" ({ratio(self.technique['cost']['ratio'])}×)" if self.technique["cost"] else ""
        return f"{self.technique.get('words', '')}{size}{f', {cost}{times}' if cost else ''}"

    @property
    def effect(self) -> str:
        """Return the effect with its unit; empty if there is none."""
        effect, unit = self.technique["effect"], self.evaluation.summary["unit"]
        return f"{signed(effect['mean'], unit['decimals'])} {unit['name']}" if effect and unit else ""

    @property
    def interval(self) -> str:
        """Return the interval of the effect with its level; empty if there is none."""
        effect, unit = self.technique["effect"], self.evaluation.summary["unit"]
        if not effect or not unit or effect["low"] is None or effect["high"] is None:
            return ""
        ends = (end_text(effect[end], unit["decimals"]) for end in ("low", "high"))
        return f"[{', '.join(ends)}] at {percent(effect['confidence'])}"

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Return the settings that were tuned, as far as they are known: `lr`, or `model.width` of another group."""
        tuning = self.evaluation.summary["conditions"].get("tuning")
        spaces = tuning.get("space") if self.technique["tuned"] and tuning else None
        space = spaces.get(self.technique["name"]) if isinstance(spaces, Mapping) else None
        group = (self.evaluation.summary["factor"] or "").partition(".")[0]
        return tuple(name.removeprefix(f"{group}.") for name in space) if isinstance(space, Mapping) else ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings that it had on every data set: of a tuned technique those that were not searched.

        Empty if they are not known.
        """
        searched = {name.partition(".")[0] for name in self.searched}
        known = self.technique.get("settings") if searched or not self.technique["tuned"] else None
        return {name: value for name, value in (known or {}).items() if name not in searched}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that it was judged by."""
        return tuple(sorted({metric for _, metric in self.evaluation.data_sets}))

    def contradicts(self, other: PastVerdict) -> tuple[str, ...]:
        """Return the data sets on which the two verdicts are opposite; empty if they do not contradict each other.

        Both must be against the same baseline and share a data set. They are opposite if one says better and the other
        worse, on all that they share, or if one names a shared data set as better and the other as worse.
        """
        shared = _shared(self.evaluation, other.evaluation)
        if not shared or not _same_baseline(self.evaluation, other.evaluation):
            return ()
        if self.side * other.side < 0:
            return tuple(shared)
        named = [
            (set(a.technique.get("better_on", ())), set(b.technique.get("worse_on", ())))
            for a, b in ((self, other), (other, self))
        ]
        return tuple(name for name in shared if any(name in better and name in worse for better, worse in named))


def _shared(a: PastEvaluation, b: PastEvaluation) -> list[str]:
    """Return the names of the data sets that both judge, by the same metric. Unknown data count as the same."""
    both = [key for key in a.data_sets if key in b.data_sets]
    data = {key: {a.data_sets[key], b.data_sets[key]} for key in both}
    return [key[0] for key, prints in data.items() if None in prints or len(prints) == 1]


def _same_baseline(a: PastEvaluation, b: PastEvaluation) -> bool:
    (name, settings), (other, other_settings) = a.baseline, b.baseline
    return name == other and (None in (settings, other_settings) or settings == other_settings)


@dataclass(frozen=True)
class Contradiction:
    """A newer verdict that says the opposite of an older one."""

    older: PastVerdict
    newer: PastVerdict
    data_sets: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """Return in what the two evaluations differ, which may be why."""
        a, b = (verdict.evaluation.summary for verdict in (self.older, self.newer))
        conditions = [
            name.replace("_", " ")
            for name in ("budget", "splits", "root_seed", "factors", "tuning")
            if a["conditions"].get(name) != b["conditions"].get(name)
        ]
        settings = [side["conditions"].get("settings", {}) for side in (a, b)]
        groups = [g for g in sorted({*settings[0], *settings[1]}) if g != b["factor"]]
        other = [group for group in groups if settings[0].get(group) != settings[1].get(group)]
        versions = [side["provenance"]["versions"] for side in (a, b)]
        changed = [p for p in sorted({*versions[0], *versions[1]}) if versions[0].get(p) != versions[1].get(p)]
        return (*conditions, *other, *(f"version of {package}" for package in changed))


@dataclass(frozen=True)
class OtherVerdict:
    """Another recommendation for a technique of this name, and under which conditions: `tuned`, `by auroc`."""

    verdict: PastVerdict
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class TrackedTechnique:
    """A technique with every verdict on it, oldest first, at least one."""

    identity: Identity
    label: str  # its name, with what tells it from others of that name
    history: tuple[PastVerdict, ...]
    before: Recommendation | None  # what was recommended before the date from which moves count; None: nothing
    elsewhere: tuple[OtherVerdict, ...]

    @property
    def now(self) -> PastVerdict:
        """Return the last verdict, which decides."""
        return self.history[-1]

    @property
    def is_open(self) -> bool:
        """Return whether the evidence gives no recommendation."""
        return self.now.recommendation not in BANDS

    @property
    def is_new(self) -> bool:
        """Return whether it was not judged before the date from which moves count."""
        return self.before is None

    @property
    def status(self) -> str:
        """Return `new`, `moved in` (towards Adopt), `moved out`, or `no change`."""
        if self.before is None:
            return "new"
        if self.before is self.now.recommendation or (self.before not in BANDS and self.is_open):
            return "no change"
        ranks = [BANDS.index(one) if one in BANDS else len(BANDS) for one in (self.before, self.now.recommendation)]
        return "moved in" if ranks[1] < ranks[0] else "moved out"

    @cached_property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """Return every newer verdict with an older one that it contradicts."""
        pairs = [(a, b, b.contradicts(a)) for a, b in combinations(self.history, 2)]
        return tuple(Contradiction(a, b, data_sets) for a, b, data_sets in pairs if data_sets)

    @property
    def is_by_name(self) -> bool:
        """Return whether the last verdict is the last by the name of its folder alone: none of them has a date."""
        return len(self.history) > 1 and not self.now.evaluation.date


@dataclass(frozen=True)
class TechnologyRadar:
    """Every technique that was ever judged, and every evaluation."""

    evaluations: tuple[PastEvaluation, ...]  # oldest first
    techniques: tuple[TrackedTechnique, ...]  # by factor, then by recommendation, then by name
    since: str  # by or since what moves are counted, in words
    left_out: tuple[tuple[str, str], ...]  # folder and reason

    @property
    def blips(self) -> tuple[TrackedTechnique, ...]:
        """Return the techniques with a recommendation; the number of the first one is 1."""
        return tuple(one for one in self.techniques if not one.is_open)

    @property
    def open(self) -> tuple[TrackedTechnique, ...]:
        """Return the techniques without a recommendation."""
        return tuple(one for one in self.techniques if one.is_open)

    @property
    def factors(self) -> tuple[str, ...]:
        """Return the factors of all techniques, in their order."""
        return tuple(dict.fromkeys(one.identity.factor for one in self.techniques))

    @property
    def moves(self) -> tuple[TrackedTechnique, ...]:
        """Return the techniques that are new, or whose recommendation changed."""
        return tuple(one for one in self.techniques if one.status != "no change")


def radar_of(archive: Archive, since: str | None = None) -> TechnologyRadar:
    """Return the radar of an archive.

    Args:
        archive: the evaluations.
        since: a day, `2026-11-26`: what moved since its beginning. None: what the last evaluation moved.
    """
    verdicts: dict[Identity, list[PastVerdict]] = {}
    for evaluation in archive.evaluations:
        for technique in evaluation.summary["techniques"]:
            if technique["recommendation"] is not None:
                identity = _identity(evaluation, technique)
                verdicts.setdefault(identity, []).append(PastVerdict(evaluation, technique))
    if since is None:
        earlier, words = set(map(id, archive.evaluations[:-1])), _by_the_last(archive.evaluations)
    else:
        earlier, words = {id(one) for one in archive.evaluations if one.date < since}, f"since {since}"
    labels = _labels(verdicts)
    techniques = [
        TrackedTechnique(
            identity, labels[identity], tuple(history), _last(history, earlier), _elsewhere(identity, verdicts)
        )
        for identity, history in verdicts.items()
    ]
    return TechnologyRadar(archive.evaluations, tuple(sorted(techniques, key=_order)), words, archive.left_out)


def _identity(evaluation: PastEvaluation, technique: Mapping[str, Any]) -> Identity:
    factor = evaluation.summary["factor"] or "technique"
    return Identity(factor, technique["name"], technique["settings_hash"], bool(technique["tuned"]))


def _by_the_last(evaluations: Sequence[PastEvaluation]) -> str:
    if len(evaluations) < 2:
        return "by the only evaluation"
    last = evaluations[-1]
    if not last.date:
        return f"by {last.name}, the last by the name of its folder: no evaluation has a date"
    return f"by the last evaluation, {last.name} ({last.date})"


def _elsewhere(identity: Identity, verdicts: Mapping[Identity, Sequence[PastVerdict]]) -> tuple[OtherVerdict, ...]:
    """Return the last verdict under each other condition on techniques of this name, if it recommends otherwise.

    Conditions are the settings, tuning, the baseline, and the data sets with their metrics.
    """
    now = verdicts[identity][-1]
    last: dict[Any, tuple[Identity, PastVerdict]] = {}
    for other, history in verdicts.items():
        if (other.factor, other.name) == (identity.factor, identity.name):
            for verdict in history:
                evaluation = verdict.evaluation
                last[other, evaluation.baseline, frozenset(evaluation.data_sets.items())] = other, verdict
    return tuple(
        OtherVerdict(verdict, _conditions(identity, now, other, verdict))
        for other, verdict in last.values()
        if verdict.band is not now.band and not (other == identity and _same_scope(now, verdict))
    )


def _same_scope(a: PastVerdict, b: PastVerdict) -> bool:
    one, other = a.evaluation, b.evaluation
    return one.baseline == other.baseline and one.data_sets == other.data_sets


def _conditions(identity: Identity, now: PastVerdict, other: Identity, verdict: PastVerdict) -> tuple[str, ...]:
    """Return in what the conditions of another verdict differ from those of the one that decides."""
    words = []
    if other.tuned != identity.tuned:
        words.append("tuned" if other.tuned else "not tuned")
    elif other != identity:
        words.append("other settings" if other.settings_hash else "settings not known")
    baseline, _ = verdict.evaluation.baseline
    if baseline != now.evaluation.baseline[0]:
        words.append(f"against {baseline}")
    elif other.tuned == identity.tuned and not _same_baseline(verdict.evaluation, now.evaluation):
        words.append(f"other settings of {baseline}")
    if verdict.metrics != now.metrics:
        words.append(f"by {', '.join(verdict.metrics)}")
    elif verdict.evaluation.data_sets != now.evaluation.data_sets:
        words.append("other data sets")
    return tuple(words)


def _last(history: Iterable[PastVerdict], earlier: set[int]) -> Recommendation | None:
    known = [one.recommendation for one in history if id(one.evaluation) in earlier]
    return known[-1] if known else None


def _order(one: TrackedTechnique) -> tuple[str, int, str, str]:
    rank = len(BANDS) if one.is_open else BANDS.index(one.now.recommendation)
    return one.identity.factor, rank, one.label.lower(), one.identity.key


def _labels(verdicts: Mapping[Identity, Sequence[PastVerdict]]) -> dict[Identity, str]:
    """Return a name for each technique; those that share one get what tells them apart behind it."""
    groups: dict[tuple[str, str], list[Identity]] = {}
    for identity in verdicts:
        groups.setdefault((identity.factor, identity.name), []).append(identity)
    return {
        identity: identity.name if len(group) == 1 else f"{identity.name} ({_apart(identity, group, verdicts)})"
        for group in groups.values()
        for identity in group
    }


def _apart(identity: Identity, group: Sequence[Identity], verdicts: Mapping[Identity, Sequence[PastVerdict]]) -> str:
    """Return what tells a technique from others of its name: settings that differ, tuned or not, or the hash."""
    settings = {other: verdicts[other][-1].settings for other in group}
    mine = settings[identity]
    known = [one for other, one in settings.items() if one and other.tuned == identity.tuned]
    differing = [key for key in mine if any(one.get(key) != mine[key] for one in known)]
    words = [f"{key}={json.dumps(mine[key])}" for key in differing[:MOST_SETTINGS]]
    if any(other.tuned != identity.tuned for other in group):
        words.append("tuned" if identity.tuned else "not tuned")
    if identity.settings_hash is None and any(other.settings_hash for other in group):
        words.append("settings not known")
    alike = [o for o in group if o != identity and o.tuned == identity.tuned and settings[o] == mine]
    if not words or (alike and identity.settings_hash is not None):
        words.append(f"settings {(identity.settings_hash or 'not known')[:8]}")
    return ", ".join(words)
