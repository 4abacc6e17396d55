"""Record what a constructor does to its tensors, to repeat it for many members at once.

A network is built once. Each tensor operation that makes or writes a tensor is recorded, and each random draw as a
function of the member's key. The operations that matter to the finished parameters and buffers can then be repeated
under `vmap` with the draws of C members.
Shapes: `C` members.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.func import vmap
from torch.fx.node import map_aggregate
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from evalbench.models import OtherDrawsError

_aten = torch.ops.aten
_OVERWRITES = {_aten.copy_.default, _aten.fill_.Scalar, _aten.fill_.Tensor, _aten.zero_.default}
"""Operations that write a whole tensor and do not read it."""
_READS = {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__deepcopy__, Tensor.__reduce_ex__}
"""Functions that read values without a tensor operation that could be recorded."""


@dataclass(frozen=True)
class Slot:
    """Stand for a tensor in a recorded call, by its number."""

    number: int


@dataclass(frozen=True)
class Call:
    """Hold a recorded tensor operation; slots stand for tensors."""

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    results: tuple[int, ...]  # slots
    writes: frozenset[int]  # memories
    overwrites: int | None
    """The slot that the operation writes as a whole."""

    @property
    def reads(self) -> set[int]:
        """The slots whose values matter to the operation."""
        return self.slots - {self.overwrites}

    @cached_property
    def slots(self) -> set[int]:
        """The slots of all arguments."""
        return set(_slots_of((self.args, self.kwargs)))


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record tensor operations while a network is built, and note if something cannot be repeated.

    A tensor is known by its memory and its layout in it, so that parameters, `.data` and views are the same as the
    tensors that they were made of. A tensor *varies* if its values depend on a draw.
    """

    def __init__(self, key: Tensor) -> None:
        """Take the scalar key of the member that is built."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._key = key
        self.why_not: str | None = None
        """The reason why the construction cannot be repeated; None if it can."""
        self.calls: list[Call] = []
        self.draws: dict[int, Callable[[Tensor], Tensor]] = {}
        """The draws by slot, as functions of keys."""
        self.given: dict[int, Tensor] = {}
        """Tensors by slot that were not made by a recorded operation."""
        self.memory: list[int] = []
        """The memory of each slot."""
        self.whole: set[int] = set()
        """The slots that are the whole of their memory."""
        self._slots: dict[tuple[Any, ...], int] = {}
        self._memories: dict[int, StorageWeakRef] = {}  # keeps the addresses of freed memory from being used again
        self._varying: set[int] = set()

    def draw(self, numbers: Callable[[Tensor], Tensor]) -> Tensor:
        """Return random numbers, a function of the key, as one recorded draw."""
        with _disable_current_modes():
            result = numbers(self._key)
        slot = self._new_slot(result)
        self.draws[slot] = numbers
        self._varying.add(self.memory[slot])
        return result

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and record it."""
        kwargs = kwargs or {}
        if operation is _aten.lift_fresh.default:
            operation = _aten.lift_fresh_copy.default  # else writes into a new `torch.tensor(…)` would persist
        with torch._C.DisableTorchFunction():
            named_args, named_kwargs = map_aggregate((args, kwargs), self._named)
            inputs = [self.memory[slot] for slot in _slots_of((named_args, named_kwargs))]
            varies = not self._varying.isdisjoint(inputs)
            if varies and torch.Tag.data_dependent_output in operation.tags:
                self._refuse("it depends on values of drawn tensors")
            written = _written(operation, named_args, named_kwargs)
            if not self.given.keys().isdisjoint(written):
                self._refuse("it writes into a tensor that was made elsewhere")
            writes = frozenset(self.memory[slot] for slot in written)
            result = operation(*args, **kwargs)
            whole = operation in _OVERWRITES and self.whole.issuperset(written)
            results = tuple(self._slot(value) for value in _tensors(result))
            changed = writes | {self.memory[slot] for slot in results}
            if varies:
                self._varying |= changed
            elif whole:
                self._varying -= writes
            overwrites = written[0] if whole else None
            self.calls.append(Call(operation, named_args, named_kwargs, results, writes, overwrites))
        return result

    def slot_of(self, tensor: Tensor) -> int | None:
        """Return the slot of a tensor of the finished network; None if nothing recorded has made it."""
        with torch._C.DisableTorchFunction():
            return self._slots.get(_layout(tensor))

    def note_reading(self, function: Any, tensors: Sequence[Tensor]) -> None:
        """Note if a function reads values of drawn tensors outside of torch's operations."""
        if function in _READS:
            for tensor in tensors:
                slot = self.slot_of(tensor)
                if slot is not None and self.memory[slot] in self._varying:
                    self._refuse("it depends on values of drawn tensors")

    def _refuse(self, reason: str) -> None:
        self.why_not = self.why_not or reason

    def _named(self, value: Any) -> Any:
        """Return the slot of a tensor, any other value as it is; an unknown tensor is given."""
        if not isinstance(value, Tensor):
            return value
        slot = self._slots.get(_layout(value))
        if slot is None:
            if value.untyped_storage()._cdata in self._memories:
                self._refuse("it looks at a tensor's memory in another layout")
            slot = self._new_slot(value)
            self.given[slot] = value
        return Slot(slot)

    def _slot(self, tensor: Tensor) -> int:
        slot = self._slots.get(_layout(tensor))
        return self._new_slot(tensor) if slot is None else slot

    def _new_slot(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        memory, slot = storage._cdata, len(self.memory)
        self._memories.setdefault(memory, StorageWeakRef(storage))  # type: ignore[no-untyped-call]
        self._slots[_layout(tensor)] = slot
        self.memory.append(memory)
        if tensor.numel() * tensor.element_size() == storage.nbytes():
            self.whole.add(slot)
        return slot


class ValueReads(TorchFunctionMode):
    """Watch for functions that read values of drawn tensors outside of torch's operations, while active."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note what the function reads, and call it unchanged."""
        self._recorder.note_reading(function, [value for value in args if isinstance(value, Tensor)])
        return function(*args, **(kwargs or {}))


class Construction:
    """Repeat a recorded construction for C members."""

    def __init__(self, recorder: Recorder, finished: Mapping[str, Tensor]) -> None:
        """Take the finished network's tensors by name; raise `OtherDrawsError` if it cannot be repeated."""
        if recorder.why_not is not None:
            raise OtherDrawsError(recorder.why_not)
        slots = {name: recorder.slot_of(tensor) for name, tensor in finished.items()}
        known = {name: slot for name, slot in slots.items() if slot is not None}
        self._recorder = recorder
        self._varying = self._memories_that_vary(self._needed(known.values()))
        self._outputs = {name: slot for name, slot in known.items() if recorder.memory[slot] in self._varying}
        self._calls = self._needed(self._outputs.values())
        used = {slot for call in self._calls for slot in call.reads} | set(self._outputs.values())
        self._draws = {slot: numbers for slot, numbers in recorder.draws.items() if slot in used}
        self._own = self._written_by_members()

    @property
    def names(self) -> list[str]:
        """The names of the tensors that depend on the member's key."""
        return list(self._outputs)

    def _needed(self, outputs: Any) -> list[Call]:
        """Return the calls that matter to the values in some slots at the end, in their order."""
        memory = self._recorder.memory
        used = set(outputs)
        valued = {memory[slot] for slot in used}  # memories whose values matter from here on
        calls = []
        for call in reversed(self._recorder.calls):
            if not (call.writes & valued if call.writes else used.intersection(call.results)):
                continue
            calls.append(call)
            if call.overwrites is not None:
                valued -= call.writes
            used |= call.slots
            valued |= {memory[slot] for slot in call.reads}
        return calls[::-1]

    def _memories_that_vary(self, calls: Sequence[Call]) -> set[int]:
        memory = self._recorder.memory
        varying = {memory[slot] for slot in self._recorder.draws}
        for call in calls:
            if not varying.isdisjoint(memory[slot] for slot in call.reads):
                varying |= call.writes | {memory[slot] for slot in call.results}
        return varying

    def _written_by_members(self) -> set[int]:
        """Return the slots of new tensors, the same for all members, that members write their own values into."""
        memory = self._recorder.memory
        written = self._varying & {memory for call in self._calls for memory in call.writes}
        own = set()
        for call in self._calls:
            inputs = {memory[slot] for slot in call.slots}
            if self._varying.isdisjoint(inputs):
                own |= {slot for slot in call.results if memory[slot] in written - inputs}
        return own

    @torch.no_grad()
    def repeat(self, keys: Tensor) -> dict[str, Tensor]:
        """Return the tensors that depend on the keys `(C,)` by name, `(C, *shape)` on the device of the keys."""
        drawn = {slot: numbers(keys) for slot, numbers in self._draws.items()}
        return vmap(partial(self._run, keys.device))(keys, drawn)

    def _run(self, device: torch.device, key: Tensor, drawn: Mapping[int, Tensor]) -> dict[str, Tensor]:
        """Run the calls for one member."""
        values = {slot: value.to(device) for slot, value in self._recorder.given.items()} | dict(drawn)

        def filled(value: Any) -> Any:
            if isinstance(value, torch.device):
                return device if value.type == "cpu" else value
            return values[value.number] if isinstance(value, Slot) else value

        for call in self._calls:
            args, kwargs = map_aggregate((call.args, call.kwargs), filled)
            for slot, value in zip(call.results, _tensors(call.function(*args, **kwargs)), strict=True):
                is_own = slot in self._own
                values[slot] = key.new_empty(value.shape, dtype=value.dtype).copy_(value) if is_own else value
        return {name: values[slot] for name, slot in self._outputs.items()}


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    """Return what tells tensors apart: their memory and how they lie in it."""
    return (
        tensor.untyped_storage()._cdata,
        tensor.storage_offset(),
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
    )


def _slots_of(arguments: Any) -> list[int]:
    numbers: list[int] = []

    def note(value: Any) -> Any:
        if isinstance(value, Slot):
            numbers.append(value.number)
        return value

    map_aggregate(arguments, note)
    return numbers


def _written(operation: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int]:
    """Return the slots of the arguments that an operation writes."""
    named = dict(zip((argument.name for argument in operation._schema.arguments), args, strict=False)) | dict(kwargs)
    aliases = {argument.name: argument.alias_info for argument in operation._schema.arguments}
    return _slots_of([value for name, value in named.items() if (alias := aliases[name]) and alias.is_write])


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [value for value in result if isinstance(value, Tensor)] if isinstance(result, tuple | list) else []
