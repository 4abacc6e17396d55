"""Replay the optimizer step of a cohort as a CUDA graph: one launch instead of one per operation.

The step runs on tensors that stay where they are. A chunk's rows, noise keys and learning rates are copied into them,
and a counter on the device says which of its steps is next. The first steps of each batch shape run directly. Then the
step is captured, both ways are timed, and the faster one goes on: the operations are the same, and so are the bits.
An optimizer that cannot be captured takes its step after the replayed gradients.

The rules of capture are torch's (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): nothing may wait
for the device, and no number that changes may come from Python.

Shapes: `C` members, `S` steps in a chunk, `B` rows in a batch, `R` learning rates.
"""

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Protocol
from weakref import WeakSet

import torch
from torch import Tensor

from evalbench.engine.optimizers import Computed
from evalbench.engine.pruning import Optimizer

log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps of a batch shape before any is timed: the first trace the program, load kernels and make optimizer states."""
TIMED = 3
"""Steps that are timed directly, and again as a graph; the fastest of each count."""
KEY_STEPS = 256
"""Steps whose noise keys are computed at once, because that takes many launches."""

Run = Callable[[], object]
Compute = Callable[[Tensor, Tensor], Computed]
"""Takes rows `(C, B)` and noise keys `(C,)`; returns gradients, losses `(C,)` and missing gradients."""
Keys = Callable[[int, int], Tensor]
"""Takes a first step and a number of steps; returns their noise keys `(S, C)`."""


class Device(Protocol):
    """Capture, time and watch a step on a device."""

    def capture(self, step: Run) -> Run:
        """Return a function that repeats the operations of a step, without running them now; raise any error."""

    def seconds(self, step: Run) -> float:
        """Run a step and return the seconds until the device has ended it."""

    def waits(self, step: Run) -> bool:
        """Run a step and return whether it waited for the device, which a capture forbids."""


class CudaDevice:
    """Capture steps on the current CUDA device; the graphs of a cohort share a pool of memory.

    They may, because they are replayed one at a time and no result outlives a replay unless a reference keeps it.
    """

    _failed: ClassVar[list[torch.cuda.CUDAGraph]] = []  # torch's allocator of pinned memory goes on asking them

    def __init__(self) -> None:
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def capture(self, step: Run) -> Run:
        """Return the replay of a new graph of the step."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        living = next(iter(self._graphs), None)  # torch refuses the pool of graphs that are all gone
        pool = torch.cuda.graph_pool_handle() if living is None else living.pool()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                step()
        except BaseException:
            torch.cuda.set_stream(stream)  # torch stays on the stream of a capture that fails at its end
            graph.reset()
            self._failed.append(graph)
            self._graphs.clear()  # torch goes on recording into the pool of a capture that fails at its end
            _end_capture(pool)
            raise
        self._graphs.add(graph)
        replay: Run = graph.replay
        return replay

    def seconds(self, step: Run) -> float:
        """Run a step and return its seconds."""
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def waits(self, step: Run) -> bool:
        """Run a step in torch's debug mode for synchronization, which warns of each wait."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return any("called a synchronizing CUDA operation" in str(warning.message) for warning in caught)


def _end_capture(pool: tuple[int, int]) -> None:
    """End what torch leaves open if a capture fails at its end.

    Until then memory that is freed is not returned to the device, and torch's generator refuses to draw.
    """
    device = torch.cuda.current_device()
    with suppress(RuntimeError):  # torch has ended the capture, and released its pool
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
    with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
        torch.zeros(1, device="cuda")  # the end of a good capture frees the generator


def device_of(device: torch.device) -> Device | None:
    """Return what captures steps on a device, or None."""
    return CudaDevice() if device.type == "cuda" else None


class Replay:
    """Take the steps of a cohort on static tensors, and replay them as graphs where the device makes that faster."""

    def __init__(self, compute: Compute, keys: Keys) -> None:
        """Take functions that compute a step's gradients, without a wait or a changing Python number, and keys."""
        self._compute, self._computed_keys = compute, keys
        self._steps: dict[torch.Size, StaticStep] = {}
        self._timings: dict[str, int] = {}
        self._first_key = 0
        self._held_keys: Tensor | None = None
        self.device: Device | None = None
        """Captures steps; None if they are not captured."""
        self.device_of: Callable[[torch.device], Device | None] = device_of

    def move(self, device: torch.device) -> None:
        """Forget all graphs, which hold addresses of tensors, and capture anew where that is possible."""
        self.forget()
        self.device = self.device_of(device)

    def forget(self) -> None:
        """Drop all graphs, because tensors of the step have been replaced; keep their timings."""
        self._timings = self.timings
        self._steps.clear()
        self._held_keys = None

    def take(
        self,
        rows: Tensor,
        first_step: int,
        max_steps: int,
        optimizer: Optimizer,
    ) -> Tensor:
        """Take S steps on rows `(S, C, B)`; return the losses `(S, C)` in float64.

        `max_steps` is the length of the longest chunk to come.
        """
        assert self.device is not None
        shape = rows.shape[1:]
        if shape not in self._steps:
            self._steps[shape] = StaticStep(self._compute, self.device, rows, max(max_steps, len(rows)), optimizer)
        step = self._steps[shape]
        step.load(rows, self.keys(first_step, len(rows)), optimizer.rates(first_step, len(rows)))
        for index in range(len(rows)):
            step.take(index, first_step + index)
        return step.losses[: len(rows)].clone()

    def keys(self, first_step: int, num_steps: int) -> Tensor:
        """Return the noise keys `(S, C)` of a chunk."""
        start = first_step - self._first_key
        if self._held_keys is None or start < 0 or start + num_steps > len(self._held_keys):
            self._first_key, start = first_step, 0
            self._held_keys = self._computed_keys(first_step, max(num_steps, KEY_STEPS))
        return self._held_keys[start : start + num_steps]

    @property
    def timings(self) -> dict[str, int]:
        """The microseconds of a step of the first timed shape, as a graph and directly; empty if none was timed."""
        return next((step.timings for step in self._steps.values() if step.timings), self._timings)


