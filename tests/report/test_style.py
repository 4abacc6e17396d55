"""What must stay legible however many techniques there are."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from evalbench.report.render import style


def test_techniques_are_told_apart_by_colour_with_marker_or_dashes() -> None:
    assert len({(style.color(place), style.marker(place)) for place in range(49)}) == 49
    assert len({(style.color(place), str(style.dashes(place))) for place in range(28)}) == 28


def test_a_legend_of_many_long_names_stays_within_the_figure() -> None:
    with style.styled():
        figure = Figure(figsize=(style.WIDTH, 3.2))
        figure.subplots()
        style.legend_below(figure, [Line2D([], [], label=f"technique_number_{place}") for place in range(15)], 6)
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.usefixtures("pictures")
def test_a_saved_picture_keeps_the_colors_of_lines(tmp_path: Path) -> None:
    with style.styled():
        figure = Figure(figsize=(4, 3))
        axis = figure.subplots()
        for number in range(7):
            axis.plot([0, 1], [number, number + 0.5], color=style.color(number), lw=3)
        style.save(figure, tmp_path / "lines.png")
    image = Image.open(tmp_path / "lines.png").convert("RGB")
    colors = {"#{:02X}{:02X}{:02X}".format(*rgb) for _, rgb in image.getcolors(1 << 24) or ()}  # type: ignore[misc]
    assert {"#FFFFFF", *(style.color(number) for number in range(7))} <= colors
