"""The table of scores fits any width and keeps every interval."""

import pytest
from rich.cells import cell_len

from evalbench.terminal.scores import Column, fit, lines_of

NAMES = Column("workload", ["breast_cancer", "diabetes (R²)", "数据集"])
COLUMNS = [Column(f"technique {number}", ["97.5 ±  1.3", "40.9 ± 12.7", "failed     "]) for number in range(7)]


@pytest.mark.parametrize("width", [30, 60, 80, 120, 200])
def test_blocks_fit_and_lose_nothing(width: int) -> None:
    blocks = list(fit(NAMES, COLUMNS, width))
    assert [column for block in blocks for column in block[1:]] == COLUMNS
    for block in blocks:
        assert block[0] is NAMES
        shown = [line.plain for line in lines_of(block)]
        assert all(cell_len(line) <= width and line == line.rstrip() for line in shown)
        assert sum(line.count("±") for line in shown) == 2 * (len(block) - 1)


def test_a_column_wider_than_the_terminal_stands_alone() -> None:
    blocks = list(fit(NAMES, COLUMNS[:2], 5))
    assert [len(block) for block in blocks] == [2, 2]


def test_columns_are_aligned_also_below_wide_letters() -> None:
    shown = [line.plain for line in lines_of([NAMES, COLUMNS[0]])]
    assert shown[0] == " workload       technique 0"
    assert [cell_len(line.partition(" 97.5")[0]) for line in shown[2:3]] == [15]
    assert {cell_len(line) for line in shown[2:4]} == {cell_len(shown[1])}
