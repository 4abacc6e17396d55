"""What is declared for a lone table of results, from the command line or from Python."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from evalbench.errors import TableError
from evalbench.record.failed_as import failed_as_number
from evalbench.record.repetitions import PAIRINGS, UNITS
from evalbench.tasks.metric import find


@dataclass(frozen=True)
class Options:
    """What the table does not say itself."""

    baseline: str
    metric: str = "score"
    direction: str | None = None  # None: as the name of the metric tells
    score_unit: str = ""
    rope: float | None = None
    question: str | None = None
    wide: bool = False
    tuned: bool = False  # both sides were tuned with the same budget
    unit: str | None = None  # what a row repeats, a key of `UNITS`
    folds: int | None = None
    pairing: str | None = None  # what makes two runs a pair, one of `PAIRINGS`; None: as the unit establishes it
    clusters: str | None = None  # the column that names what items belong together, such as a document
    failed_as: str | None = None  # the score of a run that failed; see `with_failed`
    column: str = "seed"  # the user's name of the column `seed`
    unit_guessed: bool = False  # from that name
    span: tuple[float, float] | None = None  # the worst and the best possible score, or the other way round
    confirm_rope: bool = False  # a ROPE above a tenth of the span is meant
    targets: Mapping[str, float] = field(default_factory=dict)  # by workload
    effect: str = "difference"  # a key of `EFFECTS`
    test_size: int | None = None  # test rows of every run, if the table has no num_test
    alone: bool = False  # a table with one technique is complete
    read: tuple[str, ...] = ()  # how the table was read, in sentences
    command: str = ""

    def said(self, name: str, value: object = None) -> str:
        """Return an option as the caller writes it: `--unit item` in a command, `unit='item'` in Python."""
        return option_words(name, value, in_python=not self.command)

    def in_command(self, words: str) -> str:
        """Return words about an option of the command that Python lacks; none in Python."""
        return words if self.command else ""

    def check(self) -> None:
        """Refuse values that contradict each other.

        Raises:
            TableError: the unit is unknown, folds go with no unit, the span is no interval or one too many, or a target
                is no number.
        """
        self._check_effect()
        if self.test_size is not None and not self.test_size > 0:
            raise TableError(f"test_size must be a number of rows above 0, not {self.test_size}: for example 1319")
        if self.unit is not None and self.unit not in UNITS:
            raise TableError(
                f"unit must be one of {', '.join(UNITS)}, not {self.unit!r}: it says what a row repeats (the unit of"
                f" the score is {self.said('score_unit')})"
            )
        if self.pairing is not None and self.pairing not in PAIRINGS:
            raise TableError(
                f"pairing must be one of {', '.join(PAIRINGS)}, not {self.pairing!r}: it says which rows of two"
                " techniques belong together"
            )
        if self.clusters is not None and self.unit != "item":
            raise TableError(f"clusters are of items: give {self.said('unit', 'item')} with them, or leave them out")
        failed_as_number(self.failed_as or "worst", self.said("failed_as"))
        if self.folds is not None and self.unit != "fold":
            raise TableError(
                f"folds go with the unit fold, not with {self.unit}: leave them out, or give"
                f" {self.said('unit', 'fold')}"
            )
        if self.folds is not None and not (isinstance(self.folds, int | np.integer) and self.folds >= 2):
            raise TableError(f"folds must be a whole number of at least 2, not {self.folds!r}: for example 10")
        if self.span is not None:
            self._check_span(self.span)
        for workload, target in self.targets.items():
            if not _is_number(target):
                raise TableError(f"the target of {workload} must be a number, not {target!r}: for example 0.95")

    def _check_effect(self) -> None:
        if self.effect not in EFFECTS:
            raise TableError(f"effect must be one of {', '.join(EFFECTS)}, not {self.effect!r}: give one of them")
        if isinstance(self.rope, PercentRope) and self.effect != "ratio":
            raise TableError(
                f"a ROPE in percent ({self.rope:.4g} of the score) belongs to {self.said('effect', 'ratio')}: add it"
            )
        if self.effect == "ratio" and self.rope is not None and not self.rope < 1:
            raise TableError(
                f"the ROPE of ratios is a share of the score, not {self.rope:g}: write"
                f" {self.said('rope', '2%')} or 0.02"
            )
        if self.effect == "ratio" and self.span is not None:
            raise TableError(f"span must be left out with {self.said('effect', 'ratio')}: ratios have none")

    def _check_span(self, span: tuple[float, float]) -> None:
        if not (len(span) == 2 and all(map(_is_number, span)) and span[0] < span[1]):
            example = "--span=0,100" if self.command else "span=(0, 100)"
            raise TableError(f"span must be two numbers, the smaller first, not {span}: for example {example}")
        known = find(self.metric)
        if known is not None and known.span is not None:
            raise TableError(f"span must be left out for {self.metric}, whose span is known: it is {known.span:g}")


def option_words(name: str, value: object, in_python: bool) -> str:
    """Return an option of a table, perhaps with a value, as it is written in a command or in Python."""
    if in_python:
        return name if value is None else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    return flag if value in (None, True) else f"{flag} {value}"


EFFECTS = {
    "difference": "the scores of a technique minus those of the baseline",
    "ratio": "their ratio: differences of logarithms, averaged as such, so that large scores do not decide alone",
}
"""By the name that `--effect` takes."""


class PercentRope(float):
    """A number that was given in percent: 0.02 for `2%`."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating) and math.isfinite(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is declared for a lone table to a command line."""
    parser.add_argument("--baseline", help="table: the technique that all others are compared with")
    parser.add_argument("--wide", action="store_true", help="table: one row per workload, one column per technique")
    parser.add_argument("--metric", default="score", help="table: what the score is, such as accuracy")
    parser.add_argument(
        "--direction", choices=("maximize", "minimize"), help="table: by default as the name of the metric tells"
    )
    parser.add_argument(
        "--effect", default="difference", choices=tuple(EFFECTS), help="table: compare scores by difference or ratio"
    )
    parser.add_argument("--test-size", type=int, help="table: the test rows of each run, if num_test is missing")
    parser.add_argument("--score-unit", default="", help="table: unit of the score, such as s or fraction")
    parser.add_argument(
        "--rope",
        type=rope_of,
        metavar="R|R%",
        help="table: the smallest difference that matters, declared beforehand; in percent with --effect ratio",
    )
    parser.add_argument("--span", type=_two_numbers, metavar="LOW,HIGH", help="table: the possible scores (--span=0,1)")
    parser.add_argument("--confirm-rope", action="store_true", help="table: a ROPE above a tenth of the span is meant")
    parser.add_argument(
        "--target",
        dest="targets",
        action=_Named,
        default={},
        metavar="[WORKLOAD=]SCORE",
        help="table: the score that counts as solved, declared beforehand; may be repeated, without a name for all",
    )
    parser.add_argument("--unit", metavar="|".join(UNITS), help="table: what a row repeats; intervals follow from it")
    parser.add_argument("--folds", type=int, help="table: the number of folds, with --unit fold")
    parser.add_argument(
        "--pairing",
        metavar="|".join(PAIRINGS),
        help="table: what makes two runs a pair (default: the split, fold or item, if the unit is one; else none)",
    )
    parser.add_argument("--clusters", metavar="COLUMN", help="table: with --unit item, the document of each item")
    parser.add_argument(
        "--failed-as",
        metavar="worst|trivial|SCORE|censored",
        help="table: the score of a run that failed, or that has none (default: one ROPE worse than the worst run)",
    )
    parser.add_argument("--tuned", action="store_true", help="table: all techniques were tuned with the same budget")


class _Named(argparse.Action):
    """Collect numbers by name: `--target digits=0.95 --target iris=0.9`."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        name, _sign, number_text = str(values).rpartition("=")
        try:
            number = float(number_text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or str(values).startswith("="):
            parser.error(f"argument {self.option_strings[0]}: must be NAME=NUMBER or NUMBER, not {values!r}")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), name: number})


def options_of(asked: argparse.Namespace, command: str = "") -> Options:
    """Return the options of a command line."""
    given = {one.name: getattr(asked, one.name) for one in fields(Options) if hasattr(asked, one.name)}
    return Options(**given, command=command)


def positive_number(text: str) -> float:
    """Return a number above 0 from the command line; argparse turns the error into a refusal."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def rope_of(text: str) -> float:
    """Return a ROPE from the command line, such as `0.005` or `2%`."""
    return PercentRope(positive_number(text[:-1]) / 100) if text.endswith("%") else positive_number(text)


def _two_numbers(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    return float(low), float(high)
