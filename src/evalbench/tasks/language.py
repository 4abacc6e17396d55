"""The next token at every place of a window of text; `T` places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks.per_token import PerToken
from evalbench.tasks.task import Array, Predictor, Rows

if TYPE_CHECKING:
    from torch import Tensor


class Language(PerToken):
    """Cross-entropy per token; outputs are `(B, T, K)`, targets `(B, T)`, and every metric is a mean over tokens."""

    name = "language"
    metrics = ("accuracy", "log_loss", "perplexity")

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless every place has a token of the vocabulary to predict, and not all have the same."""
        if table.vocabulary is None:
            raise DataError(f"{table.name}: next-token prediction needs tokens: give the vocabulary's size")
        targets = table.targets
        if targets.dtype != np.int64 or targets.min() < 0 or targets.max() >= table.vocabulary:
            raise DataError(f"{table.name}: tokens must be int64 from 0 to {table.vocabulary - 1}: check the loader")
        if targets.shape != table.inputs.shape or len(table.classes) != table.vocabulary:
            raise DataError(
                f"{table.name}: every place of a window needs a target, every token a name: check the loader"
            )
        if np.ptp(targets) == 0:
            raise DataError(f"{table.name}: every next token is the same: nothing can be learned from it")

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return the probabilities of the next token given the current one, from the training rows' counts of pairs.

        Softmax regression on the one-hot current token has these as its maximum-likelihood solution. Adding one to each
        count regularises it.
        """
        num_tokens = len(table.classes)

        def predict(train: Array, targets: Array, test: Array) -> Array:
            def counts(train: Array, targets: Array) -> Array:
                pairs = np.bincount((train * num_tokens + targets).ravel(), minlength=num_tokens**2)
                return 1 + pairs.reshape(num_tokens, num_tokens)  # current token, next token

            tables = [counts(*split) for split in zip(train, targets, strict=True)]
            return np.stack(
                [(pairs / pairs.sum(1, keepdims=True))[rows] for pairs, rows in zip(tables, test, strict=True)]
            )

        return predict

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the accuracy."""
        return (outputs.argmax(-1) == targets).to(outputs.dtype).mean((-2, -1))

    def rows_of(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return all tokens of all rows, one after another."""
        lead = targets.shape[:-2]
        return predictions.reshape(*lead, -1, predictions.shape[-1]), targets.reshape(*lead, -1)
