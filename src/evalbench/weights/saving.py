"""Save the best weights of trials as safetensors, and fitted estimators by skops, each with a description.

The tensors that do not train and are the same in all trials of a cohort are their *base*: one file, named by its hash.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from safetensors.torch import save_file
from torch import Tensor, nn

from evalbench.config import Component, Config, PretrainedConfig
from evalbench.config.lightning import LightningConfig
from evalbench.errors import StorageError
from evalbench.models.shared_weights import SharedWeights
from evalbench.names import one_line, to_cell
from evalbench.tasks import OwnTask
from evalbench.trial import TrialResult, TrialSpec, best_point
from evalbench.weights import estimators
from evalbench.weights.onnx_graphs import OnnxNetwork
from evalbench.workloads import Dataset, Scaling, Split
from evalbench.workloads.preprocessing import Encoding

log = logging.getLogger(__name__)

WEIGHTS, DESCRIPTION, BASES = "weights.safetensors", "model.json", "bases"
LEARNED = "learned.npy"
"""A bit for each row of the data set: whether the model was trained on it, or its epoch chosen by it."""
ESTIMATOR, GRAPH = "estimator.skops", "network.onnx"
ANSWERS = "answers.csv"
"""What a network wrote to each test row."""
VERSION = 2
"""Version of the description; folders of version 1 name none, and lack what predicts rows as people have them."""


@dataclass(frozen=True)
class FittedEstimator:
    """An estimator after its fit."""

    component: Component
    """Its class and settings."""
    estimator: Any
    keeps_missing: bool
    """Whether it takes missing values as they are."""


def learned_from(split: Split) -> NDArray[np.bool_]:
    """Return whether a trial learns from each row of its data set, `(N,)`: its training and validation rows."""
    learned = np.ones(sum(map(len, (split.train, split.validation, split.test))), dtype=bool)
    learned[split.test] = False
    return learned


def folder(cell: Path, seed: int) -> Path:
    """Return the folder of one trial in the folder of its cell."""
    return cell / f"s{seed}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `StorageError` if weights cannot be written, because the training itself has not failed."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StorageError(f"the weights in {path}", " ".join(str(error).split())) from error


def save_base(cell: Path, shared: Mapping[str, Tensor], network: nn.Module) -> str | None:
    """Write the shared tensors of all trials beside the folder of their cell, once; return their hash, or None.

    Pretrained weights, which `network` has, stay where they are.
    """
    borrowed = network.borrowed() if isinstance(network, SharedWeights) else set()
    shared = {name: value for name, value in shared.items() if name not in borrowed}
    if not shared:
        return None
    tensors = {f"network.{name}": value.detach().cpu().contiguous() for name, value in shared.items()}
    name = hash_of(tensors)
    path = base_path(cell, name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        save_file({key: value.clone() for key, value in tensors.items()}, temporary)
        temporary.rename(path)
    return name


def base_path(cell: Path, name: str) -> Path:
    """Return the file of shared tensors beside the folder of a cell."""
    return cell.parent / BASES / f"{name}.safetensors"


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of tensors by name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]


def save(
    path: Path,
    config: Config,
    dataset: Dataset,
    split: Split,
    scaling: Scaling,
    weights: Mapping[str, Tensor],
    base: str | None,
    result: TrialResult,
    trial: TrialSpec | None = None,
    graph: OnnxNetwork | None = None,
    answers: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights and their description; replace an existing folder, and leave none half done on a crash.

    `weights` are the trial's own tensors. `base` is the hash of the tensors that it shares with the other trials. A
    network that has become a `graph` is kept as that, without its tensors. `answers` are columns of a table of the test
    rows.
    """
    activation, chosen = config.activation, config.parts["model"]
    model: Component = chosen.component if isinstance(chosen, LightningConfig | PretrainedConfig) else chosen
    description = {
        "model": model.spec(),
        **({"files": chosen.files} if isinstance(chosen, PretrainedConfig) else {}),
        **({} if config.adaptation is None else {"adaptation": config.adaptation.spec()}),
        "activation": {**activation.module.spec(), "gain": activation.gain},
        "code": {**model.code(), **activation.module.code(), **_task_code(dataset)},
        "base": base,
        **({} if graph is None else {"graph": {"row_by_row": graph.row_by_row}}),
        "precision": config.precision,
        **_described(config, dataset, result, trial),
    }
    dtype = torch.float64 if config.precision == "64-true" else torch.float32
    tensors = {f"network.{name}": value for name, value in weights.items()} if graph is None else {}
    with _replacing(path, description, split) as temporary:
        _save_tensors({**tensors, **_fitted(scaling, dtype)}, temporary)
        if graph is not None:
            (temporary / GRAPH).write_bytes(graph.content)
        if answers is not None:
            pd.DataFrame({name: [to_cell(value) for value in column] for name, column in answers.items()}).to_csv(
                temporary / ANSWERS, index=False, lineterminator="\n"
            )


