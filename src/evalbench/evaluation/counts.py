"""A count of what lasts: the caller may show it."""

from collections.abc import Callable

Count = Callable[[int, int], None]
"""Takes the number of things that are done, and the number of all."""


def uncounted(done: int, total: int) -> None:
    """Show no count."""
