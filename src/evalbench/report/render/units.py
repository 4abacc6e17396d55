"""How numbers are written: the unit of a metric, signs, intervals, and large counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evalbench.names import one_line
from evalbench.statistics.intervals import Interval
from evalbench.tasks.metric import FRACTION, SKILL_SPAN, base_name, find, in_words

UNKNOWN = "not known"


@dataclass(frozen=True)
class Unit:
    """The unit in which the scores of a metric, and their differences, are printed."""

    metric: str  # in words: accuracy, R²
    scale: float  # printed value = stored value * scale
    label: str  # of scores: "accuracy (%)"
    difference: str  # of differences: "accuracy points"
    short: str  # in a table: "points"
    decimals: int  # of scores
    finer: int  # decimals of differences
    sign: int = 1  # -1 if lower is better: a difference of a better technique is printed below zero
    reach: float = math.inf  # the largest possible difference in size, before `scale`: the span of the scores

    @property
    def is_skill(self) -> bool:
        """Return whether this is skill, in which workloads of different metrics are averaged, with whatever digits."""
        return self.label == SKILL.label

    @property
    def oriented(self) -> float:
        """Return the factor from a difference of which larger is better to the one that is printed."""
        return self.sign * self.scale

    @property
    def better(self) -> str:
        """Say that lower is better, if it is."""
        return "; lower is better" if self.sign < 0 else ""

    def words(self, value: float) -> str:
        """Say where a difference, given so that larger is better, lies if lower is better: `lower, better`."""
        if self.sign > 0 or not value:
            return ""
        return "lower, better" if value > 0 else "higher, worse"

    def with_digits(self, rope: float, halves: Iterable[float]) -> Unit:
        """Return the unit with digits for a ROPE, and for two digits of half of each interval, as stored."""
        decimals, size = self.finer, self.shown_size(rope)
        while decimals < MOST_DECIMALS and abs(round(size, decimals) - size) > 0.005 * size:
            decimals += 1
        known = [self.shown_size(half) for half in halves if math.isfinite(half) and half > 0]
        if known:
            decimals = max(decimals, min(MOST_DECIMALS, 1 - math.floor(math.log10(min(known)))))
        return replace(self, finer=decimals, decimals=self.decimals + decimals - self.finer)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the bounds of printed scores: 0 and 100 for a share. Skill has none below: it may be negative."""
        return (0.0, 100.0) if self.scale == 100 and not self.is_skill else (-math.inf, math.inf)

    def shown(self, value: Any) -> Any:
        """Return the printed value of differences that are given so that larger is better: a number or an array."""
        return value * self.oriented

    def shown_size(self, value: Any) -> Any:
        """Return the printed value of sizes of differences, such as the ROPE or a standard deviation."""
        return value * self.scale

    def shown_score(self, value: Any) -> Any:
        """Return the printed value of scores."""
        return value * self.scale

    def score(self, value: float) -> str:
        """Return a score without its unit."""
        return fixed(self.shown_score(value), self.decimals)

    def change(self, value: float) -> str:
        """Return a difference, given so that larger is better, with the sign of its words and without its unit."""
        return signed(self.shown(value), self.finer)

    def size(self, value: float) -> str:
        """Return the size of a difference, such as the ROPE: without a sign."""
        return fixed(abs(self.shown_size(value)), self.finer)

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Return the printed ends of an interval of differences, the lower one first."""
        ends = self.shown(low) + 0.0, self.shown(high) + 0.0  # no negative zero
        return ends if self.sign > 0 else ends[::-1]

    def end_texts(self, low: float, high: float) -> list[str]:
        """Return the printed ends as text."""
        return [end_text(printed, self.finer) for printed in self.ends(low, high)]

    def score_interval(self, interval: Interval) -> str:
        """Return an interval of scores, `[92.1, 94.0]`, or the reason that there is none."""
        if not interval.computed:
            return f"– ({interval.why_not})"
        if interval.high - interval.low > self.reach:  # wider than all possible scores
            return NO_USE
        return f"[{self.score(interval.low)}, {self.score(interval.high)}]"

    def useful(self, low: float, high: float) -> bool:
        """Return whether an interval of differences says something: a side, or possible differences alone."""
        return is_useful(low, high, self.reach)

    def span(self, low: float, high: float) -> str:
        """Return an interval of differences, `[−0.31, +1.20]`, or a dash if it is not known."""
        if not math.isfinite(low):
            return "–"
        return f"[{', '.join(self.end_texts(low, high))}]" if self.useful(low, high) else NO_USE

    def numbers(self, interval: Interval) -> dict[str, float]:
        """Return an interval of differences as columns of a table, in the printed unit."""
        low, high = self.ends(interval.low, interval.high)
        return {"effect": self.shown(interval.mean), "low": low, "high": high}

    def change_interval(self, interval: Interval, each: str = "pair") -> str:
        """Return an interval of differences over `count` of `each`, `[−0.31, +1.20]`, or why there is none."""
        if not interval.computed:
            return f"– ({interval.why_not})"
        printed = self.span(interval.low, interval.high)
        return f"{printed} with {plural(interval.count, each)}" if printed == NO_USE else printed

    def in_sentence(self, interval: Interval, each: str = "pair") -> str:
        """Return the interval as a sentence has it, `95 % CI −0.31 to +1.20`; empty if it was not computed."""
        if not interval.computed:
            return ""
        if not self.useful(interval.low, interval.high):
            return self.change_interval(interval, each)
        return f"{percent(interval.confidence)} CI {' to '.join(self.end_texts(interval.low, interval.high))}"


@dataclass(frozen=True)
class RatioUnit(Unit):
    """The unit of scores that are stored as natural logarithms: printed as they are, their differences in percent."""

    def shown(self, value: Any) -> Any:
        """Return ratios in percent of change: −5 for a score that is 0.95 times the baseline's."""
        return 100 * np.expm1(value * self.sign)

    def shown_size(self, value: Any) -> Any:
        """Return sizes in percent: 2 for a factor of 1.02."""
        return 100 * np.expm1(value)

    def shown_score(self, value: Any) -> Any:
        """Return the scores themselves; a mean of logarithms becomes the geometric mean."""
        return np.exp(value)


