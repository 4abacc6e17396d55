"""Every task of tables passes the same tests."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from conftest import make_cell
from contracts.task import TaskContract
from evalbench import engines
from evalbench.engine import training
from evalbench.errors import ConfigError, InputError
from evalbench.tasks import Kind
from evalbench.tasks.ordinal import Ordinal
from evalbench.workloads import references, split_of
from target_tables import COUNTS, INPUTS, QUERIES, RANKS, ROWS, SIGNALS, TABLES


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


class TestRanking(TaskContract):
    dataset = TABLES["ranking"]
    loss, perfect = nn.MSELoss(), RANKS.astype(float)
    refused: ClassVar = {
        "targets must be relevance and group, (80, 2), not (80,)": RANKS.astype(np.float32),
        "must be finite and at least 0, not -1": np.column_stack([RANKS - 1, QUERIES]).astype(np.float32),
        "every group has one relevance only": np.column_stack([QUERIES, QUERIES]).astype(np.float32),
    }

    def test_a_table_of_queries_keeps_each_on_one_side(self, workspace: Path) -> None:
        frame = pd.DataFrame(INPUTS, columns=["a", "b", "c"]).assign(query=[f"q{q}" for q in QUERIES], relevance=RANKS)
        frame.to_csv("queries.csv", index=False)
        chosen = ("dataset=csv", "dataset.path=queries.csv", "dataset.kind=ranking", "dataset.group=query")
        cell = make_cell(*chosen, "model.width=8", "optimizer=sgd", "budget.epochs=4")
        assert cell.dataset.features == ("a", "b", "c")
        split = split_of(cell.dataset, cell.config.split, 0, 0)
        sides = [set(cell.dataset.targets[rows, 1]) for rows in (split.train, split.validation, split.test)]
        assert sum(map(len, sides)) == 16 == len(set.union(*sides))
        (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
        assert result.metrics["test/ndcg_10"] > references.trivial(cell.dataset, {0: split})[0]["test/ndcg_10"]
        forest = make_cell(*chosen, "model=random_forest", "model.n_estimators=5")
        ((_, trained),) = engines.of(forest.config).train_all(forest.config, forest.dataset, forest.entrants(0), "")
        assert not isinstance(trained, Exception)
        assert trained[0].metrics["test/ndcg_10"] > 0.5
        with pytest.raises(ConfigError, match=r"dataset\.group must name a column for ranking"):
            make_cell(*chosen[:3])
        with pytest.raises(InputError, match="must stay together"):
            make_cell(*chosen, "split=random")
