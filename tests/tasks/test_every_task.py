"""Every task of tables passes the same tests."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from contracts.task import TaskContract
from evalbench.tasks import Kind
from evalbench.tasks.ordinal import Ordinal
from target_tables import COUNTS, RANKS, ROWS, SIGNALS, TABLES


class TestBinary(TaskContract):
    dataset = TABLES["binary"]
    loss, perfect = nn.BCEWithLogitsLoss(), np.eye(2)[dataset.targets]
    refused: ClassVar = {
        "every class needs at least 5 rows": (np.arange(ROWS) < 3).astype(np.int64),
        "must have the shape (80,)": np.zeros((ROWS, 2), np.int64),
    }


class TestMulticlass(TaskContract):
    dataset = TABLES["multiclass"]
    loss, perfect = nn.CrossEntropyLoss(), np.eye(4)[RANKS]
    refused: ClassVar = {"every class needs at least 5 rows": np.minimum(RANKS, 2)}


class TestOrdinal(TaskContract):
    dataset = TABLES["ordinal"]
    loss, perfect = nn.CrossEntropyLoss(), np.eye(4)[RANKS]
    refused: ClassVar = {"every class needs at least 5 rows": np.minimum(RANKS, 2)}

    def test_its_probabilities_are_those_of_steps_from_class_to_class(self) -> None:
        outputs = self.outputs(1)[0].double()
        step = outputs.sigmoid()
        expected = [1 - step[:, 0], step[:, 0] * (1 - step[:, 1]), step[:, 0] * step[:, 1] * (1 - step[:, 2])]
        assert Ordinal().predict(outputs)[:, :3] == pytest.approx(torch.stack(expected, -1).numpy())
        assert Ordinal().predict(outputs).sum(-1) == pytest.approx(np.ones(len(outputs)))
        assert Ordinal().predict(torch.tensor([[90.0, 90.0, -90.0]])).argmax() == 2


class TestRegression(TaskContract):
    dataset = TABLES["regression"]
    loss, perfect = nn.MSELoss(), dataset.targets
    refused: ClassVar = {
        "must be finite": np.full(ROWS, np.inf, np.float32),
        "one value only": np.ones(ROWS, np.float32),
    }


class TestMultiOutput(TaskContract):
    dataset = TABLES["multi_output"]
    loss, perfect = nn.MSELoss(), dataset.targets
    refused: ClassVar = {
        "must be finite": np.full((ROWS, 3), np.nan, np.float32),
        "'y' has one value only": (SIGNALS * [1, 0, 1]).astype(np.float32),
        "two named columns or more, not the shape (80,)": SIGNALS[:, 0].astype(np.float32),
    }


class TestMultiLabel(TaskContract):
    dataset = TABLES["multilabel"]
    loss, perfect = nn.BCEWithLogitsLoss(), dataset.targets.astype(float)
    refused: ClassVar = {
        "labels must be int64, 0 for no and 1 for yes": np.full((ROWS, 3), 2),
        "every label needs at least 5 rows with yes": np.repeat(np.arange(ROWS)[:, None] < 2, 3, 1).astype(np.int64),
        "two named columns or more, not the shape (80, 2)": np.zeros((ROWS, 2), np.int64),
    }


class TestCount(TaskContract):
    dataset = TABLES["count"]
    loss, perfect = nn.PoissonNLLLoss(), COUNTS
    refused: ClassVar = {"at least 0, not -1": COUNTS - COUNTS.min() - 1, "one value only": np.ones(ROWS, np.float32)}

    def test_a_network_of_zeros_is_the_trivial_predictor(self) -> None:
        data, splits = self.data()
        rates = data.unscaled(Kind.COUNT.predict(torch.zeros(3, 5, 1)), [0, 1, 2])
        assert rates[:, 0] == pytest.approx(np.array([COUNTS[split.train].mean() for split in splits]))
