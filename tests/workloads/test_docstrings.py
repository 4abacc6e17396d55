"""Docstrings of Python's own library as tokens and as counted words, for every family of models."""

import numpy as np
import pytest

from conftest import make_cell
from contracts.engine import trained
from evalbench.engines.predicted import split_of
from evalbench.errors import DataError
from evalbench.tasks.classes import seen
from evalbench.trial import Entrant
from evalbench.workloads import docstrings

SMALL = ("dataset=docstrings", "dataset.text_features=64", "dataset.text_length=16")


@pytest.mark.slow
def test_tokens_and_words_are_the_same_rows_with_the_same_splits() -> None:
    tokens, words = (make_cell(*SMALL, f"dataset.text_as={kind}") for kind in ("tokens", "words"))
    assert tokens.dataset.classes == docstrings.PACKAGES
    assert np.array_equal(tokens.dataset.targets, words.dataset.targets)
    assert (tokens.dataset.inputs.shape[1], words.dataset.inputs.shape[1]) == (16, 64)
    one, two = (split_of(cell.config, cell.dataset, Entrant(0)) for cell in (tokens, words))
    assert np.array_equal(one.test, two.test)
    assert np.bincount(tokens.dataset.targets).min() > 100
    assert "package of a docstring of Python 3." in tokens.dataset.description


def test_a_library_without_its_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "PACKAGES", ("none",))
    with pytest.raises(DataError, match="none: no source there: install Python with its library's source"):
        docstrings.load("docstrings")


def test_tokens_are_counted_for_models_that_count() -> None:
    assert np.expm1(seen(np.array([[3, 0, 3], [1, 1, 1]]), 4)).round(9).tolist() == [[1, 0, 0, 2], [0, 3, 0, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ridge", "random_forest", "mlp", "encoder"])
def test_every_model_of_the_sweep_learns_from_tokens(model: str) -> None:
    small = {"mlp": ("model.width=16",), "encoder": ("model.width=8", "model.depth=1")}
    cell = make_cell(*SMALL, f"model={model}", *small.get(model, ()), "budget.epochs=5", "optimizer.lr=0.01")
    (result,) = trained(cell, cell.entrants(0)).values()
    assert result.metrics["test/accuracy"] > 0.25  # the most frequent package has 16 %
