"""The cost of a trial in a cohort of one member."""

import gc
import math
import statistics
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from evalbench.config import Config
from evalbench.energy import Instruments, Rest
from evalbench.engine import graphs, pruning, quantized, training
from evalbench.engine.counting import count_parameters, flops_per_step
from evalbench.engines.contract import Measurement
from evalbench.parts.quantization import quantization_of
from evalbench.trial import Entrant
from evalbench.weights import file_of
from evalbench.weights.onnx_graphs import OnnxNetwork
from evalbench.workloads import Dataset

UNIT_SECONDS = 0.04
"""The minimal duration of a measurement: shorter ones are dominated by the noise of the clock and the scheduler."""
GRADIENTS = 1
"""The number of copies of the parameters that train which a step holds beside them."""


def _file_sizes(config: Config, network: nn.Module) -> tuple[int | None, int | None]:
    """Return the bytes of a network's file, as it is and compressed; None where no compression asks for them."""
    if config.compression is None and not quantized.are_compared(config):
        return None, None  # the file of a large network takes its memory once more
    content = network.content if isinstance(network, OnnxNetwork) else file_of(network)
    return len(content), len(zlib.compress(content, 1))


class TimedCohort:
    """Hold one trial of a cell in a cohort of one member, whose steps are timed repeatedly."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.device = training.device_of(config)
        self.on_cuda = self.device.type == "cuda"
        if self.on_cuda:
            gc.collect()  # what is left of another trial must not be freed, and so subtracted, during this one
            self.allocated_before = torch.cuda.memory_allocated(self.device)
        self.cohort, (split,) = training.make_cohort(config, dataset, [Entrant(0)])
        self.precision = config.precision
        self.cohort = self.cohort.to(self.device)
        network = training.network_of(config, dataset).eval()
        pruning.prune(network, *self.cohort.recipe.pruned)
        self.network: nn.Module = network
        self.batch_size = self.cohort.batches.batch_size
        self.flops = flops_per_step(
            self.network, dataset.kind, self.batch_size, dataset.inputs.shape[1], dataset.vocabulary is not None
        )
        self.parameters = count_parameters(self.network)
        self.graph = quantized.graph_of(config, dataset, network, split)
        if self.graph is not None and quantization_of(config.compression) is not None:
            self.network = self.graph
        self.model_bytes, self.compressed_bytes = _file_sizes(config, self.network)
        if self.precision == "64-true":
            self.network = self.network.double()
        chunk_steps = self.cohort.steps_in_chunk()
        chunks = self.cohort.batches.chunks(0, self.cohort.recipe.validation_steps[-1], chunk_steps)
        self.rows = next(self.cohort.data.inputs.staged(chunks)).to(self.device)
        example = torch.as_tensor(dataset.inputs[self.rows[0, 0, :1].cpu().numpy()], device=self.device)
        kind = torch.int64 if dataset.vocabulary is not None else self.cohort.recipe.dtype
        self.example = example.to(kind).nan_to_num(0)

    def warm_up(self) -> None:
        """Trace, allocate, let replay choose its way, and choose the number of steps to time at once."""
        if self.on_cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        self.cohort.optimizer  # noqa: B018 - makes it
        for _ in range(1 if self.cohort.replay.device is None else graphs.WARM_UP + 2 * graphs.TIMED + 1):
            self._steps(self.rows[:1])
        self._choose_unit(self._time(lambda: self._steps(self.rows[:1])))
        if self.unit_steps > 1:
            self._choose_unit(self._time(self._run_unit) / self.unit_steps)
        if self.on_cuda:
            self.peak = torch.cuda.max_memory_allocated(self.device) - self.allocated_before
        else:
            step_bytes, state = self.cohort.trace_memory()[0], self.cohort.state_bytes
            kept = self.cohort.constant_bytes + self.cohort.optimizer.state_bytes
            self.peak = (1 + GRADIENTS) * state + kept + step_bytes
        self.network = self.network.to(self.device)

    def _choose_unit(self, step_seconds: float) -> None:
        """Choose the steps that are timed at once: those of a part of a chunk, repeated if a chunk is too short."""
        steps = max(1, math.ceil(UNIT_SECONDS / max(step_seconds, 1e-6)))
        self.unit = self.rows[: min(len(self.rows), steps)]
        self.repeats = math.ceil(steps / len(self.unit))
        self.unit_steps = self.repeats * len(self.unit)

    def measure(self, number: int, instruments: Instruments, rest: Rest) -> Measurement:
        """Time one unit of steps and one example through the network, and measure the energy of a step."""
        step_seconds = self._time(self._run_unit) / self.unit_steps
        inference, joules = self._median(self.network), instruments.step_joules(self._run_and_count)
        return Measurement(
            round=number,
            steps=self.cohort.recipe.validation_steps[-1],
            step_seconds=step_seconds,
            samples_per_second=self.batch_size / step_seconds,
            inference_seconds=inference,
            flops_per_step=self.flops,
            parameters=self.parameters,
            optimizer_state_bytes=self.cohort.optimizer.state_bytes,
            checkpoint_bytes=self.cohort.state_bytes,
            peak_memory_bytes=self.peak,
            measured_on=torch.cuda.get_device_name(self.device) if self.on_cuda else self.device.type.upper(),
            alone=rest.is_alone,
            gpu_step_joules=joules.get("gpu"),
            cpu_step_joules=joules.get("cpu"),
            gpu_idle_watts=rest.watts.get("gpu"),
            cpu_idle_watts=rest.watts.get("cpu"),
            model_bytes=self.model_bytes,
            compressed_bytes=self.compressed_bytes,
            graph_seconds=self._graph_seconds(inference),
        )

    def _graph_seconds(self, inference: float) -> float | None:
        """Return the time of one example in ONNX Runtime, given that of the network, which may be a graph itself."""
        if self.graph is None:
            return None
        return inference if self.network is self.graph else self._median(self.graph)

    def _run_and_count(self) -> int:
        self._run_unit()
        self._synchronize()
        return self.unit_steps

    def _run_unit(self) -> None:
        for _ in range(self.repeats):
            self._steps(self.unit)

    @torch.no_grad()
    def _steps(self, rows: Tensor) -> None:
        with self._autocast():
            self.cohort.train_chunk(rows, 0)

    @torch.no_grad()
    def _median(self, network: nn.Module) -> float:
        """Return the median time of one example through a network."""

        def infer() -> None:
            with self.cohort.recipe.numbers(), self._autocast():
                network(self.example)

        return statistics.median(self._time(infer) for _ in range(9))

    def _autocast(self) -> AbstractContextManager[object]:
        mixed = self.precision == "bf16-mixed"
        # Like Lightning's: a cache would keep the weights of the first step, and skip work that training does.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False) if mixed else nullcontext()

    def _time(self, run: Callable[[], None]) -> float:
        """Return the seconds until the device has ended what runs, on CUDA by its own clock."""
        if self.on_cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3
        self._synchronize()
        started = time.perf_counter()
        run()
        self._synchronize()
        return time.perf_counter() - started

    def _synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
