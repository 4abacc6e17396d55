"""Collect the provenance of trials: time, commit, machine and versions. It is stored but never part of an identity."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("evalbench-dl", "torch", "pytorch-lightning", "numpy", "scikit-learn")


def collect() -> dict[str, Any]:
    """Return the provenance of results that have just been computed."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> str:
    """Return a description of the parts of this machine that determine its speed."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_device()}"


def _device() -> str:
    """Return the GPUs or "CPU", read from the driver's files without importing torch."""
    files = Path("/proc/driver/nvidia/gpus").glob("*/information")
    lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("Model:")]
    names = [line.split(":", 1)[1].strip() for line in lines]
    return f"{len(names)} x {names[0]}" if names else "CPU"


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, without importing them."""
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in PACKAGES}}


@cache
def commit() -> str | None:
    """Return the commit of the checkout that this code runs from, with a `+` if files differ; None if there is none."""
    folder = Path(__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if Path(top) / "src" / "evalbench" != folder:
            return None  # installed into an environment inside another repository
        return _git(folder, "rev-parse", "--short=12", "HEAD") + ("+" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
