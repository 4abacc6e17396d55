"""Attention by fused kernels is torch's own attention, for any number of members at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from evalbench.engine.attention import attention, for_compiler
from evalbench.engine.tracing import Program, trace

cuda = pytest.param("cuda", marks=(pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")))
DEVICES = ("cpu", cuda)
C, B, HEADS, T, U, D = 3, 4, 2, 6, 5, 8
MASKS: dict[str, Callable[[], tuple[Tensor | None, int | None]]] = {
    "none": lambda: (None, None),
    "of all examples": lambda: (torch.rand(T, U) < 0.7, None),
    "of each example": lambda: (torch.rand(B, 1, 1, U) < 0.7, None),
    "of each member": lambda: (torch.rand(C, T, U) < 0.7, 0),
    "of each member's examples": lambda: (torch.rand(C, B, HEADS, T, U) < 0.7, 0),
    "numbers": lambda: (torch.randn(C, B, 1, T, U), 0),
}


def tensors(device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = ((B, HEADS, T, D), (B, HEADS, U, D), (B, HEADS, U, D))
    query, key, value = (torch.randn(C, *shape).to(device, dtype) for shape in shapes)
    return query, key, value


def gradients(function: Callable[..., Tensor], **options: Any) -> Callable[..., Any]:
    """Return a function that maps a member's tensors to outputs and to the gradients of their weighted sum."""

    def loss(parts: tuple[Tensor, ...], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs = function(*parts, attn_mask=mask, **options)
        weights = torch.arange(outputs.numel(), device=outputs.device).view(outputs.shape).sin()
        return (outputs * weights).sum(), outputs

    return grad(loss, has_aux=True)


def plain(*arguments: Any, **options: Any) -> Any:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*arguments, **options)


def kernels(program: Program) -> list[str]:
    return [str(node.target) for node in program.graph.nodes if "attention" in str(node.target)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mask_of", MASKS.values(), ids=MASKS)
def test_a_cohorts_attention_is_that_of_its_members(mask_of: Callable[..., Any], device: str) -> None:
    parts, (mask, axis) = tensors(device), mask_of()
    mask = mask if mask is None else mask.to(device)
    batched = vmap(gradients(attention), in_dims=(0, axis))(parts, mask)
    for member in range(C):
        own = mask if axis is None or mask is None else mask[member]
        expected = gradients(plain)(tuple(part[member] for part in parts), own)
        torch.testing.assert_close(
            (tuple(part[member] for part in batched[0]), batched[1][member]), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_attention_is_causal_and_scaled_in_every_precision(dtype: torch.dtype, device: str) -> None:
    query = tensors(device, dtype)[0]
    options, parts = {"is_causal": True, "scale": 0.3}, (query, query, query * 2)
    batched = vmap(gradients(attention, **options), in_dims=(0, None))(parts, None)
    exact = gradients(plain, **options)(tuple(part[1].double() for part in parts), None)
    accuracy = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.05}[dtype]
    assert batched[1].dtype == dtype
    for value, expected in zip((*batched[0], batched[1]), (*exact[0], exact[1]), strict=True):
        torch.testing.assert_close(value[1].double(), expected, rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("device", DEVICES)
def test_a_member_has_the_same_bits_in_any_cohort_and_alone(device: str) -> None:
    parts = tensors(device)
    function = gradients(attention)
    batched = vmap(function, in_dims=(0, None))(parts, None)
    pair = vmap(function, in_dims=(0, None))(tuple(part[1:] for part in parts), None)
    alone = function(tuple(part[1] for part in parts), None)
    for whole, two, one in zip((*batched[0], batched[1]), (*pair[0], pair[1]), (*alone[0], alone[1]), strict=True):
        assert torch.equal(whole[1:], two)
        assert torch.equal(whole[1], one)


@pytest.mark.parametrize("device", DEVICES)
def test_a_traced_cohort_calls_one_kernel_for_all_members(device: str) -> None:
    parts = tensors(device)
    function = vmap(lambda *parts: gradients(attention)(parts, None))
    program = trace(function, parts)
    assert len(kernels(program)) == 2  # forward and backward
    for traced, direct in zip(program(*parts)[0], function(*parts)[0], strict=True):
        assert torch.equal(traced, direct)


def test_a_learned_mask_gets_its_gradient() -> None:
    query, key, value = (part[0] for part in tensors("cpu"))
    mask = torch.randn(T, U)

    def change(function: Callable[..., Tensor]) -> Any:
        return grad(lambda mask: function(query, key, value, attn_mask=mask).square().sum())(mask)

    torch.testing.assert_close(change(attention), change(plain))


def test_dropout_sees_the_weights_of_the_positions() -> None:
    query, key, value = (part[0] for part in tensors("cpu"))
    halved = attention(query, key, value, dropout=lambda weights: weights / 2)
    torch.testing.assert_close(halved, plain(query, key, value) / 2)


@pytest.mark.parametrize("dropout", [None, lambda weights: weights], ids=["fused", "written out"])
def test_a_position_that_sees_nothing_gets_zeros_as_in_torch(dropout: Any) -> None:
    parts = tuple(part[0] for part in tensors("cpu"))
    mask = torch.ones(T, U, dtype=torch.bool)
    mask[2] = False
    changes, outputs = gradients(attention, dropout=dropout)(parts, mask)
    assert not outputs[:, :, 2].any()
    torch.testing.assert_close((changes, outputs), gradients(plain)(parts, mask), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_computes_in_its_own_precision(device: str) -> None:
    parts = tensors(device)
    with torch.autocast(device, torch.bfloat16):
        outputs = vmap(attention)(*parts)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), plain(*parts), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("shape", [(T, D), (B, T, D), (2, B, HEADS, T, D)], ids=str)
def test_shapes_without_a_kernel_are_written_out(shape: tuple[int, ...]) -> None:
    query, key, value = torch.randn(3, *shape)
    torch.testing.assert_close(attention(query, key, value, is_causal=True), plain(query, key, value, is_causal=True))


def test_a_compiler_for_cuda_gets_attention_written_out() -> None:
    def operations() -> set[str]:
        query, key, value = (part[0] for part in tensors("cpu"))
        return {str(node.target) for node in trace(attention, (query, key, value)).graph.nodes}

    fused = "aten._scaled_dot_product_flash_attention_for_cpu.default"
    assert fused in operations()
    with for_compiler("cuda"):
        assert not any("attention" in name for name in operations())
    with for_compiler("cpu"):
        assert fused in operations()
