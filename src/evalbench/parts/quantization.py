"""Quantization: the numbers of a trained network become whole numbers of 8 bits, in a graph of ONNX Runtime.

The graph that is judged, saved and timed is the quantized one itself: nothing is simulated.
"""

import logging
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalbench.config import Component, DistillationConfig
from evalbench.errors import ConfigError
from evalbench.weights import onnx_graphs


class Quantization(ABC):
    """What becomes of the graph of a trained network."""

    row_by_row: ClassVar[bool] = False
    """Whether the scale of activations depends on all rows of a batch, so that each row must be a batch of its own."""

    @property
    def rows_needed(self) -> int:
        """The number of training rows that `of` takes."""
        return 0

    @abstractmethod
    def of(self, graph: Any, rows: NDArray[Any]) -> bytes:
        """Return the content of an ONNX file, given the graph of a network and inputs for calibration `(B, D)`."""


class Float32(Quantization):
    """Numbers stay as they are, in a graph that ONNX Runtime has simplified."""

    def of(self, graph: Any, rows: NDArray[Any]) -> bytes:
        """Return the simplified graph."""
        with _files(graph) as (prepared, _):
            return prepared.read_bytes()


@dataclass(frozen=True)
class DynamicInt8(Quantization):
    """Weights have 8 bits; activations get them while the network runs, by the smallest and largest of a row."""

    per_channel: bool = True
    """Whether each output of a layer has its own scale of weights."""

    row_by_row: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings without a meaning."""
        _check_flag(self.per_channel)

    def of(self, graph: Any, rows: NDArray[Any]) -> bytes:
        """Return the quantized graph."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _files(graph) as (prepared, output):
            quantize_dynamic(prepared, output, per_channel=self.per_channel, weight_type=QuantType.QInt8)
            return output.read_bytes()


@dataclass(frozen=True)
class StaticInt8(Quantization):
    """Weights and activations have 8 bits; the range of activations is that on some training rows."""

    per_channel: bool = True
    """Whether each output of a layer has its own scale of weights."""
    calibration_rows: int = 128
    """The number of training rows on which activations are observed."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings without a meaning."""
        _check_flag(self.per_channel)
        count = self.calibration_rows
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            key = "compression.calibration_rows"
            raise ConfigError(key, "must be a whole number of at least 1", count, f"for example {key}=128")

    @property
    def rows_needed(self) -> int:
        """The number of rows on which activations are observed."""
        return self.calibration_rows

    def of(self, graph: Any, rows: NDArray[Any]) -> bytes:
        """Return the quantized graph."""
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class CalibrationRows(CalibrationDataReader):  # type: ignore[misc]
            """Give the rows one after the other."""

            def __init__(self) -> None:
                self._rows = iter(np.split(rows, len(rows)))

            def get_next(self) -> dict[str, NDArray[Any]] | None:
                """Return the next row, or None."""
                row = next(self._rows, None)
                return None if row is None else {onnx_graphs.INPUT: row}

        with _files(graph) as (prepared, output):
            types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
            quantize_static(prepared, output, CalibrationRows(), per_channel=self.per_channel, **types)
            return output.read_bytes()


def _check_flag(value: object) -> None:
    if not isinstance(value, bool):
        key = "compression.per_channel"
        raise ConfigError(key, "must be true or false", value, f"for example {key}=true")


@contextmanager
def _files(graph: Any) -> Iterator[tuple[Path, Path]]:
    """Give the file of a graph that is prepared for quantization, and one to write."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole, prepared, output = (Path(folder) / f"{name}.onnx" for name in ("whole", "prepared", "output"))
        onnx.save(graph, whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)  # which fails on operations of newer versions
        yield prepared, output


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice of ONNX Runtime."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def quantization_of(chosen: Component | DistillationConfig | None) -> Quantization | None:
    """Return the chosen quantization; None for another compression, or none; raise `ConfigError`."""
    if not isinstance(chosen, Component) or not issubclass(chosen.locate(), Quantization):
        return None
    quantization: Quantization = chosen.build()
    return quantization


def with_tensors(graph: Any, values: Mapping[str, NDArray[Any]]) -> Any:
    """Return a copy of a graph with other values of its tensors, by name."""
    from onnx import ModelProto, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(graph)
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[tensor.name]), tensor.name))
    return copy
