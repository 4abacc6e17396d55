"""Energy and peak memory stand in the report where they were measured, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalbench.report import Report, read

STEPS = {"sgd": 180, "adam": 18}  # of one training
GPU: dict[str, Any] = {
    "measured_on": "NVIDIA H200",
    "alone": True,
    "peak_memory_bytes": 3 * 2**20,
    "gpu_step_joules": 0.02,
    "gpu_idle_watts": 75.0,
}


@pytest.fixture
def measured(make_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Report]:
    def report(**columns: Any) -> Report:
        """Return a report whose `costs.csv` has more columns."""
        techniques = tuple(STEPS)
        folder = make_folder(tmp_path, techniques, ("digits", "wine"), seeds=6, costs=dict.fromkeys(techniques, 0.001))
        table = pd.read_csv(folder / "costs.csv").assign(**columns)
        table.to_csv(folder / "costs.csv", index=False)
        return read(folder)

    return report


def test_a_folder_without_energy_says_so_once(measured: Callable[..., Report]) -> None:
    report = measured()
    assert report.markdown.count("Energy: not known.") == 1
    assert "energy" not in report.markdown
    assert "energy" not in report.frames
    on_cpu = measured(measured_on="CPU", alone=None, peak_memory_bytes=99, gpu_step_joules=None, cpu_step_joules=None)
    assert on_cpu.markdown == report.markdown


def test_the_energy_of_a_training_is_that_of_its_steps(measured: Callable[..., Report]) -> None:
    report = measured(**GPU)
    table = report.frame("energy")
    assert table["gpu_joules"].tolist() == pytest.approx([0.02 * steps for steps in STEPS.values()] * 2)
    assert table["peak_gpu_bytes"].tolist() == [3 * 2**20] * 4
    assert "| workload | technique | GPU energy | relative to `sgd` | peak GPU memory |" in report.markdown
    assert "| `digits` | `sgd` | 3.60 J | 1 | 3.00 MiB |" in report.markdown
    assert "|  | `adam` | 360 mJ | 1/10 | 3.00 MiB |" in report.markdown
    assert "One trial by itself on NVIDIA H200, without its validations. Energy is what the" in report.markdown
    assert "rest included; at rest the GPU takes 75 W." in report.markdown
    assert "No other program used the GPU." in report.markdown
    assert "not known" not in report.markdown.split("One trial by itself")[1].split("##")[0]
    assert "CPU energy" not in report.markdown


def test_what_was_measured_has_a_column(measured: Callable[..., Report]) -> None:
    cpu = measured(measured_on="CPU", alone=None, peak_memory_bytes=99, cpu_step_joules=0.5, cpu_idle_watts=9.0)
    assert "| workload | technique | CPU energy | relative to `sgd` |\n" in cpu.markdown
    assert "at rest the CPU takes 9 W" in cpu.markdown
    memory = measured(**{**GPU, "gpu_step_joules": None, "gpu_idle_watts": None, "alone": None})
    assert "| workload | technique | peak GPU memory |\n" in memory.markdown
    assert "Whether another program used the GPU is not known." in memory.markdown
    assert memory.markdown.count("Energy: not known.") == 1


def test_a_gpu_that_others_used_is_named(measured: Callable[..., Report]) -> None:
    assert "**Another program used the GPU**" in measured(**{**GPU, "alone": False}).markdown
