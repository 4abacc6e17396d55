"""Distillation: the predictions of a teacher for the training rows are targets too (Hinton et al. 2015).

A teacher is a saved model of an evaluation. It predicts the rows of a data set once, as they stand there, and each step
looks its predictions up. A teacher that has learned from a test row would hand that row on, so it is refused.

Shapes: `C` members, `S` steps in a block, `B` rows, `N` rows of the data set, `K` classes, `M` targets of a row, `V`
numbers that a teacher says of a row, `W` teachers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evalbench import weights
from evalbench.config import Config, DistillationConfig
from evalbench.config.compression import hash_of
from evalbench.errors import ConfigError, InputError
from evalbench.parts import weighs_targets
from evalbench.parts.hooks import BatchHook
from evalbench.parts.loss import TrainingLoss
from evalbench.parts.row_weights import weigh_rows
from evalbench.seeds import Phase, seeds_of
from evalbench.workloads import Dataset, Split, fit_scaling, split_of

TASKS = ("binary", "multiclass", "multilabel", "language", "regression", "multi_output")
ROWS = 1024
"""Rows that a teacher predicts at once: the same for all trials, so that its predictions have the same bits."""
MOST_BYTES = 2**31
"""The largest size of the predictions of a teacher for a data set."""
FITS = ("kind", "features", "classes", "image", "vocabulary", "encoding")
"""What a teacher and the data set must have in common, by its name in a description."""
KEY = "compression.teacher"


class Distillation:
    """What a teacher counts in the loss."""

    def __init__(
        self,
        teacher: str,
        temperature: float = 2.0,
        weight: float = 0.5,
        trust: Sequence[str] = (),
        no_test_rows: bool = False,
    ) -> None:
        """Take the settings; raise `ConfigError`.

        Args:
            teacher: the folder of a saved model, or of a cell with one for each seed.
            temperature: by which the logits of both sides are divided before they are compared.
            weight: the share of the teacher in the loss.
            trust: packages whose code a teacher may run.
            no_test_rows: whether the user knows that a teacher of other data has seen no test row.
        """
        _check("temperature", "above 0", temperature, _is_number(temperature) and 0 < temperature < float("inf"), 2)
        _check("weight", "from 0 to 1", weight, _is_number(weight) and 0 <= weight <= 1, 0.5)
        self.temperature, self.weight = float(temperature), float(weight)
        self.trust, self.no_test_rows = list(trust), no_test_rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(name: str, rule: str, value: object, holds: bool, example: float) -> None:
    if not holds:
        key = f"compression.{name}"
        raise ConfigError(key, f"must be a number {rule}", value, f"for example {key}={example}")


class TaughtRows(nn.Module):
    """Attach to the targets of a row what its member's teacher says of it."""

    said: Tensor  # (W, N, V)
    teacher: Tensor  # (C,), the teacher of each member
    shift: Tensor  # (C, V), of numbers in the target's own unit
    scale: Tensor  # (C, V)

    def __init__(self, said: Tensor, teacher: Sequence[int], scaling: Tensor, row_weights: nn.Module | None) -> None:
        super().__init__()
        self.row_weights = row_weights
        shift, scale = scaling.to(said.dtype).unbind()
        held = {"said": said, "teacher": torch.tensor(teacher), "shift": shift, "scale": scale}
        for name, value in held.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, targets: Tensor, rows: Tensor, members: Tensor) -> Tensor:
        """Return for rows `(S, C, B)` the numbers of the targets of each, then those of the teacher."""
        if self.row_weights is not None:
            targets = self.row_weights(targets, rows, members)
        said = self.said[self.teacher[members][:, None], rows]
        said = (said - self.shift[members][:, None]) / self.scale[members][:, None]
        return torch.cat([targets.flatten(3) if targets.ndim > 3 else targets[..., None], said], dim=-1)


