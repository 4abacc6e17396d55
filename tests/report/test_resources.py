"""What a trial takes stands beside its score in the report where it is known, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalbench.report import Report, read
from evalbench.report.summary import summary_of

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


@pytest.mark.slow
def test_a_folder_without_energy_says_so_once(measured: Callable[..., Report]) -> None:
    report = measured()
    assert report.markdown.count("Energy: not known.") == 1
    assert "energy" not in report.markdown
    assert "resources" not in report.frames
    on_cpu = measured(measured_on="CPU", alone=None, peak_memory_bytes=99, gpu_step_joules=None, cpu_step_joules=None)
    assert on_cpu.markdown == report.markdown


def test_the_energy_of_a_training_is_that_of_its_steps(measured: Callable[..., Report]) -> None:
    report = measured(**GPU)
    table = report.frame("resources")
    assert table["gpu_joules"].tolist() == pytest.approx([0.02 * steps for steps in STEPS.values()] * 2)
    assert table["peak_memory_bytes"].tolist() == [3 * 2**20] * 4
    assert set(table["peak_memory"]) == {"measured"}
    means = [report.findings.units["digits"].score(score.interval.mean) for score in report.findings.scores[:2]]
    assert (
        "| workload | unit | technique | score | trained parameters | peak memory | time | GPU energy |"
        in report.markdown
    )
    assert f"| `sgd` | {means[0]} | 99 | 3.00 MiB | 0.17 s | 3.60 J |" in report.markdown
    assert f"| `adam` | {means[1]} | 99 | 3.00 MiB | 17 ms | 360 mJ (1/10×) |" in report.markdown
    assert (
        "One trial by itself on NVIDIA H200, without its validations. Peak memory is measured: the most"
        in report.markdown
    )
    assert "rest included; at rest the GPU takes 75 W." in report.markdown
    assert "No other program used the GPU." in report.markdown
    assert "not known" not in report.markdown.split("One trial by itself")[1].split("##")[0]
    assert "CPU energy" not in report.markdown


@pytest.mark.slow
def test_what_was_measured_has_a_column(measured: Callable[..., Report]) -> None:
    cpu = measured(measured_on="CPU", alone=None, peak_memory_bytes=99, cpu_step_joules=0.5, cpu_idle_watts=9.0)
    assert "| score | trained parameters | time | CPU energy |\n" in cpu.markdown
    assert "Not known: checkpoint and peak memory." in cpu.markdown  # of the CPU's older records
    assert "at rest the CPU takes 9 W" in cpu.markdown
    without = {**GPU, "gpu_step_joules": None, "gpu_idle_watts": None, "alone": None}
    memory = measured(**without, checkpoint_bytes=lambda table: 400 + table["technique"].map(STEPS))
    assert "| score | trained parameters | checkpoint | peak memory | time |\n" in memory.markdown
    assert "Whether another program used the GPU is not known." in memory.markdown
    assert memory.markdown.count("Energy: not known.") == 1


def test_memory_on_the_cpu_is_computed_and_a_gap_is_not_known(measured: Callable[..., Report]) -> None:
    report = measured(
        measured_on="CPU", peak_memory_bytes=2**20, checkpoint_bytes=lambda table: table["technique"].map({"sgd": 400})
    )
    assert "Peak memory is computed: all weights, gradients" in report.markdown
    assert "| 99 | 400 B | 1.00 MiB | 0.17 s |" in report.markdown
    assert "| 99 | not known | not known | 17 ms |" in report.markdown
    assert report.frame("resources")["peak_memory"].tolist() == ["computed", "not known"] * 2
    resources = [score["resources"] for score in summary_of(report.findings)["scores"]]
    assert [one["checkpoint_bytes"] for one in resources[:2]] == [400, None]


def test_a_gpu_that_others_used_is_named(measured: Callable[..., Report]) -> None:
    assert "**Another program used the GPU**" in measured(**{**GPU, "alone": False}).markdown
