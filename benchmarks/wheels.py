"""Collect what a GPU machine without a network lacks: `python -m benchmarks.wheels`, on a machine with a network.

The folder gets wheels of the packages below, and the metadata of evalbench, by which Hydra and trials know it. The GPU
machine has PyTorch with CUDA, Lightning, pandas, SciPy, scikit-learn, statsmodels, pytest and what these need.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import hatchling.build
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".gpu" / "wheels"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PACKAGES = (
    *("hydra-core", "omegaconf"),
    *("optuna", "alembic", "mako", "colorlog", "sqlalchemy", "cmaes"),
    *("pytest-timeout", "pytest-xdist", "execnet"),
    *("nvidia-ml-py", "ictonyx", "seaborn"),
    *("fastjsonschema", "plotly"),
)
SOURCES = ("antlr4-python3-runtime",)
"""Packages without a wheel on the index; theirs is built here."""


def pinned(packages: Iterable[str], constraints: str) -> list[str]:
    """Return the packages with the versions that the lines `name==version` of a constraints file give them."""
    lines = [line.split("#")[0].strip() for line in constraints.splitlines()]
    versions = {canonicalize_name(Requirement(line).name): line for line in lines if line}
    return [versions.get(canonicalize_name(package), package) for package in packages]


def collect(folder: Path, constraints: str) -> None:
    """Fill a folder anew with wheels and the metadata of evalbench."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    target = ["--python-version", PYTHON, "--implementation", "cp", *platforms, "--only-binary=:all:"]
    common = ["--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "download", *common, *target, *pinned(PACKAGES, constraints)], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), *pinned(SOURCES, constraints)], check=True)
    write_metadata(folder)


def write_metadata(folder: Path) -> None:
    """Write the `dist-info` of evalbench, with its entry points, into a folder: that of its wheel, without the code."""
    with (
        tempfile.TemporaryDirectory() as built,
        zipfile.ZipFile(Path(built, hatchling.build.build_wheel(built))) as wheel,
    ):
        wheel.extractall(folder, [name for name in wheel.namelist() if ".dist-info/" in name])


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect the wheels and print their names and sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wheels", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the folder to fill (default .gpu/wheels)")
    folder = parser.parse_args(arguments).folder
    collect(folder, (ROOT / "constraints.txt").read_text())
    for path in sorted(folder.glob("*.whl")):
        print(f"{path.stat().st_size / 2**20:6.2f} MiB  {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
