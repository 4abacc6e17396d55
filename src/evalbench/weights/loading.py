"""Load a saved model: a network as a plain `nn.Module`, or an estimator, ready to predict.

It needs no store and no cohort. A network can be called, exported or trained further.
"""

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from evalbench import models, own_code
from evalbench.config import ActivationConfig, Component
from evalbench.config.pretrained import pretrained_config
from evalbench.errors import DataError, InputError
from evalbench.models.shared_weights import SharedWeights
from evalbench.names import one_line
from evalbench.tasks import TASKS, Task
from evalbench.weights import estimators, onnx_graphs
from evalbench.weights.new_rows import TableFile
from evalbench.weights.predictor import EstimatorPredictor, Predictor, Signature
from evalbench.weights.saving import BASES, DESCRIPTION, ESTIMATOR, GRAPH, VERSION, WEIGHTS, base_path, hash_of
from evalbench.workloads import answers
from evalbench.workloads.answers import PromptInput
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.target_encoding import TargetEncoded

NETWORKS = ("evalbench.models", "torch.nn")
"""Packages whose networks `load` builds for any description."""
ADAPTATIONS = ("evalbench.models.adaptation", "peft")
"""Packages whose adaptations it makes."""
PER_COLUMN = "evalbench.weights.estimators.PerColumn"
"""What holds the estimators of several targets, each of which must be trusted itself."""


def load(path: str | Path, packages: Sequence[str] = ()) -> Predictor:
    """Rebuild the model of a saved trial, ready to predict; raise `DataError` if the folder does not hold one.

    `load(path).predict(frame)` predicts rows as people have them; called with rows as the data set holds them, the
    model is a plain function of tensors.

    A description names the code that builds the model. Only networks of evalbench and PyTorch are built, and those of
    `packages`, the modules or packages that you trust. Nothing else is imported. An estimator is loaded by skops, which
    knows harmless types; others must be of `packages` too.
    """
    path = Path(path)
    try:
        description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        if description.get("version", 1) not in range(1, VERSION + 1):
            rule = f"version must be 1 to {VERSION}, not {description['version']!r}"
            raise DataError(f"{path / DESCRIPTION}: {rule}: use the evalbench that wrote it")
        tensors = {**load_file(path / WEIGHTS), **_load_base(path.absolute().parent, description.get("base"))}
        signature = _signature(path, description, tensors, packages)
        if description.get("engine") == "sklearn":
            predictor: Predictor = _estimator(path, description, signature, packages)
        else:
            predictor = _network(path, description, signature, packages)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        remedy = "give a folder written by save=best or save=all"
        raise DataError(f"{path}: must hold {DESCRIPTION} and {WEIGHTS} ({error}): {remedy}") from error
    _fill(path, predictor, tensors)
    predictor.eval()
    return predictor


def _signature(
    path: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor], packages: Sequence[str]
) -> Signature:
    given, own = description.get("encoding"), description.get("task")
    encoding = None if given is None else Encoding.read(given)
    if own is not None:
        _check_code(path / DESCRIPTION, own, packages)
    return Signature(
        _task(description, encoding) if own is None else _component("task", own).build(),
        tuple(description["features"]),
        tuple(description.get("classes", ())),
        encoding,
        tuple(TargetEncoded(*column) for column in description.get("encoded", ())),
        tuple(tensors["target_mean"].shape),
        TableFile.of(description.get("config", {}).get("dataset")),
        len(tensors.get("known", ())),
    )


def _task(description: Mapping[str, Any], encoding: Encoding | None) -> Task:
    """Return the task of a description, of answers in words with the tokenizer that makes texts of them."""
    columns = () if encoding is None else encoding.columns
    paths = [column.path for column in columns if isinstance(column, PromptInput)]
    if paths:
        return answers.task_of(paths[0])
    task = TASKS[description["kind"]]
    if "padding" in description:
        task = copy.copy(task)
        task.padding = int(description["padding"])
    return task


def _network(path: Path, description: Mapping[str, Any], signature: Signature, packages: Sequence[str]) -> Predictor:
    """Return the network of a description, untrained; one that has become a graph is read whole."""
    if "graph" in description:
        return Predictor(_graph(path, bool(description["graph"]["row_by_row"])), signature)
    _check_code(path / DESCRIPTION, [description["model"], description["activation"]], packages)
    activation, image = dict(description["activation"]), description["image"]
    gain = activation.pop("gain")
    model, module = _component("model", description["model"]), _component("activation", activation)
    columns, double = len(signature.features), description["precision"] == "64-true"
    outputs, vocabulary, task = description["out_features"], description["vocabulary"], signature.task
    image = image and tuple(image)
    shape = models.Shape(columns, outputs, image, vocabulary, task.per_token, task.padding, task.answers)
    adaptation = _adaptation(path / DESCRIPTION, description, packages)
    for change in own_code.changes(
        description.get("code"), {**model.code(), **module.code(), **_task_code(description)}
    ):
        warnings.warn(f"{path}: {change}: its predictions may differ from the tested ones", stacklevel=3)
    _check_files(path / DESCRIPTION, model, description)
    network = models.build_seeded(0, model, ActivationConfig(module, gain), shape, adaptation=adaptation)
    predictor = Predictor(network, signature)
    return predictor.double() if double else predictor