def save_estimator(
    path: Path,
    config: Config,
    dataset: Dataset,
    split: Split,
    scaling: Scaling,
    fitted: FittedEstimator,
    result: TrialResult,
    trial: TrialSpec | None = None,
) -> None:
    """Write a fitted estimator and its description, as `save` does; warn if skops cannot write it."""
    try:
        content = estimators.dumped(fitted.estimator)
    except Exception as error:  # a part that only a fit makes; the result of the trial stands
        log.warning("%s cannot be saved by skops: %s", fitted.component.target, one_line(error))
        return
    description = {
        "model": fitted.component.spec(),
        "code": {**fitted.component.code(), **_task_code(dataset)},
        "library": metadata.version("scikit-learn"),
        "keeps_missing": fitted.keeps_missing,
        **_described(config, dataset, result, trial),
    }
    with _replacing(path, description, split) as temporary:
        _save_tensors(_fitted(scaling, torch.float64), temporary)
        (temporary / ESTIMATOR).write_bytes(content)


def _task_code(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Return the user's own code of a task."""
    if not isinstance(dataset.kind, OwnTask):
        return {}
    settings = dict(dataset.kind.spec())
    return Component("task", settings.pop("_target_"), settings).code()


def _described(config: Config, dataset: Dataset, result: TrialResult, trial: TrialSpec | None) -> dict[str, Any]:
    """Return what a description says of every trial."""
    return {
        "version": VERSION,
        "engine": config.engine,
        "evaluation": config.evaluation.name,
        "technique": config.technique,
        "workload": dataset.name,
        "fingerprint": dataset.fingerprint,
        "seed": None if trial is None else trial.seed,
        "trial": None if trial is None else trial.trial_id,
        **fits(dataset),
        **({"task": dataset.kind.spec()} if isinstance(dataset.kind, OwnTask) else {}),
        **({} if dataset.kind.padding == type(dataset.kind).padding else {"padding": dataset.kind.padding}),
        "out_features": dataset.num_outputs,
        **({"encoded": [astuple(column) for column in dataset.encoded]} if dataset.encoded else {}),
        "best_epoch": result.best_epoch,
        "selection": best_point(result.curve).rank if result.curve else None,
        "metrics": result.metrics,
        "config": config.tree,
    }


def fits(dataset: Dataset) -> dict[str, Any]:
    """Return what a model needs of a data set, as a description says it: by name, as JSON has it."""
    encoding = dataset.encoding or Encoding.plain(dataset.features)
    needed = {
        "kind": dataset.kind.name,
        "features": dataset.features,
        "classes": dataset.classes,
        "image": dataset.image,
        "vocabulary": dataset.vocabulary,
        "encoding": encoding.spec(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(needed))
    return plain


def _fitted(scaling: Scaling, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what was fitted to the training rows by name."""
    means = scaling.target_means
    values = {name: value for name, value in vars(scaling).items() if name != "target_means" and value is not None}
    values |= {} if means is None else {"target_means": means.means[-1], "target_unseen": means.unseen}
    return {name: torch.as_tensor(value, dtype=dtype) for name, value in values.items()}


def file_of(network: nn.Module) -> bytes:
    """Return the content of a file of safetensors with all tensors of a network."""
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    content: bytes = to_bytes({name: value.detach().cpu().clone().contiguous() for name, value in named.items()})
    return content


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, path / WEIGHTS)


@contextmanager
def _replacing(path: Path, description: Mapping[str, Any], split: Split) -> Iterator[Path]:
    """Give a folder to write into, which then replaces another one, with a description and the rows of the training."""
    temporary = path.with_name(f".{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    np.save(temporary / LEARNED, np.packbits(learned_from(split)))
    (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
