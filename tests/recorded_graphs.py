"""A stand-in for CUDA graphs on any device: what they promise and forbid, without the speed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from evalbench.engine.graphs import Run


class RecordedGraph(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the operations of a step with the tensors that they read and write, and repeat them on these tensors.

    As in a CUDA graph, a number from Python keeps the value of the recording, nothing has happened after it, and only
    memory that the step itself allocates stays: all else must be kept alive by others.
    """

    def __init__(self, step: Run) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._made: set[int] = set()  # the memory that the step itself allocated
        self._overwritten: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad(), self:
            step()
        for tensor, value in reversed(self._overwritten):
            tensor.copy_(value)
        self._overwritten.clear()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in operation.tags:
            raise RuntimeError(f"operation not permitted when stream is capturing: {operation}")
        if torch.Tag.inplace_view in operation.tags:  # changes a shape, which no kernel does
            return operation(*args, **(kwargs or {}))
        for argument, value in zip(operation._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._overwritten += [(tensor, tensor.clone()) for tensor in _tensors(value)]
        result = operation(*args, **(kwargs or {}))
        given = {_address(tensor) for tensor in _tensors((args, kwargs))}
        self._made |= {_address(tensor) for tensor in _tensors(result)} - given
        self._calls.append(tree_map_only(Tensor, self._held, (operation, args, kwargs or {}, result)))
        return result

    def _held(self, tensor: Tensor) -> "Tensor | Outside":
        """Return a tensor of the step's own with the shape that it has now, or a reference to another one."""
        return tensor.detach() if _address(tensor) in self._made else Outside(tensor)

    def replay(self) -> None:
        """Run all operations again."""
        for call in self._calls:
            operation, args, kwargs, recorded = tree_map_only(Outside, Outside.tensor, call)
            for old, new in zip(_tensors(recorded), _tensors(operation(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Outside:
    """Refer to a tensor from outside of a graph, without keeping it alive."""

    def __init__(self, tensor: Tensor) -> None:
        self._memory = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
        self._layout = (tensor.storage_offset(), tensor.shape, tensor.stride())
        self._dtype = tensor.dtype

    def tensor(self) -> Tensor:
        """Return the tensor; raise `RuntimeError` if its memory has been freed."""
        memory = torch.UntypedStorage._new_with_weak_ptr(self._memory.cdata)
        if memory is None:
            raise RuntimeError("the graph reads memory that has been freed")
        return torch.empty(0, dtype=self._dtype, device=memory.device).set_(memory, *self._layout)


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


class _Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Note whether an operation asks for the value of a tensor."""

    seen = False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= torch.Tag.data_dependent_output in operation.tags
        return operation(*args, **(kwargs or {}))


class RecordingDevice:
    """Capture steps as recorded graphs; a clock of its own says that each timed step is faster than the one before."""

    def __init__(self, graphs_are_faster: bool = True) -> None:
        self.captured = self.replayed = 0
        self._trend = -1.0 if graphs_are_faster else 1.0
        self._seconds = 1e3

    def capture(self, step: Run) -> Run:
        """Return the replay of a recorded step."""
        graph = RecordedGraph(step)
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            graph.replay()

        return replay

    def seconds(self, step: Run) -> float:
        """Run a step and return the next reading of the clock."""
        step()
        self._seconds += self._trend
        return self._seconds

    def waits(self, step: Run) -> bool:
        """Run a step and return whether it read a value."""
        with _Waits() as watched:  # type: ignore[no-untyped-call]
            step()
        return bool(watched.seen)
