"""Trained members of a cohort as quantized graphs: made after the training, and judged on their own predictions.

Shapes: `C` members, `N` rows of a split, `K` outputs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evalbench.config import Config
from evalbench.engine.cohort import Cohort
from evalbench.engine.data import Data
from evalbench.engine.validation import Validation
from evalbench.errors import ConfigError
from evalbench.names import one_line
from evalbench.parts.quantization import Float32, Quantization, quantization_of, with_tensors
from evalbench.weights import onnx_graphs
from evalbench.workloads import Dataset, Split

MOST_BYTES = 2**31 - 2**20
"""The largest graph that one ONNX file holds."""
Build = Callable[[], nn.Module]
_graphs: dict[str, tuple[Any, dict[str, str]]] = {}
"""The graph of a network before its training, by what it was built from: one per process, because it takes seconds."""


class Quantized:
    """Make quantized graphs of networks of a cell."""

    def __init__(
        self, config: Config, dataset: Dataset, build: Build, quantization: Quantization, splits: Sequence[Split]
    ) -> None:
        """Take the function that builds the network of the cell, and a split for each member."""
        self._dataset, self._quantization, self._splits = dataset, quantization, splits
        self._graph, self._names = _exported(config, dataset, build)
        self._data = Data(dataset, splits, torch.float32)

    def network(self, member_index: int, tensors: Mapping[str, Tensor]) -> onnx_graphs.OnnxNetwork:
        """Return the graph of a member with tensors by name; the same tensors give the same bytes."""
        named = {alias: tensors[name] for alias, name in self._names.items() if name in tensors}
        graph = with_tensors(self._graph, {alias: _array(value) for alias, value in named.items()})
        content = self._quantization.of(graph, self._calibration(member_index))
        return onnx_graphs.OnnxNetwork(content, self._quantization.row_by_row)

    def network_of(self, cohort: Cohort, member_index: int) -> onnx_graphs.OnnxNetwork:
        """Return the graph of a member of a cohort, at its best validation."""
        return self.network(member_index, {**cohort.shared_tensors, **cohort.best_weights(member_index)})

    def metrics(self, cohort: Cohort, rows: Tensor, member_indices: Sequence[int]) -> list[dict[str, float]]:
        """Return the metrics of some members of a cohort on rows `(C, N)` of all members, each at its best validation.

        They are those of the quantized graphs.
        """
        networks = ((index, self.network_of(cohort, index)) for index in member_indices)
        outputs = [network(self._inputs(index, rows[index].cpu())) for index, network in networks]
        validation = Validation(self._dataset, self._data)
        return validation.metrics(torch.stack(outputs), rows.cpu()[list(member_indices)], member_indices)

    def _inputs(self, member_index: int, rows: Tensor) -> Tensor:
        """Return the inputs `(N, D)` of a member's rows `(N,)`, scaled as it has them."""
        (staged,) = self._data.inputs.staged([rows[None, None]])
        return self._data.gather(staged, [member_index])[0][0, 0]

    def _calibration(self, member_index: int) -> NDArray[Any]:
        """Return the inputs of training rows at equal distances."""
        train = self._splits[member_index].train
        count = min(self._quantization.rows_needed, len(train))
        chosen = train[np.linspace(0, len(train) - 1, count).astype(np.int64)]
        inputs: NDArray[Any] = self._inputs(member_index, torch.as_tensor(chosen)).numpy()
        return inputs


