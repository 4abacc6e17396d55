"""A network and its preprocessing as one graph: a program of torch.export, or an ONNX file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evalbench.convert.trained import Trained, Written
from evalbench.errors import InputError
from evalbench.names import one_line
from evalbench.tasks.generation import Generation

PROGRAM, ONNX = "model.pt2", "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install 'evalbench-dl[onnx]'"
LOGS = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")
INPUT, OUTPUT = "rows", "predictions"


def write_program(trained: Trained, folder: Path) -> Written:
    """Write a program of torch.export for any number of rows; read it back."""
    torch.export.save(_exported(trained), folder / PROGRAM)
    program = torch.export.load(folder / PROGRAM).module()
    return Written(program, lambda at: f"torch.export.load({str(at / PROGRAM)!r}).module()(rows)")


def write_onnx(trained: Trained, folder: Path) -> Written:
    """Write an ONNX file for any number of rows; read it with onnxruntime."""
    absent = [package for package in NEEDED if find_spec(package) is None]
    if absent:
        raise InputError(f"--to onnx needs the package {absent[0]}, which is not installed: {INSTALL}")
    import onnxruntime

    rows = trained.rows[0][:2]
    program = _exported(trained)
    try:
        with warnings.catch_warnings(), _without_logs():
            warnings.simplefilter("ignore")  # of torch and onnxscript, about themselves
            written = torch.onnx.export(
                program, (rows,), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
            )
    except Exception as error:  # an operation without a counterpart, raised by any library
        raise _refused("ONNX", error) from error
    assert written is not None
    written.save(folder / ONNX)
    session: Any = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    return Written(
        lambda rows: torch.as_tensor(session.run([OUTPUT], {INPUT: rows.numpy()})[0]),
        lambda at: f"onnxruntime.InferenceSession({str(at / ONNX)!r}).run(None, {{{INPUT!r}: rows}})",
    )


def _exported(trained: Trained) -> torch.export.ExportedProgram:
    if isinstance(trained.predictor.task, Generation):
        rule = "a network that writes answers takes several passes, which no graph has"
        raise InputError(f"{rule}: use --to peft or safetensors")
    rows: Tensor = trained.rows[0][:2]
    try:
        with torch.no_grad():
            return torch.export.export(
                trained.predictor, (rows,), dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}}
            )
    except Exception as error:  # code of the network's that depends on values
        raise _refused("a graph", error) from error


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


def _refused(what: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(f"the network cannot become {what} ({one_line(lines[0])}): use --to safetensors or peft")
