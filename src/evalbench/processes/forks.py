"""Run tasks in processes forked from this one, several at once: what is in memory here need not be sent to them."""

import ctypes
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from evalbench.errors import JobLostError
from evalbench.processes.job import THREADS_KEY

T = TypeVar("T")
R = TypeVar("R")

DIE_WITH_PARENT = 1
"""Linux's number of `PR_SET_PDEATHSIG`."""


def each(tasks: Sequence[T], run: Callable[[T], R], at_once: int) -> Generator[tuple[T, R | Exception], None, None]:
    """Yield each task as it ends, with its result or its error.

    Each runs on one thread of a process of its own; with `at_once` of 0, they run here, one after another. A process
    that dies gives a `JobLostError`. All of them end with this generator.
    """
    if at_once == 0:
        for task in tasks:
            try:
                yield task, run(task)
            except Exception as error:  # the task's own
                yield task, error
        return
    waiting, running = list(reversed(tasks)), dict[Any, tuple[int, T]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task = waiting.pop()
                pipe, child = _forked(lambda task=task: run(task))  # type: ignore[misc]
                running[pipe] = child, task
            for pipe in connection.wait(list(running)):
                child, task = running[pipe]
                outcome = _received(pipe, child)
                del running[pipe]
                yield task, outcome
    finally:
        for pipe, (child, _) in running.items():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pipe.close()


def _forked(run: Callable[[], Any]) -> tuple[Any, int]:
    """Start a process, and return the end of a pipe to it and its number."""
    pipe, other_end = connection.Pipe(duplex=False)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads here hold nothing that a task takes
        child = os.fork()
    if child == 0:
        code = 1
        try:
            pipe.close()
            _settle(parent)
            other_end.send_bytes(_answer(run))
            sys.stdout.flush()
            sys.stderr.flush()
            code = 0
        finally:
            os._exit(code)  # nothing of the parent's ends twice
    other_end.close()
    return pipe, child


def _settle(parent: int) -> None:
    """Make this process die with its parent, ignore what the terminal sends to both, and use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.environ[THREADS_KEY] = "1"
    threadpool_limits(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _answer(run: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(run())
    except Exception as error:
        error.add_note(traceback.format_exc())  # the way to it is lost with this process
        try:
            content = pickle.dumps(error)
            pickle.loads(content)
        except Exception:  # its class may raise anything when it is copied
            return pickle.dumps(JobLostError(f"{type(error).__name__}: {error}"))
        return content


def _received(pipe: Any, child: int) -> Any:
    """Return what a process sends, or the error that it died."""
    try:
        content = pipe.recv_bytes()
    except (EOFError, OSError):
        content = None
    pipe.close()
    _, status = os.waitpid(child, 0)
    if content is None:
        code = os.waitstatus_to_exitcode(status)
        hint = " (possibly out of memory)" if code == -signal.SIGKILL else ""
        return JobLostError(f"its process died with {f'signal {-code}{hint}' if code < 0 else f'exit code {code}'}")
    return pickle.loads(content)
