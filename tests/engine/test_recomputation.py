"""Networks that compute activations again in the backward pass need less memory and give the same numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad
from torch.utils.checkpoint import checkpoint

from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.engine.recomputation import marked
from evalbench.engine.tracing import Program, peak_bytes, trace

Block = Callable[[Tensor], Tensor]


def cell_of(reentrant: bool | None) -> Cell:
    return make_cell(
        "dataset=digits", "budget.epochs=2", "optimizer=sgd", "optimizer.batch_size=256", "trainer.accelerator=cpu",
        "model._target_=networks.Recomputed", f"+model.reentrant={'null' if reentrant is None else reentrant}",
        "~model.depth", "~model.width",
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, in evaluation
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.slow
def test_a_checkpoint_saves_memory_and_changes_no_bit(reentrant: bool) -> None:
    kept, recomputed = cell_of(None), cell_of(reentrant)
    cohorts = [training.make_cohort(cell.config, cell.dataset, cell.entrants(0))[0] for cell in (kept, recomputed)]
    assert [cohort.why_one_by_one for cohort in cohorts] == [None, None]
    peaks = [cohort.trace_memory()[0] for cohort in cohorts]
    assert peaks[1] < 0.6 * peaks[0]
    results = [training.train(cell.config, cell.dataset, cell.entrants(0, 1)) for cell in (kept, recomputed)]
    assert [result.curve for result in results[0]] == [result.curve for result in results[1]]


def loss_of(block: Block, recomputed: bool) -> Block:
    """Return a loss of four blocks."""

    def loss(x: Tensor) -> Tensor:
        x = x * 2
        for _ in range(4):
            x = (checkpoint(block, x, use_reentrant=False) if recomputed else block(x)).clone()
        return x.sum()

    return loss


def traced(block: Block, recomputed: bool) -> Program:
    """Return the program of the gradient of this loss."""
    with marked():
        return trace(grad(loss_of(block, recomputed)), (INPUTS,))


def plain_gradient(block: Block, recomputed: bool) -> Tensor:
    leaf = INPUTS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(block, recomputed)(leaf), leaf)
    return gradient


INPUTS = torch.linspace(-1, 1, 100)
WIDE = torch.linspace(0, 2, 1000)[:, None]


def widens(x: Tensor) -> Tensor:
    return (torch.sin(x * WIDE).tanh() * WIDE).cos().mean(0)


def writes_into_its_own(x: Tensor) -> Tensor:
    hidden = x * WIDE
    hidden[0].mul_(2)
    return torch.relu_(hidden.sin()).cos().mean(0)


def draws(x: Tensor) -> Tensor:
    return (x * torch.rand_like(WIDE.expand(-1, 100))).sin().cos().mean(0)


@pytest.mark.parametrize("block", [widens, writes_into_its_own])
def test_blocks_are_computed_again(block: Block) -> None:
    kept, recomputed = traced(block, recomputed=False), traced(block, recomputed=True)
    assert peak_bytes(recomputed) < 0.6 * peak_bytes(kept)
    assert torch.equal(recomputed(INPUTS), kept(INPUTS))
    torch.testing.assert_close(recomputed(INPUTS), plain_gradient(block, recomputed=True))


def writes_into_its_inputs(x: Tensor) -> Tensor:
    return widens(x.mul_(1.5))


@pytest.mark.parametrize("block", [draws, writes_into_its_inputs])
def test_a_block_that_would_give_other_numbers_is_not_computed_again(block: Block) -> None:
    kept, recomputed = traced(block, recomputed=False), traced(block, recomputed=True)
    assert peak_bytes(recomputed) == peak_bytes(kept)


def test_values_that_the_backward_pass_computes_anew_are_not_merged_with_those_of_the_forward_pass() -> None:
    class Again(torch.autograd.Function):
        """What a hand-written recomputation does."""

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return torch.sin(x * WIDE).tanh().mean(0)

        @staticmethod
        def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
            ctx.save_for_backward(*inputs)  # type: ignore[attr-defined]

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
            hidden = torch.sin(x * WIDE)
            slope = (1 - hidden.tanh() ** 2) * torch.cos(x * WIDE) * WIDE
            return gradient * slope.mean(0)

    program = traced(Again.apply, recomputed=False)
    sines = [node for node in program.graph.nodes if node.op == "call_function" and "sin.default" in str(node.target)]
    assert len([node for node in sines if node.meta["shape"] == torch.Size([1000, 100])]) == 8
    torch.testing.assert_close(program(INPUTS), plain_gradient(Again.apply, recomputed=False))


def test_equal_operations_are_merged_beside_a_write() -> None:
    def function(x: Tensor) -> Tensor:
        counter = torch.zeros(())
        counter.add_(1)
        return torch.sin(x) * torch.sin(x) + counter

    program = trace(function, (INPUTS,))
    assert [str(node.target) for node in program.graph.nodes].count("aten.sin.default") == 1
    assert torch.equal(program(INPUTS), function(INPUTS))
