"""Linear layers whose weights do not train and are kept in 8 or 4 bits (Dettmers et al. 2022 and 2023).

The library bitsandbytes makes the codes, on the CPU. Plain operations turn them into weights again, the same bits as
the library's, so that a step of many trials at once can do it once for all of them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

BLOCK = 64
"""The number of weights that share a scale."""


class QuantizedLinear(nn.Linear):
    """A linear layer with codes in the place of its weights; the backward pass computes the weights again."""

    codes: Tensor
    scales: Tensor
    values: Tensor

    def __init__(self, layer: nn.Linear, bits: int) -> None:
        """Take a layer and 8, for a code of each weight by blocks, or 4, for the NF4 of QLoRA."""
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = layer.in_features, layer.out_features, bits
        self.bias = layer.bias
        for name, value in zip(("codes", "scales", "values"), _quantized(layer.weight, bits), strict=True):
            self.register_buffer(name, value)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights that the codes stand for, `(out_features, in_features)`."""
        codes = self.codes.int()
        if self.bits == 4:
            codes = torch.stack([codes >> 4, codes & 15], dim=-1)
        numbers = self.values.index_select(0, codes.flatten()).reshape(-1, BLOCK) * self.scales[:, None]
        return numbers.flatten()[: self.out_features * self.in_features].view(self.out_features, self.in_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the products `(..., out_features)`."""
        if not torch.is_grad_enabled():
            return self._product(inputs)
        product: Tensor = checkpoint(self._product, inputs, use_reentrant=False)
        return product

    def _product(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight, self.bias)


def quantize(network: Any, bits: int, kept: frozenset[str]) -> int:
    """Put codes in the places of the linear layers of a network; return their number.

    Layers with a parameter named in `kept`, layers that share their weights with others, and the layer that gives the
    probabilities of tokens keep their weights, as they do in bitsandbytes.
    """
    shared = [parameter for _, parameter in network.named_parameters(remove_duplicate=False)]
    ends = network.get_output_embeddings()
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if type(layer) is nn.Linear
        and layer is not ends
        and sum(layer.weight is parameter for parameter in shared) == 1
        and not any(f"{name}.{leaf}" in kept for leaf, _ in layer.named_parameters())
    }
    for name, layer in layers.items():
        network.set_submodule(name, QuantizedLinear(layer, bits))
    return len(layers)


def codes_of(network: nn.Module) -> list[Tensor]:
    """Return the codes, scales and values of all quantized layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, QuantizedLinear)]
    return [value for layer in layers for value in layer.buffers(recurse=False)]


def _quantized(weight: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the codes, the scale of each block, and the value of each code."""
    from bitsandbytes import functional

    flat = weight.detach().float().cpu().flatten()
    flat = F.pad(flat, (0, -len(flat) % BLOCK))
    if bits == 4:
        codes, state = functional.quantize_4bit(flat, blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
    else:
        codes, state = functional.quantize_blockwise(flat, blocksize=BLOCK)
    return codes.flatten(), state.absmax.float(), state.code.float()
