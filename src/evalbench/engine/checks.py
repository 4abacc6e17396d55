"""Build everything of a cell once before anything trains, so that a wrong setting is refused early."""

import json
import logging
from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.parameter import is_lazy

from evalbench import gpus, models
from evalbench.config import Config
from evalbench.config.pretrained import TARGET
from evalbench.engine import compiled, instances, optimizers, pruning, quantized
from evalbench.engine.objective import overridden
from evalbench.engine.paths import COMPILED
from evalbench.engine.training import (
    devices_of,
    make_cohort,
    make_trainer,
    network_of,
    pruned_of,
    quiet_lightning,
    runs_own_code,
)
from evalbench.errors import ConfigError
from evalbench.parts import batch_hooks, distillation, rows_of_epoch, weighs_targets
from evalbench.parts import loss as losses
from evalbench.parts.quantization import quantization_of
from evalbench.parts.row_weights import weigh_rows
from evalbench.seeds import Role
from evalbench.tasks import OwnTask
from evalbench.trial import Entrant, TrialSpec
from evalbench.workloads import Dataset, split_of, tokenizers
from evalbench.workloads.text_inputs import TokenizerInput

log = logging.getLogger(__name__)
_checked: set[str] = set()
_warned: set[tuple[str, str]] = set()


def check(config: Config, dataset: Dataset) -> None:
    """Build the network, the optimizer and the trainer once, so that a wrong setting is refused before anything trains.

    Raises `ConfigError`.
    """
    network = network_of(config, dataset)
    _check_network(config, network)
    _check_tokens(config, dataset)
    models.check_outputs(network, *_example(dataset))
    if dataset.kind.answers:
        _check_order(config, dataset, network)
    split = split_of(dataset, config.split, config.root_seed, 0)
    hooks = batch_hooks(config, dataset, [split], torch.float32)
    row_weights = weigh_rows(dataset, [split], hooks, torch.float32)
    losses.check(config.loss, dataset, weighs_targets(hooks) or row_weights is not None)
    distillation.check(config, dataset, hooks)
    quantized.check(config, dataset, lambda: network_of(config, dataset), split)
    num_rows = rows_of_epoch(config, dataset, len(split.train))
    _check_batches(config, network, num_rows)
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    stacked = {name: nn.Parameter(value[None]) for name, value in trained.items()}
    pruning.pruned(optimizers.build(config.optimizer, stacked), stacked, *pruned_of(config, dataset), 1)
    _check_schedule(config, num_rows, stacked)
    gpus.check(config.devices, config.accelerator)
    try:
        with quiet_lightning():
            make_trainer(config, 1, devices_of(config))
    except (MisconfigurationException, TypeError, ValueError) as error:
        rule = "must hold settings that Lightning's Trainer accepts here"
        reason = str(error).strip().splitlines()[0]
        raise ConfigError("trainer", rule, dict(config.trainer), reason) from error
    if config.path == COMPILED:
        on_cuda = config.trainer.get("accelerator") != "cpu" and torch.cuda.is_available()
        compiled.check(on_cuda, config.compile_folder)
    if runs_own_code(config, dataset):
        _check_steps(config, dataset, network)


def _check_tokens(config: Config, dataset: Dataset) -> None:
    """Refuse tokens of a table that are not those of a pretrained network: its weights would mean nothing for them."""
    if config.model.target != TARGET or dataset.encoding is None:
        return
    for column in dataset.encoding.columns:
        if column.kind in ("tokens", "token_list"):
            rule = f"must be the tokenizer of the network for the tokens of {column.name!r}, which are evalbench's own"
            words = "dataset.text_as=tokens " if column.kind == "tokens" else ""
            remedy = f"say {words}'dataset.tokenizer=${{model.path}}'"
            raise ConfigError("dataset.tokenizer", rule, remedy=remedy)
        path = str(config.model.arguments["path"])
        if isinstance(column, TokenizerInput) and tokenizers.hash_of(path) not in (tokenizers.NO_FILES, column.files):
            rule, remedy = "must be that of model.path", "say 'dataset.tokenizer=${model.path}'"
            raise ConfigError("dataset.tokenizer", rule, column.path, remedy)


def _check_order(config: Config, dataset: Dataset, network: nn.Module) -> None:
    """Refuse a network that sees the tokens behind the one that it is to foretell, as encoders do."""
    rows = torch.as_tensor(dataset.inputs[:2]).long()
    changed = rows.clone()
    changed[:, -1] = (rows[:, -1] + 1) % (dataset.vocabulary or 1)
    with torch.no_grad():
        before, after = (network.eval()(tokens)[:, :-1, 0] for tokens in (rows, changed))
    if not torch.allclose(before, after, rtol=1e-5, atol=1e-5):
        rule = "must be a decoder, which foretells a token from those before it"
        raise ConfigError("model.path", rule, config.model.arguments.get("path"), "choose a decoder, such as a Llama")


