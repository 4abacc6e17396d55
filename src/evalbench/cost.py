"""Measure the cost of each technique: one trial at a time, interleaved with the techniques that it is compared with.

Members of a cohort share its time, so this time tells nothing about one technique. Here every cell trains one trial
alone. Each timing pass times all techniques in turn, so that a drift of the machine's speed affects all of them, and
costs are compared pass by pass. Steps run on the device and in the way that training runs them.
"""

import logging
from collections.abc import Callable, Sequence

import torch

from evalbench import energy, engines
from evalbench.config import Config
from evalbench.energy import Instruments
from evalbench.engines import Measurement
from evalbench.workloads import Dataset

log = logging.getLogger(__name__)


def no_instruments(_: torch.device) -> Instruments:
    """Return no meter, for a measurement of time alone."""
    return Instruments()


def instruments_of(device: torch.device) -> Instruments:
    """Return what can tell the energy of a device here."""
    on_gpu = device.type == "cuda"
    return energy.instruments(f"GPU-{torch.cuda.get_device_properties(device).uuid}" if on_gpu else None)


def measure(
    cells: Sequence[tuple[Config, Dataset]],
    rounds: int,
    instruments_of: Callable[[torch.device], Instruments] = no_instruments,
) -> list[list[Measurement]]:
    """Measure cells in turn, on one thread; return the timing passes of each cell, in the order of the cells.

    With instruments each pass also takes half a second per cell to measure energy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads that wait for each other would measure the scheduler
    try:
        trials: list[engines.TimedTrial] = []
        for config, dataset in cells:
            if not trials and _timed(config, dataset).device.type == "cuda":
                _timed(config, dataset).warm_up()  # libraries take memory of their own at the first step
            trials.append(_timed(config, dataset))
            trials[-1].warm_up()
        instruments = {trial.device: instruments_of(trial.device) for trial in trials}
        rests = {device: tools.rest() for device, tools in instruments.items()}
        if any(rest.is_alone is False for rest in rests.values()):
            log.warning("another program uses the GPU: the measured seconds and joules are too high")
        measured: list[list[Measurement]] = [[] for _ in trials]
        for number in range(rounds):
            for trial, measurements in zip(trials, measured, strict=True):
                measurements.append(trial.measure(number, instruments[trial.device], rests[trial.device]))
        return measured
    finally:
        torch.set_num_threads(threads)


def _timed(config: Config, dataset: Dataset) -> engines.TimedTrial:
    return engines.of(config).timed(config, dataset)
