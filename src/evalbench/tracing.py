"""A function of tensors, run once and kept as the list of tensor operations that it did."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten
_RESHAPES = {_aten.expand.default, _aten.view.default, _aten._unsafe_view.default}


def trace(function: Callable[..., Any], arguments: Sequence[Tensor]) -> Callable[..., Any]:
    """Return a program equal to `function` for tensors of these shapes, dtypes and device.

    Transforms inside the function (`grad`, `vmap`, autocast) are unrolled into plain operations, whose results are
    those of the function bit for bit. Control flow that depends on values cannot be traced and raises.
    """
    program = make_fx(function)(*arguments)
    _drop_reshapes_to_the_same_shape(program.graph)
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def _drop_reshapes_to_the_same_shape(graph: fx.Graph) -> None:
    """`vmap` leaves many behind; each costs as much as a small addition."""
    for node in list(graph.nodes):
        if node.target in _RESHAPES:
            source = node.args[0]
            if source.meta["tensor_meta"].shape == node.meta["tensor_meta"].shape:
                node.replace_all_uses_with(source)
                graph.erase_node(node)
