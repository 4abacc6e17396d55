"""Trace a function of tensors: run it once and record its tensor operations.

`torch.fx.experimental.proxy_tensor.make_fx` does the same and more: it also makes a fake tensor with a stack trace for
each result, which takes longer than a short training.
"""

import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from evalbench.engine import operations
from evalbench.engine.recomputation import mark, recompute

log = logging.getLogger(__name__)

_aten = torch.ops.aten
_RESHAPES = {_aten.expand.default, _aten.view.default, _aten._unsafe_view.default}
_PRODUCTS = {_aten.mul.Scalar, _aten.mul.Tensor}


class Program:
    """Run a recorded function: same arguments and results, for tensors of the recorded shapes."""

    def __init__(self, graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
        """Take the operations, and the tensors by name that they use but that are no arguments."""
        self.graph = graph
        self.module = fx.GraphModule(dict(constants), graph)

    def __call__(self, *arguments: Any) -> Any:
        """Run the operations; record nothing for a backward pass."""
        return self.module(*tensors_of(arguments))


def trace(function: Callable[..., Any], arguments: Sequence[Tensor | Sequence[Tensor]]) -> Program:
    """Return a program equal to `function` for tensors of these shapes, dtypes and device.

    Transforms inside the function (`grad`, `vmap`, autocast) are unrolled into plain operations, whose results equal
    the function's bit for bit. Raises `RuntimeError` for control flow that depends on values of tensors.

    The function runs once, and keeps the results of both its passes. If they do not fit into memory, it runs again on
    shapes alone (`FakeTensor`), which takes none: the program may need much less.
    """
    try:
        return _recorded(function, arguments)
    except torch.OutOfMemoryError:
        log.info("the operations of a step are recorded without numbers, which do not fit into memory all at once")
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        shapes = [
            mode.from_tensor(part) if isinstance(part, Tensor) else [mode.from_tensor(tensor) for tensor in part]
            for part in arguments
        ]
        return _recorded(function, shapes)


def _recorded(function: Callable[..., Any], arguments: Sequence[Tensor | Sequence[Tensor]]) -> Program:
    recorder = _Recorder(tensors_of(arguments))
    with recorder:
        result = function(*arguments)
    graph = recorder.graph
    graph.output(map_aggregate(result, recorder.node_of))
    for node in list(graph.nodes):
        operand = _repeated_operand(node)
        if operand is not None:
            node.replace_all_uses_with(operand)
            graph.erase_node(node)
    _merge_equal(graph)
    recompute(graph)
    graph.eliminate_dead_code()
    return Program(graph, recorder.constants)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record every operation in a graph while active; its nodes represent tensors."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._nodes = WeakTensorKeyDictionary()  # frees tensors that are no longer needed
        for index, tensor in enumerate(inputs):
            self._record(tensor, self.graph.placeholder(f"input_{index}"))

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and record it."""
        if torch.Tag.data_dependent_output in operation.tags:
            raise RuntimeError(f"data-dependent control flow: {operation} was asked for the value of a tensor")
        if operation is _aten.lift_fresh.default:
            operation = _aten.lift_fresh_copy.default  # else writes into a new `torch.tensor(…)` would persist
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        node = self.graph.call_function(
            operation, map_aggregate(args, self.node_of), map_aggregate(kwargs, self.node_of)
        )
        mark(node)
        if isinstance(result, Tensor):
            self._record(result, node)
        elif isinstance(result, tuple | list):
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    item = self.graph.call_function(operator.getitem, (node, index))
                    mark(item)
                    self._record(part, item)
        return result

    def node_of(self, value: Any) -> Any:
        """Return the node of a tensor, any other value as it is; an unknown tensor becomes a constant."""
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = value
            self._record(value, self.graph.get_attr(name))
        return self._nodes[value]

    def _record(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[tensor] = node
        node.meta["shape"], node.meta["dtype"] = tensor.shape, tensor.dtype


def tensors_of(arguments: Sequence[Tensor | Sequence[Tensor]]) -> list[Tensor]:
    """Return the tensors of arguments, which are tensors or lists of them, in one list."""
    return [tensor for part in arguments for tensor in ((part,) if isinstance(part, Tensor) else part)]


def peak_bytes(program: Program) -> int:
    """Return the peak bytes of a traced program's intermediate results, as an upper bound: views count as copies."""
    last_use: dict[fx.Node, int] = {}
    nodes = list(program.graph.nodes)
    for index, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last_use[source] = index
    alive = peak = 0
    freed_after: dict[int, int] = {}
    for index, node in enumerate(nodes):
        size = _node_bytes(node) if node.op == "call_function" else 0
        alive += size
        last_index = last_use.get(node, index)
        freed_after[last_index] = freed_after.get(last_index, 0) + size
        peak = max(peak, alive)
        alive -= freed_after.pop(index, 0)
    return peak


def _node_bytes(node: fx.Node) -> int:
    return node.meta["shape"].numel() * node.meta["dtype"].itemsize if "shape" in node.meta else 0


def _repeated_operand(node: fx.Node) -> fx.Node | None:
    """Return the operand that an operation merely repeats, else None.

    Transforms and autograd leave many such operations: a reshape to the same shape, a product with one, a transpose
    undone, a tensor cut off from its gradient. Each costs as much as a small addition.
    """
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    if node.target in _RESHAPES:
        return source if _shape_and_type(source) == _shape_and_type(node) else None
    if node.target in _PRODUCTS:
        return source if node.args[1] == 1 and _shape_and_type(source) == _shape_and_type(node) else None
    if node.target is _aten.detach.default:
        return source
    if node.target is source.target is _aten.t.default:
        return source.args[0] if isinstance(source.args[0], fx.Node) else None
    if node.target is _aten.transpose.int and source.target is _aten.transpose.int:
        origin = source.args[0]
        return origin if set(node.args[1:]) == set(source.args[1:]) and isinstance(origin, fx.Node) else None
    return None


def _merge_equal(graph: fx.Graph) -> None:
    """Merge equal operations on equal operands, unless one draws, or reads or makes memory that is written into.

    A value that the backward pass computes anew is one that somebody chose not to keep, so only views are merged with
    those of the forward pass.
    """
    written = {memory for _, memory in operations.writes(graph)}
    first_nodes: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if not isinstance(node.target, OpOverload) or operations.draws(node):
            continue
        if written & {operations.memory(part) for part in (node, *node.all_input_nodes)}:
            continue
        anew = node.meta["backward"] and not operations.makes_view(node)
        first = first_nodes.setdefault(repr((node.target, node.args, node.kwargs, anew)), node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _shape_and_type(node: fx.Node) -> tuple[torch.Size, torch.dtype]:
    return node.meta["shape"], node.meta["dtype"]
