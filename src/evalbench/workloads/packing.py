"""Windows of tokens that hold whole texts where they fit: few texts are cut, and few tokens are padding.

Shapes: `N` windows, `T` tokens of a window.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.task import NO_TARGET


@dataclass
class Windows:
    """Texts as windows."""

    tokens: list[list[int]] = field(default_factory=list)
    """Of each window, at most `T`."""
    texts: list[list[int]] = field(default_factory=list)
    """The numbers of the texts of each window."""
    groups: list[int] = field(default_factory=list)
    """Of each window; windows of two groups have no text in common."""

    def rows(self, length: int) -> NDArray[np.int64]:
        """Return the tokens `(N, T)`, `NO_TARGET` behind the last one of a window."""
        rows = np.full((len(self.tokens), length), NO_TARGET, dtype=np.int64)
        for row, tokens in enumerate(self.tokens):
            rows[row, : len(tokens)] = tokens
        return rows


def packed(texts: Sequence[Sequence[int]], length: int, keys: Sequence[Hashable]) -> Windows:
    """Return texts of at least one token as windows of `length` tokens, in the order of their first texts.

    A text that is longer than a window fills windows of its own. What is left of it, and each shorter text, goes whole
    into the fullest window that has space for it, long ones first (best-fit packing, Ding et al. 2024). Texts share a
    window only if their keys are equal. A window of one token, which foretells nothing, is left out.
    """
    ends = [len(text) - len(text) % length for text in texts]
    shared, window_of = _shared(texts, ends, length, keys)
    windows, is_written = Windows(), [False] * len(shared)

    def write(tokens: list[int], texts_of_window: list[int], group: int) -> None:
        if len(tokens) == 1:
            return  # it foretells nothing
        windows.tokens.append(tokens)
        windows.texts.append(texts_of_window)
        windows.groups.append(group)

    for number, text in enumerate(texts):
        window = window_of.get(number)
        group = len(shared) + number if window is None else window
        for start in range(0, ends[number], length):
            write(list(text[start : start + length]), [number], group)
        if window is not None and not is_written[window]:
            is_written[window] = True
            write([token for other in shared[window] for token in texts[other][ends[other] :]], shared[window], group)
    return windows


def _shared(
    texts: Sequence[Sequence[int]], ends: Sequence[int], length: int, keys: Sequence[Hashable]
) -> tuple[list[list[int]], dict[int, int]]:
    """Return the texts of each window that takes what is left behind their `ends`, and the window of each text."""
    left = {number: len(text) - ends[number] for number, text in enumerate(texts) if len(text) > ends[number]}
    shared: list[list[int]] = []
    window_of: dict[int, int] = {}
    free: dict[Hashable, list[tuple[int, int]]] = {}  # by key, the free tokens of windows and their numbers, sorted
    for number in sorted(left, key=lambda number: -left[number]):
        windows = free.setdefault(keys[number], [])
        best = bisect_left(windows, (left[number], -1))
        if best < len(windows):
            space, window = windows.pop(best)
        else:
            space, window = length, len(shared)
            shared.append([])
        shared[window].append(number)
        window_of[number] = window
        insort(windows, (space - left[number], window))
    return shared, window_of
