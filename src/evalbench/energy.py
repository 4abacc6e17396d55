"""The energy that a device takes, in joules: NVML's counter of a GPU, RAPL's counters of the CPU's packages.

Energy is that of the whole device, above nothing: what it takes at rest is part of it, and so are other programs on it.
A GPU's is that of its board. A package's is that of its cores, caches and memory controllers, without main memory.

Sources: https://docs.nvidia.com/deploy/nvml-api and https://docs.kernel.org/power/powercap/powercap.html
"""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")
LEAST_SECONDS = 0.5
"""The minimal duration of a measurement, which begins and ends with an update of the counter."""
UPDATE_SECONDS = 0.3
"""The longest wait for an update."""
REST_SECONDS = 1.0
"""A rest before measurements: NVML's share of busy time is that of its last second at most."""
MOST_BUSY_PERCENT = 5
"""A GPU at rest that works more than this share of the time works for others."""


class Meter(Protocol):
    """Count the energy that a device has taken."""

    def joules(self) -> float:
        """Return the energy since a moment that stays the same."""


class NvmlCounter:
    """Read the energy counter of a GPU, Volta or newer; the driver updates it every 20 to 100 ms."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def joules(self) -> float:
        """Return the energy since the driver was loaded; the counter has millijoules."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3


class NvmlSamples:
    """Add up the power of a GPU that has no energy counter: the mean of two samples times the seconds between them."""

    def __init__(self, nvml: Any, handle: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml, self._handle, self._clock = nvml, handle, clock
        self._total, self._watts, self._time = 0.0, self._read(), clock()

    def joules(self) -> float:
        """Return the energy since the first sample, of which this call takes another."""
        watts, now = self._read(), self._clock()
        self._total += (watts + self._watts) / 2 * (now - self._time)
        self._watts, self._time = watts, now
        return self._total

    def _read(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3


class Rapl:
    """Add up the energy counters of the CPU's packages, each of which wraps around at its own range.

    A counter must be read before it wraps twice, which takes minutes.
    """

    def __init__(self, packages: list[Path]) -> None:
        """Take the folders of the packages; raise `OSError` or `ValueError` if a counter cannot be read."""
        self._ranges = {package: _number(package / "max_energy_range_uj") for package in packages}
        self._last = {package: _number(package / "energy_uj") for package in packages}
        self._total = 0

    def joules(self) -> float:
        """Return the energy since the meter was made; the counters have microjoules."""
        for package, size in self._ranges.items():
            now = _number(package / "energy_uj")
            self._total += (now - self._last[package]) % (size + 1)
            self._last[package] = now
        return self._total / 1e6


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def of_cpu(powercap: Path = POWERCAP) -> Rapl | None:
    """Return the meter of all CPU packages; None where there are none, or where only root may read them."""
    try:
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if (zone / "name").is_file()]
        packages = [zone for zone in zones if (zone / "name").read_text(encoding="ascii").startswith("package")]
        return Rapl(packages) if packages else None
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Instruments:
    """Tell what devices take, `gpu` and `cpu`, and whether the GPU works for others; by default nothing is known."""

    meters: Mapping[str, Meter] = field(default_factory=dict)
    is_alone: Callable[[], bool | None] | None = None
    """Asked at rest."""

    def joules(self) -> dict[str, float]:
        """Return the reading of each meter."""
        return {name: meter.joules() for name, meter in self.meters.items()}

    def step_joules(self, run: Callable[[], int]) -> dict[str, float | None]:
        """Return the energy of a step by device, measured between two updates of the counters; empty without a meter.

        `run` trains for a while, waits for the device, and returns the number of its steps.
        """
        if not self.meters:
            return {}
        before, _ = self._next_reading(run)
        steps, end = 0, time.perf_counter() + LEAST_SECONDS
        while time.perf_counter() < end:
            steps += run()
        after, last_steps = self._next_reading(run)
        taken = {name: (after[name] - before[name]) / (steps + last_steps) for name in after}
        return {name: joules if joules > 0 else None for name, joules in taken.items()}

    def _next_reading(self, run: Callable[[], int]) -> tuple[dict[str, float], int]:
        """Train until every counter has changed; return their readings and the number of steps."""
        start, steps = self.joules(), 0
        reading: dict[str, float] = {}
        end = time.perf_counter() + UPDATE_SECONDS
        while not reading or (time.perf_counter() < end and any(reading[name] == start[name] for name in start)):
            steps += run()
            reading = self.joules()
        return reading, steps

    def rest(self, seconds: float = REST_SECONDS) -> "Rest":
        """Leave the devices alone for a while, if anything can tell what they take or do then."""
        if not self.meters and self.is_alone is None:
            return Rest()
        before, start = self.joules(), time.monotonic()
        time.sleep(seconds)
        after, elapsed = self.joules(), time.monotonic() - start
        return Rest({name: (after[name] - before[name]) / elapsed for name in after}, self.is_alone and self.is_alone())


@dataclass(frozen=True)
class Rest:
    """Hold the power of each device at rest in watts, and whether the GPU works for nobody else; None: not known."""

    watts: Mapping[str, float] = field(default_factory=dict)
    is_alone: bool | None = None


def instruments(uuid: str | None, nvml: Any = None, powercap: Path = POWERCAP) -> Instruments:
    """Return what can be measured here while a process trains on the GPU with a UUID, or on the CPU if it is None.

    `nvml` is the module `pynvml` by default, which the package nvidia-ml-py has; a part of a GPU (MIG) has no meter.
    """
    cpu = of_cpu(powercap)
    meters: dict[str, Meter] = {} if cpu is None else {"cpu": cpu}
    nvml = _library() if nvml is None and uuid is not None else nvml
    if uuid is None or nvml is None:
        return Instruments(meters)
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return Instruments(meters)
    gpu = _gpu_meter(nvml, handle)
    return Instruments(meters if gpu is None else {"gpu": gpu, **meters}, lambda: _is_alone(nvml, handle))


def _library() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _gpu_meter(nvml: Any, handle: Any) -> Meter | None:
    for kind in (NvmlCounter, NvmlSamples):
        try:
            meter: Meter = kind(nvml, handle)
            meter.joules()
        except nvml.NVMLError:
            continue
        return meter
    return None


def _is_alone(nvml: Any, handle: Any) -> bool | None:
    """Return whether only this process, which rests now but holds memory, uses a GPU; None if it cannot be told.

    The list of processes may hide other containers' processes, this one too: then the time that the GPU works tells.
    """
    try:
        if nvml.nvmlDeviceGetUtilizationRates(handle).gpu > MOST_BUSY_PERCENT:
            return False
        num_processes = len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError:
        return None
    return None if num_processes == 0 else num_processes == 1
