"""Save the best weights of trials as safetensors with a description, and load them as a plain single model.

The tensors that do not train and are the same in all trials of a cohort are their *base*: one file, named by its hash.
`load(path)` needs no store and no cohort. The module that it returns can be called, exported or trained further.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evalbench import models, own_code
from evalbench.config import ActivationConfig, Component, Config, PretrainedConfig
from evalbench.errors import DataError, InputError, StorageError
from evalbench.models.pretrained import Pretrained
from evalbench.tasks import TASKS, Task
from evalbench.trial import TrialResult
from evalbench.workloads import Dataset, Scaling
from evalbench.workloads.target_encoding import TargetEncoded

WEIGHTS, DESCRIPTION, BASES = "weights.safetensors", "model.json", "bases"
NETWORKS = ("evalbench.models", "torch.nn")
"""Packages whose networks `load` builds for any description."""
ADAPTATIONS = ("evalbench.models.adaptation", "peft")
"""Packages whose adaptations it makes."""


class Predictor(nn.Module):
    """Map rows as the data set holds them to predictions, by a trial's network and its preprocessing."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    target_mean: Tensor  # (), or (L,) for several numbers per row
    target_std: Tensor
    target_means: Tensor  # (categories of all target-encoded columns,)

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        features: int,
        encoded: Sequence[TargetEncoded] = (),
        target_shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.task = task
        for name in ("mean", "std"):
            self.register_buffer(name, torch.zeros(features))
            self.register_buffer(f"target_{name}", torch.zeros(target_shape))
        self.encoded = [one.column for one in encoded]
        if encoded:
            self.starts = [sum(before.categories for before in encoded[:number]) for number in range(len(encoded))]
            self.register_buffer("target_means", torch.zeros(sum(one.categories for one in encoded)))

    def forward(self, rows: Tensor) -> Tensor:
        """Return class probabilities `(B, classes)`, token probabilities `(B, D, tokens)` or numbers `(B,)`.

        Several labels or numbers per row are `(B, L)`.

        `rows` is `(B, D)`: floating point, NaN for missing values, or int64 tokens. Predicted numbers are in the
        target's own unit. Predictions are float64, as in the test.
        """
        wide = torch.promote_types(self.mean.dtype, torch.float32)
        if rows.is_floating_point():
            codes = rows[:, self.encoded]
            rows = torch.nan_to_num((rows - self.mean) / self.std, nan=0.0)
            if self.encoded:
                rows[:, self.encoded] = self.target_means[codes.long() + torch.tensor(self.starts, device=rows.device)]
        predictions = self.task.predict(self.network(rows).to(wide))
        return predictions * self.target_std + self.target_mean if self.task.scales_targets else predictions


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
    borrowed = network.borrowed() if isinstance(network, Pretrained) else set()
    shared = {name: value for name, value in shared.items() if name not in borrowed}
    if not shared:
        return None
    tensors = {f"network.{name}": value.detach().cpu().contiguous() for name, value in shared.items()}
    name = _hash(tensors)
    path = _base_path(cell, name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        save_file({key: value.clone() for key, value in tensors.items()}, temporary)
        temporary.rename(path)
    return name


def _base_path(cell: Path, name: str) -> Path:
    return cell.parent / BASES / f"{name}.safetensors"


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]


