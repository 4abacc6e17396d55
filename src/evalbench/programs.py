"""Start and end of every program: hide the shell's environment, print one line for an error, return the exit code."""

import argparse
import codecs
import errno
import io
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from evalbench import interrupts
from evalbench.errors import InputError, StorageError
from evalbench.names import one_line

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, a quota or a limit: no fault of the input."""
LEFT_OUTSIDE = (
    "MPLBACKEND",  # of a notebook: figures are drawn without a window
    "PYTHONWARNINGS",  # a warning of a library is no reason to end
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),  # of another group
    *("SLURM_PROCID", "JSM_NAMESPACE_RANK"),
    "WANDB_SERVICE",  # W&B's helper of another program, which may end before this one
)
"""Variables that the shell set for other programs."""
TRAINER = "PL_TRAINER_"
"""Begins variables that change Lightning's Trainer, and so results, unseen."""
PLAIN = str.maketrans({"−": "-", "→": "->", "≥": ">=", "≤": "<=", "…": "...", "–": "-", "—": "-", "━": "#", "─": "-"})
"""Signs of ours for consoles that lack them: a lost minus would be a wrong number."""


class Arguments(argparse.ArgumentParser):
    """A command line whose mistakes are refused like all other input."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise InputError(f"{message}: see {self.prog} --help")


def run(name: str, program: Callable[[], int]) -> int:
    """Run a program and return its exit code, after one line for an error that ends it early.

    The code is 2 for input that cannot be used, 1 if results cannot be kept, and 130 for an interrupt.
    """
    _ignore_warnings_as_errors()
    _print_whatever_the_console_lacks()
    try:
        with shell_outside(), interrupts.as_keyboard_interrupt():
            code = program()
            sys.stdout.flush()
    except (InputError, StorageError, OSError, KeyboardInterrupt) as error:
        return ending(name, error)
    return code


def ending(name: str, error: BaseException) -> int:
    """Print one line for the error that ended a program and return its exit code; raise faults of ours again."""
    if isinstance(error, KeyboardInterrupt):
        return say(name, "interrupted; the same command goes on from what is there", 130)
    if isinstance(error, BrokenPipeError):  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError):
        if error.filename is None and error.errno not in FULL:
            raise error  # it is not about a file
        what = f"{error.filename or 'the system'}: {error.strerror or error}"
        remedy = "work in a folder that can be written and has space"
        return say(name, f"{what}: {remedy}", 1 if error.errno in FULL else 2)
    return say(name, error, 1 if isinstance(error, StorageError) else 2)


def say(name: str, what: object, code: int = 2) -> int:
    """Print one line for the error that ended a program, and return its exit code."""
    line = f"{name}: {one_line(what)}"
    if sys.stderr.isatty():  # broken between words, not within one
        line = textwrap.fill(line, max(20, shutil.get_terminal_size().columns), break_on_hyphens=False)
    print(line, file=sys.stderr)
    return code


@contextmanager
def shell_outside() -> Iterator[None]:
    """Hide variables that the shell set for other programs, from this process and from those that it starts."""
    hidden = [name for name in os.environ if name in LEFT_OUTSIDE or name.startswith(TRAINER)]
    values = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(values)


def _ignore_warnings_as_errors() -> None:
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.simplefilter("default")
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)  # as Python does unless told otherwise


def _print_whatever_the_console_lacks() -> None:
    codecs.register_error("evalbench", _in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="evalbench")


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def conf_folder() -> Path:
    """Return the folder of the configuration: in the wheel beside this file, in a checkout at the top."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"evalbench is installed without its configuration: no conf/config.yaml near {here}")
