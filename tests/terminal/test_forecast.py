"""The time left: recorded sequences of events, each with its own seconds, so no clock is read."""

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from evalbench.terminal.forecast import Chore, Forecast

RECORDED = Path(__file__).parents[1] / "data" / "progress.json.gz"
Event = tuple[float, Sequence[float], Sequence[bool]]


def ratios(forecast: Forecast, events: Sequence[Event], end: float) -> Iterator[float]:
    """Yield the forecast relative to the seconds that were left, from a fifth of the work until 2 s before the end."""
    for seconds, shares, running in events:
        forecast.note(seconds, shares, running)
        if forecast.share >= 0.2 and end - seconds > max(2.0, 0.05 * end):
            left = forecast.seconds_left()
            assert left is not None
            yield left / (end - seconds)


def simulated(chores: Sequence[Chore], seconds: Sequence[float], num_workers: int, start: float = 0.0) -> list[Event]:
    """Return what is seen twice a second of chores that take some seconds each, started in their order."""
    free: list[float] = [start] * num_workers
    spans: list[tuple[float, float]] = []
    for each in seconds:
        worker = min(range(num_workers), key=lambda index: free[index])
        spans.append((free[worker], free[worker] + each))
        free[worker] += each
    end = max(free)
    events: list[Event] = []
    for tick in range(math.ceil(end - start) * 2 + 1):
        now = start + tick / 2
        shares = [min(1.0, max(0.0, (now - begin) / (stop - begin))) for begin, stop in spans]
        events.append((now, shares, [begin <= now < stop for begin, stop in spans]))
    return events


def chores(techniques: Sequence[str], workloads: Sequence[str], weights: Sequence[float]) -> list[Chore]:
    pairs = [(technique, workload) for technique in techniques for workload in workloads]
    return [Chore((t, w, f"{t} on {w}"), weight) for (t, w), weight in zip(pairs, weights, strict=True)]


@pytest.mark.parametrize("name", json.loads(gzip.decompress(RECORDED.read_bytes())))
def test_after_a_fifth_of_a_recorded_sweep_the_time_left_is_right_within_a_factor_of_two(name: str) -> None:
    forecast, num_checked = Forecast(), 0
    for stage in json.loads(gzip.decompress(RECORDED.read_bytes()))[name]:
        works, later = ([Chore(tuple(labels), weight) for labels, weight in stage[key]] for key in ("chores", "later"))
        forecast.begin(works, stage["start"], later)
        for ratio in ratios(forecast, stage["events"], stage["end"]):
            assert 0.5 <= ratio <= 2.0
            num_checked += 1
    assert num_checked > 8


SIZES = {
    "equal": [5.0] * 12,
    "unequal": [40.0, 3.0, 3.0, 1.0, 20.0, 3.0, 3.0, 1.0, 80.0, 3.0, 3.0, 1.0],
    "a large one last": [2.0] * 11 + [30.0],
}


@pytest.mark.parametrize("num_workers", [1, 2, 8])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("speed", [0.01, 1.0, 50.0])
def test_cells_of_any_size_side_by_side_on_a_machine_of_any_speed(
    sizes: Sequence[float], num_workers: int, speed: float
) -> None:
    works, forecast = chores("abc", "wxyz", [seconds / speed for seconds in sizes]), Forecast()
    events = simulated(works, sizes, num_workers)
    forecast.begin(works, 0.0)
    assert all(0.5 <= ratio <= 2.0 for ratio in ratios(forecast, events, events[-1][0]))


def test_what_a_technique_costs_on_some_workloads_is_expected_on_the_others() -> None:
    """The weights say that `b` costs as much as `a`; it takes ten times as long."""
    works, forecast = chores("ab", "wxyz", [5.0] * 8), Forecast()
    order = [works[index] for index in (0, 4, 1, 5, 2, 6, 3, 7)]
    forecast.begin(order, 0.0)
    events = simulated(order, [5.0, 50.0] * 4, 1)
    late = [event for event in events if event[0] <= 110.0]
    for seconds, shares, running in late:
        forecast.note(seconds, shares, running)
    assert forecast.seconds_left() == pytest.approx(110.0, rel=0.3)


def test_a_later_look_begins_with_what_the_first_one_taught() -> None:
    works, forecast = chores("ab", "wxyz", [5.0] * 8), Forecast()
    forecast.begin(works, 0.0, works)
    for event in simulated(works, [20.0] * 8, 2):
        forecast.note(*event)
    assert forecast.seconds_left() == 0.0
    assert forecast.seconds_later() == pytest.approx(80.0, rel=0.1)
    forecast.begin(works, 100.0)
    assert forecast.seconds_left() == pytest.approx(80.0, rel=0.1)
    assert forecast.seconds_later() == 0.0


def test_chores_too_short_to_be_seen_are_forecast_from_their_number() -> None:
    works, forecast = chores("abcdefghij", "uvwxyz", [1.0] * 60), Forecast()
    forecast.begin(works, 0.0)
    for tick in range(1, 16):  # two end in each half second, and none is ever seen at work
        forecast.note(tick / 2, [float(index < 2 * tick) for index in range(60)], [False] * 60)
    assert forecast.seconds_left() == pytest.approx(7.5, rel=0.1)


def test_nothing_is_forecast_before_anything_is_done() -> None:
    works, forecast = chores("a", "wx", [5.0, 5.0]), Forecast()
    forecast.begin(works, 0.0)
    forecast.note(30.0, [0.0, 0.0], [True, False])
    assert forecast.seconds_left() is None
    forecast.note(31.0, [0.1, 0.0], [True, False])
    forecast.note(32.0, [0.2, 0.0], [True, False])
    assert forecast.seconds_left() == pytest.approx(18.0, rel=0.1)  # the 31 s before the first step were the start
