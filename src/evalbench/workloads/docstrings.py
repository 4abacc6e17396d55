"""Real text that every Python carries: which package of its standard library a docstring belongs to.

A row is the docstring of a class or function with at least five words. Docstrings that occur twice are left out, so no
row is in two parts of a split. Another version of Python has other docstrings and is another workload.
"""

import ast
import platform
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from evalbench.errors import DataError
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.frames import table

PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml")
LEAST_WORDS = 5


def load(name: str, **settings: Any) -> Dataset:
    """Return the docstrings with their packages; `settings` are `text_as`, `text_features`, `text_length`.

    Raises `DataError` if the library is installed without its source.
    """
    rows = [(text, package) for package in PACKAGES for text in _docstrings(package)]
    counts = Counter(text for text, _ in rows)
    frame = pd.DataFrame([row for row in rows if counts[row[0]] == 1], columns=["docstring", "package"])
    described = f"package of a docstring of Python {platform.python_version()}'s standard library"
    made = table(frame, name, text="docstring", **settings)
    return replace(made, description=f"{described}; {made.description}")


def _docstrings(package: str) -> Iterator[str]:
    folder = Path(sysconfig.get_path("stdlib")) / package
    files = sorted(path for path in folder.rglob("*.py") if "test" not in path.relative_to(folder).parts)
    if not files:
        raise DataError(f"{folder}: no source there: install Python with its library's source")
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text.split()) >= LEAST_WORDS:
                    yield text
