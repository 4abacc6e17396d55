"""Texts in windows: no token is lost, texts are cut only where they are longer than a window, groups share no text."""

import numpy as np

from evalbench.tasks.task import NO_TARGET
from evalbench.workloads.packing import packed


def test_a_text_goes_whole_into_the_fullest_window_with_space_for_it() -> None:
    texts = [[1, 1, 1], [2, 2, 2, 2, 2, 2, 2], [3, 3], [4], [5, 5, 5, 5]]
    windows = packed(texts, 4, [0] * 5)
    assert windows.tokens == [[1, 1, 1, 4], [2, 2, 2, 2], [2, 2, 2], [3, 3], [5, 5, 5, 5]]
    assert windows.texts == [[0, 3], [1], [1], [2], [4]]
    assert windows.groups[1] == windows.groups[2]
    assert len(set(windows.groups)) == 4
    assert windows.rows(4)[2].tolist() == [2, 2, 2, NO_TARGET]


def test_texts_with_other_keys_share_no_window() -> None:
    texts = [[1], [2], [3], [4]]
    assert packed(texts, 4, [0] * 4).tokens == [[1, 2, 3, 4]]
    assert packed(texts, 4, ["a", "b", "a", "b"]).tokens == [[1, 3], [2, 4]]


def test_no_token_is_lost_and_few_are_padding() -> None:
    draw = np.random.default_rng(0)
    texts = [[number] * int(draw.integers(1, 90)) for number in range(300)]
    windows = packed(texts, 32, [0] * 300)
    tokens = [token for window in windows.tokens for token in window]
    assert sorted(tokens) == sorted(token for text in texts for token in text)
    assert len(tokens) / (32 * len(windows.tokens)) > 0.97
    groups = [
        {group for group, held in zip(windows.groups, windows.texts, strict=True) if number in held}
        for number in range(300)
    ]
    assert {len(group) for group in groups} == {1}