def _check_network(config: Config, network: nn.Module) -> None:
    """Refuse a network with a part that would not or cannot be used."""
    name = config.model.target
    if isinstance(network, pl.LightningModule):
        own = overridden(network)
        if own:
            rule = f"must train by its forward alone: {name} has its own {', '.join(own)}, which would never be called"
            raise ConfigError("model._target_", rule, remedy="add +model.engine=lightning, or name its network alone")
    lazy = [key for key, value in (*network.named_parameters(), *network.named_buffers()) if is_lazy(value)]
    if lazy:
        rule = f"must know the shape of {lazy[0]} when it is built"
        raise ConfigError("model", rule, name, "give in_features to layers, not Lazy ones")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            "model", "must have a parameter that trains", name, "leave requires_grad of some parameters on"
        )


def _check_steps(config: Config, dataset: Dataset, network: nn.Module) -> None:
    """Compare the first steps of a user's network with plain PyTorch; warn once if its cohorts will be slow.

    Only the first data set is used: a network that kills its process on another data set ends only one job.
    """
    identity = [
        config.model.spec(),
        config.activation.spec(),
        config.loss.identity(),
        dataset.kind.spec() if isinstance(dataset.kind, OwnTask) else None,
        config.microbatch_size,
        config.devices,
        config.save,
        quantization_of(config.compression) is None,
    ]
    key = json.dumps(identity, sort_keys=True, default=str)
    if key in _checked:
        return
    models.check_outputs(network, *_example(dataset), training=True)
    twin = TrialSpec(dataset.name, {}, config.root_seed, 1, {Role.SPLIT: 0})  # other splits may have other sizes
    cohort, _ = make_cohort(config, dataset, [Entrant(0), Entrant(1, trial=twin)])
    reason = cohort.why_one_by_one
    if reason is not None and (config.model.target, reason) not in _warned:
        _warned.add((config.model.target, reason))
        log.warning("%s cannot be batched and trains member by member, slowly: %s", config.model.target, reason)
    if cohort.keeps_python_state and config.save != "none":
        rule = f"must be none for {config.model.target}, which keeps state in Python that its weights lack"
        raise ConfigError("save", rule, config.save, "keep the state in a buffer")
    if cohort.keeps_python_state and quantization_of(config.compression) is not None:
        rule = f"must be none for {config.model.target}, which keeps state in Python that a graph would lack"
        raise ConfigError("compression", rule, remedy="keep the state in a buffer")
    split = config.devices > 1 and config.trainer_split == "data"
    if config.verify and (split or config.microbatch_size is not None):
        reason = cohort.why_not_in_parts()
        if reason is not None:
            key = "trainer.devices" if split else "trainer.microbatch_size"
            raise ConfigError(
                key, f"must see whole batches with {config.model.target}: {reason}", remedy="leave it out"
            )
    _checked.add(key)


def _check_schedule(config: Config, num_rows: int, parameters: Mapping[str, nn.Parameter]) -> None:
    """Run the schedule of a whole trial, once for each combination that it depends on."""
    if config.schedule is None:
        return
    steps_per_epoch = -(-num_rows // config.optimizer.rows_per_step(num_rows))
    steps = config.budget.validation_steps(steps_per_epoch)[-1]
    optimizer = config.optimizer
    key = json.dumps(["schedule", config.schedule.spec(), optimizer.component.spec(), steps], default=str)
    if key not in _checked:
        tables = instances.scheduled(config.schedule, optimizer.component, parameters, [{}], steps)
        if optimizer.others is not None:
            optimizers.build(optimizer, parameters, tables=tables)
        _checked.add(key)


def _check_batches(config: Config, network: nn.Module, num_rows: int) -> None:
    """Refuse batches of an epoch that cannot be split as the configuration says."""
    batch_size = config.optimizer.rows_per_step(num_rows)
    models.check_batches(network, num_rows, batch_size)
    slices = config.devices if config.trainer_split == "data" else 1
    smallest = num_rows % batch_size or batch_size
    if smallest < slices:
        rule = f"must not be more than the rows of the smallest batch, which has {smallest}"
        raise ConfigError("trainer.devices", rule, config.devices, "use fewer devices, or trainer.split=members")
    is_split = slices > 1 or (config.microbatch_size or batch_size) < batch_size
    if is_split and models.has_batch_norm(network):
        rule = "must see whole batches for BatchNorm, which normalizes over them"
        key = "trainer.devices" if slices > 1 else "trainer.microbatch_size"
        raise ConfigError(key, rule, remedy="use GroupNorm (model.norm=group in the shipped cnn)")


def _example(dataset: Dataset) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return inputs of two examples, and the required shape of a network's outputs for them."""
    inputs = torch.zeros(2, dataset.inputs.shape[1], dtype=torch.float32 if dataset.vocabulary is None else torch.int64)
    return inputs, dataset.kind.output_shape(inputs, dataset.num_outputs)
