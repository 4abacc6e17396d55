import pytest
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from evalbench.tracing import trace


def loss(weight: Tensor, inputs: Tensor) -> Tensor:
    return torch.log_softmax(torch.tanh(inputs @ weight), dim=-1)[:, 0].mean()


def test_a_trace_gives_the_functions_own_numbers_on_other_values() -> None:
    function = vmap(grad_and_value(loss))
    weight, inputs = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 5, 4)  # (try, C, ...)
    program = trace(function, (weight[0], inputs[0]))
    for traced, eager in zip(program(weight[1], inputs[1]), function(weight[1], inputs[1]), strict=True):
        assert torch.equal(traced, eager)


def test_control_flow_on_values_is_refused_and_not_frozen() -> None:
    def absolute(x: Tensor) -> Tensor:
        return x if x > 0 else -x

    with pytest.raises(RuntimeError):
        trace(vmap(absolute), (torch.randn(3),))
