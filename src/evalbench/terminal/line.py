"""The line of progress, as wide as the terminal, and the same in words for a pipe."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from evalbench.names import one_line
from evalbench.terminal.names import cut
from evalbench.trial import Position

LEAST_NAME, MOST_NAME, LEAST_BAR, MOST_BAR = 8, 30, 8, 24


class Progressed(NamedTuple):
    """How far the training of an evaluation has come."""

    name: str
    share: float
    """The share of the work, which moves within a trial; trials differ in size."""
    num_done: int
    num_trials: int
    seconds_left: float | None
    """None if it is not known yet."""
    seconds_later: float | None
    """The seconds that looks after this one take at most."""
    now: Sequence[tuple[str, Position]]
    """The cells that train now."""


def line(progressed: Progressed, width: int) -> Text:
    """Return the line: name, bar, trials, time left, and what trains now if there is space for it."""
    width -= 1  # so that no terminal begins another line
    count = f" {progressed.num_done:,}/{progressed.num_trials:,} trials"
    left = f"  {time_left(progressed)}"
    if LEAST_NAME + 1 + LEAST_BAR + cell_len(count + left) > width:
        left = f"  {time_left(progressed._replace(seconds_later=None))}"
    most = width - cell_len(count + left) - LEAST_BAR - 1
    name = cut(one_line(progressed.name), max(LEAST_NAME, min(MOST_NAME, most)))
    spare = width - cell_len(name) - 1 - cell_len(count) - cell_len(left)
    bar = max(0, min(MOST_BAR, spare))
    filled = int(progressed.share * bar)
    text = Text(no_wrap=True, overflow="crop", end="")
    text.append(name + " ", "bold").append("━" * filled, "green").append("─" * (bar - filled), "dim")
    text.append(count).append(left, "cyan")
    if (now := _now(progressed.now, spare - bar - 2)) is not None:
        text.append(f"  {now}", "dim")
    text.truncate(width)
    return text


def in_words(progressed: Progressed) -> str:
    """Return the line for a pipe."""
    count = f"{progressed.num_done:,} of {progressed.num_trials:,} trials"
    return f"{progressed.name}: {progressed.share:.0%}, {count}, {time_left(progressed)}"


def time_left(progressed: Progressed) -> str:
    """Return the time until this look ends, and what later looks may add."""
    if progressed.seconds_left is None:
        return "time left: ?"
    later = progressed.seconds_later
    return f"{duration(progressed.seconds_left)} left" + (f", then ≤ {duration(later)}" if later else "")


def duration(seconds: float) -> str:
    """Return a rough duration: `40 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(round(seconds / 600) * 10, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _now(now: Sequence[tuple[str, Position]], width: int) -> str | None:
    """Return the first cell that trains now with the share of its steps, and the number of others."""
    if not now:
        return None
    cell, position = now[0]
    end = f" {position.step / position.steps:.0%}" + (f", {len(now) - 1} more" if len(now) > 1 else "")
    return cut(one_line(cell), width - len(end)) + end if width >= len(end) + 12 else None
