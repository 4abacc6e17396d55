"""A network of the user's own, or of timm or torchvision, with the weights of a file of safetensors.

Shapes: `B` examples, `D` columns, `K` outputs.
"""

import functools

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from evalbench.config.pretrained import hash_of_weights
from evalbench.errors import ConfigError
from evalbench.models.images import ImageInputs
from evalbench.models.libraries import TimmNetwork, TorchvisionNetwork
from evalbench.models.shared_weights import SharedWeights

MOST_NAMES = 3


class OwnPretrained(SharedWeights):
    """A network whose parameters are those of a file; those that the file lacks stay as the trial's seed drew them.

    The parameters of its last module, the head, may have other shapes in the file: then they are drawn too.
    """

    def __init__(self, network: nn.Module, weights: str) -> None:
        """Take a network of one trial; raise `ConfigError` for a file that does not fit it."""
        super().__init__()
        self.network = network
        wrapped = isinstance(network, TimmNetwork | TorchvisionNetwork | ImageInputs)
        body: nn.Module = network.network if wrapped else network  # type: ignore[assignment]
        values = _loaded(weights, hash_of_weights(weights))
        taken = _taken(body, values, weights)
        kept = list(body.parameters())  # whose ids must stay theirs
        parameters = {id(value): nn.Parameter(values[taken[id(value)]]) for value in kept if id(value) in taken}
        for owner in body.modules():
            for leaf, value in list(owner.named_parameters(recurse=False)):
                setattr(owner, leaf, parameters.get(id(value), value))  # tied ones stay tied
        for buffer in body.buffers():
            if id(buffer) in taken:
                buffer.copy_(values[taken[id(buffer)]])
        self._share(values.values())
        shared = self.borrowed()
        self.fresh = tuple(name for name, _ in network.named_parameters() if f"network.{name}" not in shared)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(B, D)` to `(B, K)`."""
        with self.unpacked(inputs) as given:
            outputs: Tensor = self.network(given)
        return outputs


@functools.lru_cache(maxsize=2)
def _loaded(path: str, digest: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name, numbers as 32-bit ones; `digest` tells whether it is still the same."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        remedy = "write it with safetensors.torch.save_file"
        raise ConfigError("model.weights", f"must be a file of safetensors ({error})", path, remedy) from error
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _taken(network: nn.Module, values: dict[str, Tensor], path: str) -> dict[int, str]:
    """Return, by the id of a parameter or buffer, the name in the file of its values."""
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    every = dict((*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)))
    if unknown := sorted(values.keys() - every.keys()):
        rule, names = f"must hold tensors of {type(network).__name__} alone", ", ".join(unknown[:MOST_NAMES])
        raise ConfigError("model.weights", rule, f"{names} in {path}", "rename them, or leave them out of the file")
    head = next(reversed(parameters), "").rpartition(".")[0]
    taken = {}
    for name, value in values.items():
        if every[name].shape == value.shape:
            taken[id(every[name])] = name
        elif name in buffers or name.rpartition(".")[0] != head:
            rule = f"must hold {name} of shape {tuple(every[name].shape)}"
            raise ConfigError("model.weights", rule, f"{tuple(value.shape)} in {path}", "build it as it was trained")
    if not any(id(value) in taken for value in parameters.values()):
        raise ConfigError("model.weights", "must hold a parameter of the network", path, "name another file")
    return taken
