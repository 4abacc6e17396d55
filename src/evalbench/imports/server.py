"""A server's answers, waited for no longer than we say."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from evalbench.errors import TableError

T = TypeVar("T")
SECONDS = 60.0
"""How long one answer may take. The libraries' own limits hold for one attempt of several, or there are none."""


def answer(ask: Callable[[], T], who: str) -> T:
    """Return what a server answers; raise `TableError` if it takes too long, and whatever `ask` raises."""
    future: Future[T] = Future()

    def wait() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=wait, daemon=True).start()  # a thread of a pool would keep the process from ending
    try:
        return future.result(timeout=SECONDS)
    except TimeoutError:
        raise TableError(
            f"{who} did not answer within {SECONDS:g} seconds: check the address and the network, or try again later"
        ) from None


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
