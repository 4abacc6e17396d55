"""Ctrl-C and its like, held back while they would be misunderstood."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""All of them mean: save what is there and leave. SIGHUP is what a closed terminal sends."""


@contextmanager
def alike() -> Iterator[None]:
    """Let every signal that asks this process to leave raise `KeyboardInterrupt`; `nohup` stays as it is."""
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
    """Let an interrupt wait for the end of the block, where OmegaConf or the like would raise errors of its own."""
    if threading.current_thread() is not threading.main_thread():  # no interrupt comes here
        yield
        return
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number in handlers:
        signal.signal(number, lambda caught, _: waiting.append(caught))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])
