"""A network's weights by name, in files of safetensors, and the numbers that scale its inputs."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, load_model, save_file, save_model

from evalbench.convert.trained import Trained, Written
from evalbench.models.images import ImageInputs

WEIGHTS, SCALING = "model.safetensors", "scaling.safetensors"
INPUTS = "inputs are (value - mean) / std, and 0 where a value is missing"
TARGETS = "numbers are output * target_std + target_mean"


def write(trained: Trained, folder: Path) -> Written:
    """Write the weights of a network by the names of its own class, and what scales its inputs; read them back."""
    numbers = [INPUTS] * (not trained.takes_tokens) + [TARGETS] * trained.predictor.task.scales_targets
    scaling = write_scaling(trained, folder, numbers)
    network = trained.predictor.network
    save_model(network.network if isinstance(network, ImageInputs) else network, str(folder / WEIGHTS))
    read = copy.deepcopy(trained.predictor)
    with torch.no_grad():
        for value in read.state_dict().values():
            value.zero_()
    own = read.network
    load_model(own.network if isinstance(own, ImageInputs) else own, folder / WEIGHTS)
    if scaling is not None:
        for name, value in load_file(folder / SCALING).items():
            read.get_buffer(name).copy_(value)
    return Written(read, lambda at: f"safetensors.torch.load_model(network, {str(at / WEIGHTS)!r})", scaling)


def write_scaling(trained: Trained, folder: Path, numbers: Sequence[str]) -> str | None:
    """Write the means and standard deviations of the training rows, if a user needs them; return what to do with them.

    `numbers` are the formulas that need them.
    """
    if not numbers:
        return None
    buffers = {name: value.clone() for name, value in trained.predictor.named_buffers(recurse=False)}
    save_file(buffers, folder / SCALING)
    return f"{'; '.join(numbers)}: {SCALING} has these numbers"
