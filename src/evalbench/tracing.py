"""A function of tensors, run once and kept as the list of tensor operations that it did."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten
_RESHAPES = {_aten.expand.default, _aten.view.default, _aten._unsafe_view.default}


def trace(function: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return a program equal to `function` for tensors of these shapes, dtypes and device.

    Transforms inside the function (`grad`, `vmap`, autocast) are unrolled into plain operations, whose results are
    those of the function bit for bit. Control flow that depends on values cannot be traced and raises.
    """
    program = make_fx(function)(*arguments)
    _drop_reshapes_to_the_same_shape(program.graph)
    program.graph.eliminate_dead_code()
    program.recompile()
    return program


def peak_bytes(program: Callable[..., Any]) -> int:
    """Return the most memory that a traced program's intermediate results take at any moment, in bytes.

    Views are counted as copies, so it errs on the safe side.
    """
    assert isinstance(program, fx.GraphModule)
    last_use: dict[fx.Node, int] = {}
    nodes = list(program.graph.nodes)
    for place, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last_use[source] = place
    alive = peak = 0
    ends: dict[int, int] = {}
    for place, node in enumerate(nodes):
        size = _node_bytes(node) if node.op == "call_function" else 0
        alive += size
        ends[last_use.get(node, place)] = ends.get(last_use.get(node, place), 0) + size
        peak = max(peak, alive)
        alive -= ends.pop(place, 0)
    return peak


def _node_bytes(node: fx.Node) -> int:
    meta: Any = node.meta.get("tensor_meta")
    return meta.shape.numel() * meta.dtype.itemsize if hasattr(meta, "dtype") else 0


def _drop_reshapes_to_the_same_shape(graph: fx.Graph) -> None:
    """`vmap` leaves many behind; each costs as much as a small addition."""
    for node in list(graph.nodes):
        if node.target in _RESHAPES:
            source = node.args[0]
            if source.meta["tensor_meta"].shape == node.meta["tensor_meta"].shape:
                node.replace_all_uses_with(source)
                graph.erase_node(node)
