"""A trained model that predicts rows as people have them, by the preprocessing that it was trained with.

Shapes: `B` rows of a batch, `D` features, `K` classes, `L` columns of targets.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evalbench.errors import DataError
from evalbench.tasks import Task
from evalbench.tasks.classes import seen
from evalbench.tasks.generation import Generation
from evalbench.tasks.token_classification import UNKNOWN
from evalbench.weights import estimators
from evalbench.weights.new_rows import AS_DETECTED, NewRows, TableFile, read
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.target_encoding import TargetEncoded

BATCH, WRITTEN = 1024, 64
"""Rows that are predicted at once, and those whose answers are written at once."""


@dataclass(frozen=True)
class Signature:
    """What a saved model takes and gives."""

    task: Task
    features: tuple[str, ...]
    classes: tuple[str, ...]
    encoding: Encoding | None
    """None: the model was saved by an earlier version, which did not keep it."""
    encoded: tuple[TargetEncoded, ...] = ()
    """Features that are replaced by means of the target over the training rows."""
    target_shape: tuple[int, ...] = ()
    """That of the scale of targets: one for each of several numbers."""
    file: TableFile = AS_DETECTED
    """How the file of the training was read."""
    known_tokens: int = 0
    """Tokens of which the model knows some; 0: it knows all."""

    def named(self, predictions: Tensor, given: NewRows) -> dict[str, Any]:
        """Return predictions of rows as columns by name: classes or labels and their probabilities, or numbers.

        For tokens they are lists, with an element for each token or word.
        """
        values, several = predictions.numpy(), self.task.per_column
        if isinstance(self.task, Generation):
            return {"prediction": self.task.texts(predictions[..., 1])}
        if self.task.per_token:
            tokens = given.inputs != self.task.padding
            return self._of_tokens(values, given.first_tokens or [np.flatnonzero(row).tolist() for row in tokens])
        if not self.task.is_classification:
            names = self.classes if several else tuple(map(str, range(values.shape[-1])))
            return {"prediction": values} if values.ndim == 1 else _columns("prediction", names, values.T)
        if several:
            labels = _words(("no", "yes"), (values > 0.5).astype(int), np.isfinite(values))
            chosen = _columns("prediction", self.classes, labels.T)
        else:
            chosen = {"prediction": _words(self.classes, values.argmax(1), np.isfinite(values).all(1))}
        return chosen | _columns("probability", self.classes, values.T)

    def _of_tokens(self, values: NDArray[Any], first_tokens: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Return the tags at some positions of each row, and their probabilities; None at -1."""
        finite = np.isfinite(values).all(2)
        tags, most = _words(self.classes, values.argmax(2), finite), np.where(finite, values.max(2), None)
        return {
            name: pd.Series(
                [
                    [row[index] if index >= 0 else None for index in kept]
                    for row, kept in zip(cells, first_tokens, strict=True)
                ],
                dtype=object,
            )
            for name, cells in (("prediction", tags), ("probability", most))
        }


def _columns(what: str, names: Sequence[str], values: Any) -> dict[str, Any]:
    return {f"{what}: {name}": column for name, column in zip(names, values, strict=True)}


def _words(names: Sequence[str], codes: Any, known: Any) -> Any:
    """Return names by their codes, None where nothing is known."""
    words = np.array(names, dtype=object)[codes]
    words[~known] = None
    return words


