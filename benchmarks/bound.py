"""Measure a lower bound of the time of one step of C members: matrix products and memory traffic at measured speed.

The products are the products of one trial's forward and backward pass, each as one `torch.bmm` over C members, alone.
The bytes are the optimizer's reads (parameters, gradients, state) and writes (parameters, state). Activations, losses,
scaling, validation and Python are not counted, so no program reaches the bound.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.fast_loops import captured
from benchmarks.peers import CORES, fused
from benchmarks.work import DEVICE, Work

CALLS = 20
"""Calls in a CUDA graph that is timed."""
_aten = torch.ops.aten
_PRODUCTS = {_aten.mm: 0, _aten.addmm: 1, _aten.bmm: 0, _aten.baddbmm: 1}
"""Matrix products, and the index of their first matrix among the arguments."""


@dataclass(frozen=True)
class Demand:
    """The arithmetic and the memory traffic of one step of one trial."""

    products: tuple[tuple[int, int, int, int], ...]
    """Each `(n, i, j, k)`: n products of `(i, j)` with `(j, k)`."""
    other_flops: int
    """FLOPs of convolutions and attention, which are counted at the speed of the fastest product."""
    optimizer_bytes: int

    @property
    def flops(self) -> int:
        """Return the number of FLOPs of all operations."""
        return self.other_flops + sum(2 * n * i * j * k for n, i, j, k in self.products)


@cache
def demand(work: Work) -> Demand:
    """Take one step of one trial and count its operations."""
    trial = work.trial(0)
    parameters = list(trial.network.parameters())
    optimizer = fused(work.cell.config.optimizer.component, parameters)
    rows = next(trial.epoch(0))
    with _ProductCounter() as counter:
        work.loss(trial.network(trial.inputs[rows]), trial.targets[rows]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    state = sum(_bytes(v) for values in optimizer.state.values() for v in values.values() if _is_large(v))
    weights = sum(map(_bytes, parameters))
    return Demand(tuple(counter.products), counter.other_flops, 3 * weights + 2 * state)


def step_seconds(work: Work, num_members: int) -> float:
    """Measure the lower bound for one step of C members, with the faster number of threads."""
    seconds = []
    for threads in dict.fromkeys((1, CORES) if DEVICE.type == "cpu" else (1,)):
        torch.set_num_threads(threads)
        seconds.append(_step_seconds(demand(work), num_members))
    return min(seconds)


def _step_seconds(needed: Demand, num_members: int) -> float:
    seconds = {shape: _product_seconds(shape, num_members) for shape in set(needed.products)}
    flops_per_second = max(2 * num_members * n * i * j * k / s for (n, i, j, k), s in seconds.items())
    arithmetic = sum(seconds[shape] for shape in needed.products)
    arithmetic += num_members * needed.other_flops / flops_per_second
    return arithmetic + _moving_seconds(num_members * needed.optimizer_bytes)


class _ProductCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the executed matrix products and the FLOPs of other operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[tuple[int, int, int, int]] = []
        self.other_flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in _PRODUCTS:
            left, right = args[_PRODUCTS[packet] :][:2]
            count = left.shape[0] if left.dim() == 3 else 1
            self.products.append((count, *left.shape[-2:], right.shape[-1]))
        elif packet in flop_registry:
            self.other_flops += int(flop_registry[packet](*args, **(kwargs or {}), out_val=result))
        return result


def _product_seconds(shape: tuple[int, int, int, int], num_members: int) -> float:
    n, i, j, k = shape
    left, right = (torch.randn(num_members * n, *sides, device=DEVICE) for sides in ((i, j), (j, k)))
    out = torch.empty(num_members * n, i, k, device=DEVICE)
    return _fastest(lambda: torch.bmm(left, right, out=out))


def _moving_seconds(num_bytes: int) -> float:
    """Return the time to read and write a number of bytes; a small working set stays in the cache."""
    left, right, out = (torch.zeros(max(1, num_bytes // 12), device=DEVICE) for _ in range(3))
    return _fastest(lambda: torch.add(left, right, out=out))


def _fastest(action: Callable[[], object], least_seconds: float = 0.005) -> float:
    """Return the seconds of one call: the best of three means, after a warm-up; on a CUDA device without launches."""
    if DEVICE.type == "cuda":
        return _fastest_of(captured(lambda: [action() for _ in range(CALLS)]).replay, least_seconds) / CALLS
    return _fastest_of(action, least_seconds)


def _fastest_of(action: Callable[[], object], least_seconds: float) -> float:
    repeats, seconds = 1, _timed(action, 1)
    while seconds < least_seconds:
        repeats *= 2
        seconds = _timed(action, repeats)
    return min(seconds, *(_timed(action, repeats) for _ in range(2))) / repeats


def _timed(action: Callable[[], object], repeats: int) -> float:
    if DEVICE.type != "cuda":
        start = time.perf_counter()
        for _ in range(repeats):
            action()
        return time.perf_counter() - start
    begin, finish = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(repeats):
        action()
    finish.record()
    finish.synchronize()
    return float(begin.elapsed_time(finish)) / 1e3


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _is_large(value: Any) -> bool:
    """Return whether a value of an optimizer's state has one number per weight, unlike a counter of steps."""
    return isinstance(value, Tensor) and value.dim() > 0
