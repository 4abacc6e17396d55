"""A function of tensors, run once and kept as the list of tensor operations that it did."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten
_RESHAPES = {_aten.expand.default, _aten.view.default, _aten._unsafe_view.default}
_PRODUCTS = {_aten.mul.Scalar, _aten.mul.Tensor}


def trace(function: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return a program equal to `function` for tensors of these shapes, dtypes and device.

    Transforms inside the function (`grad`, `vmap`, autocast) are unrolled into plain operations, whose results are
    those of the function bit for bit. Control flow that depends on values cannot be traced and raises.
    """
    program = make_fx(function)(*arguments)
    for node in list(program.graph.nodes):
        same = _same_value(node)
        if same is not None:
            node.replace_all_uses_with(same)
            program.graph.erase_node(node)
    _compute_once(program.graph)
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


def _same_value(node: fx.Node) -> fx.Node | None:
    """Return the operand that an operation merely repeats: `vmap` and `grad` leave many such operations behind.

    Each costs as much as a small addition: a reshape to the same shape, a product with one, a transpose undone.
    """
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    if node.target in _RESHAPES:
        return source if _shape_and_type(source) == _shape_and_type(node) else None
    if node.target in _PRODUCTS:
        return source if node.args[1] == 1 and _shape_and_type(source) == _shape_and_type(node) else None
    if node.target is _aten.transpose.int and source.target is _aten.transpose.int:
        origin = source.args[0]
        return origin if set(node.args[1:]) == set(source.args[1:]) and isinstance(origin, fx.Node) else None
    return None


def _compute_once(graph: fx.Graph) -> None:
    """Let equal operations on equal operands share one result, as long as nothing writes into a tensor."""
    calls = [node for node in graph.nodes if node.op == "call_function"]
    operations = [node.target for node in calls if isinstance(node.target, OpOverload)]
    if any(operation._schema.is_mutable for operation in operations):
        return
    known: dict[str, fx.Node] = {}
    for node in calls:
        if isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags:
            continue
        first = known.setdefault(repr((node.target, node.args, node.kwargs)), node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _shape_and_type(node: fx.Node) -> tuple[torch.Size, torch.dtype]:
    return node.meta["tensor_meta"].shape, node.meta["tensor_meta"].dtype
