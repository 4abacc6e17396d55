"""A function of tensors, run once and kept as the list of tensor operations that it did.

`torch.fx.experimental.proxy_tensor.make_fx` does the same and far more: it also makes a fake tensor with a stack trace
for each result, which takes longer than many a training.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

_aten = torch.ops.aten
_RESHAPES = {_aten.expand.default, _aten.view.default, _aten._unsafe_view.default}
_PRODUCTS = {_aten.mul.Scalar, _aten.mul.Tensor}


class Program:
    """A recorded function: takes and gives what the function does, for tensors of the recorded shapes."""

    def __init__(self, graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
        """Take the operations, and the tensors by name that they use and nobody passes."""
        self.graph = graph
        self._run = fx.GraphModule(dict(constants), graph)

    def __call__(self, *arguments: Any) -> Any:
        """Do the operations; nothing is remembered for a backward pass."""
        return self._run(*_tensors(arguments))


def trace(function: Callable[..., Any], arguments: Sequence[Tensor | Sequence[Tensor]]) -> Program:
    """Return a program equal to `function` for tensors of these shapes, dtypes and device.

    Transforms inside the function (`grad`, `vmap`, autocast) are unrolled into plain operations, whose results are
    those of the function bit for bit. Control flow that depends on values cannot be traced and raises `RuntimeError`.
    """
    recorder = _Recorder(_tensors(arguments))
    with recorder:
        result = function(*arguments)
    graph = recorder.graph
    graph.output(map_aggregate(result, recorder.stand_in))
    for node in list(graph.nodes):
        same = _same_value(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    _compute_once(graph)
    graph.eliminate_dead_code()
    return Program(graph, recorder.constants)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, writes every operation into a graph, whose nodes stand for tensors."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._nodes = WeakTensorKeyDictionary()  # a tensor that is no longer needed must not be kept for its node
        for place, tensor in enumerate(inputs):
            self._note(tensor, self.graph.placeholder(f"input_{place}"))

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do the operation and write it down."""
        if torch.Tag.data_dependent_output in operation.tags:
            raise RuntimeError(f"data-dependent control flow: {operation} was asked for the value of a tensor")
        if operation is _aten.lift_fresh.default:
            operation = _aten.lift_fresh_copy.default  # or a write into a new `torch.tensor(…)` would last for ever
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        node = self.graph.call_function(
            operation, map_aggregate(args, self.stand_in), map_aggregate(kwargs, self.stand_in)
        )
        if isinstance(result, Tensor):
            self._note(result, node)
        elif isinstance(result, tuple | list):
            for place, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._note(part, self.graph.call_function(operator.getitem, (node, place)))
        return result

    def stand_in(self, value: Any) -> Any:
        """Return the node of a tensor, any other value as it is; a tensor that nobody passed is a constant."""
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = value
            self._note(value, self.graph.get_attr(name))
        return self._nodes[value]

    def _note(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[tensor] = node
        node.meta["shape"], node.meta["dtype"] = tensor.shape, tensor.dtype


def _tensors(arguments: Sequence[Tensor | Sequence[Tensor]]) -> list[Tensor]:
    return [tensor for each in arguments for tensor in ((each,) if isinstance(each, Tensor) else each)]


def peak_bytes(program: Program) -> int:
    """Return the most memory that a traced program's intermediate results take at any moment, in bytes.

    Views are counted as copies, so it errs on the safe side.
    """
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
    return node.meta["shape"].numel() * node.meta["dtype"].itemsize if "shape" in node.meta else 0


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
    return node.meta["shape"], node.meta["dtype"]
