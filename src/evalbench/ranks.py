"""Identify this process among the processes that train one cell together, and let them exchange values.

The launcher makes the group. Rank zero decides what is trained and writes the results; the other ranks help. Ranks
exchange values through pipes here, and through `torch.distributed` when Lightning trains data-parallel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Hold this process's rank in its group; by default it is alone."""

    index: int = 0
    count: int = 1
    pipes: Sequence["Connection[Any, Any]"] = ()
    """In rank zero the pipes to all other ranks; in any other rank the pipe to rank zero."""

    def agree(self, value: T) -> T:
        """Return rank zero's value in every rank."""
        if self.index:
            answer: T = self.pipes[0].recv()
            return answer
        for pipe in self.pipes:
            pipe.send(value)
        return value

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks in their order in rank zero, and an empty list in any other rank."""
        if self.index:
            self.pipes[0].send(value)
            return []
        return [value, *(pipe.recv() for pipe in self.pipes)]


_current = Ranks()


def current() -> Ranks:
    """Return this process's rank."""
    return _current


def join(rank: Ranks) -> None:
    """Set this process's rank, once, when it starts."""
    global _current
    _current = rank