MOST_DECIMALS = 9
NO_USE = "no useful interval"
FARTHEST = 1e3  # an interval of ratios that reaches from below 1 to above it, and is wider, says nothing
SKILL = Unit("skill", 100.0, "skill (%)", "skill points", "skill points", 1, 2, reach=SKILL_SPAN)


def is_useful(low: float, high: float, reach: float) -> bool:
    """Return whether an interval of differences shows a side, or holds possible differences alone."""
    return low > 0 or high < 0 or max(-low, high) <= reach


def ratio_unit(metric: str, unit: str, typical: float, direction: str) -> RatioUnit:
    """Return the unit of a metric whose ratios are judged; `typical` is the logarithm of a typical score."""
    raw = unit_of(metric, unit, math.exp(typical) if math.isfinite(typical) else math.nan, direction)
    return RatioUnit(
        raw.metric, 1.0, raw.label, f"% in {raw.metric}", "%", raw.decimals, 2, raw.sign, math.log(FARTHEST)
    )


def unit_of(
    metric: str, unit: str, typical: float, direction: str = "maximize", words: str = "", span: float | None = None
) -> Unit:
    """Return the unit of a metric such as `test/accuracy`.

    Args:
        metric: with or without its split.
        unit: as declared by the workload.
        typical: the size of a typical score, which sets the decimals if the metric has a scale of its own.
        direction: `minimize` if lower is better.
        words: the name of a metric that evalbench does not know.
        span: from its worst to its best possible score, if that was declared.
    """
    name, unit = one_line(base_name(metric)), one_line(unit)
    sign = -1 if direction == "minimize" else 1
    known = find(name)
    words = known.words if known else one_line(words) or in_words(name)
    span = known.span if known else span
    reach = math.inf if span is None else span
    if known and known.unit == unit == FRACTION:
        return Unit(words, 100.0, f"{words} (%)", f"{words} points", "points", 1, 2, sign, reach)
    if known and known.decimals is not None:
        return Unit(words, 1.0, words, words, words, known.decimals, known.decimals, sign, reach)
    size = abs(typical) if typical and math.isfinite(typical) else 1.0
    decimals = max(0, 3 - math.floor(math.log10(size)))
    label = f"{words} ({unit})" if unit and unit != name else words
    return Unit(words, 1.0, label, label, unit or words, decimals, decimals, sign, reach)


