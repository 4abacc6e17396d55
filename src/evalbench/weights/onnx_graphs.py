"""Networks as ONNX graphs, and graphs that ONNX Runtime runs in the place of a network."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install 'evalbench-dl[onnx]'"
LOGS = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")
INPUT, OUTPUT = "inputs", "outputs"


def missing() -> str | None:
    """Return a package of the extra `onnx` that is not installed, or None."""
    return next((package for package in NEEDED if find_spec(package) is None), None)


def program_of(module: nn.Module, rows: Tensor, name: str = INPUT) -> torch.export.ExportedProgram:
    """Return a module as a program of torch.export for any number of rows `(B, ...)`; it may raise any error.

    `name` is that of the argument of its `forward`.
    """
    with torch.no_grad():
        return torch.export.export(module, (rows,), dynamic_shapes={name: {0: torch.export.Dim("batch")}})


def graph_of(
    program: torch.export.ExportedProgram, rows: Tensor, names: tuple[str, str] = (INPUT, OUTPUT), optimize: bool = True
) -> Any:
    """Return a program as an ONNX graph with names for its input and its output; it may raise any error.

    A graph that is not optimized has a tensor for each parameter, of the same name.
    """
    with warnings.catch_warnings(), _without_logs():
        warnings.simplefilter("ignore")  # of torch and onnxscript, about themselves
        return torch.onnx.export(
            program,
            (rows,),
            input_names=[names[0]],
            output_names=[names[1]],
            dynamo=True,
            verbose=False,
            optimize=optimize,
        )


class OnnxNetwork(nn.Module):
    """A network of `float32` numbers or tokens that ONNX Runtime runs on the CPU, on one thread."""

    def __init__(self, content: bytes, row_by_row: bool) -> None:
        """Take the content of an ONNX file; `row_by_row`: no row is to depend on the others of its batch."""
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same bits on any number of cores
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.content, self.row_by_row = content, row_by_row

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(B, K)` of inputs `(B, D)`."""
        rows = inputs.detach().cpu().numpy()
        rows = rows.astype(np.float32) if inputs.is_floating_point() else rows
        parts = np.split(rows, len(rows)) if self.row_by_row else [rows]
        outputs = [self._session.run(None, {INPUT: part})[0] for part in parts]
        return torch.as_tensor(np.concatenate(outputs))


@contextmanager
def _without_logs() -> Iterator[None]:
    """Silence what the exporter logs about itself: packages that no network needs, and values that it cannot fold."""
    loggers = [logging.getLogger(name) for name in LOGS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
