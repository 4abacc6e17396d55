"""The table of numbers or tokens that a source of data returns, its meaning, and a fingerprint of its content."""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import DataError
from evalbench.tasks import Kind, Metric, Task
from evalbench.workloads.blocks import blocks, taken
from evalbench.workloads.preprocessing import Encoding
from evalbench.workloads.target_encoding import TargetEncoded, positions

MIN_ROWS = 10
SQUARES = np.arange(256, dtype=np.uint16) ** 2
ABOUT_ROWS = ("groups", "times", "weights")
"""Fields with a value for each row that is no input."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A supervised table; `N` rows, `D` columns.

    `inputs` is `(N, D)` float32, NaN for a missing value. `targets` is `(N,)`: class indices (int64) or numbers
    (float32). `numeric` is `(D,)`: whether a column is scaled and its missing values are filled, both from the training
    rows; the others are 0/1 indicators of categories. Raises `DataError` if no split of it could be used.

    With a `vocabulary`, the number of different tokens, `inputs` are tokens instead: int32 or int64 from 0, never
    scaled. For the kind LANGUAGE `targets` are tokens too, `(N, D)`: at each place the next one. `classes` are their
    names. For the kind TOKEN_CLASSIFICATION `targets` are the numbers of tags, `(N, D)`, and `classes` the tags. For
    the kinds MULTILABEL and MULTI_OUTPUT `targets` are `(N, L)`, and `classes` the names of these columns.

    With an `image`, (channels, height, width), the columns are its pixels in that order, and models that need images
    take it. Pixels may be uint8, which are scaled by channel. `inputs` may be a `np.memmap`: nothing reads it into
    memory as a whole.
    """

    name: str
    kind: Task
    """One of `Kind`."""
    inputs: NDArray[Any]
    targets: NDArray[np.int64] | NDArray[np.float32]
    features: tuple[str, ...]
    numeric: NDArray[np.bool_]
    classes: tuple[str, ...] = ()
    generated: bool = False
    description: str = ""
    image: tuple[int, int, int] | None = None
    vocabulary: int | None = None
    min_count: int | None = None
    """A token that the training rows of a split have less often is `UNKNOWN` to it, from the token after it on; None:
    all tokens are known."""
    encoded: tuple[TargetEncoded, ...] = ()
    """Columns of codes, which every split replaces by means of the target over its training rows."""
    held_out: NDArray[np.int64] | None = None
    """Numbers of the rows that every split tests on; None: each split draws its own."""
    drawn: bool = False
    """evalbench drew them: then a seed stands for them, and they are no part of the content."""
    declared_validation: NDArray[np.int64] | None = None
    """Numbers of the rows that every split validates on; None: each split draws its own."""

    groups: NDArray[np.int64] | None = None
    """The group of each row, `(N,)`, such as the number of a person."""
    times: NDArray[np.float64] | None = None
    """The time of each row, `(N,)`; only its order matters."""
    weights: NDArray[np.float32] | None = None
    """The weight of each row, `(N,)`, at least 0."""

    encoding: Encoding | None = None
    """How the inputs of other rows are made, for predictions; None: each feature is a column of numbers."""

    primary: Metric | None = None
    """The primary metric that the user names; None: the task's."""
    monitor: Metric | None = None
    """The metric on validation rows that picks the epoch; None: the loss. Neither is part of the content."""
    are_features: bool = False
    """The inputs are features of another data set's inputs, whose targets were checked with it."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DataError(f"a data set's name must be text, not {self.name!r}: give dataset.name one")
        if not isinstance(self.kind, Task):
            raise DataError(f"{self.name}: kind must be one of evalbench.workloads.Kind, or a task, not {self.kind!r}")
        if not all(isinstance(array, np.ndarray) for array in (self.inputs, self.targets)) or self.inputs.ndim != 2:
            remedy = "give np.asarray(…, dtype=np.float32)"
            raise DataError(f"{self.name}: inputs must be an array (N, D), and targets an array with N rows: {remedy}")
        rows, columns = self.inputs.shape
        if rows < MIN_ROWS:
            raise DataError(f"{self.name}: at least {MIN_ROWS} rows are needed, not {rows}: give more data")
        if columns == 0:
            raise DataError(f"{self.name}: at least one input column is needed, not 0: give a table with more columns")
        if self.image is not None and (min(self.image) < 1 or math.prod(self.image) != columns):
            remedy = "give (channels, height, width)"
            raise DataError(f"{self.name}: an image of {self.image} does not have {columns} pixels: {remedy}")
        missing, infinite = self._gaps
        if missing == rows * columns:
            raise DataError(f"{self.name}: every input is missing: give columns that have values")
        if infinite:
            raise DataError(f"{self.name}: inputs must be finite or missing, not infinite: give NaN for missing values")
        self._check_tokens()
        self._check_given_rows()
        self._check_about_rows()
        if not self.are_features:
            self.kind.check(self)

    def _check_tokens(self) -> None:
        if self.vocabulary is None:
            return
        whole = self.inputs.dtype in (np.int32, np.int64)
        if not whole or self.inputs.min() < 0 or self.inputs.max() >= self.vocabulary:
            raise DataError(
                f"{self.name}: tokens must be int32 or int64 from 0 to {self.vocabulary - 1}: check the loader"
            )

    def _check_about_rows(self) -> None:
        rows = len(self.inputs)
        for field, array in self.about_rows.items():
            if not isinstance(array, np.ndarray) or array.shape != (rows,) or array.dtype.kind not in "iuf":
                raise DataError(f"{self.name}: {field} must be an array of {rows} numbers: give one for each row")
        if self.weights is not None and not (np.isfinite(self.weights).all() and self.weights.min() >= 0):
            raise DataError(f"{self.name}: weights must be finite numbers of at least 0: correct them")

    def _check_given_rows(self) -> None:
        rows = len(self.targets)
        for field, given in (("held_out", self.fixed_test_rows), ("declared_validation", self.declared_validation)):
            if given is None:
                continue
            numbers = np.asarray(given)
            whole = numbers.ndim == 1 and numbers.dtype.kind in "iu" and numbers.size > 0
            if not whole or len(np.unique(numbers)) < numbers.size or numbers.min() < 0 or numbers.max() >= rows:
                remedy = "give each row once, for a mask np.flatnonzero(mask)"
                raise DataError(f"{self.name}: {field} must have row numbers from 0 to {rows - 1}: {remedy}")
        if self.declared_validation is None or self.held_out is None:
            return
        if np.isin(self.declared_validation, self.held_out).any():
            raise DataError(f"{self.name}: a row must be for validation or for the test, not for both: give it to one")
        if len(self.declared_validation) + len(self.held_out) == rows:
            raise DataError(f"{self.name}: all rows are for validation or the test: leave some for training")

    @property
    def fixed_test_rows(self) -> NDArray[np.int64] | None:
        """The rows that every split tests on because the source of the data says so."""
        return None if self.drawn else self.held_out

    def take(self, rows: NDArray[np.int64]) -> "Dataset":
        """Return a data set of some of the rows, whose splits have no test rows: there is nothing else in it."""
        none = np.array([], dtype=np.int64)
        values: dict[str, Any] = {name: array[rows] for name, array in self.about_rows.items()}
        if self.declared_validation is not None:
            validated = np.flatnonzero(np.isin(rows, self.declared_validation))
            values["declared_validation"] = validated if len(validated) else None
        inputs = taken(self.inputs, rows)
        return replace(self, inputs=inputs, targets=self.targets[rows], held_out=none, drawn=True, **values)

    @property
    def about_rows(self) -> dict[str, NDArray[Any]]:
        """What is known of each row beside inputs and target, by the name of the field."""
        fields = {name: getattr(self, name) for name in ABOUT_ROWS}
        return {name: array for name, array in fields.items() if array is not None}

    @property
    def num_outputs(self) -> int:
        """Outputs that a network needs, for each token if targets are tokens."""
        return self.kind.num_outputs(len(self.classes))

    @property
    def metric(self) -> Metric:
        """The primary metric, read once on the test rows."""
        return self.primary or self.kind.metric

    @property
    def measured(self) -> dict[str, Metric]:
        """The metrics of every trial by name: those of the task, and those that the user names."""
        named = (metric for metric in (self.primary, self.monitor) if metric is not None)
        return {metric.name: metric for metric in (*self.kind.measured, *named)}

    def evaluate(self, predictions: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Return the metrics of predictions on test rows by name, such as `test/accuracy`, see `Task.evaluate`."""
        return self.kind.evaluate(predictions, targets, list(self.measured.values()))

    def evaluate_all(self, predictions: Any, targets: Any) -> list[dict[str, float]]:
        """Return the metrics of C members, see `Task.evaluate_all`."""
        return self.kind.evaluate_all(predictions, targets, list(self.measured.values()))

    @cached_property
    def _gaps(self) -> tuple[int, int]:
        """The numbers of missing and of infinite inputs."""
        if self.inputs.dtype.kind != "f":
            return 0, 0
        counted = [(np.isnan(block).sum(), np.isinf(block).sum()) for block in blocks(self.inputs)]
        missing, infinite = np.sum(counted, axis=0)
        return int(missing), int(infinite)

    @property
    def has_missing(self) -> bool:
        """Whether an input is missing."""
        return self._gaps[0] > 0

    @property
    def is_scaled_by_channel(self) -> bool:
        """Whether inputs are pixels of 8 bits, scaled by the mean and standard deviation of their channel."""
        return self.image is not None and self.inputs.dtype == np.uint8

    @cached_property
    def pixel_sums(self) -> NDArray[np.int64]:
        """The sums of each image's pixels of 8 bits and of their squares, by channel: `(N, channels, 2)`, exact."""
        assert self.image is not None
        sums = []
        for block in blocks(self.inputs):
            pixels = block.reshape(len(block), self.image[0], -1)
            sums.append(np.stack([pixels.sum(2, dtype=np.int64), SQUARES[pixels].sum(2, dtype=np.int64)], axis=2))
        return np.concatenate(sums)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """The categories of the target-encoded columns, `(N, T)`, numbered over all these columns."""
        return positions(self.inputs, self.encoded)

    @cached_property
    def derived(self) -> dict[tuple[float | str, ...], Any]:
        """Splits and parts of the data set that were made before, by what they were made from."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that a source says and a result depends on, 16 hexadecimal digits: other data, other workload.

        So the source's own code is no part of a trial's identity: what it returns is.
        """
        digest = hashlib.sha256()
        for part in (self.inputs, self.targets, self.numeric):
            digest.update(f"{part.dtype}{part.shape}".encode())
            for block in blocks(part):
                digest.update(np.ascontiguousarray(block).data)
        digest.update(repr((self.kind.name, self.features, self.classes)).encode())
        if self.image is not None:
            digest.update(repr(self.image).encode())
        if self.vocabulary is not None and self.kind.name != Kind.LANGUAGE.name:  # there the classes have it
            digest.update(f"vocabulary {self.vocabulary}".encode())
        if self.min_count is not None:
            digest.update(f"known from {self.min_count}".encode())
        if self.encoding is not None and self.encoding.prompt is not None:
            digest.update(f"prompt {self.encoding.prompt.template}".encode())
        if self.encoded:
            digest.update(repr(self.encoded).encode())
        if self.fixed_test_rows is not None:
            digest.update(b"held out" + np.sort(self.fixed_test_rows).astype(np.int64).tobytes())
        if self.declared_validation is not None:
            digest.update(b"validated" + np.sort(self.declared_validation).astype(np.int64).tobytes())
        for name, array in self.about_rows.items():
            digest.update(f"{name} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]
