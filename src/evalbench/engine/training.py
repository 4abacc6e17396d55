"""Train cohorts with a Lightning `Trainer`; return results in the order of the members."""

import gc
import hashlib
import json
import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import nn

from evalbench import gpus, models, ranks, weights
from evalbench.config import Config, PretrainedConfig
from evalbench.engine import allocation, checkpoints, counting, gradients, memory, paths, profile, quantized
from evalbench.engine.batches import Batches
from evalbench.engine.cohort import Cohort
from evalbench.engine.halving import Halving
from evalbench.engine.members import Member, Recipe, UnfitSnapshotError
from evalbench.engine.rows import stays_on_host
from evalbench.errors import StorageError
from evalbench.models import features
from evalbench.models.shared_weights import SharedWeights
from evalbench.parts import batch_hooks, distillation, epoch_rows
from evalbench.parts.pruning import WeightPruning, pruning_of, weights_of
from evalbench.seeds import Phase, Role, derive
from evalbench.tasks import OwnTask
from evalbench.tasks.generation import Generation
from evalbench.trial import TRAINING_VERSION, CurvePoint, Entrant, State, TrialResult
from evalbench.workloads import Dataset, Split, fit_scaling, references, split_methods, split_of

Watch = Callable[[Mapping[str, Sequence[CurvePoint]], int], None]
"""Takes new points of curves by trial id, and the index of the first new point in its curve."""

log = logging.getLogger(__name__)
for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)


def runs_own_code(config: Config, dataset: Dataset) -> bool:
    """Return whether a user's own code runs in a step, inside the network or the loss."""
    if config.parts["loss"] is None:  # the network has a training step of its own
        return True
    loss = "torch." if config.loss.component is None else config.loss.component.target
    return isinstance(dataset.kind, OwnTask) or not (
        config.model.target.startswith("evalbench.")
        and not isinstance(config.parts["model"], PretrainedConfig)  # runs code of Transformers
        and not config.model.code()
        and config.activation.module.target.startswith(("evalbench.", "torch."))
        and loss.startswith(("evalbench.", "torch."))
    )


