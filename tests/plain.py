"""One trial as any PyTorch user would write it: a network, a loop, a scheduler; no member axis, no traced graph."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from evalbench import models
from evalbench.cell import Cell
from evalbench.engine import noise, training
from evalbench.engine.batches import Batches
from evalbench.engine.cohort import EVALUATION_STEP
from evalbench.seeds import Role, derive
from evalbench.workloads import Kind, draw_split, fit_scaling, metrics


@dataclass(frozen=True)
class PlainResult:
    val_losses: list[float]
    steps: list[int]
    metrics: dict[str, float]
    best_epoch: float


def train(cell: Cell, seed: int) -> PlainResult:
    """Train one trial and test it at its lowest validation loss."""
    config, dataset = cell.config, cell.dataset

    def seed_of(role: Role) -> int:
        return derive(config.root_seed, dataset.name, role, seed)

    split = draw_split(dataset, config.split.validation, config.split.test, seed_of(Role.SPLIT))
    scaling = fit_scaling(dataset, split.train)
    if dataset.vocabulary is None:
        inputs = torch.tensor(scaling.inputs(dataset, np.arange(len(dataset.targets))), dtype=torch.float32)
    else:
        inputs = torch.tensor(dataset.inputs)
    targets = torch.as_tensor((dataset.targets - scaling.target_mean) / scaling.target_std, dtype=torch.float32)
    shape = training.shape_of(dataset)
    network = models.build_seeded(seed_of(Role.INIT), config.model, config.activation, shape)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if config.optimizer.others is None:
        optimizers = [config.optimizer.component.build(parameters)]
    else:
        matrices = [parameter for parameter in parameters if parameter.ndim == 2]
        rest = [parameter for parameter in parameters if parameter.ndim != 2]
        optimizers = [config.optimizer.component.build(matrices), config.optimizer.others.build(rest)]

    def loss_of(outputs: Tensor, rows: Tensor, smoothing: float) -> Tensor:
        if dataset.kind in (Kind.MULTICLASS, Kind.LANGUAGE):
            classes = outputs.flatten(0, -2)
            return F.cross_entropy(classes, targets[rows].long().flatten(), label_smoothing=smoothing)
        if dataset.kind is Kind.BINARY:
            return F.binary_cross_entropy_with_logits(outputs[:, 0], targets[rows] * (1 - smoothing) + smoothing / 2)
        return F.mse_loss(outputs[:, 0], targets[rows])

    train_rows = torch.as_tensor(split.train)[None]
    batches = Batches(train_rows, config.optimizer.rows_per_step(train_rows.shape[1]), [seed_of(Role.ORDER)])
    stops = config.budget.validation_steps(batches.steps_per_epoch)
    schedulers = []
    if config.schedule is not None:
        whole = {key: stops[-1] if value == "100%" else value for key, value in config.schedule.arguments.items()}
        whole = {key: config.optimizer.component.arguments["lr"] if v == "lr" else v for key, v in whole.items()}
        scheduler = type(config.schedule)(config.schedule.group, config.schedule.target, whole)
        schedulers = [scheduler.build(optimizer) for optimizer in optimizers]
    noise_seeds = torch.tensor([seed_of(Role.NOISE)])

    def predict(rows: NDArray[np.int64]) -> Tensor:
        key = noise.step_keys(noise_seeds, EVALUATION_STEP, 1)[0, 0]
        with torch.no_grad(), models.seeded(int(key)), noise.MemberNoise(key, torch.tensor(0), eager=True):
            outputs: Tensor = network.eval()(inputs[torch.as_tensor(rows)])
        return outputs

    val_losses: list[float] = []
    step = 0
    for stop in stops:
        network.train()
        for block in batches.blocks(step, stop, 1):
            rows = block[0, 0]
            key = noise.step_keys(noise_seeds, step, 1)[0, 0]
            with models.seeded(int(key)):
                for optimizer in optimizers:
                    optimizer.zero_grad()
                with noise.MemberNoise(key, torch.tensor(0), eager=True):
                    outputs = network(inputs[rows])
                    loss_of(outputs, rows, config.label_smoothing).backward()  # type: ignore[no-untyped-call]
            if config.optimizer.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
            for stepper in (*optimizers, *schedulers):
                stepper.step()
            step += 1
        loss = float(loss_of(predict(split.validation), torch.as_tensor(split.validation), 0.0))
        if not val_losses or loss < min(val_losses):
            best = predict(split.test).double()
        val_losses.append(loss)
        if config.budget.patience and len(val_losses) - 1 - val_losses.index(min(val_losses)) >= config.budget.patience:
            break

    if dataset.kind in (Kind.MULTICLASS, Kind.LANGUAGE):
        predictions = best.softmax(-1).numpy()
    elif dataset.kind is Kind.BINARY:
        predictions = torch.cat([torch.sigmoid(-best), torch.sigmoid(best)], 1).numpy()
    else:
        predictions = best[:, 0].numpy() * scaling.target_std + scaling.target_mean
    tested = metrics.evaluate(dataset, predictions, dataset.targets[split.test])
    best_epoch = stops[val_losses.index(min(val_losses))] / batches.steps_per_epoch
    return PlainResult(val_losses, stops[: len(val_losses)], tested, best_epoch)
