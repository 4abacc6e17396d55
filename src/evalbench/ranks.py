"""The processes that train one cell together: which of them this one is, and what they tell each other.

The launcher makes the group. Rank zero decides what is trained and writes what came of it; the others help. They talk
through pipes here, and through `torch.distributed` where Lightning trains data-parallel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's place in its group, alone unless told otherwise."""

    index: int = 0
    count: int = 1
    pipes: Sequence["Connection[Any, Any]"] = ()
    """In rank zero one to every other rank, in any other rank the one to rank zero."""

    def agree(self, value: T) -> T:
        """Return, in every rank, what rank zero gave."""
        if self.index:
            answer: T = self.pipes[0].recv()
            return answer
        for pipe in self.pipes:
            pipe.send(value)
        return value

    def gather(self, value: T) -> list[T]:
        """Return in rank zero what every rank gave, in their order; elsewhere nothing."""
        if self.index:
            self.pipes[0].send(value)
            return []
        return [value, *(pipe.recv() for pipe in self.pipes)]


_here = Ranks()


def here() -> Ranks:
    """Return this process's place."""
    return _here


def join(group: Ranks) -> None:
    """Take a place, once, when the process starts."""
    global _here
    _here = group
