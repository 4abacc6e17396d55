"""Say which memory the operations of a recorded graph read and write."""

import operator
from collections.abc import Iterator

import torch
from torch import fx
from torch._ops import OpOverload
from torch.fx.node import map_arg


def draws(node: fx.Node) -> bool:
    """Return whether an operation draws from a generator."""
    return isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


def memory(node: fx.Node) -> fx.Node:
    """Return the node that made a tensor's memory: a view, and a tensor after a write, have that of their argument."""
    while _returns_an_argument(node):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        node = source
    return node


def makes_view(node: fx.Node) -> bool:
    """Return whether an operation makes no memory of its own."""
    return memory(node) is not node


def writes(graph: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Yield every operation that writes into a tensor, with the node that made its memory."""
    for node in graph.nodes:
        if not isinstance(node.target, OpOverload):
            continue
        arguments = node.target._schema.arguments
        given = {**dict(zip((part.name for part in arguments), node.args, strict=False)), **node.kwargs}
        for argument in arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                sources: list[fx.Node] = []
                map_arg(given.get(argument.name), sources.append)
                yield from ((node, memory(source)) for source in sources)


def _returns_an_argument(node: fx.Node) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if isinstance(node.target, OpOverload):
        return any(part.alias_info is not None for part in node.target._schema.returns)
    return node.target is operator.getitem