def save(
    path: Path,
    config: Config,
    dataset: Dataset,
    scaling: Scaling,
    weights: Mapping[str, Tensor],
    base: str | None,
    result: TrialResult,
) -> None:
    """Write a trial's weights and their description; replace an existing folder, and leave none half done on a crash.

    `weights` are the trial's own tensors. `base` is the hash of the tensors that it shares with the other trials.
    """
    temporary = path.with_name(f".{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tensors = {f"network.{name}": value for name, value in weights.items()}
    fitted = {name: value for name, value in vars(scaling).items() if name != "target_means"}
    if scaling.target_means is not None:
        fitted["target_means"] = scaling.target_means.means[-1]
    for name, value in fitted.items():
        tensors[name] = torch.as_tensor(value, dtype=torch.float64 if config.precision == "64-true" else torch.float32)
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, temporary / WEIGHTS)
    chosen = config.parts["model"]
    description = {
        "model": config.model.spec(),
        **({"files": chosen.files} if isinstance(chosen, PretrainedConfig) else {}),
        **({} if config.adaptation is None else {"adaptation": config.adaptation.spec()}),
        "activation": {**config.activation.module.spec(), "gain": config.activation.gain},
        "code": {**config.model.code(), **config.activation.module.code()},
        "workload": dataset.name,
        "base": base,
        "kind": dataset.kind.name,
        "features": dataset.features,
        "classes": dataset.classes,
        "out_features": dataset.num_outputs,
        "image": dataset.image,
        "vocabulary": dataset.vocabulary,
        **({"encoded": [astuple(column) for column in dataset.encoded]} if dataset.encoded else {}),
        "precision": config.precision,
        "best_epoch": result.best_epoch,
        "metrics": result.metrics,
        "config": config.tree,
    }
    (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def load(path: str | Path, packages: Sequence[str] = ()) -> Predictor:
    """Rebuild the model of a saved trial, ready to predict; raise `DataError` if the folder does not hold one.

    A description names the code that builds the model. Only networks of evalbench and PyTorch are built, and those of
    `packages`, the modules or packages that you trust. Nothing else is imported.
    """
    path = Path(path)
    try:
        description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        tensors = {**load_file(path / WEIGHTS), **_load_base(path.absolute().parent, description.get("base"))}
        _check_code(path / DESCRIPTION, [description["model"], description["activation"]], packages)
        activation, image = dict(description["activation"]), description["image"]
        gain = activation.pop("gain")
        model, module = _component("model", description["model"]), _component("activation", activation)
        features, double = len(description["features"]), description["precision"] == "64-true"
        task = TASKS[description["kind"]]
        columns, vocabulary = image and tuple(image), description["vocabulary"]
        shape = models.Shape(features, description["out_features"], columns, vocabulary, task.per_token)
        adaptation = _adaptation(path / DESCRIPTION, description, packages)
        encoded = [TargetEncoded(*column) for column in description.get("encoded", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        remedy = "give a folder written by save=best or save=all"
        raise DataError(f"{path}: must hold {DESCRIPTION} and {WEIGHTS} ({error}): {remedy}") from error
    for change in own_code.changes(description.get("code"), {**model.code(), **module.code()}):
        warnings.warn(f"{path}: {change}: its predictions may differ from the tested ones", stacklevel=2)
    _check_files(path / DESCRIPTION, model, description)
    network = models.build_seeded(0, model, ActivationConfig(module, gain), shape, adaptation=adaptation)
    borrowed = {f"network.{name}" for name in network.borrowed()} if isinstance(network, Pretrained) else set()
    numbers = (description["out_features"],) if task.per_column and task.scales_targets else ()
    predictor = Predictor(network, task, features, encoded, numbers)
    if double:
        predictor = predictor.double()
    needed = {**dict(predictor.named_parameters()), **dict(predictor.named_buffers())}  # tied weights appear once
    needed = {name: value for name, value in needed.items() if name not in borrowed}
    if needed.keys() != tensors.keys() or any(needed[name].shape != value.shape for name, value in tensors.items()):
        remedy = "load it with the model's code that it was saved with"
        raise DataError(f"{path}: must hold the weights of the model that {DESCRIPTION} describes: {remedy}")
    with torch.no_grad():
        for name, value in needed.items():
            value.copy_(tensors[name])
    return predictor.eval()


def _load_base(cell: Path, name: str | None) -> dict[str, Tensor]:
    if name is None:
        return {}
    path = _base_path(cell, name)
    if not path.is_file():
        raise DataError(f"{path}: must exist, because the weights need it: copy the folder {BASES} along with them")
    tensors = load_file(path)
    if _hash(tensors) != name:
        raise DataError(f"{path}: must match the hash in its name, but has been changed: write it again with save=best")
    return tensors


def _check_code(description: Path, settings: Any, packages: Sequence[str]) -> None:
    """Raise `DataError` for code that is not trusted, before any of it is imported."""
    for name in own_code.targets(settings):
        trusted = "${" not in json.dumps(settings) and _is_in(name, [*NETWORKS, *packages])
        if not (trusted and _is_trusted(Component("model", name, {}).locate(), packages)):
            rule = f"must be made of networks of {' and '.join([*NETWORKS, *packages])}, not {name!r}"
            remedy = f"if you trust its author, use load_weights(…, packages=[{name.partition('.')[0]!r}])"
            raise DataError(f"{description}: {rule}: {remedy}")


def _adaptation(path: Path, description: Mapping[str, Any], packages: Sequence[str]) -> Component | None:
    """Return the adaptation of a pretrained network; raise `DataError` for code that is not trusted."""
    spec = description.get("adaptation")
    if spec is None:
        return None
    names = own_code.targets(spec)
    if len(names) != 1 or not _is_in(names[0], [*ADAPTATIONS, *packages]):
        rule = f"must be adapted by {' or '.join(ADAPTATIONS)}, not {' and '.join(map(repr, names))}"
        raise DataError(f"{path}: {rule}: if you trust its author, name the package in load_weights(…, packages=[…])")
    return _component("adaptation", spec)


def _check_files(path: Path, model: Component, description: Mapping[str, Any]) -> None:
    """Raise `DataError` if pretrained weights are gone or changed, or want to run code of their own."""
    if "files" not in description:
        return
    if model.arguments.get("trust_remote_code"):
        remedy = "load the network with Transformers, if you trust its author"
        raise DataError(f"{path}: must not need Python code that comes with pretrained weights: {remedy}")
    where = f"pretrained weights in {model.arguments.get('path')}"
    try:
        files = PretrainedConfig(model).files
    except InputError as error:
        raise DataError(f"{path}: needs {where} ({error}): correct the path in this file") from error
    if files != description["files"]:
        raise DataError(f"{path}: needs the {where} as they were when it was saved: put the old files back")


def _is_trusted(target: Any, packages: Sequence[str]) -> bool:
    """Return whether code is defined in a trusted module, because modules also contain imported names."""
    module = str(getattr(target, "__module__", ""))
    is_network = isinstance(target, type) and issubclass(target, nn.Module)
    return _is_in(module, packages) or (is_network and _is_in(module, NETWORKS))


def _is_in(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _component(group: str, spec: Mapping[str, Any]) -> Component:
    rest = dict(spec)
    return Component(group, rest.pop("_target_"), rest)
