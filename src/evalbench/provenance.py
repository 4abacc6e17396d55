"""Where, when and with what a trial was trained: recorded beside it, never part of its identity."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("evalbench-dl", "torch", "pytorch-lightning", "numpy", "scikit-learn")


def collect() -> dict[str, Any]:
    """Return the provenance of results that are ready now."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_device()}",
        "versions": versions(),
    }


def _device() -> str:
    """Return the accelerator's name; torch is asked only where it was needed anyway."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.accelerator.is_available():
        return "CPU"
    kind = torch.accelerator.current_accelerator().type
    return str(torch.cuda.get_device_name()) if kind == "cuda" else kind.upper()


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, without importing them."""
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in PACKAGES}}


@cache
def commit() -> str | None:
    """Return the commit of the checkout that this code runs from, `+` behind it where files differ, or None."""
    here = Path(__file__).resolve().parent
    try:
        top = _git(here, "rev-parse", "--show-toplevel")
        if Path(top) / "src" / "evalbench" != here:
            return None  # installed into an environment inside somebody else's repository
        return _git(here, "rev-parse", "--short=12", "HEAD") + ("+" if _git(here, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