def train_all(
    config: Config,
    dataset: Dataset,
    entrants: Sequence[Entrant],
    name: str,
    keep_in: Path | None = None,
    watch: Watch | None = None,
    follow: Callable[[Cohort], None] | None = None,
) -> Iterator[tuple[list[Entrant], list[TrialResult] | Exception]]:
    """Train trials in cohorts that fit into memory; yield each cohort's entrants and results at its end.

    A cohort that still runs out of memory, or raises, is halved until the raising member is alone. Its error is yielded
    instead of results, and the other members are trained. A cohort's checkpoint, whose file begins with `name`, is kept
    until the caller has taken the results. For `keep_in`, `watch` and `follow` see `train`.
    """
    data_parallel = config.devices > 1 and config.trainer_split == "data"  # all ranks must train the same cohorts
    most = _max_members(config, dataset, entrants) if entrants else 1
    queue = [part for group in _of_one_size(config, dataset, entrants) for part in memory.split(group, most)]
    queue = ranks.current().agree(queue) if data_parallel else queue
    logged: set[str] = set()  # errors whose traceback has been logged
    while queue:
        cohort = queue.pop(0)
        first, last = cohort[0].seed, cohort[-1].seed
        path = config.checkpoint_folder / f"{name}-{first}-{last}-{len(cohort)}{_own_settings(cohort)}.pt"
        recorders = profile.recorders(config, dataset.name, name)
        try:
            results = train(config, dataset, cohort, path, keep_in, watch, recorders, follow)
        except StorageError:
            raise
        except Exception as error:
            if data_parallel:
                raise
            if len(cohort) == 1:
                text = repr(error)
                log.error("seed %d failed: %s", first, text, exc_info=error if text not in logged else None)
                logged.add(text)
                yield cohort, error
                continue
            gc.collect()
            half = -(-len(cohort) // 2)
            if memory.is_out_of_memory(error):
                log.warning("%d members ran out of memory; training at most %d at a time", len(cohort), half)
                queue = [part for group in (cohort, *queue) for part in memory.split(group, half)]
                continue
            log.info("a cohort of %d members failed (%r); retrying at most %d at a time", len(cohort), error, half)
            queue = [*memory.split(cohort, half), *queue]
            continue
        yield cohort, results
        if not (data_parallel and ranks.current().index):
            path.unlink(missing_ok=True)


def train(
    config: Config,
    dataset: Dataset,
    entrants: Sequence[Entrant],
    checkpoint: Path | None = None,
    keep_in: Path | None = None,
    watch: Watch | None = None,
    recorders: Sequence[pl.Callback] = (),
    follow: Callable[[Cohort], None] | None = None,
) -> list[TrialResult]:
    """Train trials as one cohort, and test each at its lowest validation loss.

    With a checkpoint, training resumes from it and is saved there every `checkpoint_minutes`. The tested weights of all
    trials, or of the best trial if the configuration says so, are saved in `keep_in`. After each validation `watch`
    gets the new points of the curves by trial id. `recorders` follow the training and change nothing. `follow` gets the
    cohort before it trains, to read its position.
    """
    cohort, splits = make_cohort(config, dataset, entrants)
    if watch is not None:
        cohort.on_validated = _watching(watch, [entrant.spec.trial_id for entrant in entrants])
    if follow is not None:
        follow(cohort)
    if checkpoint is not None:
        checkpoints.attach(cohort, checkpoint, config.checkpoint_minutes, made_for(checkpoint, entrants))
    try:
        with allocation.kept():
            _fit(cohort, config, recorders)
    except UnfitSnapshotError as error:
        assert checkpoint is not None
        checkpoints.set_aside(checkpoint, error)
        return train(config, dataset, entrants, checkpoint, keep_in, watch, recorders, follow)
    graphs = quantized.of(config, dataset, lambda: network_of(config, dataset), splits)
    results = _results(cohort, config, dataset, splits, graphs)
    if keep_in is not None and cohort.is_rank_zero:
        complete = [member_index for member_index, result in enumerate(results) if result.state is State.COMPLETE]
        best_first = sorted(complete, key=lambda member_index: cohort.members[member_index].best_rank)
        with weights.writing(keep_in):
            has_base = bool(complete) and graphs is None
            base = _save_base(keep_in, cohort, network_of(config, dataset)) if has_base else None
            for member_index in best_first[:1] if config.save == "best" else complete:
                entrant, split = entrants[member_index], splits[member_index]
                fitted = (fit_scaling(dataset, split.train), cohort.best_weights(member_index))
                graph = graphs.network_of(cohort, member_index) if graphs else None
                about = (*fitted, base, results[member_index], entrant.trial, graph)
                written = _by_row(cohort, member_index, dataset, split)
                weights.save(weights.folder(keep_in, entrant.seed), config, dataset, split, *about, written)
    return results


def _by_row(cohort: Cohort, member_index: int, dataset: Dataset, split: Split) -> dict[str, Any] | None:
    """Return columns with what a member has written to each test row; None for a task without answers."""
    if (written := cohort.validation.written.get(member_index)) is None or not isinstance(dataset.kind, Generation):
        return None
    return {"item": split.test, **dataset.kind.by_row(written, dataset.targets[split.test])}


def _save_base(keep_in: Path, cohort: Cohort, network: nn.Module) -> str | None:
    """Save what all trials share, with the buffers of a network of which the cohort trains the head alone."""
    held = {**cohort.best_weights(0), **cohort.shared_tensors}
    missing = {name: value for name, value in network.named_buffers() if name not in held}
    return weights.save_base(keep_in, {**cohort.shared_tensors, **missing}, network)


def made_for(checkpoint: Path, entrants: Sequence[Entrant]) -> str:
    """Return the origin that a checkpoint must have: the cell in its name, these members, this code."""
    members = [
        {"seed": entrant.seed, "phase": entrant.phase, "settings": dict(entrant.settings), "stop": entrant.stop}
        | ({"roles": dict(entrant.roles)} if entrant.roles else {})
        for entrant in entrants
    ]
    return json.dumps([checkpoint.name, members, TRAINING_VERSION, torch.__version__])


def make_cohort(config: Config, dataset: Dataset, entrants: Sequence[Entrant]) -> tuple[Cohort, list[Split]]:
    """Return the untrained cohort of some entrants, and their splits."""

    def seeds_of(role: Role) -> list[int]:
        indices = [(entrant.index(role), entrant.phase) for entrant in entrants]
        return [derive(config.root_seed, dataset.name, role, index, phase) for index, phase in indices]

    splits = [_split(config, dataset, entrant) for entrant in entrants]
    shape, initial_seeds = shape_of(dataset), seeds_of(Role.INIT)
    seen = _seen_by_head(config, dataset)
    parts = () if seen is None else seen.parts
    build = models.Builder(config.model, config.activation, shape, initial_seeds, config.adaptation, parts)
    train_rows = torch.stack([torch.as_tensor(split.train) for split in splits])
    resampled = epoch_rows(config, dataset, train_rows.shape[1])
    batch_size = config.optimizer.rows_per_step(train_rows.shape[1] if resampled is None else resampled.num_rows)
    batches = Batches(train_rows, batch_size, seeds_of(Role.ORDER), resampled)
    validation_steps = config.budget.validation_steps(batches.steps_per_epoch)
    settings, clip_norm = [entrant.settings for entrant in entrants], config.optimizer.clip_norm
    dtype = torch.float64 if config.precision == "64-true" else torch.float32
    on_batch, device = batch_hooks(config, dataset, splits, dtype), device_of(config)
    split_seeds = [(entrant.index(Role.SPLIT), entrant.phase) for entrant in entrants]
    row_weights, loss = distillation.training_loss(config, dataset, split_seeds, splits, on_batch, dtype)
    recipe = Recipe(
        config.optimizer,
        loss,
        validation_steps,
        on_batch,
        row_weights,
        [] if clip_norm is None else [partial(gradients.clip_per_member, max_norm=clip_norm)],
        pruned_of(config, dataset),
        config.schedule,
        config.budget.patience,
        config.microbatch_size,
        _halving(config, dataset, entrants),
        config.verify and runs_own_code(config, dataset),
        paths.request(config, batch_size, runs_own_code(config, dataset)),
        dtype,
        config.matmul_precision,
        str(device),
        stays_on_host(config.data, dataset.inputs, device, memory.available_bytes(device)),
    )
    own = settings if any(settings) else None
    cohort = Cohort(
        build, dataset if seen is None else seen.dataset, splits, batches, recipe, seeds_of(Role.NOISE), own
    )
    return cohort, splits


def pruned_of(config: Config, dataset: Dataset) -> tuple[Sequence[str], WeightPruning | None]:
    """Return the names of the weights that are pruned, and how; raise `ConfigError` for a network without any."""
    chosen = pruning_of(config.compression)
    return ([], None) if chosen is None else (weights_of(network_of(config, dataset)), chosen)


def _seen_by_head(config: Config, dataset: Dataset) -> features.Seen | None:
    """Return a data set as the head of a probe sees it, computed once; None if the whole network runs in each step."""
    is_pretrained = isinstance(config.parts["model"], PretrainedConfig)
    if not is_pretrained or dataset.vocabulary is None or config.parts["augmentation"] is not None:
        return None  # pixels are scaled by each trial's own training rows
    if dataset.kind.answers:
        return None  # at the test the network reads what it has written
    key = ("features", json.dumps([config.model.spec(), config.adaptation and config.adaptation.spec()]))
    if key not in dataset.derived:
        network = network_of(config, dataset)
        assert isinstance(network, SharedWeights)
        device, is_probe = device_of(config), network.evaluates_frozen
        dataset.derived[key] = features.seen_by_head(network, dataset, device) if is_probe else None
    seen: features.Seen | None = dataset.derived[key]
    return seen


def _split(config: Config, dataset: Dataset, entrant: Entrant) -> Split:
    return split_of(dataset, config.split, config.root_seed, entrant.index(Role.SPLIT), entrant.phase)


def _of_one_size(config: Config, dataset: Dataset, entrants: Sequence[Entrant]) -> list[list[Entrant]]:
    """Return the trials whose parts have the same numbers of rows together: only these can be stacked."""
    if split_methods.has_one_size(dataset, config.split):
        return [list(entrants)] if entrants else []  # a rank may have no member
    groups: dict[tuple[int, ...], list[Entrant]] = {}
    for entrant in entrants:
        split = _split(config, dataset, entrant)
        groups.setdefault((len(split.train), len(split.validation), len(split.test)), []).append(entrant)
    return list(groups.values())


def _own_settings(entrants: Sequence[Entrant]) -> str:
    """Return a suffix for the entrants' own settings and roles; empty if no entrant has any."""
    settings, roles = [dict(entrant.settings) for entrant in entrants], [dict(entrant.roles) for entrant in entrants]
    own = [settings, roles] if any(roles) else settings
    return f"-{hashlib.sha256(json.dumps(own).encode()).hexdigest()[:12]}" if any((*settings, *roles)) else ""


def _halving(config: Config, dataset: Dataset, entrants: Sequence[Entrant]) -> Halving | None:
    """Return the pruning of candidates during tuning; members with the same settings are one candidate."""
    if config.search is None or config.search.pruning is None or entrants[0].phase is not Phase.TUNE:
        return None
    names = [json.dumps(entrant.settings, sort_keys=True) for entrant in entrants]
    order = list(dict.fromkeys(names))
    by_loss = config.search.objectives[:1] == ("val/log_loss",)
    candidates, sign = [order.index(name) for name in names], dataset.metric.sign
    return Halving(config.search.pruning, candidates, by_loss, sign, entrants[0].stop)


def _max_members(config: Config, dataset: Dataset, entrants: Sequence[Entrant]) -> int:
    """Return the number of members that fit into memory; small members are not measured."""
    cohort, _ = make_cohort(config, dataset, [Entrant(entrants[0].seed)])
    count = len(entrants)
    device = device_of(config)
    free = memory.SHARE * memory.available_bytes(device)
    rows = max(cohort.batches.batch_size, cohort.data.validation_rows.shape[1])
    free -= cohort.constant_bytes
    estimate = memory.STATE_COPIES * cohort.state_bytes + 1000 * rows * dataset.inputs.shape[1]
    if estimate * count < free / 20:
        return count
    return max(1, int(free / memory.member_bytes(cohort, device)))


def _results(
    cohort: Cohort, config: Config, dataset: Dataset, splits: Sequence[Split], graphs: quantized.Quantized | None = None
) -> list[TrialResult]:
    validation_steps, batches = cohort.recipe.validation_steps, cohort.batches
    network = network_of(config, dataset)
    features, tokens = dataset.inputs.shape[1], dataset.vocabulary is not None
    step_flops = counting.flops_per_step(network, dataset.kind, batches.batch_size, features, tokens)
    tuning = not len(splits[0].test)
    results = []
    for member, split, metrics in zip(cohort.members, splits, _metrics(cohort, dataset, splits, graphs), strict=True):
        steps = member.diverged_step or validation_steps[len(member.val_losses) - 1]
        examples = batches.examples(steps)
        evaluated_examples = examples + member.extra_examples
        diverged = member.diverged_step is not None
        results.append(
            TrialResult(
                state=State.DIVERGED if diverged else State.PRUNED if member.pruned else State.COMPLETE,
                metrics={f"val/{name.split('/')[1]}": value for name, value in metrics.items()} if tuning else metrics,
                curve=_curve(member, batches, validation_steps),
                best_epoch=_epoch(batches, validation_steps, member.best_round),
                diverged_step=member.diverged_step,
                steps=steps,
                examples=examples,
                flops=None if step_flops is None else round(step_flops * evaluated_examples / batches.batch_size),
                parameters=counting.count_parameters(network),
                num_train=len(split.train),
                num_test=None if tuning else len(split.test),
                path=cohort.path,
            )
        )
    return results


def _metrics(
    cohort: Cohort, dataset: Dataset, splits: Sequence[Split], graphs: quantized.Quantized | None
) -> list[dict[str, float]]:
    """Return each member's metrics on its test rows, in a study on validation rows; the trivial ones if diverged."""
    tuning = not len(splits[0].test)
    scored = [replace(split, test=split.validation) if tuning else split for split in splits]
    diverged = {i: scored[i] for i, member in enumerate(cohort.members) if member.diverged_step is not None}
    healthy = [i for i in range(len(splits)) if i not in diverged]
    rows = cohort.data.validation_rows if tuning else cohort.data.test_rows
    measure = cohort.metrics if graphs is None else partial(graphs.metrics, cohort)
    measured = dict(zip(healthy, measure(rows, healthy), strict=True)) if healthy else {}
    measured |= references.trivial(dataset, diverged)
    return [measured[i] for i in range(len(splits))]


def _fit(cohort: Cohort, config: Config, recorders: Sequence[pl.Callback] = ()) -> None:
    with quiet_lightning():
        try:
            epochs = len(cohort.recipe.validation_steps) - cohort.first_interval
            trainer = make_trainer(config, epochs, _own_devices(config), recorders)
            trainer.fit(cohort)
            cohort.to(trainer.strategy.root_device)  # Lightning has moved it to the CPU
        except SystemExit as leaving:
            if not isinstance(leaving.__context__, KeyboardInterrupt):  # raised by own code: an ordinary failure
                raise RuntimeError(f"it raised SystemExit with exit code {leaving.code}") from leaving
            # Lightning turns Ctrl-C into SystemExit; the sweep needs KeyboardInterrupt
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice, for example about an unused GPU if the CPU is configured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
        yield


def device_of(config: Config) -> torch.device:
    """Return the device that this process trains on, as Lightning chooses it: each rank of a group has one."""
    if config.accelerator in gpus.ACCELERATORS and torch.cuda.is_available():
        return torch.device("cuda", ranks.current().index)
    on_mps = config.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available()
    return torch.device("mps", 0) if on_mps else torch.device("cpu")


def devices_of(config: Config) -> dict[str, Any]:
    """Return all devices of the group, as Lightning's Trainer takes them; one device needs no strategy."""
    return {"devices": config.devices, "strategy": "auto" if config.devices == 1 else config.strategy}


def _own_devices(config: Config) -> dict[str, Any]:
    """Return the devices of this process: one of its own if ranks share the members out."""
    if config.trainer_split == "data" or config.devices == 1:
        return devices_of(config)
    device = device_of(config)
    return {"devices": [device.index] if device.type == "cuda" else 1, "strategy": "auto"}


def make_trainer(
    config: Config, epochs: int, devices: Mapping[str, Any], recorders: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """Return Lightning's trainer as the configuration says, for a number of rounds on some devices."""
    return pl.Trainer(
        max_epochs=epochs,
        precision=config.precision,  # type: ignore[arg-type]
        logger=False,
        callbacks=list(recorders),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[LightningEnvironment()],  # ignores ranks of Slurm, MPI or torchrun
        **devices,
        **config.trainer,
    )


def _curve(member: Member, batches: Batches, validation_steps: Sequence[int], first: int = 0) -> tuple[CurvePoint, ...]:
    monitored: Sequence[float | None] = member.monitored or [None] * len(member.val_losses)
    columns = (validation_steps, member.train_losses, member.val_losses, member.val_scores, monitored)
    points = zip(*(column[first:] for column in columns), strict=False)
    return tuple(CurvePoint(step / batches.steps_per_epoch, step, *values) for step, *values in points)


def _watching(watch: Watch, trial_ids: Sequence[str]) -> Callable[[Cohort], None]:
    """Return the function that hands members' new points to `watch`, at first all points of a resumed cohort."""
    num_seen = 0

    def show(cohort: Cohort) -> None:
        nonlocal num_seen
        steps = cohort.recipe.validation_steps
        curves = [_curve(member, cohort.batches, steps, num_seen) for member in cohort.members]
        watch({name: curve for name, curve in zip(trial_ids, curves, strict=True) if curve}, num_seen)
        num_seen = cohort.interval + 1

    return show


def _epoch(batches: Batches, validation_steps: Sequence[int], best_round: int | None) -> float | None:
    return None if best_round is None else validation_steps[best_round] / batches.steps_per_epoch


def shape_of(dataset: Dataset) -> models.Shape:
    """Return the shapes that the data set requires of a network."""
    columns, kind = dataset.inputs.shape[1], dataset.kind
    outputs, tokens = dataset.num_outputs, dataset.vocabulary
    return models.Shape(columns, outputs, dataset.image, tokens, kind.per_token, kind.padding, kind.answers)


def network_of(config: Config, dataset: Dataset) -> nn.Module:
    """Return the network of a cell with the initial values of seed 0."""
    shape = shape_of(dataset)
    return models.build_seeded(0, config.model, config.activation, shape, adaptation=config.adaptation)
