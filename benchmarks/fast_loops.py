"""Train with the fastest loops that plain PyTorch offers: a CUDA graph of one step, and `torch.func` with `vmap`.

Shapes: `C` networks, `B` rows of a batch, `N` rows of the data.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.peers import BareLoop, copy_of, fused, train
from benchmarks.work import DEVICE, Trial, Work

WARM_UP = 3
"""Steps before a capture: torch asks for them."""


class CapturedLoop:
    """A bare loop whose step is one CUDA graph per batch size, captured once and replayed for one trial after another.

    Weights, data and rows of each trial are copied into the tensors that the graphs read.
    """

    def __init__(self, work: Work, trial: Trial) -> None:
        self.bare = BareLoop(work, trial, capturable=True)
        self._rows: dict[int, Tensor] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        for rows in {len(rows): rows for rows in trial.epoch(0)}.values():
            static = self._rows[len(rows)] = rows.to(DEVICE)
            self._graphs[len(rows)] = captured(lambda static=static: self.bare.step(static))  # type: ignore[misc]

    @torch.no_grad()
    def load(self, trial: Trial) -> None:
        """Begin a trial: copy its weights and data, and forget the optimizer's state, whose numbers begin at zero."""
        self.bare.network.load_state_dict(trial.network.state_dict())
        self.bare.inputs.copy_(trial.inputs)
        self.bare.targets.copy_(trial.targets)
        for state in self.bare.optimizer.state.values():
            for value in state.values():
                value.zero_()

    def step(self, rows: Tensor) -> None:
        """Replay a step on rows `(B,)` of the device."""
        self._rows[len(rows)].copy_(rows)
        self._graphs[len(rows)].replay()


def graph_loop(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train the trials one after another, with each step replayed as a CUDA graph; validation runs directly."""
    captured = CapturedLoop(work, work.trial(seeds[0]))
    accuracies = []
    for seed in seeds:
        trial = work.trial(seed)
        captured.load(trial)
        accuracies.append(train(captured.bare, trial, captured.step))
    return accuracies


class StackedNetworks:
    """C networks as one through `torch.func` and `vmap`, with one fused optimizer on the stacked parameters."""

    def __init__(self, work: Work, trials: Sequence[Trial]) -> None:
        networks = [trial.network.to(DEVICE) for trial in trials]
        self.parameters, self.buffers = stack_module_state(networks)
        self.inputs = torch.stack([trial.inputs for trial in trials]).to(DEVICE)  # (C, N, D)
        self.targets = torch.stack([trial.targets for trial in trials]).to(DEVICE)
        self.optimizer = fused(work.cell.config.optimizer.component, list(self.parameters.values()))
        self._members = torch.arange(len(trials), device=DEVICE)[:, None]
        self._frame = copy.deepcopy(networks[0]).to("meta")

        def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            return work.loss(functional_call(self._frame, (parameters, buffers), (inputs,)), targets)

        def outputs(parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
            result: Tensor = functional_call(self._frame, (parameters, buffers), (inputs,))
            return result

        self._gradients = vmap(grad(loss), randomness="different")
        self._losses, self._outputs = vmap(loss), vmap(outputs)

    def step(self, rows: Tensor) -> None:
        """Take an optimizer step on rows `(C, B)` of the device."""
        gradients = self._gradients(self.parameters, self.buffers, *self._data(rows))
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self.optimizer.step()

    @torch.no_grad()
    def losses(self, rows: Tensor) -> Tensor:
        """Return the losses `(C,)` on rows `(C, B)`."""
        losses: Tensor = self._losses(self.parameters, self.buffers, *self._data(rows))
        return losses

    @torch.no_grad()
    def accuracies(self, rows: Tensor) -> list[float]:
        """Return the accuracies of the networks on rows `(C, B)`."""
        inputs, targets = self._data(rows)
        right = self._outputs(self.parameters, self.buffers, inputs).argmax(-1) == targets
        accuracies: list[float] = right.flatten(1).double().mean(1).tolist()
        return accuracies

    def _data(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[self._members, rows], self.targets[self._members, rows]


def vmapped(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train the trials together as stacked networks; test each at its lowest validation loss."""
    trials = [work.trial(seed) for seed in seeds]
    stacked = StackedNetworks(work, trials)
    validation, test = (
        torch.stack([torch.as_tensor(getattr(trial.split, name)) for trial in trials]).to(DEVICE)
        for name in ("validation", "test")
    )
    lowest = torch.full((len(trials),), float("inf"), device=DEVICE)
    best = copy_of(stacked.parameters)
    last, number, epoch = trials[0].validation_steps[-1], 0, 0
    while number < last:
        epochs = zip(*(trial.epoch(epoch) for trial in trials), strict=True)
        for rows in islice(epochs, last - number):
            stacked.step(torch.stack(rows).to(DEVICE))
            number += 1
            if number in trials[0].validation_steps:
                losses = stacked.losses(validation)
                better = losses < lowest
                lowest = torch.where(better, losses, lowest)
                with torch.no_grad():
                    for name, value in stacked.parameters.items():
                        best[name][better] = value[better]
        epoch += 1
    stacked.parameters = best
    return stacked.accuracies(test)


def captured(step: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Return the graph of a step, after the steps on a side stream that torch asks for."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph
