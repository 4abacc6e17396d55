"""What one training takes of its device, where it was measured: joules, and peak memory of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import MEASURED

ON_NO_GPU = ("", "CPU", "MPS")


@dataclass(frozen=True)
class Taken:
    """What one training of a technique takes on one workload: means over timing passes and settings, nan: not known."""

    workload: str
    technique: str
    gpu_joules: float
    cpu_joules: float
    peak_gpu_bytes: float


@dataclass(frozen=True)
class Devices:
    """What all trainings take, and how it was measured."""

    taken: tuple[Taken, ...]
    names: tuple[str, ...]  # the GPUs, or nothing
    alone: bool | None  # whether nobody else used them; None: not known
    gpu_idle_watts: float
    cpu_idle_watts: float


def knows_energy(folder: Folder) -> bool:
    """Return whether the energy of any training was measured."""
    columns = [name for name in ("gpu_step_joules", "cpu_step_joules") if name in folder.costs]
    return bool(folder.costs[columns].notna().to_numpy().any())


def devices(folder: Folder) -> Devices | None:
    """Return what the trainings take of their devices, in the declared order; None if nothing was measured."""
    costs = folder.costs.reindex(columns=[*dict.fromkeys((*folder.costs.columns, *MEASURED))])
    device, alone = (costs[name] if name in costs else pd.Series("", costs.index) for name in ("measured_on", "alone"))
    on_gpu = ~device.isin(ON_NO_GPU)
    if costs.empty or not (knows_energy(folder) or (on_gpu & costs["peak_memory_bytes"].notna()).any()):
        return None
    table = pd.DataFrame(
        {
            "gpu_joules": costs["gpu_step_joules"] * costs["steps"],
            "cpu_joules": costs["cpu_step_joules"] * costs["steps"],
            "peak_gpu_bytes": costs["peak_memory_bytes"].where(on_gpu),
        }
    )
    means = table.groupby([costs["workload"], costs["technique"]]).mean().to_dict("index")
    evaluation = folder.evaluation
    pairs = [(workload, name) for workload in evaluation.workloads for name in evaluation.techniques]
    taken = tuple(Taken(*pair, *means[pair].values()) for pair in pairs if pair in means)
    known = {"True": True, "False": False}
    states = {known.get(text) for text in alone[on_gpu]}
    is_alone = False if False in states else None if None in states else True
    names = tuple(dict.fromkeys(device[on_gpu]))
    return Devices(taken, names, is_alone, costs["gpu_idle_watts"].mean(), costs["cpu_idle_watts"].mean())