class StaticStep:
    """The step of one batch shape on tensors that stay where they are."""

    def __init__(
        self,
        compute: Compute,
        device: Device,
        rows: Tensor,
        max_steps: int,
        optimizer: Optimizer,
    ) -> None:
        """Make the static tensors for chunks of at most `max_steps` steps of the shape of `rows` `(S, C, B)`."""
        self._compute, self._device, self._optimizer = compute, device, optimizer
        self._position = torch.zeros(1, dtype=torch.int64, device=rows.device)
        self._rows = rows.new_zeros(max_steps, *rows.shape[1:])
        self._keys = rows.new_zeros(max_steps, rows.shape[1])
        self._rates: Tensor | None = None  # (S, R)
        self.losses = torch.zeros(max_steps, rows.shape[1], dtype=torch.float64, device=rows.device)
        self._computed: Computed | None = None
        self._whole = optimizer.why_not_captured is None
        if optimizer.why_not_captured is not None:
            _say(f"the optimizer's step is not part of a CUDA graph: {optimizer.why_not_captured}")
        self._taken = 0
        self._direct_seconds: list[float] = []
        self._graph_seconds: list[float] = []
        self._graph: Run | None = None
        self._chosen: Run | None = None
        self.timings: dict[str, int] = {}
        """The microseconds of a step as a graph and directly, once both are known."""

    def load(self, rows: Tensor, keys: Tensor, rates: Tensor | None) -> None:
        """Copy a chunk's rows `(S, C, B)`, keys `(S, C)` and learning rates `(S, R)` into the static tensors."""
        self._rows[: len(rows)].copy_(rows)
        self._keys[: len(keys)].copy_(keys)
        if rates is not None:
            if self._rates is None:
                self._rates = rates.new_zeros(len(self._rows), rates.shape[1])
            self._rates[: len(rates)].copy_(rates)
        self._position.zero_()

    def take(self, index: int, number: int) -> None:
        """Take the chunk's next step; it has this index in the chunk and this number in the training."""
        run = self._chosen or self._next_run()
        if self._whole:
            run()
            return
        self._optimizer.schedule(number)
        run()
        assert self._computed is not None
        named, _, without = self._computed
        copies = {name: value.clone() for name, value in named.items()}  # the optimizer may keep a gradient
        self._optimizer.step(copies, without, self._keys[index])

    def _run(self) -> None:
        """Run the operations that a graph repeats."""
        rows, keys = (values.index_select(0, self._position)[0] for values in (self._rows, self._keys))
        named, losses, without = self._compute(rows, keys)
        if not self._whole:
            self._computed = named, losses, without
        else:
            if self._rates is not None:
                self._optimizer.set_rates(self._rates.index_select(0, self._position)[0])
            self._optimizer.step(named, without, keys)
        self.losses.index_copy_(0, self._position, losses[None].double())
        self._position.add_(1)

    def _next_run(self) -> Run:
        """Return the way to take a step before the faster way is known."""
        self._taken += 1
        if self._taken < WARM_UP:
            return self._run
        if self._taken == WARM_UP:
            return self._watch
        if self._taken <= WARM_UP + TIMED:
            return lambda: self._direct_seconds.append(self._device.seconds(self._run))
        if self._graph is None:
            try:
                self._graph = self._device.capture(self._run)
            except Exception as error:  # a step that cannot be captured may raise anything
                self._go_on_directly((str(error).strip().splitlines() or [type(error).__name__])[0])
                return self._run
        return self._time_graph

    def _watch(self) -> None:
        if self._device.waits(self._run):
            self._go_on_directly("one of its operations waits for the device")

    def _time_graph(self) -> None:
        assert self._graph is not None
        self._graph_seconds.append(self._device.seconds(self._graph))
        if len(self._graph_seconds) < TIMED:
            return
        direct, replayed = min(self._direct_seconds), min(self._graph_seconds)
        faster, self._graph = (self._graph if replayed < direct else self._run), None
        self._chosen = faster
        self.timings = {"graph_us": round(1e6 * replayed), "direct_us": round(1e6 * direct)}
        how = "directly" if faster == self._run else "as a CUDA graph"
        members, size = self._rows.shape[1:]
        log.info(
            "a step of %d members with %d rows runs %s: %.0f µs as a graph, %.0f µs directly",
            members,
            size,
            how,
            1e6 * replayed,
            1e6 * direct,
        )

    def _go_on_directly(self, reason: str) -> None:
        self._chosen, self._graph = self._run, None
        _say(f"a step is not replayed as a CUDA graph: {reason}")


_said: set[str] = set()


def _say(text: str) -> None:
    """Log a line once in this process."""
    if text not in _said:
        _said.add(text)
        log.info("%s", text)
