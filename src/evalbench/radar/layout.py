"""Where the blips of a radar lie: a sector per factor, a band per recommendation, and no two blips on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOP = -math.pi / 2
GAP = 10.0  # between two blips, which leaves room for the mark of a move
LABEL = 38.0  # kept free on both sides of the line at the top, which carries the names of the bands
LEAST_SECTOR = 0.5  # of an equal share of the circle
LEAST_BAND = 64.0  # pixels
SIZES = ((12, 20.0), (40, 16.0), (10**9, 13.0))
"""Radius of a blip by the largest number of blips that it is for."""
GROWTH = 1.06
NEARER = 1.2  # times as near to its own blip as to any other must a name be


@dataclass(frozen=True)
class Spot:
    """The middle of a blip."""

    x: float
    y: float


@dataclass(frozen=True)
class Box:
    """A rectangle that a text or a blip needs, in pixels."""

    middle: Spot
    width: float
    height: float

    @property
    def reach(self) -> float:
        """Return the distance of the farthest corner from the middle of the radar."""
        return math.hypot(abs(self.middle.x) + self.width / 2, abs(self.middle.y) + self.height / 2)

    def distance(self, spot: Spot) -> float:
        """Return the distance from a spot to the nearest point of the box; 0 inside it."""
        dx, dy = abs(self.middle.x - spot.x) - self.width / 2, abs(self.middle.y - spot.y) - self.height / 2
        return math.hypot(max(0.0, dx), max(0.0, dy))

    def meets(self, other: Box) -> bool:
        """Return whether the two share more than an edge."""
        dx, dy = abs(self.middle.x - other.middle.x), abs(self.middle.y - other.middle.y)
        return dx < (self.width + other.width) / 2 - 1e-6 and dy < (self.height + other.height) / 2 - 1e-6


@dataclass(frozen=True)
class Layout:
    """Sectors and bands of a radar whose middle is (0, 0), in pixels, and the spots of all blips.

    sectors: the angles between which each factor lies, clockwise from the top, in radians.
    bands: the outer radius of each band, from the middle outwards.
    spots: by sector and band, a spot for each blip.
    """

    sectors: tuple[tuple[float, float], ...]
    bands: tuple[float, ...]
    spots: tuple[tuple[tuple[Spot, ...], ...], ...]
    blip: float  # radius

    @property
    def radius(self) -> float:
        """Return the radius of the whole radar."""
        return self.bands[-1]


def layout_of(counts: Sequence[Sequence[int]]) -> Layout:
    """Return the layout for a number of blips per sector and band: a circle that grows until all fit.

    Args:
        counts: shape (sectors, bands); at least one sector and one band.
    """
    total = sum(map(sum, counts))
    blip = next(size for most, size in SIZES if total <= most)
    sectors = _sectors([sum(row) for row in counts])
    radius = 300.0
    while True:
        bands = _bands(counts, sectors, radius)
        edges = [0.0, *bands]
        spots = [
            [_spots(number, sector, (edges[b], edges[b + 1]), blip) for b, number in enumerate(row)]
            for sector, row in zip(sectors, counts, strict=True)
        ]
        if all(one is not None for row in spots for one in row):
            filled = tuple(tuple(one for one in row if one is not None) for row in spots)
            return Layout(sectors, bands, filled, blip)
        radius *= GROWTH


def names_beside(layout: Layout, widths: Sequence[float], size: float, taken: Sequence[Box] = ()) -> list[Spot | None]:
    """Return where the middle of each blip's name lies: below, above or beside it, on nothing else.

    A name lies nearer to its blip than to any other.

    Args:
        layout: the radar.
        widths: of the names in pixels, in the order of sectors, bands and spots.
        size: height of a name.
        taken: boxes that other texts need.

    Returns:
        None for a name for which there is no room.
    """
    spots = [spot for sector in layout.spots for band in sector for spot in band]
    reach = layout.blip + GAP
    boxes = [*taken, *(Box(spot, 2 * reach, 2 * reach) for spot in spots)]
    middles: list[Spot | None] = [None] * len(spots)
    for index in sorted(range(len(spots)), key=lambda index: -widths[index]):  # the widest have the fewest choices
        spot, width = spots[index], widths[index]
        others = [other for other in spots if other != spot]
        aside, over = reach + width / 2, reach + size / 2
        shifts = (0.0, width / 6, -width / 6, width / 3, -width / 3)
        sides = [(dx, dy) for dx in shifts for dy in (over, -over)] + [(aside, 0.0), (-aside, 0.0)]
        choices = [Box(Spot(spot.x + dx, spot.y + dy), width, size) for dx, dy in sides]
        free = (one for one in choices if one.reach <= layout.radius and not any(map(one.meets, boxes)))
        clear = (one for one in free if all(one.distance(other) > NEARER * one.distance(spot) for other in others))
        box = next(clear, None)
        boxes += [box] if box else []
        middles[index] = box.middle if box else None
    return middles


def _sectors(totals: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Return the angles of each sector: wider for more blips, never narrower than a share of the circle."""
    roots = [math.sqrt(number) for number in totals]
    equal = 1 / len(totals)
    weights = [
        LEAST_SECTOR * equal + (1 - LEAST_SECTOR) * (root / sum(roots) if sum(roots) else equal) for root in roots
    ]
    ends = [TOP + 2 * math.pi * sum(weights[: index + 1]) for index in range(len(weights))]
    return tuple(zip([TOP, *ends[:-1]], ends, strict=True))


