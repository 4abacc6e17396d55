"""`evaluation.json`: what was declared before the results, read once and checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.record.failed_as import failed_words
from evalbench.record.options import option_words
from evalbench.record.schema import check_version
from evalbench.tasks.metric import (
    FRACTION,
    SKILL,
    SKILL_SPAN,
    WIDEST,
    Direction,
    Metric,
    base_name,
    find,
    in_words,
    is_wide,
)

ROPE = {"accuracy": 0.005, "skill": 0.01}
"""By unit, if none was declared."""
OPTIONAL = ("fixed_test_rows", "fixed_validation_rows", "split", "folds", "equal_rows", "target", "best")
"""Fields of a workload that a folder may lack."""
RATIO_SPAN = math.log(1.1) / WIDEST
"""So that a ROPE of more than 10 % needs to be confirmed, as one above a tenth of a span does."""


@dataclass(frozen=True)
class Workload:
    """One problem of the evaluation."""

    name: str
    kind: str  # the name of its task, see `evalbench.tasks`
    generated: bool  # made by a formula: it does not count as a data set of its own
    rows: int
    features: int
    classes: int | None
    fingerprint: str
    metric: str
    direction: str
    unit: str
    description: str
    fixed_test_rows: int | None = None  # how many rows the data set itself has every split test on
    fixed_validation_rows: int | None = None  # the same of the rows that it is validated on
    split: str | None = None  # how rows are divided; None: anew for every seed, by class if they have one
    folds: int | None = None
    equal_rows: Mapping[str, int] | None = None  # see `count_equal_rows`, of the first split; None: not known
    target: float | None = None  # the value of the metric that counts as solved, declared before the results
    curve_metric: str = ""  # which metric `val_score` of a curve is
    best: float | None = None  # the score that cannot be beaten, of a metric that evalbench does not know
    words: str = ""  # its name for people
    span: float | None = None  # from the worst possible score to the best, as declared for a foreign table
    as_skill: bool = True  # average it over data sets as skill
    score_on_curve: bool = False  # `val_score` of a curve is the score itself: a foreign table
    weighted: bool = False  # its rows have weights, which the training loss alone uses
    ratio: bool = False  # scores are natural logarithms: what is judged are ratios

    @property
    def same_test_rows(self) -> bool:
        """Return whether every seed is tested on the same rows, also without a search."""
        return bool(self.fixed_test_rows) or self.split in ("time", "fixed")

    @property
    def measure(self) -> str:
        """Return the metric without its split: `accuracy` of `test/accuracy`."""
        return base_name(self.metric)

    @property
    def described(self) -> Metric:
        """Return the registered metric, or else the metric as it was declared."""
        if self.ratio:
            words = (find(self.metric) or Metric(self.measure, self.sense, words=in_words(self.measure))).words
            return Metric(self.measure, self.sense, self.unit, words=words, span=RATIO_SPAN, as_skill=False)
        own = Metric(self.measure, self.sense, self.unit, self.best, self.words or in_words(self.measure))
        span = 1.0 if self.unit == FRACTION else self.span
        return find(self.metric) or replace(own, span=span, as_skill=self.as_skill)

    @property
    def sense(self) -> Direction:
        """Return the direction, checked."""
        return "minimize" if self.direction == "minimize" else "maximize"

    @property
    def on_curve(self) -> bool:
        """Return whether `val_score` of a curve is on the scale of the workload's own score."""
        return self.described.on_curve and base_name(self.curve_metric) == self.measure

    @property
    def curve_sign(self) -> int:
        """Return 1 if the `val_score` of a curve can rise to a target, -1 if it can fall to it, 0 if it is not it."""
        return 1 if self.on_curve else self.described.sign if self.score_on_curve else 0


@dataclass(frozen=True)
class Failure:
    """A cell that failed: our fault, not a finding about the technique."""

    technique: str
    workload: str
    factors: Mapping[str, str]
    message: str
    log: str


