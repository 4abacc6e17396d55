"""Trains one cohort with a Lightning `Trainer`; results out, in member order."""

import logging
import signal
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from evalbench import cost, models, ranks
from evalbench.batches import Batches
from evalbench.cohort import Cohort, Member
from evalbench.config import Config
from evalbench.errors import ConfigError
from evalbench.optimizers import CohortOptimizer, check_class
from evalbench.seeds import Role, derive
from evalbench.trial import CurvePoint, State, TrialResult
from evalbench.workloads import Dataset, draw_split, metrics, references

for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)


def check(config: Config, dataset: Dataset) -> None:
    """Build the network, the optimizer and the trainer once, so that a wrong setting is refused before anything trains.

    Raises `ConfigError`.
    """
    network = models.build_seeded(0, config.model, config.activation, _shape(dataset))
    check_class(config.optimizer.component)
    CohortOptimizer(config.optimizer.component, {n: torch.nn.Parameter(p[None]) for n, p in network.named_parameters()})
    try:
        _trainer(config, 1, _devices(config))
    except (MisconfigurationException, TypeError, ValueError) as error:
        rule = "must hold settings that Lightning's Trainer accepts here"
        reason = str(error).strip().splitlines()[0]
        raise ConfigError("trainer", rule, dict(config.trainer), reason) from error


def train(config: Config, dataset: Dataset, seeds: Sequence[int]) -> list[TrialResult]:
    """Train one trial per seed index, all as one cohort, and test each at its lowest validation loss."""

    def seed_of(role: Role, seed: int) -> int:
        return derive(config.root_seed, dataset.name, role, seed)

    splits = [draw_split(dataset, config.split.validation, config.split.test, seed_of(Role.SPLIT, s)) for s in seeds]
    networks = [
        models.build_seeded(seed_of(Role.INIT, seed), config.model, config.activation, _shape(dataset))
        for seed in seeds
    ]
    train_rows = torch.stack([torch.as_tensor(split.train) for split in splits])
    batch_size = config.optimizer.rows_per_step(train_rows.shape[1])
    batches = Batches(train_rows, batch_size, [seed_of(Role.ORDER, seed) for seed in seeds])
    validation_steps = config.budget.validation_steps(batches.steps_per_epoch)
    cohort = Cohort(networks, dataset, splits, batches, validation_steps, config.optimizer.component)
    _fit(cohort, config)

    step_flops = cost.flops_per_step(networks[0], dataset.kind, batch_size, dataset.inputs.shape[1])
    results = []
    for member, split, predictions in zip(cohort.members, splits, cohort.test_predictions(), strict=True):
        steps = member.diverged_step or validation_steps[-1]
        examples = batches.examples(steps)
        diverged = member.diverged_step is not None
        results.append(
            TrialResult(
                state=State.DIVERGED if diverged else State.COMPLETE,
                metrics=references.trivial(dataset, split)
                if diverged
                else metrics.evaluate(dataset, predictions, dataset.targets[split.test]),
                curve=_curve(member, batches, validation_steps),
                best_epoch=_epoch(batches, validation_steps, member.best_round),
                diverged_step=member.diverged_step,
                steps=steps,
                examples=examples,
                flops=round(step_flops * examples / batch_size),
                parameters=cost.count_parameters(networks[0]),
                num_train=len(split.train),
                num_test=len(split.test),
            )
        )
    return results


def _fit(cohort: Cohort, config: Config) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
        try:
            _trainer(config, len(cohort.validation_steps), _own_devices(config)).fit(cohort)
        except SystemExit:  # Lightning's answer to Ctrl-C, which the sweep wants to hear of
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None


def _devices(config: Config) -> dict[str, Any]:
    """Return all devices of the group, as Lightning's Trainer takes them; one device needs no strategy."""
    return {"devices": config.devices, "strategy": "auto" if config.devices == 1 else config.strategy}


def _own_devices(config: Config) -> dict[str, Any]:
    """Return what this process trains on: one device of its own where ranks share the members out."""
    if config.trainer_split == "data" or config.devices == 1:
        return _devices(config)
    on_gpu = config.trainer.get("accelerator") in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return {"devices": [ranks.here().index] if on_gpu else 1, "strategy": "auto"}


def _trainer(config: Config, epochs: int, devices: Mapping[str, Any]) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        precision=config.precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **devices,
        **config.trainer,
    )


def _curve(member: Member, batches: Batches, validation_steps: Sequence[int]) -> tuple[CurvePoint, ...]:
    points = zip(validation_steps, member.train_losses, member.val_losses, member.val_scores, strict=False)
    return tuple(CurvePoint(step / batches.steps_per_epoch, step, *values) for step, *values in points)


def _epoch(batches: Batches, validation_steps: Sequence[int], best_round: int | None) -> float | None:
    return None if best_round is None else validation_steps[best_round] / batches.steps_per_epoch


def _shape(dataset: Dataset) -> tuple[int, int]:
    return dataset.inputs.shape[1], dataset.num_outputs
