"""Tokens by the tokenizer of a pretrained model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tiny_models
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import checks
from evalbench.errors import ConfigError, DataError
from evalbench.weights import new_rows
from evalbench.workloads.preprocessing import Encoding


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_models.bert(tmp_path_factory.mktemp("bert"))
    return tiny_models.tokenizer(folder)


def of(folder: Path, model: Path, *more: str) -> Cell:
    """Return a cell of texts whose tokens are those of a model."""
    rows = ["text,label", *(f"{'GOOD film' if row % 2 else 'not very bad plot'},{row % 2}" for row in range(30))]
    (folder / "films.csv").write_text("\n".join(rows) + "\n,1\n")
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_length=5")
    network = ("model=pretrained", f"model.path={model}", "dataset.tokenizer=${model.path}", "adaptation=probe")
    return make_cell("dataset=csv", f"dataset.path={folder}/films.csv", *tokens, *network, *more)


def test_texts_become_the_tokens_of_the_model(model: Path, tmp_path: Path) -> None:
    cell = of(tmp_path, model)
    words = {word: 4 + number for number, word in enumerate(tiny_models.WORDS)}
    pad, start, end = 0, 2, 3
    expected = [
        [start, words["not"], words["very"], words["bad"], end],  # cut
        [start, words["good"], words["film"], end, pad],
    ]
    assert cell.dataset.inputs[:2].tolist() == expected
    assert cell.dataset.inputs[-1].tolist() == [start, end, pad, pad, pad]  # a text that is missing
    assert cell.dataset.inputs.dtype == np.int64
    assert cell.dataset.vocabulary == 4 + len(words) + 24
    assert "15 of 31 texts are longer" in cell.dataset.description
    checks.check(cell.config, cell.dataset)


def test_new_texts_become_tokens_as_in_training(tmp_path: Path) -> None:
    kept = tiny_models.tokenizer(tiny_models.bert(tmp_path / "kept"))
    dataset = of(tmp_path, kept).dataset
    assert dataset.encoding is not None
    encoding = Encoding.read(json.loads(json.dumps(dataset.encoding.spec())))
    frame = pd.DataFrame({"text": ["not very bad plot", "GOOD film", None]})
    given = new_rows.read(frame, encoding, dataset.kind)
    assert given.inputs.tolist() == dataset.inputs[[0, 1, -1]].tolist()
    assert given.notes == ["1 of 3 texts are longer"]
    tiny_models.tokenizer(kept, unk_token="[SEP]")
    with pytest.raises(DataError, match="must be as it was in training: put its files back"):
        new_rows.read(frame, encoding, dataset.kind)


def test_a_tokenizer_that_does_not_fit_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset.tokenizer needs tokens, as many as it knows"):
        of(tmp_path, model, "dataset.text_as=words")
    with pytest.raises(ConfigError, match=r"dataset.tokenizer must be the folder of a tokenizer"):
        of(tmp_path, model, f"dataset.tokenizer={tmp_path}")
    unpadded = tiny_models.tokenizer(tmp_path / "unpadded", pad_token=None)
    with pytest.raises(ConfigError, match=r"dataset.tokenizer must have a token of padding"):
        of(tmp_path, model, f"dataset.tokenizer={unpadded}")
    other = tiny_models.tokenizer(tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "bert", "pad_token_id": 9}))
    with pytest.raises(ConfigError, match=r"must have the token of padding of the model, which is 9, not 0"):
        of(tmp_path, model, f"dataset.tokenizer={other}")
