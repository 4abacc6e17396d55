"""A tag for every token of a sentence, such as its part of speech or its place in an entity; `T` tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks.metric import METRICS, TOKENS, Metric
from evalbench.tasks.per_token import PerToken
from evalbench.tasks.spans import Spans, are_spans
from evalbench.tasks.task import NO_TARGET, Array, Predictor, Rows, Task

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = 1
"""The token that stands for those that a split's training rows have too seldom."""


class TokenClassification(PerToken):
    """Cross-entropy per token; outputs are `(B, T, K)`, targets `(B, T)`, and padding counts nowhere.

    Rows are sentences. Metrics are means over all tokens of all sentences, but entity F1, the primary metric of tags
    like `B-PER`, is over entities.
    """

    name = TOKENS
    padding = 0
    scores_outputs = False

    def __init__(self, tags: Sequence[str] = (), padding: int = 0, of_pieces: bool = False) -> None:
        """Take the tags by number; with none the metrics are those of tags without entities.

        Args:
            tags: by number.
            padding: the token that fills short rows up.
            of_pieces: words are several tokens, of which the first has the tag, see `workloads.token_inputs`.
        """
        self.padding, self.of_pieces = padding, of_pieces
        self.metrics: tuple[str | Metric, ...] = ("accuracy", "macro_f1", "log_loss")
        if are_spans(tags):
            self.metrics = (replace(METRICS["entity_f1"], compute=Spans(tags).f1), *self.metrics)

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless every token or word has a tag, padding has none, and not all tags are the same."""
        inputs, targets, most = table.inputs, table.targets, len(table.classes)
        if table.vocabulary is None or targets.dtype != np.int64 or targets.shape != inputs.shape:
            rule = "token classification needs tokens, a vocabulary, and an int64 tag for each token"
            raise DataError(f"{table.name}: {rule}: check the loader")
        is_tagged = targets != NO_TARGET
        if not self.of_pieces:
            self._check_padding(table)
        if not is_tagged.any(1).all():
            raise DataError(f"{table.name}: row {int(is_tagged.any(1).argmin())} has no tokens: leave it out")
        tags = targets[is_tagged]
        if tags.min() < 0 or tags.max() >= most:
            raise DataError(f"{table.name}: tags must be numbers from 0 to {most - 1}: check the loader")
        if np.ptp(tags) == 0:
            raise DataError(f"{table.name}: every token has the same tag: nothing can be learned from it")

    def _check_padding(self, table: Rows) -> None:
        is_token = table.inputs != self.padding
        if not np.array_equal(is_token, table.targets != NO_TARGET) or (is_token[:, 1:] & ~is_token[:, :-1]).any():
            rule = f"padding must be {self.padding} behind the tokens of a row, with {NO_TARGET} as its tag"
            raise DataError(f"{table.name}: {rule}: check the loader")

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

            splits = zip(train, targets, test, strict=True)
            return np.stack([fitted(train, targets)[rows] for train, targets, rows in splits])

        return predict

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Refuse: members have other numbers of tokens, so that metrics are measured member by member."""
        raise AssertionError("metrics of tokens are measured on predictions")

    def measure(self, metric: Metric, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return a metric of C members, `(C,)` in float64 on the CPU: of the entities, or of the tokens."""
        if metric.name != "entity_f1":
            return super().measure(metric, predictions, targets)
        return Task.measure(self, metric, predictions, targets)
