"""A tag for every token of a sentence, such as its part of speech or its place in an entity; `T` tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks import classes
from evalbench.tasks.metric import METRICS, TOKENS, Metric
from evalbench.tasks.spans import Spans, are_spans
from evalbench.tasks.task import NO_TARGET, Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = 1
"""The token that stands for those that a split's training rows have too seldom."""


class TokenClassification(Task):
    """Cross-entropy per token; outputs are `(B, T, K)`, targets `(B, T)`, and padding counts nowhere.

    Rows are sentences. Metrics are means over all tokens of all sentences, but entity F1, the primary metric of tags
    like `B-PER`, is over entities.
    """

    name = TOKENS
    outputs = "a logit per class"
    has_row_classes = False
    per_token = True
    padding = 0
    scores_outputs = False

    def __init__(self, tags: Sequence[str] = ()) -> None:
        """Take the tags by number; with none the metrics are those of tags without entities."""
        self.metrics: tuple[str | Metric, ...] = ("accuracy", "macro_f1", "log_loss")
        if are_spans(tags):
            self.metrics = (replace(METRICS["entity_f1"], compute=Spans(tags).f1), *self.metrics)

    def num_outputs(self, num_classes: int) -> int:
        """Return one per tag."""
        return num_classes

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless every token has a tag, padding has none, and not all tags are the same."""
        inputs, targets, most = table.inputs, table.targets, len(table.classes)
        if table.vocabulary is None or targets.dtype != np.int64 or targets.shape != inputs.shape:
            rule = "token classification needs tokens, a vocabulary, and an int64 tag for each token"
            raise DataError(f"{table.name}: {rule}: check the loader")
        is_token = inputs != self.padding
        if not np.array_equal(is_token, targets != NO_TARGET) or (is_token[:, 1:] & ~is_token[:, :-1]).any():
            rule = f"padding must be {self.padding} behind the tokens of a row, with {NO_TARGET} as its tag"
            raise DataError(f"{table.name}: {rule}: check the loader")
        if not is_token[:, 0].all():
            raise DataError(f"{table.name}: row {int(is_token[:, 0].argmin())} has no tokens: leave it out")
        tags = targets[is_token]
        if tags.min() < 0 or tags.max() >= most:
            raise DataError(f"{table.name}: tags must be numbers from 0 to {most - 1}: check the loader")
        if np.ptp(tags) == 0:
            raise DataError(f"{table.name}: every token has the same tag: nothing can be learned from it")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Return the shares of the tags, of which the most frequent one is the prediction."""
        return classes.shares(train[train != NO_TARGET], shape, num_classes)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return the shares of each token's tags among its training tokens, with one more token of the average shares.

        So its prediction is the most frequent tag of the token, and for an unknown token that of tokens that are as
        rare as those that the training rows do not keep apart.
        """
        num_tags, num_tokens = len(table.classes), table.vocabulary or 0

        def predict(train: Array, targets: Array, test: Array) -> Array:
            def fitted(train: Array, targets: Array) -> Array:
                is_token = targets != NO_TARGET
                pairs = np.bincount(train[is_token] * num_tags + targets[is_token], minlength=num_tokens * num_tags)
                counts = pairs.reshape(num_tokens, num_tags)
                shares: Array = (counts + counts.sum(0) / counts.sum()) / (counts.sum(1, keepdims=True) + 1)
                return shares

            tables = [fitted(*split) for split in zip(train, targets, strict=True)]
            return np.stack([shares[rows] for shares, rows in zip(tables, test, strict=True)])

        return predict

    def example_targets(self, inputs: Tensor, num_outputs: int) -> Tensor:
        """Return `(B, T)` zeros, as whole numbers."""
        import torch

        return torch.zeros(inputs.shape, device=inputs.device, dtype=torch.int64)

    def natural(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B * T, K)` and tags `(B * T,)`, as `torch.nn.CrossEntropyLoss` takes them."""
        return outputs.flatten(0, 1), targets.flatten()

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy per token, a mean over the tokens of all rows, without padding."""
        from torch.nn import functional as F

        return F.cross_entropy(*self.natural(outputs, targets), ignore_index=NO_TARGET, label_smoothing=smoothing)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Refuse: members have other numbers of tokens, so that metrics are measured member by member."""
        raise AssertionError("metrics of tokens are measured on predictions")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of all tags of every token, `(..., B, T, K)`."""
        import torch

        return torch.softmax(outputs.double(), dim=-1)

    def loss_of(self, predictions: Array, targets: Array, scale: float) -> float:
        """Return the cross-entropy per token of probabilities `(N, T, K)`."""
        is_token = targets != NO_TARGET
        return super().loss_of(predictions[is_token], targets[is_token], scale)

    def measure(self, metric: Metric, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return a metric of C members, `(C,)` in float64 on the CPU: of the entities, or of the tokens."""
        import torch

        if metric.name == "entity_f1":
            return super().measure(metric, predictions, targets)
        assert metric.compute is not None
        tokens = [targets[member] != NO_TARGET for member in range(len(targets))]
        members = zip(predictions, targets, tokens, strict=True)
        scores = [metric.compute(rows[None, kept], tags[None, kept]) for rows, tags, kept in members]
        return torch.cat(scores).double().cpu()
