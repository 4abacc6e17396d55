"""Keep the measurements of each part of the bench in a file of its own: parts may be measured at different times."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.rounds import Engine, Timing
from benchmarks.work import DEVICE

FOLDER = Path(__file__).parents[1] / "outputs" / "bench" / DEVICE.type
PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "scikit-learn", "joblib", "ray", "ictonyx", "numpy")


@dataclass(frozen=True)
class Circumstances:
    """When and on what something was measured."""

    command: str
    date: str
    machine: str
    device: str
    """`cpu` or `cuda`."""
    versions: str

    @classmethod
    def here(cls, command: str) -> "Circumstances":
        """Return the circumstances of this process."""
        used = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "the CPU"
        machine = f"{_processor()}, {os.cpu_count()} cores; trained on {used}"
        return cls(command, f"{datetime.now(UTC):%Y-%m-%d}", machine, DEVICE.type, _versions())


@dataclass
class Record:
    """The timings of all engines in one part of the bench."""

    part: str
    position: int
    """Where it stands among the parts."""
    work: str
    """What the engines train, as a heading."""
    overrides: str
    num_steps: int
    circumstances: Circumstances
    timings: dict[str, Timing] = field(default_factory=dict)
    breakdown: dict[str, float] = field(default_factory=dict)
    """Seconds by part of evalbench, of one more run of the largest whole cell."""
    reason: str | None = None
    """Why nothing could be measured."""


def write(folder: Path, record: Record) -> None:
    """Write a record, in place of an earlier one of the same part."""
    write_json(folder / f"{record.part}.json", asdict(record))


def read(folder: Path) -> dict[str, Record]:
    """Return the records of a folder by part."""
    records = []
    for path in folder.glob("*.json"):
        tree = read_json(path)
        if "timings" in tree:
            circumstances = Circumstances(**tree.pop("circumstances"))
            timings = {key: _timing(values) for key, values in tree.pop("timings").items()}
            records.append(Record(**tree, circumstances=circumstances, timings=timings))
    return {record.part: record for record in sorted(records, key=lambda record: record.position)}


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or None if there is no file."""
    return json.loads(path.read_text()) if path.exists() else None


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a file in one go, so that an interruption leaves the earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(tree, indent=1))
    beside.replace(path)


def _timing(tree: dict[str, Any]) -> Timing:
    accuracies = {int(seed): accuracy for seed, accuracy in tree.pop("accuracies").items()}
    return Timing(Engine(**tree.pop("engine")), accuracies=accuracies, **tree)


def _versions() -> str:
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
