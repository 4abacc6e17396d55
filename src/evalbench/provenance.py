"""Collect the provenance of trials: time, commit, machine and versions. It is stored but never part of an identity."""

import os
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

GPUS = Path("/proc/driver/nvidia/gpus")
PACKAGES = ("evalbench-dl", "torch", "pytorch-lightning", "numpy", "scikit-learn")


def collect(accelerator: str = "auto") -> dict[str, Any]:
    """Return the provenance of results that have just been computed, with a value of `trainer.accelerator`."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(accelerator),
        "versions": versions(),
    }


def machine(accelerator: str = "auto", gpus: Path = GPUS) -> str:
    """Return a description of the parts of this machine that determine the speed of a training.

    `gpus` is the folder where the driver describes the GPUs, which is read without importing torch.
    """
    device = "CPU" if accelerator == "cpu" else _gpus(gpus) or "CPU"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {device}"


def _gpus(folder: Path) -> str:
    lines = [line for file in folder.glob("*/information") for line in file.read_text().splitlines()]
    names = Counter(line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:"))
    return " + ".join(f"{count} x {name}" for name, count in sorted(names.items()))


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
