"""The next token in windows of texts, whose tokens are those of a pretrained decoder.

Shapes: `T` tokens of a window, `V` tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks.likelihoods import Likelihoods, log_loss
from evalbench.tasks.metric import METRICS, NEXT_TOKEN, Metric
from evalbench.tasks.task import NO_TARGET, Array, Predictor, Rows

if TYPE_CHECKING:
    from torch import Tensor


class NextToken(Likelihoods):
    """Cross-entropy per token of windows; all tokens but the first are foretold.

    Inputs `(N, T)` are the windows, and targets `(N, T - 1)` their tokens from the second on. Metrics are means over
    the tokens of all rows.
    """

    name = NEXT_TOKEN

    def __init__(self, vocabulary: int = 1) -> None:
        """Take the number of different tokens."""
        self.vocabulary = vocabulary
        computed = {"accuracy": _accuracy, "log_loss": log_loss, "perplexity": _perplexity}
        self.metrics: tuple[str | Metric, ...] = tuple(
            replace(METRICS[name], compute=compute) for name, compute in computed.items()
        )

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless the targets are the tokens of the inputs, and not all are the same."""
        inputs, targets = table.inputs, table.targets
        if table.vocabulary is None or targets.dtype != np.int64 or targets.shape != inputs[:, 1:].shape:
            rule = "next-token prediction needs tokens, a vocabulary, and an int64 target for all tokens but the first"
            raise DataError(f"{table.name}: {rule}: check the loader")
        is_token = targets != NO_TARGET
        if not is_token[:, 0].all() or (is_token[:, 1:] & ~is_token[:, :-1]).any():
            raise DataError(f"{table.name}: a window must have two tokens, padding behind the last: check the loader")
        if (inputs[:, 1:] != targets)[is_token].any():
            raise DataError(f"{table.name}: a target must be the next token of its window: check the loader")
        if np.ptp(targets[is_token]) == 0:
            raise DataError(f"{table.name}: every next token is the same: nothing can be learned from it")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Refuse: the probabilities of tokens depend on the tokens."""
        raise AssertionError("trivial_for gives them")

    def trivial_for(self, train: Array, truth: Array, num_classes: int) -> Array:
        """Return the shares of tokens among the training targets, with one more of each, and the most frequent one."""
        counts = 1 + np.bincount(train[train != NO_TARGET], minlength=self.vocabulary)
        likelihoods = np.log(counts[truth.clip(min=0)] / counts.sum())
        return np.stack([likelihoods, np.full(truth.shape, counts.argmax())], axis=-1)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor:
        """Return the probabilities of the next token given the current one, as `Language.linear` does.

        Only pairs that occur are stored. Behind a token that training rows do not have, the most frequent one of all is
        the prediction.
        """

        def predict(train: Array, targets: Array, test: Array) -> Array:
            return np.stack([self._by_pairs(*split) for split in zip(train, targets, test, strict=True)])

        return predict

    def _by_pairs(self, train: Array, targets: Array, test: Array) -> Array:
        is_token = targets != NO_TARGET
        before, after = train[:, :-1][is_token], targets[is_token]
        pairs, counts = np.unique(before * self.vocabulary + after, return_counts=True)
        totals = np.bincount(before, minlength=self.vocabulary)
        best = np.full(self.vocabulary, np.bincount(after).argmax())
        ordered = pairs[np.lexsort((-pairs, counts))]  # of the pairs of a token, the most frequent is the last
        best[ordered // self.vocabulary] = ordered % self.vocabulary
        current, pair = test[:, :-1], test[:, :-1] * self.vocabulary + test[:, 1:]
        at = np.searchsorted(pairs, pair).clip(max=len(pairs) - 1)
        count = np.where(pairs[at] == pair, counts[at], 0)
        return np.stack([np.log((1 + count) / (self.vocabulary + totals[current])), best[current]], axis=-1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the accuracy."""
        return _accuracy(outputs, targets).to(outputs.dtype)


def _accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    is_token = targets != NO_TARGET
    return ((predictions[..., 1] == targets) & is_token).sum((-2, -1)).double() / is_token.sum((-2, -1))


def _perplexity(predictions: Tensor, targets: Tensor) -> Tensor:
    return log_loss(predictions, targets).exp()