class Predictor(nn.Module):
    """Map rows as the data set holds them to predictions, by a trial's network and its preprocessing."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    target_mean: Tensor  # (), or (L,) for several numbers per row
    target_std: Tensor
    target_means: Tensor  # (categories of all target-encoded columns,)
    target_unseen: Tensor  # (target-encoded columns,)
    known: Tensor  # (tokens of the vocabulary,), 0 for those that the training rows had too seldom

    def __init__(self, network: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.network = network
        self.signature = signature
        self.task = signature.task
        shapes: dict[str, tuple[int, ...]] = {"mean": (len(signature.features),), "std": (len(signature.features),)}
        shapes |= {"target_mean": signature.target_shape, "target_std": signature.target_shape}
        encoded = signature.encoded
        self.encoded = [one.column for one in encoded]
        if encoded:
            self.starts = [sum(before.categories for before in encoded[:number]) for number in range(len(encoded))]
            shapes |= {"target_means": (sum(one.categories for one in encoded),), "target_unseen": (len(encoded),)}
        if signature.known_tokens:
            shapes["known"] = (signature.known_tokens,)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, rows: Tensor) -> Tensor:
        """Return class probabilities `(B, classes)`, for tokens `(B, D, classes)`, or numbers `(B,)`.

        Several labels or numbers per row are `(B, L)`. For answers in words they are `(B, A, 2)`, see `Generation`.

        `rows` is `(B, D)`: floating point, NaN for missing values, or int64 tokens. Predicted numbers are in the
        target's own unit. Predictions are float64, as in the test.
        """
        wide = torch.promote_types(self.mean.dtype, torch.float32)
        predictions = self.task.predict(self.task.tested(self.network, self.prepared(rows)).to(wide))
        return predictions * self.target_std + self.target_mean if self.task.scales_targets else predictions

    def prepared(self, rows: Tensor) -> Tensor:
        """Return scaled inputs `(B, D)` without missing values; tokens that are known."""
        if not rows.is_floating_point():
            return torch.where(self.known[rows] > 0, rows, UNKNOWN) if self.signature.known_tokens else rows
        codes = rows[:, self.encoded]
        rows = torch.nan_to_num((rows - self.mean) / self.std, nan=0.0)
        if self.encoded:
            positions = torch.nan_to_num(codes).long() + torch.tensor(self.starts, device=rows.device)
            rows[:, self.encoded] = torch.where(codes.isnan(), self.target_unseen, self.target_means[positions])
        return rows

    def predict(
        self, rows: Any, delimiter: str | None = None, sheet: str | int | None = None, decimal: str | None = None
    ) -> pd.DataFrame:
        """Return a prediction for each row, in their order.

        Args:
            rows: a frame of pandas or Polars, an Arrow table, an array, the path of a file or of a folder of images, or
                a list of images.
            delimiter: of a text file; None: as in training, or detected.
            sheet: of an Excel file, by its name or number; None: as in training.
            decimal: `point` or `comma`, in a text file; None: as in training.

        Returns:
            `prediction`, the class or a number in the target's own unit, and `probability: CLASS` for each class. For
            sentences `prediction` is the list of the tags, and `probability` that of their probabilities. Of answers
            in words there is `prediction` alone. The index
            holds the rows: those of a frame of pandas, otherwise lines or files. A warning tells what could not be
            treated as in training, such as a category that training did not have.

        Raises:
            DataError: columns are missing, new or of another type, or the rows cannot be read: all faults.
        """
        predictions, notes = self.predict_and_tell(rows, delimiter, sheet, decimal)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return predictions

    def predict_and_tell(
        self, rows: Any, delimiter: str | None = None, sheet: str | int | None = None, decimal: str | None = None
    ) -> tuple[pd.DataFrame, list[str]]:
        """Return what `predict` does, and what could not be treated as in training."""
        encoding = self.signature.encoding
        if encoding is None:
            raise DataError("the model was saved by a version that kept no encoding of columns: train it again")
        file = self.signature.file.asked(rows, delimiter, sheet, decimal)
        given = read(rows, encoding if decimal is None else encoding.written(decimal), self.task, file)
        size = WRITTEN if self.task.answers else BATCH
        parts = [self._part(given, slice(start, start + size)) for start in range(0, len(given.inputs), size)]
        predictions = torch.cat(parts)
        frame = pd.DataFrame(self.signature.named(predictions, given))
        frame.index = given.index
        lost = int((~predictions.isfinite().reshape(len(frame), -1).all(1)).sum())
        notes = (
            given.notes
            + self._unknown(given)
            + ([f"no prediction for {lost:,} rows: the model gave no finite number"] if lost else [])
        )
        return frame, notes

    def _unknown(self, given: NewRows) -> list[str]:
        """Return how many tokens the model does not know, if there are any."""
        if not self.signature.known_tokens:
            return []
        count = int((self.prepared(torch.as_tensor(given.inputs)) == UNKNOWN).sum())
        tokens = np.count_nonzero(given.inputs != self.task.padding)
        return [f"{count:,} of {tokens:,} tokens are unknown to the model"] if count else []

    @torch.no_grad()
    def _part(self, given: NewRows, rows: slice) -> Tensor:
        inputs = torch.as_tensor(given.inputs[rows])
        predictions: Tensor = self(inputs if given.inputs.dtype == np.int64 else inputs.to(self.mean.dtype))
        return predictions


class Fitted(nn.Module):
    """A fitted estimator as a function of inputs `(B, D)`."""

    def __init__(self, estimator: Any, task: Task, num_classes: int) -> None:
        super().__init__()
        self.estimator, self.task, self.num_classes = estimator, task, num_classes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return its predictions."""
        return torch.as_tensor(estimators.predictions(self.estimator, self.task, self.num_classes, inputs.numpy()))


class EstimatorPredictor(Predictor):
    """Map rows as the data set holds them to predictions, by a fitted estimator and its preprocessing."""

    def __init__(
        self, estimator: Any, signature: Signature, keeps_missing: bool, vocabulary: int | None = None
    ) -> None:
        super().__init__(Fitted(estimator, signature.task, len(signature.classes)), signature)
        self.keeps_missing = keeps_missing
        self.vocabulary = vocabulary

    def forward(self, rows: Tensor) -> Tensor:
        """Return class probabilities `(B, classes)`, or numbers `(B,)` in the target's own unit.

        `rows` is `(B, D)`: floating point, NaN for missing values, or int64 tokens.
        """
        if self.vocabulary is not None:
            counted: Tensor = self.network(torch.as_tensor(seen(rows.numpy(), self.vocabulary)))
            return counted
        inputs = self.prepared(rows)
        outputs: Tensor = self.network(torch.where(rows.isnan(), torch.nan, inputs) if self.keeps_missing else inputs)
        return outputs
