"""Train one trial in plain PyTorch: a network, a loop, a scheduler; no member axis, no traced graph."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench import draws, models, parts
from evalbench.cell import Cell
from evalbench.engine import calls, noise, training
from evalbench.engine.batches import Batches
from evalbench.engine.cohort import EVALUATION_STEP
from evalbench.seeds import Role, derive
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import Kind, draw_split, fit_scaling

Loss = Callable[[Tensor, Tensor], Tensor]
Taught = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes the loss, the outputs and the rows of a batch; returns the loss with a teacher."""


class Pruner(Protocol):
    """What a loop with pruning does around its steps and validations."""

    def before_step(self, network: nn.Module) -> None: ...

    def after_step(self, network: nn.Module, taken: int) -> None: ...

    def kept(self, network: nn.Module) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class PlainResult:
    val_losses: list[float]
    steps: list[int]
    metrics: dict[str, float]
    best_epoch: float


def train(
    cell: Cell,
    seed: int,
    closure: bool = False,
    gradients: bool = True,
    loss: Loss | None = None,
    taught: Taught | None = None,
    pruner: Pruner | None = None,
) -> PlainResult:
    """Train one trial and test it at its lowest validation loss.

    If the optimizer takes a `closure`, `gradients` tells whether it needs gradients before. A `loss` of outputs and
    targets replaces the task's own in training.
    """
    dtype = torch.float64 if cell.config.precision == "64-true" else torch.float32
    before = torch.get_default_dtype()
    try:
        return _train(cell, seed, closure, gradients, dtype, loss, taught, pruner)
    finally:
        torch.set_default_dtype(before)


