"""Convert a saved network: write its files, read them back, and keep them if they predict the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evalbench.convert import graphs, pretrained, tensors
from evalbench.convert.trained import Trained, Written
from evalbench.errors import InputError
from evalbench.models.pretrained import Pretrained
from evalbench.weights.onnx_graphs import OnnxNetwork

ABOUT = "evalbench.json"
TOLERANCE = 1e-4
"""The largest difference of a probability, or of a number in standard deviations of the target, that is allowed."""


def _write_tensors(trained: Trained, folder: Path) -> Written:
    of_transformers = isinstance(trained.predictor.network, Pretrained)
    return (pretrained.write_network if of_transformers else tensors.write)(trained, folder)


WRITERS: dict[str, Callable[[Trained, Path], Written]] = {
    "peft": pretrained.write_adapter,
    "safetensors": _write_tensors,
    "onnx": graphs.write_onnx,
    "torch-export": graphs.write_program,
}
"""By its name, what writes a network into a folder and reads it back from there."""


def convert(trained: Trained, to: str, output: Path) -> dict[str, Any]:
    """Write a saved network into a new or empty folder in one of `FORMATS`, and return what `evalbench.json` says.

    Raises `InputError`, and leaves no folder, if the format does not suit it or its files predict otherwise.
    """
    temporary = output.with_name(f".{output.name}.converting")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        about = _written(trained, to, temporary, output)
        (temporary / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
        if output.exists():
            output.rmdir()
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return about


@torch.no_grad()
def _written(trained: Trained, to: str, folder: Path, output: Path) -> dict[str, Any]:
    """Write the files, check them, and return what is said about them."""
    if isinstance(trained.predictor.network, OnnxNetwork):
        raise InputError("the network is a file of ONNX already, network.onnx in its folder: use that")
    rows, kind_of_rows = trained.rows
    expected = trained.predictor(rows)
    written = WRITERS[to](trained, folder)
    parts = (rows, rows[:1])  # of another size than the example that graphs are made with
    difference = max(_difference(written.predict(part), expected[: len(part)], trained) for part in parts)
    if not difference <= TOLERANCE:
        what = f"differ by {difference:.2g} on {kind_of_rows}, more than {TOLERANCE:g}"
        raise InputError(f"the predictions of the converted model {what}: nothing is written: try another format")
    signature, description = trained.predictor.signature, trained.description
    return {
        "format": to,
        **{key: description.get(key) for key in ("evaluation", "technique", "workload", "seed", "trial")},
        "load": written.loading(output),
        "inputs": {
            "type": str(rows.dtype).removeprefix("torch."),
            "features": signature.features,
            "image": description["image"],
            "encoding": description.get("encoding"),
            "scaling": written.scaling,
        },
        "outputs": {"task": trained.predictor.task.name, "classes": signature.classes},
        "model": description["model"],
        "adaptation": description.get("adaptation"),
        "base": pretrained.base(trained) if to == "peft" else None,
        "check": {"rows": len(rows), "of": kind_of_rows, "largest difference": difference, "allowed": TOLERANCE},
    }


def _difference(predictions: Tensor, expected: Tensor, trained: Trained) -> float:
    """Return the largest difference, infinite if the shapes differ or only one side is a number."""
    if predictions.shape != expected.shape or not torch.equal(predictions.isfinite(), expected.isfinite()):
        return float("inf")
    scale = trained.predictor.target_std if trained.predictor.task.scales_targets else 1.0
    difference = ((predictions.double() - expected) / scale).abs()
    return float(torch.nan_to_num(difference, nan=0.0).max())
