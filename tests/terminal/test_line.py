"""The line of progress, at any width."""

import pytest
from rich.cells import cell_len

from evalbench.terminal.line import Progressed, duration, in_words, line
from evalbench.terminal.names import cut, cut_all
from evalbench.trial import Position

NOW = [("sgd on breast_cancer", Position(10, 30, 120)), ("sgd on digits", Position(10, 1, 120))]
HALF = Progressed("optimizers, look 1 of 3", 0.5, 45, 90, 12.3, 41.0, NOW)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            120,
            "optimizers, look 1 of 3 ━━━━━━━━━━━━──────────── 45/90 trials  12 s left, then ≤ 41 s"
            "  sgd on breast_cancer 25%, 1 more",
        ),
        (80, "optimizers, look 1 of 3 ━━━━━━━━━───────── 45/90 trials  12 s left, then ≤ 41 s"),
        (60, "optimi…1 of 3 ━━━━──── 45/90 trials  12 s left, then ≤ 41 s"),
        (40, "opti…f 3 ━━━─── 45/90 trials  12 s left"),
    ],
)
def test_the_line_fits(width: int, shown: str) -> None:
    assert line(HALF, width).plain == shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["o", "a long name " * 20, "数据集" * 20])
def test_no_name_makes_the_line_longer_than_the_terminal(width: int, name: str) -> None:
    many = Progressed(name, 1 / 3, 12_345, 123_456, 9e5, 8e5, [(name, Position(3, 1, 2))] * 3)
    assert cell_len(line(many, width).plain) < width


def test_a_wide_line_says_what_trains_now() -> None:
    assert line(HALF, 160).plain.endswith("41 s  sgd on breast_cancer 25%, 1 more")
    assert "sgd" not in line(HALF, 80).plain


def test_the_bar_shows_the_share_of_the_work_without_colour() -> None:
    text = line(HALF, 100).plain
    assert text.count("━") == text.count("─") > 5


def test_the_same_in_words() -> None:
    assert in_words(HALF) == "optimizers, look 1 of 3: 50%, 45 of 90 trials, 12 s left, then ≤ 41 s"
    assert in_words(HALF._replace(seconds_left=None)).endswith("trials, time left: ?")
    assert in_words(HALF._replace(seconds_later=0.0)).endswith("12 s left")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (3500, "58 min"), (3599, "1 h"), (12_000, "3 h 20 min"),
     (86_390, "1 d"), (200_000, "2 d 8 h")],
)  # fmt: skip
def test_durations_are_rough(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_long_name_loses_its_middle_and_names_stay_different() -> None:
    assert cut("sgd", 10) == "sgd"
    assert cut("learning_rate_0.01", 10) == "learn…0.01"
    assert [cell_len(cut("数据集" * 9, most)) <= most for most in range(3, 20)] == [True] * 17
    names = [f"a_name_whose_{middle}_differs_in_its_middle" for middle in ("x", "y", "z")]
    shown = cut_all(names, 12)
    assert len(set(shown)) == 3
    assert all(cell_len(text) <= 12 for text in shown)
