"""Next-character prediction on text: windows of characters, each with the characters that follow.

The tokens are the characters of ASCII that print, the tab and the end of a line; all other characters are one symbol.
A text is cut into windows that share no character, so no row's target is another row's input. Two rows may still come
from the same paragraph.
"""

import platform
import string
import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.tasks import Kind
from evalbench.workloads import tokenizers
from evalbench.workloads.dataset import MIN_ROWS, Dataset
from evalbench.workloads.packing import Windows
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.text_inputs import TokenizerInput
from evalbench.workloads.windows import of_windows

CHARACTERS = "\t\n " + string.digits + string.ascii_letters + string.punctuation
OTHER = len(CHARACTERS)
VOCABULARY = (*CHARACTERS, "other")

MODULES = (
    "argparse", "ast", "calendar", "codecs", "configparser", "contextlib", "copy", "csv", "dataclasses", "difflib",
    "enum", "fractions", "functools", "gettext", "gzip", "heapq", "inspect", "ipaddress", "locale", "mailbox",
    "mimetypes", "optparse", "pdb", "pickle", "platform", "plistlib", "pprint", "random", "selectors", "shelve",
    "shlex", "shutil", "smtplib", "socket", "statistics", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
    "tokenize", "traceback", "typing", "uuid", "warnings", "wave", "weakref", "zipapp",
)  # fmt: skip
"""Modules of the standard library in pure Python, about 2 million characters."""


def python_source(name: str, length: int = 64, num_rows: int | None = 2000) -> Dataset:
    """Return windows of the source of this Python's own standard library: the same for every installation of a version.

    Raises `DataError` if the library is installed without its source.
    """
    described = f"next character of the source of Python {platform.python_version()}'s standard library"
    return _windows(name, "".join(map(source_of, MODULES)), length, num_rows, described)


def source_of(module: str) -> str:
    """Return the source of a module of the standard library; raise `DataError` if it is installed without."""
    path = Path(sysconfig.get_path("stdlib")) / f"{module}.py"
    if not path.is_file():
        remedy = "install Python with its library's source, or use dataset=text with a file of your own"
        raise DataError(f"{path}: no such file: {remedy}")
    return path.read_text(encoding="utf-8")


def load(
    path: str, name: str | None = None, length: int = 64, num_rows: int | None = None, tokenizer: str | None = None
) -> Dataset:
    """Return windows of a text file in UTF-8, of characters or of the tokens of a pretrained decoder.

    Raises `DataError` if the file cannot be used.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{path}: no such file: set dataset.path to a text file")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 (byte {error.start}): convert it") from None
    if not text:
        raise DataError(f"{path}: the file is empty: give it text")
    if tokenizer is not None:
        return _of_tokens(name or file.stem, text, length, num_rows, tokenizer)
    return _windows(name or file.stem, text, length, num_rows, "next character of a text")


def _of_tokens(name: str, text: str, length: int, num_rows: int | None, tokenizer: str) -> Dataset:
    """Return windows of a text's tokens by a pretrained model's tokenizer; a window takes `length` of them."""
    (tokens,) = tokenizers.texts([text], tokenizer)
    starts = _starts(name, len(tokens), length, num_rows, "tokens")
    rows = [tokens[start : start + length + 1] for start in starts.tolist()]
    asked = TokenizerInput.of("text", length + 1, tokenizer)
    return of_windows(Windows(rows), name, asked, ["next token of a text"], encoding=Encoding((asked,)))


def _windows(name: str, text: str, length: int, num_rows: int | None, description: str) -> Dataset:
    starts = _starts(name, len(text), length, num_rows, "characters")
    tokens = _encode(text)
    if np.mean(tokens == OTHER) > 0.5:
        raise DataError(f"{name}: most characters of the text are not ASCII: give a text that is mostly ASCII")
    windows = tokens[starts[:, None] + np.arange(length + 1)]  # (N, length + 1)
    return Dataset(
        name=name,
        kind=Kind.LANGUAGE,
        inputs=windows[:, :-1].copy(),
        targets=windows[:, 1:].copy(),
        features=tuple(f"character {index}" for index in range(length)),
        numeric=np.zeros(length, dtype=bool),
        classes=VOCABULARY,
        description=description,
        vocabulary=len(VOCABULARY),
    )


def _starts(name: str, count: int, length: int, num_rows: int | None, units: str) -> NDArray[np.int64]:
    """Return where windows of a text of some characters or tokens begin, spread evenly: each with what follows it."""
    for key, value, least in (("length", length, 2), ("num_rows", num_rows, MIN_ROWS)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            rule = f"must be a whole number of at least {least}"
            raise ConfigError(f"dataset.{key}", rule, value, f"for example dataset.{key}=64")
    most = count // (length + 1)
    if most < (num_rows or MIN_ROWS):
        remedy = "give more text or a smaller dataset.length" + (" or dataset.num_rows" if num_rows else "")
        raise DataError(
            f"{name}: {count:,} {units} are too few for {num_rows or MIN_ROWS:,} windows of {length}: {remedy}"
        )
    chosen = np.linspace(0, most - 1, num_rows or most).round().astype(np.int64)
    return (length + 1) * chosen


def _encode(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    table = np.full(129, OTHER, dtype=np.int64)  # the last entry: everything beyond ASCII
    table[[ord(character) for character in CHARACTERS]] = np.arange(OTHER)
    return table[np.minimum(codes, 128)]
