"""Treat all signals that end the program alike, and delay them while libraries would misinterpret them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""All of them mean: save the results and exit. A closed terminal sends SIGHUP."""


@contextmanager
def as_keyboard_interrupt() -> Iterator[None]:
    """Let each of the signals raise `KeyboardInterrupt`, unless it has a handler or `nohup` ignores it."""
    unhandled = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        unhandled = []
    for number in unhandled:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def held_back() -> Iterator[None]:
    """Delay an interrupt until the end of the block, in which libraries would turn it into other errors."""
    if threading.current_thread() is not threading.main_thread():  # signals reach only the main thread
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number in handlers:
        signal.signal(number, lambda caught, _: received.append(caught))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
