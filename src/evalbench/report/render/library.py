"""The interactive library: Plotly.js from the `plotly` package, one copy beside the reports or inside a page."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path


def name() -> str:
    """Return the name of the copy beside the reports, with the version of the package that it comes from."""
    return f"plotly-{version('plotly')}.min.js"


@cache
def source() -> bytes:
    """Return the library; the package is not imported."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


def address(folder: Path) -> str:
    """Return the way from a page in `folder` to the library.

    Reports that lie together share one copy in the folder above them: those of evaluations, and those below an
    `index.md` or a copy. Any other report has a copy of its own, so that its folder is whole.
    """
    above = folder.resolve().parent
    together = (folder / "evaluation.json").exists() or any((above / one).exists() for one in ("index.md", name()))
    return f"../{name()}" if together else name()


def provide(folder: Path) -> str:
    """Write the library to its place unless it is there, and return the way to it from a page in `folder`."""
    way = address(folder)
    put(folder.resolve() / Path(way).parent)
    return way


def put(folder: Path) -> None:
    """Write the library into a folder, unless it is there."""
    copy = folder / name()
    if not copy.exists() or copy.stat().st_size != len(source()):
        copy.write_bytes(source())
