import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.func import grad_and_value, vmap

from evalbench.engine.tracing import trace


def loss(weight: Tensor, inputs: Tensor) -> Tensor:
    return torch.log_softmax(torch.tanh(inputs @ weight), dim=-1)[:, 0].mean()


def test_a_trace_gives_the_functions_own_numbers_on_other_values() -> None:
    function = vmap(grad_and_value(loss))
    weight, inputs = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 5, 4)  # (call, C, ...)
    program = trace(function, (weight[0], inputs[0]))
    for traced, eager in zip(program(weight[1], inputs[1]), function(weight[1], inputs[1]), strict=True):
        assert torch.equal(traced, eager)


def test_control_flow_on_values_is_refused() -> None:
    def absolute(x: Tensor) -> Tensor:
        return x if x > 0 else -x

    with pytest.raises(RuntimeError):
        trace(vmap(absolute), (torch.randn(3),))


def test_operations_that_repeat_a_value_are_dropped() -> None:
    def repetitive(x: Tensor) -> Tensor:
        return (torch.mul(x, 1).transpose(0, 1).transpose(1, 0).view(x.shape) + 1) * (x + 1)

    x = torch.randn(2, 3)
    program = trace(repetitive, (x,))
    assert torch.equal(program(x), repetitive(x))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets == ["aten.add.Tensor", "aten.mul.Tensor"]


def test_a_product_with_one_that_changes_the_type_is_kept() -> None:
    program = trace(lambda x: torch.mul(x, 1.0), (torch.arange(3),))
    assert program(torch.arange(3)).dtype == torch.float32


def test_random_draws_and_writes_are_not_shared() -> None:
    def draws(x: Tensor) -> Tensor:
        return torch.rand_like(x) - torch.rand_like(x)

    def writes(x: Tensor) -> Tensor:
        before = x + 1
        x = x.clone()
        x.mul_(2)
        return before + (x + 1)

    x = torch.ones(4)
    assert (trace(draws, (x,))(x) != 0).all()
    assert torch.equal(trace(writes, (x,))(x), writes(x))


def test_operations_with_several_results_can_be_traced() -> None:
    def spread(x: Tensor) -> Tensor:
        highest, lowest = torch.max(x, dim=0), torch.min(x, dim=0)
        return highest[0] - lowest[0]

    x = torch.randn(5, 2)
    assert torch.equal(trace(spread, (x,))(x), spread(x))


def test_an_outside_tensor_is_a_constant_and_a_new_tensor_is_new_at_every_call() -> None:
    offset = torch.tensor([1.0, 2.0])

    def accumulates(x: Tensor) -> Tensor:
        total = torch.tensor([0.0, 0.0])
        for row in x:
            total += row + offset
        return total

    program = trace(accumulates, (torch.randn(3, 2),))
    for _ in range(2):
        x = torch.randn(3, 2)
        assert torch.equal(program(x), accumulates(x))


def test_reading_the_value_of_a_tensor_is_refused() -> None:
    with pytest.raises(RuntimeError, match="data-dependent"):
        trace(lambda x: x * float(x.sum()), (torch.ones(2),))


def test_a_function_that_runs_out_of_memory_is_recorded_by_its_shapes() -> None:
    offset = torch.arange(4.0)

    def hungry(weight: Tensor, inputs: Tensor) -> Tensor:
        if not isinstance(weight, FakeTensor):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.tanh(inputs @ weight + offset + torch.tensor(2.0))

    weight, inputs = torch.randn(2, 4, 4), torch.randn(3, 4)
    program = trace(hungry, (weight[0], inputs))
    for value in weight:
        assert torch.equal(program(value, inputs), torch.tanh(inputs @ value + offset + 2))
