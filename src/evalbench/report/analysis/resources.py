"""What one training takes: parameters, bytes that are kept, peak memory, seconds and joules."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalbench.record.folder import Folder
from evalbench.record.schema import MEASURED
from evalbench.report.analysis.scores import Cost

ON_NO_GPU = ("", "CPU", "MPS")


@dataclass(frozen=True)
class Taken:
    """What one training of a technique takes on one workload: means over timing passes and settings, nan: not known."""

    workload: str
    technique: str
    parameters: float  # that train
    checkpoint_bytes: float
    peak_memory_bytes: float  # measured on a GPU, else computed
    seconds: float
    gpu_joules: float
    cpu_joules: float


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


def devices(folder: Folder, counted: tuple[Cost, ...]) -> Devices | None:
    """Return what the trainings take, in the declared order; None if no time was measured."""
    if folder.costs.empty:
        return None
    costs = folder.costs.reindex(columns=[*dict.fromkeys((*folder.costs.columns, *MEASURED))])
    device, alone = (costs[name] if name in costs else pd.Series("", costs.index) for name in ("measured_on", "alone"))
    on_gpu = ~device.isin(ON_NO_GPU)
    # Records of the CPU without the bytes of a checkpoint computed a peak without the tensors that do not train.
    has_peak = on_gpu | costs["checkpoint_bytes"].notna()
    table = pd.DataFrame(
        {
            "checkpoint_bytes": costs["checkpoint_bytes"],
            "peak_memory_bytes": costs["peak_memory_bytes"].where(has_peak),
            "seconds": np.log(costs["cost_seconds"]),
            "gpu_joules": costs["gpu_step_joules"] * costs["steps"],
            "cpu_joules": costs["cpu_step_joules"] * costs["steps"],
        }
    ).astype(float)
    means = table.groupby([costs["workload"], costs["technique"]]).mean()
    means["seconds"] = np.exp(means["seconds"])
    rows = means.to_dict("index")
    parameters = {(cost.workload, cost.technique): cost.parameters for cost in counted}
    evaluation = folder.evaluation
    pairs = [(workload, name) for workload in evaluation.workloads for name in evaluation.techniques]
    taken = tuple(Taken(*pair, parameters.get(pair, math.nan), *rows[pair].values()) for pair in pairs if pair in rows)
    known = {"True": True, "False": False}
    states = {known.get(text) for text in alone[on_gpu]}
    is_alone = False if False in states else None if None in states else True
    names = tuple(dict.fromkeys(device[on_gpu]))
    return Devices(taken, names, is_alone, costs["gpu_idle_watts"].mean(), costs["cpu_idle_watts"].mean())


def differ(taken: tuple[Taken, ...]) -> bool:
    """Return whether techniques differ on a workload in what is known of them, seconds aside."""
    kinds = ("parameters", "checkpoint_bytes", "peak_memory_bytes", "gpu_joules", "cpu_joules")
    table = pd.DataFrame([vars(one) for one in taken])
    return bool((table.groupby("workload")[list(kinds)].nunique(dropna=False) > 1).to_numpy().any())
