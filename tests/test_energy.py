"""Meters of energy: what they count, and what happens where nothing can be counted."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalbench import energy
from evalbench.energy import Instruments, NvmlCounter, NvmlSamples


class RefusedError(Exception):
    pass


class FakeNvml:
    """Stand in for `pynvml` on a machine with one GPU."""

    NVMLError = RefusedError

    def __init__(self, millijoules: list[int] | None = None, busy: int = 0, processes: int = 1) -> None:
        self.millijoules, self.busy, self.processes = millijoules, busy, processes
        self.milliwatts = iter([50_000, 50_000, 150_000, 150_000])
        self.asked: list[str] = []

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.asked.append(uuid)
        if uuid != "GPU-1":
            raise RefusedError
        return "the handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert handle == "the handle"
        if self.millijoules is None:
            raise RefusedError
        return self.millijoules.pop(0) if len(self.millijoules) > 1 else self.millijoules[0]

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return next(self.milliwatts)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self.busy)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=number) for number in range(self.processes)]


def package(powercap: Path, number: int, name: str, joules: float, max_joules: float = 100.0) -> Path:
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (folder / "max_energy_range_uj").write_text(f"{round(max_joules * 1e6) - 1}\n")
    return folder


def test_the_packages_of_a_cpu_are_added_up_and_wrap_around(tmp_path: Path) -> None:
    package(tmp_path, 0, "package-0", 10)
    package(tmp_path, 1, "package-1", 95)
    package(tmp_path, 2, "psys", 7)  # holds the packages already
    meter = energy.of_cpu(tmp_path)
    assert meter is not None
    assert meter.joules() == 0
    package(tmp_path, 0, "package-0", 14)
    package(tmp_path, 1, "package-1", 3)  # 5 J up to the end of its range, and 3 J after it
    assert meter.joules() == pytest.approx(4 + 8)
    package(tmp_path, 1, "package-1", 1)
    assert meter.joules() == pytest.approx(4 + 8 + 98)


def test_a_cpu_without_counters_that_can_be_read_has_no_meter(tmp_path: Path) -> None:
    assert energy.of_cpu(tmp_path) is None
    assert energy.of_cpu(tmp_path / "nothing") is None
    folder = package(tmp_path, 0, "package-0", 10)
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()  # raises OSError, as a file does that only root may read
    assert energy.of_cpu(tmp_path) is None


def test_a_gpu_counts_millijoules() -> None:
    meter = NvmlCounter(FakeNvml([5_000, 12_500]), "the handle")
    assert [meter.joules(), meter.joules()] == [5.0, 12.5]


def test_an_old_gpu_is_sampled() -> None:
    times: Iterator[float] = iter([0.0, 1.0, 3.0])
    meter = NvmlSamples(FakeNvml(), "the handle", lambda: next(times))
    assert [meter.joules(), meter.joules()] == [50.0, 50.0 + 2 * 100.0]


def test_the_instruments_are_those_that_are_there(tmp_path: Path) -> None:
    assert energy.instruments(None, powercap=tmp_path) == Instruments()
    assert energy.instruments("GPU-2", FakeNvml([1]), tmp_path) == Instruments()  # a part of a GPU, say
    assert isinstance(energy.instruments("GPU-1", FakeNvml([1]), tmp_path).meters["gpu"], NvmlCounter)
    assert isinstance(energy.instruments("GPU-1", FakeNvml(), tmp_path).meters["gpu"], NvmlSamples)
    package(tmp_path, 0, "package-0", 10)
    assert list(energy.instruments(None, FakeNvml([1]), tmp_path).meters) == ["cpu"]
    assert list(energy.instruments("GPU-1", FakeNvml([1]), tmp_path).meters) == ["gpu", "cpu"]


@pytest.mark.parametrize(
    ("busy", "processes", "alone"), [(0, 1, True), (0, 2, False), (90, 1, False), (90, 0, False), (0, 0, None)]
)
def test_a_gpu_is_alone_with_one_process_and_without_work(
    tmp_path: Path, busy: int, processes: int, alone: bool | None
) -> None:
    tools = energy.instruments("GPU-1", FakeNvml([1], busy, processes), tmp_path)
    assert tools.rest(0.001).is_alone is alone


def test_the_power_at_rest_is_what_the_meters_count_meanwhile(tmp_path: Path) -> None:
    rest = energy.instruments("GPU-1", FakeNvml([0, 1_000, 3_000]), tmp_path).rest(0.001)
    assert 0 < rest.watts["gpu"] <= 2 / 0.001
    assert Instruments().rest(3600) == energy.Rest()  # nobody waits for nothing
