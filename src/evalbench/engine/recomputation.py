"""Recompute activations in the backward pass instead of keeping them, where a network uses `torch.utils.checkpoint`.

That function has no rules for the transforms of `torch.func`. So a traced step runs a checkpoint's function as it is,
and marks its operations. Once the whole step is a list of operations, marked results that only the backward pass still
needs are computed again there, by the same operations on the same tensors, noise included. So no number changes.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx
from torch.utils import checkpoint

from evalbench.engine import operations

_numbers = itertools.count(1)
_open: list[int] = []


def mark(node: fx.Node) -> None:
    """Note on a new node whether it belongs to a checkpoint, and whether a backward pass computes it."""
    node.meta["checkpoint"] = _open[0] if _open else None
    node.meta["backward"] = torch._C._current_graph_task_id() != -1


@contextmanager
def marked() -> Iterator[None]:
    """Let `torch.utils.checkpoint` mark operations while the block runs, with and without `use_reentrant`."""
    replaced = {"CheckpointFunction": _Marked, "_checkpoint_without_reentrant_generator": _marking}
    before = {name: getattr(checkpoint, name) for name in replaced}
    vars(checkpoint).update(replaced)
    try:
        yield
    finally:
        vars(checkpoint).update(before)


class _Marked:
    """Stand in for torch's function with `use_reentrant=True`."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *arguments: Any) -> Any:
        with _marks():
            return function(*arguments)


def _marking(*arguments: Any, **more: Any) -> Iterator[None]:
    """Stand in for torch's generator without `use_reentrant`: the caller runs the function between two steps of it."""
    with _marks():
        yield


@contextmanager
def _marks() -> Iterator[None]:
    _open.append(next(_numbers))
    try:
        yield
    finally:
        _open.pop()


def recompute(graph: fx.Graph) -> None:
    """Repeat the operations of each checkpoint in the backward pass, and let it use the repeated ones.

    A checkpoint is left as it is if repeating it would give other numbers: if it draws from a generator, writes into a
    tensor from outside, or if another operation writes into a tensor of it.
    """
    checkpoints: dict[int, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.meta.get("checkpoint") is not None:
            checkpoints.setdefault(node.meta["checkpoint"], []).append(node)
    written = list(operations.writes(graph)) if checkpoints else []
    for nodes in checkpoints.values():
        if _is_repeatable(set(nodes), written):
            _repeat(graph, nodes)


def _repeat(graph: fx.Graph, nodes: list[fx.Node]) -> None:
    own = set(nodes)
    outside = {node: [user for user in node.users if user not in own] for node in nodes}
    freed = {node: users for node, users in outside.items() if all(user.meta.get("backward") for user in users)}
    later = {user for users in freed.values() for user in users}
    if not later:
        return
    copies: dict[fx.Node, fx.Node] = {}
    with graph.inserting_before(next(node for node in graph.nodes if node in later)):
        for node in nodes:
            copies[node] = graph.node_copy(node, lambda source: copies.get(source, source))
            copies[node].meta.update(checkpoint=None, backward=True)
    for node, users in freed.items():
        for user in users:
            user.replace_input_with(node, copies[node])


def _is_repeatable(own: set[fx.Node], written: list[tuple[fx.Node, fx.Node]]) -> bool:
    tensors = own | {operations.memory(source) for node in own for source in node.all_input_nodes}
    inside = all(memory in own if node in own else memory not in tensors for node, memory in written)
    return inside and not any(map(operations.draws, own))