def _bands(counts: Sequence[Sequence[int]], sectors: Sequence[tuple[float, float]], radius: float) -> tuple[float, ...]:
    """Return the outer radius of each band: areas follow the fullest sector, and no band is narrower than the least."""
    needs = [max(row[b] / (end - start) for row, (start, end) in zip(counts, sectors, strict=True))
             for b in range(len(counts[0]))]  # fmt: skip
    least = 0.08 * max(1.0, sum(needs))
    areas = [max(need, least) for need in needs]
    radii = [radius * math.sqrt(sum(areas[: b + 1]) / sum(areas)) for b in range(len(areas))]
    widths = [max(LEAST_BAND, outer - inner) for outer, inner in zip(radii, [0.0, *radii[:-1]], strict=True)]
    return tuple(sum(widths[: b + 1]) for b in range(len(widths)))


def _spots(number: int, sector: tuple[float, float], band: tuple[float, float], blip: float) -> tuple[Spot, ...] | None:
    """Return spots in rows along the band, from its middle row on; None if they do not fit."""
    step = 2 * blip + GAP
    first, last = max(band[0] + step / 2, step), band[1] - step / 2
    rows = math.floor((last - first) / step + 1e-9) + 1 if last >= first else 0
    shift = (last - first - (rows - 1) * step) / 2
    radii = sorted((first + shift + index * step for index in range(rows)), key=lambda r: abs(r - (first + last) / 2))
    free = [(r, *_span(sector, r, blip)) for r in radii]
    capacities = [_capacity(r, start, end, step) for r, start, end in free]
    used = 0
    while sum(capacities[:used]) < number:
        used += 1
        if used > rows:
            return None
    shares = _shares(number, capacities[:used])
    spots = []
    for (r, start, end), share in sorted(zip(free[:used], shares, strict=True)):
        angles = [start + (end - start) * (index + 0.5) / share for index in range(share)]
        spots += [Spot(r * math.cos(angle), r * math.sin(angle)) for angle in angles]
    return tuple(spots)


def _span(sector: tuple[float, float], radius: float, blip: float) -> tuple[float, float]:
    """Return the angles between which the middle of a blip may lie, half a step inside for its neighbour's sake."""
    margins = [LABEL if abs(math.cos(angle)) < 1e-9 and math.sin(angle) < 0 else GAP / 2 for angle in sector]
    return sector[0] + margins[0] / radius, sector[1] - margins[1] / radius


def _capacity(radius: float, start: float, end: float, step: float) -> int:
    """Return how many blips fit into an arc side by side, each in the middle of its share of it."""
    needed = 2 * math.asin(min(1.0, step / (2 * radius)))
    return max(0, math.floor((end - start) / needed + 1e-9))


def _shares(number: int, capacities: Sequence[int]) -> list[int]:
    """Divide a number over rows in proportion to their capacities."""
    shares, left, capacity_left = [], number, sum(capacities)
    for capacity in capacities:
        share = min(capacity, round(left * capacity / capacity_left)) if capacity_left else 0
        shares.append(share)
        left, capacity_left = left - share, capacity_left - capacity
    return shares