def fixed(value: float, decimals: int) -> str:
    """Return a number with a fixed count of decimals, a true minus sign, and no negative zero."""
    if not math.isfinite(value):
        return "–"
    text = f"{abs(value):,.{decimals}f}"
    return f"−{text}" if value < 0 and text.strip("0,.") else text


def signed(value: float, decimals: int) -> str:
    """Return a number as `fixed` does, with a plus sign if it is positive."""
    text = fixed(value, decimals)
    return f"+{text}" if value > 0 and text.strip("0,.") else text


def end_text(printed: float, decimals: int) -> str:
    """Return an end of an interval: on which side of zero it lies is never rounded away."""
    size = abs(printed)
    if 10**-MOST_DECIMALS < size <= 0.5 * 10**-decimals:
        decimals = -math.floor(math.log10(size))
    return signed(printed, decimals)


def percent(share: float) -> str:
    """Return a level such as 0.975 as `97.5 %`."""
    return f"{100 * share:.4g} %"


def counted(value: float) -> str:
    """Return a count: in full up to a million, then with three digits and a word."""
    if not math.isfinite(value):
        return "–"
    if value < 1e6:
        return f"{value:,.0f}"
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{_three_digits(value / size)} {word}"
    raise AssertionError(value)


def flops(value: float) -> str:
    """Return a number of floating-point operations with its prefix: `1.23 TFLOP`; `not known` for nan."""
    return _prefixed(
        value, "FLOP", {1e18: "E", 1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k"}, f"{value:.0f} FLOP"
    )


def joules(value: float) -> str:
    """Return an energy with its prefix: `12.3 kJ`; `not known` for nan."""
    return _prefixed(value, "J", {1e9: "G", 1e6: "M", 1e3: "k", 1.0: ""}, f"{_three_digits(value * 1e3)} mJ")


def memory(value: float) -> str:
    """Return a number of bytes with its binary prefix: `1.50 GiB`; `not known` for nan."""
    return _prefixed(value, "iB", {2**30: "G", 2**20: "M", 2**10: "K"}, f"{value:.0f} B")


def _prefixed(value: float, unit: str, prefixes: Mapping[float, str], small: str) -> str:
    """Return a number with the largest prefix that fits, given by size, or `small` if none does."""
    if not math.isfinite(value):
        return UNKNOWN
    for size, prefix in prefixes.items():
        if value >= size:
            return f"{_three_digits(value / size)} {prefix}{unit}"
    return small


def times(ratio: float) -> str:
    """Return a ratio: `1,079`, `2.5`, `1/31`."""
    if not math.isfinite(ratio) or ratio <= 0:
        return "–"
    if ratio < 0.1:
        return f"1/{1 / ratio:,.0f}"
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def ratio(value: float) -> str:
    """Return a cost ratio: two decimals, more digits if it is small: `1.03`, `0.050`."""
    if not math.isfinite(value):
        return "–"
    return f"{value:#.2g}" if value < 0.1 else f"{value:,.2f}"


def ratio_interval(low: float, high: float, count: int | None = None) -> str:
    """Return an interval of ratios over rounds, `[0.98, 1.03]`, or why there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    if low < 1 < high and high > FARTHEST * low:
        return NO_USE if count is None else f"{NO_USE} with {plural(count, 'round')}"
    return f"[{ratio(low)}, {ratio(high)}]"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 trial`, `2 trials`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(names: list[str]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def p_is(value: float) -> str:
    """Return a p-value in a sentence: `p = .012`, `p < .001`."""
    return f"p {p_value(value)}" if value < 0.001 else f"p = {p_value(value)}"


def p_value(value: float) -> str:
    """Return a p-value in a table: `.012`, `< .001`."""
    if math.isnan(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def duration(seconds: float) -> str:
    """Return a short time with two digits, `0.13 s`, `45 µs`; from ten seconds on as `span_of_time` does."""
    if seconds >= 10:
        return span_of_time(seconds)
    size, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if seconds >= 0.1 * s), (1e-9, "ns"))
    return f"{seconds / size:.2g} {unit}"


def span_of_time(seconds: float) -> str:
    """Return a time in the largest fitting unit: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def number(value: object) -> str:
    """Return a hyperparameter's value: three digits of a number, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