def _graph(path: Path, row_by_row: bool) -> onnx_graphs.OnnxNetwork:
    if onnx_graphs.missing() is not None:
        raise DataError(f"{path}: needs ONNX Runtime, which is not installed: {onnx_graphs.INSTALL}")
    try:
        return onnx_graphs.OnnxNetwork((path / GRAPH).read_bytes(), row_by_row)
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's own classes
        raise DataError(f"{path / GRAPH}: must be a file of ONNX ({one_line(error)}): train it again") from error


def _estimator(
    path: Path, description: Mapping[str, Any], signature: Signature, packages: Sequence[str]
) -> EstimatorPredictor:
    """Return the estimator of a description; skops imports nothing that is not trusted."""
    model = _component("model", description["model"])
    if not is_in(model.target, ["sklearn", *packages]):
        rule = f"must be an estimator of scikit-learn, not {model.target!r}"
        raise DataError(f"{path / DESCRIPTION}: {rule}: {_trust(model.target)}")
    estimator = estimators.load(path / ESTIMATOR, lambda name: is_in(name, [PER_COLUMN, *packages]))
    library = metadata.version("scikit-learn")
    notices = own_code.changes(description.get("code"), {**model.code(), **_task_code(description)})
    if description["library"] != library:
        notices.append(f"trained with scikit-learn {description['library']}, not {library}")
    for notice in notices:
        warnings.warn(f"{path}: {notice}: its predictions may differ from the tested ones", stacklevel=3)
    return EstimatorPredictor(
        estimator, signature, bool(description["keeps_missing"]), description["vocabulary"]
    ).double()


def _fill(path: Path, predictor: Predictor, tensors: dict[str, Tensor]) -> None:
    needed = {**dict(predictor.named_parameters()), **dict(predictor.named_buffers())}  # tied weights appear once
    network = predictor.network
    for name in network.borrowed() if isinstance(network, SharedWeights) else ():
        del needed[f"network.{name}"]
    if "target_unseen" in needed:
        tensors.setdefault("target_unseen", torch.zeros_like(predictor.target_unseen))  # version 1 lacks it
    if needed.keys() != tensors.keys() or any(needed[name].shape != value.shape for name, value in tensors.items()):
        remedy = "load it with the model's code that it was saved with"
        raise DataError(f"{path}: must hold the weights of the model that {DESCRIPTION} describes: {remedy}")
    with torch.no_grad():
        for name, value in needed.items():
            value.copy_(tensors[name])


def _load_base(cell: Path, name: str | None) -> dict[str, Tensor]:
    if name is None:
        return {}
    path = base_path(cell, name)
    if not path.is_file():
        raise DataError(f"{path}: must exist, because the weights need it: copy the folder {BASES} along with them")
    tensors = load_file(path)
    if hash_of(tensors) != name:
        raise DataError(f"{path}: must match the hash in its name, but has been changed: write it again with save=best")
    return tensors


def _check_code(description: Path, settings: Any, packages: Sequence[str]) -> None:
    """Raise `DataError` for code that is not trusted, before any of it is imported."""
    for name in own_code.targets(settings):
        trusted = "${" not in json.dumps(settings) and is_in(name, [*NETWORKS, *packages])
        if not (trusted and _is_trusted(Component("model", name, {}).locate(), packages)):
            rule = f"must be made of networks of {' and '.join([*NETWORKS, *packages])}, not {name!r}"
            raise DataError(f"{description}: {rule}: {_trust(name)}")


def _adaptation(path: Path, description: Mapping[str, Any], packages: Sequence[str]) -> Component | None:
    """Return the adaptation of a pretrained network; raise `DataError` for code that is not trusted."""
    spec = description.get("adaptation")
    if spec is None:
        return None
    names = own_code.targets(spec)
    if len(names) != 1 or not is_in(names[0], [*ADAPTATIONS, *packages]):
        rule = f"must be adapted by {' or '.join(ADAPTATIONS)}, not {' and '.join(map(repr, names))}"
        raise DataError(f"{path}: {rule}: {_trust(names[0] if names else 'none')}")
    return _component("adaptation", spec)


def _check_files(path: Path, model: Component, description: Mapping[str, Any]) -> None:
    """Raise `DataError` if pretrained weights are gone or changed, or want to run code of their own."""
    if "files" not in description:
        return
    if model.arguments.get("trust_remote_code"):
        remedy = "load the network with Transformers, if you trust its author"
        raise DataError(f"{path}: must not need Python code that comes with pretrained weights: {remedy}")
    where = f"pretrained weights in {model.arguments.get('path') or model.arguments.get('weights')}"
    try:
        files = pretrained_config(model).files
    except InputError as error:
        raise DataError(f"{path}: needs {where} ({error}): correct the path in this file") from error
    if files != description["files"]:
        raise DataError(f"{path}: needs the {where} as they were when it was saved: put the old files back")


def _task_code(description: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    own = description.get("task")
    return {} if own is None else _component("task", own).code()


def _trust(name: str) -> str:
    package = name.partition(".")[0]
    return f"if you trust its author, say --trust {package}, in Python packages=[{package!r}]"


def _is_trusted(target: Any, packages: Sequence[str]) -> bool:
    """Return whether code is defined in a trusted module, because modules also contain imported names."""
    module = str(getattr(target, "__module__", ""))
    is_network = isinstance(target, type) and issubclass(target, nn.Module)
    return is_in(module, packages) or (is_network and is_in(module, NETWORKS))


def is_in(name: str, packages: Sequence[str]) -> bool:
    """Return whether a dotted name is one of some packages, or in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _component(group: str, spec: Mapping[str, Any]) -> Component:
    rest = dict(spec)
    return Component(group, rest.pop("_target_"), rest)
