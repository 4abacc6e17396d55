"""What the tasks share whose networks give the likelihood of each token, and not a number for every other one too.

With 50,000 tokens the probabilities of all would be 50,000 times as large, and a task needs two numbers of them.

Shapes: `A` tokens that are foretold in a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalbench.tasks.task import NO_TARGET, Array, Task

if TYPE_CHECKING:
    from torch import Tensor


class Likelihoods(Task):
    """Cross-entropy per token of the last tokens of a row.

    Targets `(N, A)` are these tokens, `NO_TARGET` behind the last one. Outputs `(B, A, 2)` are, for each token in the
    inputs, the logarithm of its probability given all tokens before it, and the most probable token there. Predictions
    are the same.
    """

    outputs = "log-likelihoods"
    has_row_classes = False
    takes_weights = False
    answers = True

    def num_outputs(self, num_classes: int) -> int:
        """Return one per foretold token."""
        return num_classes

    def output_shape(self, inputs: Tensor, num_outputs: int) -> tuple[int, ...]:
        """Return `(B, A, 2)`."""
        return len(inputs), num_outputs, 2

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, A)` zeros, as whole numbers."""
        import torch

        return torch.zeros(len(inputs), num_outputs, device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-likelihoods `(B * A,)` and the tokens `(B * A,)`."""
        return outputs[..., 0].flatten(), targets.flatten()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy per token, a mean over the tokens of all rows."""
        return log_loss(outputs, targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the outputs in float64."""
        return outputs.double()

    def loss_of(self, predictions: Array, targets: Array, scale: float) -> float:
        """Return the cross-entropy per token of predictions."""
        import torch

        return float(log_loss(torch.as_tensor(predictions), torch.as_tensor(targets)))


def log_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of minus the log-likelihood over the tokens `(..., N, A)` of all rows."""
    import torch

    is_token = targets != NO_TARGET
    return -torch.where(is_token, predictions[..., 0], 0.0).sum((-2, -1)) / is_token.sum((-2, -1))
