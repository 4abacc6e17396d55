"""Numbers as people write them: 1,234.5 and 1.234,5, 5 %, $5, (5) for −5, 5 kg.

A column is read under two conventions, the decimal mark being the point or the comma. The other one of the two
groups thousands, as spaces and apostrophes do. All numbers of a column have one dress: the same currency, per cent sign
or unit, or none. Dates, ranges and codes are no numbers.
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MARKS = {"point": ".", "comma": ","}
CURRENCY = "$¢-¥฿₠-⃏﷼﹩＄￠￡￥￦"  # Unicode's currency signs, as a range of a regular expression
GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+")  # 1.234: a number with a decimal point, or thousands


def _pattern(decimal: str, grouping: str) -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?P<bracket>\()?
        (?P<sign>[-+−])?\ ?
        (?P<before>[A-Z]{{0,3}}[{CURRENCY}])?\ ?
        (?P<inner>[-+−])?
        (?P<whole> [1-9][0-9]{{0,2}} (?:(?P<group>[{grouping}\ '’])[0-9]{{3}}) (?:(?P=group)[0-9]{{3}})* | [0-9]* )
        (?P<fraction>[{decimal}][0-9]*)?
        (?P<exponent>[eE][-+]?[0-9]+)?\ ?
        (?P<after>[%‰°′″{CURRENCY}] [^\s\d.,;:()'’"+−-]{{0,11}} | [^\W\d_] [^\s\d.,;:()'’"+−-]{{0,11}})?
        (?(bracket)\))
        """,
        re.VERBOSE,
    )


PATTERNS = {".": _pattern(".", ","), ",": _pattern(",", ".")}


def read(text: str, mark: str) -> tuple[float, str] | None:
    """Return the number and its currency or unit (`""` without one), or None if the text is no number.

    Args:
        text: without white space at its ends.
        mark: the decimal mark.
    """
    match = PATTERNS[mark].fullmatch(" ".join(text.split()))
    if match is None or sum(match[name] is not None for name in ("bracket", "sign", "inner")) > 1:
        return None
    if match["group"] and match["exponent"]:
        return None
    whole = re.sub("[^0-9]", "", match["whole"])
    try:
        value = float(whole + (match["fraction"] or "").replace(mark, ".") + (match["exponent"] or ""))
    except ValueError:  # no digit at all
        return None
    negative = match["bracket"] or (match["sign"] or match["inner"]) in ("-", "−")
    return -value if negative else value, (match["before"] or "") + (match["after"] or "")


@dataclass(frozen=True)
class Reading:
    """A column read under one convention; arrays of shape (N,)."""

    values: NDArray[np.float64]  # nan for no number
    odd: NDArray[np.bool_]  # texts that are no numbers, or in another dress than most
    dressed: bool = False  # whether some number is written otherwise than Python would
    unit: str = ""  # the currency, sign or unit of all numbers

    @property
    def looks_numeric(self) -> bool:
        """Return whether more texts are numbers in one dress than are not."""
        return bool(np.isfinite(self.values).sum() > self.odd.sum())


def readings(texts: NDArray[np.object_], known: NDArray[np.bool_], marks: str = ".,") -> dict[str, Reading]:
    """Return a column under each convention, by its decimal mark, as far as its texts leave a choice.

    Args:
        texts: shape (N,), str without white space at the ends.
        known: shape (N,), False for a missing value.
        marks: the conventions to try.
    """
    if "." in marks:
        values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
        plain = Reading(values, known & np.isnan(values))
        if not plain.odd.any():
            pointed = [text for text in texts[known] if "." in text]
            if not pointed:
                return dict.fromkeys(marks, plain)  # whole numbers are the same everywhere
            if not all(map(GROUPED.fullmatch, pointed)):
                return {".": plain}
    return {mark: _dressed(texts, known, mark) for mark in marks}


def _dressed(texts: NDArray[np.object_], known: NDArray[np.bool_], mark: str) -> Reading:
    codes, distinct = pd.factorize(texts[known])
    numbers = [read(text, mark) for text in distinct]
    units = Counter[str]()
    for number, count in zip(numbers, np.bincount(codes, minlength=len(numbers)), strict=True):
        if number is not None:
            units[number[1]] += int(count)
    unit = units.most_common(1)[0][0] if units else ""
    parsed = np.array([number[0] if number and number[1] == unit else np.nan for number in numbers], dtype=np.float64)
    values = np.full(len(texts), np.nan)
    values[known] = parsed[codes]
    return Reading(values, known & np.isnan(values), dressed=True, unit=unit)