def _array(value: Tensor) -> NDArray[Any]:
    """Return a tensor as an array, numbers of any precision in 32 bits."""
    array: NDArray[Any] = (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
    return array


def of(config: Config, dataset: Dataset, build: Build, splits: Sequence[Split]) -> Quantized | None:
    """Return the quantized networks of a cell, None if they are not quantized; raise `ConfigError`."""
    quantization = quantization_of(config.compression)
    return None if quantization is None else Quantized(config, dataset, build, quantization, splits)


def check(config: Config, dataset: Dataset, build: Build, split: Split) -> None:
    """Quantize the network before its training; raise `ConfigError` if it cannot become such a graph."""
    if quantization_of(config.compression) is None:
        return
    if dataset.kind.answers:
        rule = "must not make a graph of 8 bits of a network that writes or continues texts"
        raise ConfigError("compression", rule, remedy="choose compression=none")
    absent = onnx_graphs.missing()
    if absent is not None:
        rule = f"needs the package {absent}, which is not installed"
        raise ConfigError("compression", rule, remedy=onnx_graphs.INSTALL)
    if config.precision == "64-true":
        rule = "must be none with trainer.precision=64-true, whose numbers a graph would round"
        raise ConfigError("compression", rule, remedy="choose trainer.precision=32-true")
    try:
        graph_of(config, dataset, build(), split)
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime may raise anything
        raise _refused(error) from error


def are_compared(config: Config) -> bool:
    """Return whether compressions are what an evaluation compares."""
    return (config.evaluation.factor or "").partition(".")[0] == "compression"


def graph_of(config: Config, dataset: Dataset, network: nn.Module, split: Split) -> onnx_graphs.OnnxNetwork | None:
    """Return a network as a graph, quantized or not, if compressions are compared; None if it cannot become one."""
    quantization = quantization_of(config.compression)
    if quantization is None and (not are_compared(config) or onnx_graphs.missing() is not None):
        return None
    try:
        made = Quantized(config, dataset, lambda: network, quantization or Float32(), [split])
    except ConfigError:
        if quantization is not None:
            raise
        return None
    return made.network(0, {**dict(network.named_parameters()), **dict(network.named_buffers())})


def _exported(config: Config, dataset: Dataset, build: Build) -> tuple[Any, dict[str, str]]:
    """Return the graph of the network of a cell, and the parameters or buffers of its tensors by their names there."""
    parts = [config.parts[group] for group in ("model", "activation", "adaptation")]
    shape = [dataset.inputs.shape[1], dataset.num_outputs, dataset.image, dataset.vocabulary, dataset.kind.name]
    key = json.dumps([*(part and part.identity() for part in parts), *shape, config.code], sort_keys=True, default=str)
    if key not in _graphs:
        _graphs[key] = _export(build().eval(), dataset)
    return _graphs[key]


def _export(network: nn.Module, dataset: Dataset) -> tuple[Any, dict[str, str]]:
    rows = torch.zeros(2, dataset.inputs.shape[1], dtype=torch.float32)
    if dataset.vocabulary is not None:
        rows = torch.as_tensor(np.asarray(dataset.inputs[:2])).long()
    held = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    size = sum(value.numel() * value.element_size() for value in {id(value): value for _, value in held}.values())
    if size > MOST_BYTES:
        rule = f"must be none for a network of {size / 2**30:.1f} GiB, because one ONNX file holds 2 GiB"
        raise ConfigError("compression", rule, remedy="choose a smaller model")
    own = {id(value): name for name, value in (*network.named_parameters(), *network.named_buffers())}
    names = {alias: own[id(value)] for alias, value in held}
    try:
        graph = onnx_graphs.graph_of(onnx_graphs.program_of(network, rows), rows, optimize=False).model_proto
    except Exception as error:  # an operation without a counterpart, raised by any library
        raise _refused(error) from error
    there = {names.get(tensor.name) for tensor in graph.graph.initializer}
    lost = [name for name, value in network.named_parameters() if value.requires_grad and name not in there]
    if lost:
        rule = f"must be none for a network whose ONNX graph lacks {lost[0]}"
        raise ConfigError("compression", rule, remedy="choose compression=none")
    return graph, names


def _refused(error: Exception) -> ConfigError:
    reason = one_line((str(error).strip().splitlines() or [type(error).__name__])[0])
    rule = f"must be none for a network that cannot become an ONNX graph ({reason})"
    return ConfigError("compression", rule, remedy="choose compression=none")
