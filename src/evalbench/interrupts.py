"""Ctrl-C, held back while it would be misunderstood."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[None]:
    """Let an interrupt wait for the end of the block, where OmegaConf or the like would raise errors of its own."""
    if threading.current_thread() is not threading.main_thread():  # no interrupt comes here
        yield
        return
    waiting: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        signal.raise_signal(signal.SIGINT)