class DistillationLoss(nn.Module):
    """The loss of a member: its own on the targets, and the distance of its outputs to what the teacher says.

    Of classes the distance is the Kullback-Leibler divergence of the softened probabilities, times the square of the
    temperature, so that its gradients keep their size. Of numbers it is the mean of squared differences.
    """

    def __init__(self, own: TrainingLoss, dataset: Dataset, settings: Distillation, weighted: bool) -> None:
        super().__init__()
        self.own, self.settings, self.weighted = own, settings, weighted
        self._shape = (*dataset.targets.shape[1:], *([2] if weighted else []))
        self._size = int(np.prod(self._shape))
        self._are_indices = dataset.kind.is_classification and not weighted
        self._outputs = dataset.kind.outputs

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of outputs and targets as `TaughtRows` gives them."""
        own, said = targets[:, : self._size].reshape(-1, *self._shape), targets[:, self._size :]
        distances = self._distances(outputs.to(said.dtype), said)
        if self.weighted:
            distances = distances * own.reshape(len(own), -1)[:, 1]  # all weights of a row are equal
        loss = self.own(outputs, own.long() if self._are_indices else own)
        mixed: Tensor = (1 - self.settings.weight) * loss + self.settings.weight * distances.mean()
        return mixed

    def _distances(self, outputs: Tensor, said: Tensor) -> Tensor:
        """Return the distance of each row, `(B,)`."""
        if self._outputs == "numbers":
            return (outputs.flatten(1) - said).square().mean(1)
        temperature = self.settings.temperature
        logits = outputs / temperature
        if self._outputs == "one logit":
            logits, said = torch.stack([torch.zeros_like(logits), logits], -1), torch.stack([1 - said, said], -1)
        logits = logits.reshape(len(logits), -1, logits.shape[-1])
        said = said.reshape(logits.shape)
        divergence = torch.xlogy(said, said) - said * logits.log_softmax(-1)
        distances: Tensor = temperature**2 * divergence.sum(-1).mean(1)
        return distances


def training_loss(
    config: Config,
    dataset: Dataset,
    seeds: Sequence[tuple[int, Phase]],
    splits: Sequence[Split],
    on_batch: Mapping[str, BatchHook],
    dtype: torch.dtype,
) -> tuple[nn.Module | None, nn.Module | None]:
    """Return what attaches weights and a teacher's words to the targets of rows, and the training loss.

    `seeds` are the seed index and the phase of each member's split. A module with a loss of its own gets the targets as
    they are. Raises `ConfigError` for a part that does not fit the data set, or a teacher.
    """
    if config.parts["loss"] is None:
        return None, None
    row_weights = weigh_rows(dataset, splits, on_batch, dtype)
    weighs = weighs_targets(on_batch) or row_weights is not None
    loss = TrainingLoss(config.loss, dataset.kind, weighs).to(dtype)
    chosen = config.compression
    if not isinstance(chosen, DistillationConfig):
        return row_weights, loss
    settings: Distillation = chosen.component.build()
    folders = [folder_for(chosen, seed, phase) for seed, phase in seeds]
    for folder, split in zip(folders, splits, strict=True):
        _check_rows(folder, dataset, split, settings)
    teachers = list(dict.fromkeys(folders))
    said = np.stack([_said(folder, dataset, settings.trust) for folder in teachers])
    softened = torch.as_tensor(_softened(said, dataset, settings.temperature)).to(dtype)
    order = [teachers.index(folder) for folder in folders]
    taught = TaughtRows(softened, order, _scaling(dataset, splits), row_weights)
    return taught, DistillationLoss(loss, dataset, settings, row_weights is not None).to(dtype)


def check(config: Config, dataset: Dataset, on_batch: Mapping[str, BatchHook]) -> None:
    """Check the teachers of all seeds, and the changes of batches; raise `ConfigError` for one that does not fit."""
    chosen = config.compression
    if not isinstance(chosen, DistillationConfig):
        return
    if dataset.kind.name not in TASKS:
        rule = f"must be none for the task {dataset.kind.name}: a teacher is known for {', '.join(TASKS)}"
        raise ConfigError("compression", rule, "distillation", "choose compression=none")
    _check_batches(dataset, on_batch)
    settings: Distillation = chosen.component.build()
    studies = 1 if config.search is None else config.search.num_studies
    seeds = {seed for study in range(studies) for seed in seeds_of(study, config.num_seeds)}
    seeds |= set(range(max((config.evaluation.variance or {"none": 0}).values())))
    for seed in sorted(seeds):
        split = split_of(dataset, config.split, config.root_seed, seed)
        _check_rows(folder_for(chosen, seed, Phase.MEASURE), dataset, split, settings)
    _said(folder_for(chosen, min(seeds), Phase.MEASURE), dataset, settings.trust)


def folder_for(chosen: DistillationConfig, seed: int, phase: Phase) -> Path:
    """Return the folder of the teacher of a seed; raise `ConfigError` if it has none.

    Candidates that are tuned see no test row, and take the teachers in turn.
    """
    teachers = chosen.teachers
    if phase is Phase.TUNE and seed not in teachers:
        return list(teachers.values())[seed % len(teachers)]
    if seed not in teachers and None not in teachers:
        rule = f"must hold a teacher for seed {seed}, and has those of {', '.join(f's{one}' for one in teachers)}"
        raise ConfigError(KEY, rule, str(chosen.folder), "train as many seeds of the teacher with save=all")
    return teachers.get(seed, teachers.get(None, chosen.folder))


def _check_batches(dataset: Dataset, on_batch: Mapping[str, BatchHook]) -> None:
    """Refuse batches whose rows are not those that the teacher predicts, or weigh by their class."""
    for group, hook in on_batch.items():
        if hook.mixes_rows:
            rule = f"must keep rows apart on {dataset.name}, because the teacher knows no mixed rows"
            raise ConfigError(group, rule, type(hook).__name__, f"choose {group}=none")
        if hook.weighs_targets:
            rule = "must be left out with compression=distillation, whose teacher does not know them"
            raise ConfigError("loss.class_weights", rule, remedy="leave them out, or train the teacher with them")


def _description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / weights.DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        rule, remedy = f"must hold a {weights.DESCRIPTION} that can be read", "give a folder of save=best or save=all"
        raise ConfigError(KEY, rule, str(folder), remedy) from error
    return description


def _check_rows(folder: Path, dataset: Dataset, split: Split, settings: Distillation) -> None:
    """Refuse a teacher that does not fit, has learned from a test row, or may have."""
    description, own = _description(folder), weights.fits(dataset)
    for name in FITS:
        if description.get(name) != own[name]:
            rule = f"must be trained on data like {dataset.name}, whose {name} are not those of its data"
            raise ConfigError(KEY, rule, str(folder), "train a teacher on the same settings of dataset")
    if not len(split.test):
        return  # candidates that are tuned: the rows of the test are not there
    learned = _learned(folder) if description.get("fingerprint") == dataset.fingerprint else None
    if learned is not None and len(learned) >= len(dataset.targets):
        seen = int(learned[split.test].sum())
        if seen:
            rule = f"must have learned from no test row, and has from {seen:,} of {len(split.test):,}"
            remedy = "give the folder of a cell with a teacher for each seed (save=all), which have the same splits"
            raise ConfigError(KEY, rule, str(folder), remedy)
    elif not settings.no_test_rows:
        rule = f"must be trained on {dataset.name} itself: else it is not known whether it has seen the test rows"
        remedy = "if you know that it has not, say compression.no_test_rows=true"
        raise ConfigError(KEY, rule, str(folder), remedy)


def _learned(folder: Path) -> NDArray[np.bool_] | None:
    """Return whether a teacher has learned from each row of its data set, padded; None: not known."""
    path = folder / weights.LEARNED
    return np.unpackbits(np.load(path, allow_pickle=False)).astype(bool) if path.is_file() else None


def _said(folder: Path, dataset: Dataset, trust: Sequence[str]) -> NDArray[np.float64]:
    """Return the predictions of a teacher for all rows of a data set `(N, …)`, computed once."""
    key = ("teacher", hash_of(folder))
    if key not in dataset.derived:
        try:
            predictor = weights.load(folder, packages=trust)
        except InputError as error:
            reason = re.sub(r"say --trust (\w+),.*", r"say 'compression.trust=[\1]'", str(error))
            raise ConfigError(KEY, "must be a model that can be loaded", str(folder), reason) from error
        parts = [_predicted(predictor, dataset, first) for first in range(0, len(dataset.targets), ROWS)]
        said = np.concatenate(parts)
        if not np.isfinite(said).all():
            rule = f"must predict a finite number for every row of {dataset.name}"
            raise ConfigError(KEY, rule, str(folder), "train it again")
        dataset.derived[key] = said
    known: NDArray[np.float64] = dataset.derived[key]
    return known


@torch.no_grad()
def _predicted(predictor: weights.Predictor, dataset: Dataset, first: int) -> NDArray[np.float64]:
    rows = torch.as_tensor(np.asarray(dataset.inputs[first : first + ROWS]))
    rows = rows.long() if dataset.vocabulary is not None else rows.to(predictor.mean.dtype)
    predicted: NDArray[np.float64] = predictor(rows).numpy()
    size = predicted[:1].size * len(dataset.targets) * 8
    if size > MOST_BYTES:
        rule = f"must say at most 2 GiB of {dataset.name}, not {size / 2**30:.1f} GiB"
        raise ConfigError(KEY, rule, remedy="use fewer rows, shorter texts or fewer tokens")
    return predicted


def _softened(said: NDArray[np.float64], dataset: Dataset, temperature: float) -> NDArray[np.float64]:
    """Return what is compared `(W, N, V)`: numbers, or probabilities at a temperature."""
    kind, shape = dataset.kind, (*said.shape[:2], -1)
    if not kind.is_classification:
        return said.reshape(shape)
    pairs = np.stack([1 - said, said], -1) if kind.per_column else said  # (..., K)
    powers = pairs ** (1 / temperature)  # the logits divided by the temperature
    shares = powers / powers.sum(-1, keepdims=True)
    softened: NDArray[np.float64] = shares[..., 1] if kind.outputs == "one logit" else shares
    return softened.reshape(shape)


def _scaling(dataset: Dataset, splits: Sequence[Split]) -> Tensor:
    """Return shift and scale of what a teacher says, for each member `(2, C, V)` or `(2, C, 1)`."""
    if not dataset.kind.scales_targets:
        return torch.tensor([0.0, 1.0])[:, None, None].expand(2, len(splits), 1)
    fitted = [fit_scaling(dataset, split.train) for split in splits]
    pairs = [[np.atleast_1d(one.target_mean), np.atleast_1d(one.target_std)] for one in fitted]
    return torch.as_tensor(np.array(pairs)).transpose(0, 1)
