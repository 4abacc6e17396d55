"""The picture of a radar as SVG, which shows and links without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from evalbench.names import one_line, short
from evalbench.radar.history import BANDS, TechnologyRadar, TrackedTechnique
from evalbench.radar.layout import Box, Layout, Spot, layout_of, names_beside

EDGE = 40.0  # around the circle, for the names of the factors
LETTER = 0.6  # width of a letter in parts of its size
LARGEST_TEXT, SMALLEST_TEXT = 22.0, 11.0  # of the names of factors
MOST_NAMED = 12  # blips that have their names beside them
NAME_SIZES = (19.0, 17.0, 15.0)  # of such names: the largest at which all fit
LONGEST_NAME = 24  # letters
SMALLEST_NAME = 15.0  # of the names of bands


def picture(radar: TechnologyRadar) -> str:
    """Return the radar as an SVG: a sector per factor, a band per recommendation, a numbered link per technique."""
    blips = radar.blips
    factors = tuple(dict.fromkeys(one.identity.factor for one in blips))
    segments = {
        (factor, band): [
            (number, one)
            for number, one in enumerate(blips, 1)
            if (one.identity.factor, one.now.recommendation) == (factor, band)
        ]
        for factor in factors
        for band in BANDS
    }
    layout = layout_of([[len(segments[factor, band]) for band in BANDS] for factor in factors])
    half = layout.radius + EDGE
    names = _names(layout, blips) if len(blips) <= MOST_NAMED else {}
    shapes = [*_grid(layout), *_band_names(layout), *_factor_names(layout, factors)]
    for f, factor in enumerate(factors):
        for b, band in enumerate(BANDS):
            for (number, one), spot in zip(segments[factor, band], layout.spots[f][b], strict=True):
                shapes.append(_blip(number, one, spot, layout.blip, names.get(number, "")))
    size = f"{-half:.0f} {-half:.0f} {2 * half:.0f} {2 * half:.0f}"
    title = f"<title>Technology radar of {len(blips)} techniques</title>"
    crowded = ' class="crowded"' if len(blips) > 40 else ""
    return f'<svg id="radar" viewBox="{size}" role="group"{crowded}>{title}{"".join(shapes)}</svg>'


def _grid(layout: Layout) -> list[str]:
    circles = [
        f'<circle r="{r:.1f}" class="band {band.lower()}"/>'
        for r, band in zip(reversed(layout.bands), reversed(BANDS), strict=True)
    ]
    starts = [start for start, _ in layout.sectors] if len(layout.sectors) > 1 else []
    lines = [
        f'<line x2="{layout.radius * math.cos(a):.1f}" y2="{layout.radius * math.sin(a):.1f}" class="edge"/>'
        for a in starts
    ]
    return [*circles, *lines]


def _band_names(layout: Layout) -> list[str]:
    edges, size = [0.0, *layout.bands], max(SMALLEST_NAME, layout.blip)
    return [
        f'<text class="name" y="{size / 3 - (inner + outer) / 2:.1f}" font-size="{size:g}" text-anchor="middle">'
        f"{band.title()}</text>"
        for inner, outer, band in zip(edges, edges[1:], BANDS, strict=False)
    ]


def _names(layout: Layout, blips: Sequence[TrackedTechnique]) -> dict[int, str]:
    """Return the name of each blip for which there is room, by its number."""
    texts = [short(one_line(one.label), LONGEST_NAME) + (" ≠" if one.elsewhere else "") for one in blips]
    edges, size = [0.0, *layout.bands], max(SMALLEST_NAME, layout.blip)
    bands = [
        Box(Spot(0.0, -(inner + outer) / 2), LETTER * size * len(band), size)
        for inner, outer, band in zip(edges, edges[1:], BANDS, strict=False)
    ]
    for letter in NAME_SIZES:
        spots = names_beside(layout, [LETTER * letter * len(text) for text in texts], 1.2 * letter, bands)
        if all(spots):
            break
    return {
        number: f'<text class="label" x="{spot.x:.1f}" y="{spot.y + letter / 3:.1f}" font-size="{letter:g}"'
        f' text-anchor="middle">{escape(text)}</text>'
        for number, (text, spot) in enumerate(zip(texts, spots, strict=True), 1)
        if spot
    }


def _factor_names(layout: Layout, factors: Sequence[str]) -> list[str]:
    """Return the names of the factors along the edge, the lower ones turned so that they can be read."""
    shapes = []
    for index, (factor, (start, end)) in enumerate(zip(factors, layout.sectors, strict=True)):
        lower = math.sin((start + end) / 2) > 0.1 and len(factors) > 1
        radius = layout.radius + (26 if lower else 12)
        length = 0.92 * (end - start) * radius
        text = short(one_line(factor), max(12, int(length / (LETTER * SMALLEST_TEXT))))
        size = max(SMALLEST_TEXT, min(LARGEST_TEXT, length / (LETTER * len(text))))
        first, last = (end, start) if lower else (start, end)
        if len(factors) == 1:
            first, last = -math.pi, 0.0  # over the top of a circle that has one sector
        points = [f"{radius * math.cos(a):.1f} {radius * math.sin(a):.1f}" for a in (first, last)]
        large = int(abs(last - first) > math.pi)
        path = f"M{points[0]}A{radius:.1f} {radius:.1f} 0 {large} {int(not lower)} {points[1]}"
        shapes.append(f'<path id="edge-{index}" d="{path}" class="guide"/>')
        shapes.append(
            f'<text class="factor" font-size="{size:.0f}" text-anchor="middle">'
            f'<textPath href="#edge-{index}" startOffset="50%">{escape(text)}</textPath></text>'
        )
    return shapes


def _blip(number: int, one: TrackedTechnique, spot: Spot, radius: float, name: str) -> str:
    """Return a blip with its name.

    A ring around it says that it is new, a triangle that it moved, a broken ring that it is contradicted.
    """
    words = f"{number}. {one_line(one.label)}: {one.now.recommendation.title()}, {one_line(one.now.words)}"
    words += "".join(
        f"; {other.verdict.recommendation.capitalize()} in {one_line(other.verdict.evaluation.name)}"
        for other in one.elsewhere
    )
    marks = _mark(one, spot, radius)
    return (
        f'<a href="#{one.identity.key}" class="blip {one.now.recommendation.lower()}" data-id="{one.identity.key}">'
        f"<title>{escape(words)}</title>{marks}"
        f'<circle cx="{spot.x:.1f}" cy="{spot.y:.1f}" r="{radius:g}"/>'
        f'<text x="{spot.x:.1f}" y="{spot.y + 0.36 * radius:.1f}" font-size="{radius:g}" text-anchor="middle">{number}'
        f"</text>{name}</a>"
    )


def _mark(one: TrackedTechnique, spot: Spot, radius: float) -> str:
    at = f'cx="{spot.x:.1f}" cy="{spot.y:.1f}" r="{radius + 3.5:g}"'
    if one.contradictions:
        return f'<circle {at} class="contradicted"/>'
    if one.status == "new":
        return f'<circle {at} class="new"/>'
    if one.status == "no change":
        return ""
    distance = math.hypot(spot.x, spot.y) or 1.0
    sign = -1 if one.status == "moved in" else 1
    x, y = sign * spot.x / distance, sign * spot.y / distance  # the way that it moved
    base, tip, half = radius * 0.72, radius + 7, radius * 0.62
    corners = [
        (tip * x, tip * y),
        (base * x - half * y, base * y + half * x),
        (base * x + half * y, base * y - half * x),
    ]
    points = " ".join(f"{spot.x + dx:.1f},{spot.y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" class="moved"/>'
