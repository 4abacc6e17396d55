"""The figure of quality against cost."""

from itertools import combinations
from pathlib import Path

import pytest

from evalbench.report import read

EXAMPLES = Path(__file__).parents[2] / "reports" / "examples"


@pytest.mark.slow
def test_no_name_hides_another() -> None:
    figure = read(EXAMPLES / "adaptations").figure("tradeoff")
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not [one for one, other in combinations(boxes, 2) if one.overlaps(other)]
