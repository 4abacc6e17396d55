"""A network and its preprocessing as one graph: a program of torch.export, or an ONNX file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evalbench.convert.trained import Trained, Written
from evalbench.errors import InputError
from evalbench.names import one_line
from evalbench.tasks.generation import Generation
from evalbench.weights import onnx_graphs

PROGRAM, ONNX = "model.pt2", "model.onnx"
INPUT, OUTPUT = "rows", "predictions"


def write_program(trained: Trained, folder: Path) -> Written:
    """Write a program of torch.export for any number of rows; read it back."""
    torch.export.save(_exported(trained), folder / PROGRAM)
    program = torch.export.load(folder / PROGRAM).module()
    return Written(program, lambda at: f"torch.export.load({str(at / PROGRAM)!r}).module()(rows)")


def write_onnx(trained: Trained, folder: Path) -> Written:
    """Write an ONNX file for any number of rows; read it with onnxruntime."""
    absent = onnx_graphs.missing()
    if absent is not None:
        raise InputError(f"--to onnx needs the package {absent}, which is not installed: {onnx_graphs.INSTALL}")
    import onnxruntime

    program = _exported(trained)
    try:
        written = onnx_graphs.graph_of(program, trained.rows[0][:2], (INPUT, OUTPUT))
    except Exception as error:  # an operation without a counterpart, raised by any library
        raise _refused("ONNX", error) from error
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
        return onnx_graphs.program_of(trained.predictor, rows, INPUT)
    except Exception as error:  # code of the network's that depends on values
        raise _refused("a graph", error) from error


def _refused(what: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(f"the network cannot become {what} ({one_line(lines[0])}): use --to safetensors or peft")