@dataclass(frozen=True)
class JudgedBefore:
    """Trials that another evaluation had judged before this one began."""

    evaluation: str
    looks: tuple[int, ...]
    trials: int
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Declaration:
    """`evaluation.json`: what was compared, and how."""

    name: str
    question: str
    factor: str | None  # None: nothing is compared, one technique is described
    baseline: str | None
    techniques: tuple[str, ...]
    workloads: Mapping[str, Workload]
    factors: Mapping[str, tuple[str, ...]]  # the other factors of the sweep and their levels
    settings: Mapping[str, Mapping[str, Any]]  # factor -> choice -> its settings
    budget: Mapping[str, float]
    splits: Mapping[str, Any]  # shares of the rows, and the method unless it is the default
    num_seeds: int
    root_seed: int
    confidence: float
    failures: tuple[Failure, ...]
    provenance: Mapping[str, Any]
    rope: Mapping[str, float] = field(default_factory=lambda: dict(ROPE))  # half its width, by unit
    rope_declared: bool = True  # False if it is evalbench's default
    generated: bool = False  # generated workloads count in the first verdict
    declared: str | None = None  # hash of what was fixed before the results
    tuning: Mapping[str, Any] | None = None  # None: nobody tuned
    engines: Mapping[str, str] = field(default_factory=dict)  # of the techniques that do not train in cohorts
    looks: tuple[int, ...] = ()  # numbers of seeds after which it is judged; by default one look at `num_seeds`
    looks_declared: bool = False  # False: nothing says whether somebody looked at results and then went on
    extended_from: int | None = None  # seeds from this number on were added after a look that was not declared
    judged_before: tuple[JudgedBefore, ...] | None = None  # None: not known
    elsewhere: Mapping[str, Any] | None = None  # declared of repetitions if commands had the data themselves
    foreign: bool = False  # a table that evalbench did not train: little is known of how it was made
    unit: str | None = None  # what the rows of a foreign table repeat, a key of `UNITS`; None: not said
    unit_guessed: str = ""  # from the name of this column; empty: declared
    folds: int | None = None  # the number of folds, if the unit is `fold`
    folds_counted: bool = False  # in the table; False: given by the user
    pairing: str = "seed"  # one of `PAIRINGS`
    pairing_declared: bool = False  # by the user; False: established, or `none` since nothing is known
    failed_as: str = "worst"  # the score of a run of a foreign table that failed: see `with_failed`
    clusters: str | None = None  # the column that names what items of a foreign table belong together

    def __post_init__(self) -> None:
        """Make all seeds one look if no looks were declared."""
        object.__setattr__(self, "looks", self.looks or (self.num_seeds,))

    def option(self, name: str, value: str | None = None) -> str:
        """Return how a user declares `unit`, `folds` or the like: an option of a table, a setting of named data."""
        if self.elsewhere is not None:
            return f"dataset.{name}" if value is None else f"dataset.{name}={value}"
        return option_words(name, value, in_python=not self.provenance.get("command"))

    @property
    def rope_unit(self) -> str:
        """Return the metric whose ROPE decides: that of all workloads if it has one, else `skill`."""
        measures = {workload.measure for workload in self.workloads.values()}
        return measures.pop() if len(measures) == 1 and measures <= set(self.rope) else SKILL

    @property
    def rope_span(self) -> float | None:
        """Return the span of the scores that the ROPE is part of; None if nobody declared it."""
        spans = {workload.measure: workload.described.span for workload in self.workloads.values()}
        return SKILL_SPAN if self.rope_unit == SKILL else spans[self.rope_unit]

    @property
    def rope_wide(self) -> bool:
        """Return whether the ROPE takes more than a tenth of the span of the scores: the user confirmed it."""
        return is_wide(self.rope[self.rope_unit], self.rope_span) if self.rope_unit in self.rope else False

    @property
    def tuned(self) -> bool:
        """Return whether at least one side was tuned."""
        return self.tuning is not None

    @property
    def failed_score(self) -> str:
        """Return words for the score of a run that has no score of its own."""
        return failed_words(self.failed_as) if self.foreign else "the trivial predictor"

    @property
    def searched(self) -> bool:
        """Return whether evalbench tuned, so that there are studies."""
        return self.tuning is not None and "sampler" in self.tuning

    @property
    def redrawn(self) -> tuple[str, ...]:
        """Return the workloads of which every seed draws other test rows."""
        return tuple(name for name, one in self.workloads.items() if not (self.searched or one.same_test_rows))

    @property
    def num_studies(self) -> int:
        """Return the number of repetitions of the search; with more than one, studies repeat instead of seeds."""
        return int(self.tuning["num_studies"]) if self.tuning is not None and self.searched else 1

    @property
    def repeated(self) -> tuple[str, str]:
        """Return the noun of what repeats, and its plural: `seed` and `seeds`, unless studies or other units repeat."""
        if self.num_studies > 1:
            return "study", "studies"
        unit = self.unit or ("seed" if self.paired else "run")
        return unit, "studies" if unit == "study" else f"{unit}s"

    @property
    def one_result(self) -> str:
        """Return the noun of one row of the results: evalbench trains trials, a foreign table has runs."""
        return "run" if self.foreign else "trial"

    @property
    def paired(self) -> bool:
        """Return whether runs of two techniques with the same number are pairs."""
        return self.pairing != "none"

    @property
    def parts_of_one_test(self) -> bool:
        """Return whether the workloads are parts of one test set, which stand for no others."""
        return self.unit == "item"

    @property
    def tuning_parity(self) -> bool:
        """Return whether all techniques were tuned with the same budget, or none was tuned."""
        return self.tuning is None or bool(self.tuning.get("parity", True))


