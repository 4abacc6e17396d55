"""Pretrained networks that train in less memory: activations computed again in the backward pass."""

from pathlib import Path

import pytest

import tiny_models
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engine import training
from evalbench.errors import ConfigError


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.texts(tmp_path_factory.mktemp("texts") / "films.csv")


def of_texts(path: Path, model: Path, *more: str) -> Cell:
    tokens = ("dataset.text=[text]", "dataset.text_as=tokens", "dataset.text_features=64", "dataset.text_length=8")
    network = ("model=pretrained", f"model.path={model}", "optimizer.lr=0.01", "optimizer.batch_size=9")
    return make_cell(
        "dataset=csv", f"dataset.path={path}", *tokens, *network, "budget.epochs=1", "trainer.verify=false", *more
    )


@pytest.mark.parametrize("path", ["batched", "lone"])
@pytest.mark.slow
def test_activations_computed_again_change_no_bit(path: str, texts: Path, tmp_path: Path) -> None:
    model = tiny_models.bert(tmp_path, dropout=0.3, layers=2)
    cells = [
        of_texts(texts, model, "adaptation=lora", f"trainer.path={path}", f"model.gradient_checkpointing={again}")
        for again in ("false", "true")
    ]
    cohorts = [training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))[0] for cell in cells]
    peaks = [cohort.trace_memory()[0] for cohort in cohorts]
    assert peaks[1] < 0.95 * peaks[0]
    results = [training.train(cell.config, cell.dataset, cell.entrants(0, 1)) for cell in cells]
    assert [result.curve for result in results[0]] == [result.curve for result in results[1]]
    assert {result.path["name"] for result in results[1]} == {path}


def test_the_setting_is_part_of_the_identity_where_it_is_on(texts: Path, tmp_path: Path) -> None:
    model = tiny_models.bert(tmp_path)
    off, on = (of_texts(texts, model, f"model.gradient_checkpointing={on}") for on in ("false", "true"))
    assert "gradient_checkpointing" not in off.config.identity["model"]
    assert on.config.identity["model"]["gradient_checkpointing"]
    assert off.id != on.id
    with pytest.raises(ConfigError, match=r"^model.gradient_checkpointing must be true or false, not 'maybe'"):
        of_texts(texts, model, "model.gradient_checkpointing=maybe")