def _train(
    cell: Cell,
    seed: int,
    closure: bool,
    gradients: bool,
    dtype: torch.dtype,
    custom_loss: Loss | None,
    taught: Taught | None,
    pruner: Pruner | None,
) -> PlainResult:
    config, dataset = cell.config, cell.dataset

    def seed_of(role: Role) -> int:
        return derive(config.root_seed, dataset.name, role, seed)

    split = draw_split(dataset, config.split.validation, config.split.test, seed_of(Role.SPLIT))
    scaling = fit_scaling(dataset, split.train)
    inputs = torch.tensor(scaling.inputs(dataset, np.arange(len(dataset.targets))))
    inputs = inputs.to(dtype) if dataset.vocabulary is None else inputs
    numbers: NDArray[Any] = dataset.targets.astype(np.float64 if dtype is torch.float64 else dataset.targets.dtype)
    targets = torch.as_tensor((numbers - scaling.target_mean) / scaling.target_std, dtype=dtype)
    shape = training.shape_of(dataset)
    network = models.build_seeded(
        seed_of(Role.INIT), config.model, config.activation, shape, adaptation=config.adaptation
    )
    if dtype is torch.float64:
        network = network.double()
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    torch.set_default_dtype(dtype)
    parameters = [parameter for _, parameter in named]
    component = config.optimizer.component
    if config.optimizer.others is None:
        takes_names = "named_parameters" in inspect.signature(component.locate()).parameters
        optimizers = [component.build(named_parameters=named) if takes_names else component.build(parameters)]
    else:
        matrices = [parameter for parameter in parameters if parameter.ndim == 2]
        rest = [parameter for parameter in parameters if parameter.ndim != 2]
        optimizers = [component.build(matrices), config.optimizer.others.build(rest)]

    def loss_of(outputs: Tensor, rows: Tensor, smoothing: float) -> Tensor:
        if dataset.kind.answers:
            is_token = targets[rows] != NO_TARGET
            return -outputs[..., 0][is_token].mean()
        if dataset.kind is Kind.MULTICLASS or dataset.kind.per_token:
            classes = outputs.flatten(0, -2)
            return F.cross_entropy(classes, targets[rows].long().flatten(), label_smoothing=smoothing)
        if dataset.kind is Kind.BINARY:
            return F.binary_cross_entropy_with_logits(outputs[:, 0], targets[rows] * (1 - smoothing) + smoothing / 2)
        return F.mse_loss(outputs[:, 0], targets[rows])

    def weighted_loss_of(outputs: Tensor, rows: Tensor, smoothing: float) -> Tensor:
        if dataset.weights is None:
            return loss_of(outputs, rows, smoothing)
        weights = torch.as_tensor(dataset.weights / dataset.weights[split.train].mean(), dtype=dtype)[rows]
        each = [loss_of(outputs[[i]], rows[[i]], smoothing) for i in range(len(rows))]
        return (torch.stack(each) * weights).mean()

    train_rows = torch.as_tensor(split.train)[None]
    num_rows = parts.rows_of_epoch(config, dataset, len(split.train))
    resampled = parts.epoch_rows(config, dataset, len(split.train))
    batches = Batches(train_rows, config.optimizer.rows_per_step(num_rows), [seed_of(Role.ORDER)], resampled)
    stops = config.budget.validation_steps(batches.steps_per_epoch)
    schedulers = []
    if config.schedule is not None:
        arguments = {key: stops[-1] if value == "100%" else value for key, value in config.schedule.arguments.items()}
        rates = [group["lr"] for group in optimizers[0].param_groups]
        own = rates[0] if len(set(rates)) == 1 else rates
        arguments = {key: own if value == "lr" else value for key, value in arguments.items()}
        schedule = type(config.schedule)(config.schedule.group, config.schedule.target, arguments)
        schedulers = [schedule.build(optimizer) for optimizer in optimizers]
    noise_seeds = torch.tensor([seed_of(Role.NOISE)])

    def predict(rows: NDArray[np.int64]) -> Tensor:
        key = draws.step_keys(noise_seeds, EVALUATION_STEP, 1)[0, 0]
        with torch.no_grad(), models.seeded(int(key)), noise.MemberNoise(key, torch.tensor(0), eager=True):
            outputs: Tensor = network.eval()(inputs[torch.as_tensor(rows)])
        return outputs

    val_losses: list[float] = []
    step = 0
    for stop in stops:
        network.train()
        _switch(optimizers, "train")
        for chunk in batches.chunks(step, stop, 1):
            rows = chunk[0, 0]
            key = draws.step_keys(noise_seeds, step, 1)[0, 0]

            def compute_loss(rows: Tensor = rows, key: Tensor = key) -> Tensor:
                with models.seeded(int(key)):
                    for optimizer in optimizers:
                        optimizer.zero_grad()
                    with noise.MemberNoise(key, torch.tensor(0), eager=True):
                        outputs, smoothing = network(inputs[rows]), config.loss.label_smoothing
                        own = custom_loss and custom_loss(outputs, targets[rows])
                        loss = weighted_loss_of(outputs, rows, smoothing) if own is None else own
                        loss = loss if taught is None else taught(loss, outputs, rows)
                        loss.backward()  # type: ignore[no-untyped-call]
                if config.optimizer.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
                return loss.detach()

            if gradients:
                compute_loss()
            if pruner is not None:
                pruner.before_step(network)
            for optimizer in optimizers:
                with calls.Calls(draws=True).seeded(key):
                    optimizer.step(compute_loss) if closure else optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            step += 1
            if pruner is not None:
                pruner.after_step(network, step)
        _switch(optimizers, "eval")
        with nullcontext() if pruner is None else pruner.kept(network):
            loss = float(loss_of(predict(split.validation), torch.as_tensor(split.validation), 0.0))
            if not val_losses or loss < min(val_losses):
                best = predict(split.test).double()
        val_losses.append(loss)
        if config.budget.patience and len(val_losses) - 1 - val_losses.index(min(val_losses)) >= config.budget.patience:
            break

    if dataset.kind.answers:
        predictions = best.numpy()
    elif dataset.kind is Kind.MULTICLASS or dataset.kind.per_token:
        predictions = best.softmax(-1).numpy()
    elif dataset.kind is Kind.BINARY:
        predictions = torch.cat([torch.sigmoid(-best), torch.sigmoid(best)], 1).numpy()
    else:
        predictions = best[:, 0].numpy() * scaling.target_std + scaling.target_mean
    tested = dataset.kind.evaluate(predictions, dataset.targets[split.test])
    best_epoch = stops[val_losses.index(min(val_losses))] / batches.steps_per_epoch
    return PlainResult(val_losses, stops[: len(val_losses)], tested, best_epoch)


def _switch(optimizers: list[torch.optim.Optimizer], mode: str) -> None:
    for optimizer in optimizers:
        if hasattr(optimizer, mode):
            getattr(optimizer, mode)()