def declaration(raw: Mapping[str, Any]) -> str:
    """Return a short hash of everything fixed before the results: factor, baseline, ROPE, level, targets, looks."""
    fixed = {
        **{key: raw.get(key) for key in ("factor", "baseline", "rope", "confidence")},
        "targets": {name: workload.get("target") for name, workload in raw["workloads"].items()},
        **{key: raw[key] for key in ("looks", "generated") if key in raw},  # older folders declare none
    }
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12]


def read_evaluation(path: Path) -> Declaration:
    """Read and check the file.

    Raises:
        TableError: it is missing, unreadable, or does not describe an evaluation.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TableError(f"{path} is missing: give the folder of an evaluation, such as reports/optimizers") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read as JSON: {error}") from None
    try:
        check_version(path, raw)
        if raw.get("declared") not in (None, declaration(raw)):
            raise TableError(
                f"{path}: what was declared before the results (ROPE, baseline, targets, looks) was altered"
            )
        return Declaration(
            name=raw["name"],
            question=raw["question"] or default_question(raw["factor"], raw["baseline"], raw["techniques"]),
            factor=raw["factor"],
            baseline=_baseline(path, raw),
            techniques=tuple(map(str, raw["techniques"])),
            workloads={name: _workload(name, values) for name, values in raw["workloads"].items()},
            factors={name: tuple(map(str, levels)) for name, levels in raw["factors"].items()},
            settings=raw["settings"],
            budget=raw["budget"],
            splits=raw["splits"],
            num_seeds=raw["num_seeds"],
            root_seed=raw["root_seed"],
            confidence=raw["confidence"],
            failures=tuple(_failure(failure) for failure in raw["failures"]),
            provenance=raw["provenance"],
            rope={str(unit): float(width) for unit, width in raw.get("rope", ROPE).items()},
            rope_declared="rope" in raw,
            generated=bool(raw.get("generated", False)),
            declared=raw.get("declared"),
            tuning=raw.get("tuning"),
            engines=raw.get("engines", {}),
            elsewhere=raw.get("elsewhere"),
            looks=_looks(path, raw),
            looks_declared="looks" in raw or "pilot_seeds" in raw,
            extended_from=_extended_from(raw),
            judged_before=_judged_before(raw),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{path} does not describe an evaluation: {type(error).__name__} {error}") from None


def default_question(factor: str | None, baseline: str | None, techniques: Sequence[str]) -> str:
    """Return the question of an evaluation that was given none."""
    if factor is None:
        return f"How good is {' or '.join(map(str, techniques))}?"
    return f"Which {factor} is better than {baseline}?"


def _baseline(path: Path, raw: Mapping[str, Any]) -> str | None:
    """Return the baseline; refuse one that is not a technique, if techniques are compared."""
    if raw["factor"] is None:
        return None
    baseline: str | None = raw["baseline"]
    if baseline not in raw["techniques"]:
        raise TableError(f"{path}: baseline must be one of the techniques {list(raw['techniques'])}, not {baseline!r}")
    return baseline


def _looks(path: Path, raw: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the declared looks; refuse anything but ascending numbers that end at the number of seeds."""
    looks = raw.get("looks", [raw["num_seeds"]])
    if not looks or looks != sorted(set(looks)) or looks[-1] != raw["num_seeds"]:
        raise TableError(f"{path}: looks must be ascending numbers that end at num_seeds, not {looks}")
    return tuple(looks)


def _extended_from(raw: Mapping[str, Any]) -> int | None:
    """Return the number of seeds of the first run if more were added later, as version 0.1.0 allowed once."""
    first = raw.get("pilot_seeds")
    return None if first is None or first >= raw["num_seeds"] else int(first)


def _judged_before(raw: Mapping[str, Any]) -> tuple[JudgedBefore, ...] | None:
    if raw.get("judged_before") is None:
        return None
    return tuple(
        JudgedBefore(
            one["evaluation"], tuple(one["looks"]), one["trials"], tuple(one["techniques"]), tuple(one["seeds"])
        )
        for one in raw["judged_before"]
    )


def _workload(name: str, raw: Mapping[str, Any]) -> Workload:
    required = [field.name for field in fields(Workload) if field.name != "name" and field.default is MISSING]
    optional: dict[str, Any] = {key: raw.get(key) for key in OPTIONAL}
    # A folder names it only if the user chose a metric.
    optional["curve_metric"] = raw.get("curve_metric", "val/r2" if raw["kind"] == "regression" else "val/accuracy")
    # A metric of the user's is averaged as skill if its best possible score is known.
    optional |= {
        "weighted": raw.get("weighted", False),
        "words": raw.get("words", ""),
        "as_skill": "best" not in raw or raw["best"] is not None,
    }
    return Workload(name=name, **{key: raw[key] for key in required}, **optional)


def _failure(raw: Mapping[str, Any]) -> Failure:
    factors = {str(name): str(level) for name, level in raw["factors"].items()}
    return Failure(raw["technique"], raw["workload"], factors, str(raw["message"]), str(raw["log"] or ""))
