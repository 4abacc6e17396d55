"""Wait for the answers of a server, with a time limit."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from evalbench.errors import TableError

T = TypeVar("T")
SECONDS = 60.0
"""The time limit for one answer; the libraries limit only single attempts."""


def answer(ask: Callable[[], T], address: str) -> T:
    """Return the answer of a server; raise `TableError` after the time limit, and every error that `ask` raises."""
    future: Future[T] = Future()

    def wait() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=wait, daemon=True).start()  # a pool's thread would keep the process alive
    try:
        return future.result(timeout=SECONDS)
    except TimeoutError:
        remedy = "check the address and the network, or try again later"
        raise TableError(f"{address} did not answer within {SECONDS:g} seconds: {remedy}") from None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
