"""An answer in words to the prompt of a row, which a decoder writes token by token.

Shapes: `P` tokens of the longest prompt, `A` of the longest answer.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.errors import DataError
from evalbench.tasks.likelihoods import Likelihoods, log_loss
from evalbench.tasks.metric import GENERATION, METRICS, Metric
from evalbench.tasks.task import NO_TARGET, Array, Predictor, Rows

if TYPE_CHECKING:
    from torch import Tensor

Decode = Callable[[Sequence[Sequence[int]]], list[str]]
"""Texts of lists of tokens."""
NUMBER = re.compile(r"-?(?:\d[\d,]*)?\.?\d+")
TOLERANCE = 1e-6
"""The difference of two numbers that are the same, as a share of the answer, or of 1 if that is larger."""


class Generation(Likelihoods):
    """Cross-entropy per token of the answers; prompts have no loss.

    Inputs `(N, P + A)` end with the answers. Targets `(N, A)` are the tokens of these answers, `NO_TARGET` behind the
    token that ends one. Outputs `(B, A, 2)` are, for each token of the answer in the inputs, the logarithm of its
    probability given all tokens before it, and the most probable token there. Predictions are the same, with the tokens
    that the network writes by itself.
    """

    name = GENERATION

    def __init__(self, end: int = -1, decode: Decode | None = None) -> None:
        """Take the token that ends an answer, and what makes texts of tokens."""
        self.end, self._decode = end, decode
        computed = {"exact_match": self._exact, "numeric_match": self._numeric, "log_loss": log_loss}
        self.metrics: tuple[str | Metric, ...] = tuple(
            replace(METRICS[name], compute=compute) for name, compute in computed.items()
        )

    def check(self, table: Rows) -> None:
        """Raise `DataError` unless the inputs end with the answers, and not all are the same."""
        inputs, targets = table.inputs, table.targets
        if table.vocabulary is None or targets.dtype != np.int64 or targets.shape != (len(inputs), len(table.classes)):
            rule = "generation needs tokens, a vocabulary, and the int64 tokens of an answer for each row"
            raise DataError(f"{table.name}: {rule}: check the loader")
        is_token = targets != NO_TARGET
        if not is_token[:, 0].all() or (is_token[:, 1:] & ~is_token[:, :-1]).any():
            raise DataError(f"{table.name}: the tokens of an answer must come first in its row: check the loader")
        if inputs.shape[1] <= targets.shape[1] or (inputs[:, -targets.shape[1] :] != targets)[is_token].any():
            raise DataError(f"{table.name}: inputs must be prompts and then the answers: check the loader")
        if (targets == targets[0]).all():
            raise DataError(f"{table.name}: every answer is the same: nothing can be learned from it")

    def trivial(self, train: Array, shape: Sequence[int], num_classes: int) -> Array:
        """Refuse: the probabilities of answers depend on the answers."""
        raise AssertionError("trivial_for gives them")

    def trivial_for(self, train: Array, truth: Array, num_classes: int) -> Array:
        """Return the most frequent answer, and for the tokens of the truth their shares in all training answers."""
        answers, counts = np.unique(train, axis=0, return_counts=True)
        tokens, numbers = np.unique(train[train != NO_TARGET], return_counts=True)
        at = np.searchsorted(tokens, truth).clip(max=len(tokens) - 1)
        shares = np.where(tokens[at] == truth, numbers[at] / numbers.sum(), 0.0)
        written = np.broadcast_to(answers[counts.argmax()], truth.shape)
        return np.stack([np.log(shares.clip(min=sys.float_info.epsilon)), written], axis=-1)

    def linear(self, inputs: Array, targets: Array, size: int, table: Rows) -> Predictor | None:
        """Return None: there is no linear model that writes."""
        return None

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the share of rows for which each token of the answer is the most probable one.

        Given the right tokens so far the network then writes the next one: these are the answers that it writes itself.
        """
        right = ((outputs[..., 1] == targets) | (targets == NO_TARGET)).all(-1) & self._whole(targets)
        return right.to(outputs.dtype).mean(-1)

    def tested(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Return the outputs for inputs `(..., B, P + A)`, with the tokens that the network writes by itself.

        It writes the most probable token each time (greedy decoding), up to the one that ends the answer; behind that
        is `NO_TARGET`. Each pass takes the tokens of the pass before for the answer, until they no longer change (Song
        et al. 2021): a token is right once all tokens before it are, so `A` passes are enough, and one is where the
        network writes the answer that the inputs have.
        """
        import torch

        outputs = forward(inputs)
        likelihoods, written = outputs.unbind(-1)
        length = written.shape[-1]
        given = inputs[..., -length:]
        for _ in range(length - 1):
            ended = (written == self.end).cumsum(-1) > 0
            if ((given == written) | ended)[..., :-1].all():
                break
            given = written.long()
            written = forward(torch.cat([inputs[..., :-length], given], dim=-1))[..., 1]
        is_end = written == self.end
        behind = is_end.cumsum(-1) - is_end.long() > 0
        return torch.stack([likelihoods, torch.where(behind, NO_TARGET, written)], dim=-1)

    def needs_test(self, metric: Metric) -> bool:
        """Return whether a metric is one of texts that may be wrong, and were written after wrong tokens."""
        return metric.name not in ("exact_match", "log_loss")

    def texts(self, written: Tensor | Array) -> list[str]:
        """Return the answers whose tokens `(N, A)` were written, each up to its end."""
        assert self._decode is not None
        ends = (self.end, NO_TARGET)
        kept = [list(map(int, itertools.takewhile(lambda token: token not in ends, row))) for row in written.tolist()]
        return [text.strip() for text in self._decode(kept)]

    def by_row(self, predictions: Tensor, targets: Array) -> dict[str, Any]:
        """Return columns with the answers of `N` rows, what was written, and the metrics of each row."""
        import torch

        truth = torch.as_tensor(targets)
        rows = predictions[:, None], truth[:, None]  # each alone
        return {
            "answer": self.texts(truth),
            "written": self.texts(predictions[..., 1]),
            "exact_match": self._exact(*rows).tolist(),
            "numeric_match": self._numeric(*rows).tolist(),
        }

    def _whole(self, targets: Tensor) -> Tensor:
        """Return whether answers `(..., A)` have their end, and were not cut."""
        return (targets == self.end).any(-1)

    def _exact(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the share of rows whose text is that of the answer; one that was cut is never written."""
        same = self._compared(predictions, targets, lambda written, answer: float(written == answer))
        return (same * self._whole(targets).double()).mean(-1)

    def _numeric(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the share of the rows with a number in the answer whose text ends with the same number."""
        return self._compared(predictions, targets, _same_number).nanmean(-1)

    def _compared(self, predictions: Tensor, targets: Tensor, same: Callable[[str, str], float]) -> Tensor:
        """Return a number `(..., N)` of each written text and its answer."""
        import torch

        written, truth = self.texts(predictions[..., 1].flatten(0, -2)), self.texts(targets.flatten(0, -2))
        values = [same(text, answer) for text, answer in zip(written, truth, strict=True)]
        return torch.tensor(values, dtype=torch.float64, device=targets.device).reshape(targets.shape[:-1])


def _same_number(written: str, answer: str) -> float:
    """Return whether the last numbers of two texts are the same; NaN if the answer has none."""
    numbers = [[float(number.replace(",", "")) for number in NUMBER.findall(text)[-1:]] for text in (answer, written)]
    if not numbers[0]:
        return float("nan")
    right = numbers[0][0]
    return float(any(abs(number - right) <= TOLERANCE * max(1.0, abs(right)) for number in numbers[1]))
