"""The next token in windows of texts: their data, references, training, files, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tiny_models
from conftest import make_cell
from evalbench import load_weights
from evalbench.cell import Cell
from evalbench.convert.__main__ import main as convert
from evalbench.engine import checks, training
from evalbench.errors import ConfigError, DataError
from evalbench.models.pretrained import HEADS, Pretrained
from evalbench.report.sections.compared import NOUNS
from evalbench.tasks import TASKS
from evalbench.tasks.next_token import NextToken
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import Dataset, dataset_of, draw_split, references
from plain import train as train_plainly

START, END = 2, 3
CODES = {word: 4 + number for number, word in enumerate(tiny_models.WORDS)}
ONE_SIZE = ("optimizer.batch_size=8", "trainer.path=batched")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a decoder whose tokenizer has a token that ends a text."""
    return tiny_models.tokenizer(tiny_models.llama(tmp_path_factory.mktemp("llama")), eos_token="[SEP]")


def texts(rows: int = 60) -> list[str]:
    """Return texts of 1 to 14 words, in which one word tells the next in most cases."""
    words = tiny_models.WORDS
    return [
        " ".join(words[(row * 7 + place * (1 + row % 2)) % 12] for place in range(1 + row % 14)) for row in range(rows)
    ]


def of(folder: Path, model: Path, adaptation: str, *more: str) -> Cell:
    pd.DataFrame({"text": texts()}).to_csv(folder / "films.csv", index=False)
    data = ("dataset=csv", f"dataset.path={folder}/films.csv", "dataset.text=[text]", "dataset.kind=next_token")
    tokens = ("model=pretrained", f"model.path={model}", "dataset.tokenizer=${model.path}", "dataset.text_length=9")
    return make_cell(
        *data, *tokens, f"adaptation={adaptation}", "optimizer.lr=0.05", "budget.epochs=2", *ONE_SIZE, *more
    )


def windows(model: Path, table: Any, **settings: Any) -> Dataset:
    return dataset_of(table, "t", kind="next_token", text="text", tokenizer=str(model), **settings)


def test_texts_share_windows_and_are_cut_only_where_they_are_longer(llama: Path) -> None:
    good, bad, film = (CODES[word] for word in ("good", "bad", "film"))
    table = pd.DataFrame({"text": [*["good bad good bad good bad"] * 12, "film", None]})
    dataset = windows(llama, table, text_length=6)
    assert dataset.inputs[[0, 1, 3]].tolist() == [
        [START, good, bad, good, bad, good],
        [START, film, END, bad, END, START],
        [bad, END, bad, END, bad, END],
    ]
    assert dataset.targets[1].tolist() == [film, END, bad, END, NO_TARGET]
    assert (dataset.vocabulary, dataset.num_outputs, dataset.kind.name) == (40, 5, "next_token")
    assert dataset.description == (
        "1 of 14 rows left out because they have no text; text: 13 texts packed into 17 windows (12 with one text);"
        " 6 tokens each by the model's tokenizer of 40 tokens; 82 of them to foretell, 2.9% padding"
    )


def test_no_text_is_in_two_parts_of_a_split(llama: Path) -> None:
    frame = pd.DataFrame({"text": [f"{'a' * (1 + row % 11)} {'bcdefghijkl'[row % 11]}" for row in range(120)]})
    dataset = windows(llama, frame, text_length=16)
    assert dataset.groups is not None
    assert len(dataset.inputs) < 100
    frame["part"] = ["test" if row % 4 == 0 else "train" for row in range(120)]
    given = windows(llama, frame, text_length=16, split_column="part", drop=["part"])
    assert given.held_out is not None
    for data in (dataset, given):
        assert data.groups is not None
        split = draw_split(data, 0.2, 0.2, 0)
        train, validation, test = (set(data.groups[rows]) for rows in (split.train, split.validation, split.test))
        assert train.isdisjoint(validation | test)
        assert validation.isdisjoint(test)
    tokens = sum(len(text) + 1 for text in frame.text[::4])  # letters, the start and the end
    assert (given.targets[given.held_out] != NO_TARGET).sum() + len(given.held_out) == tokens


def test_without_packing_a_text_is_a_row(llama: Path) -> None:
    frame = pd.DataFrame({"text": texts(), "when": range(60)})
    dataset = windows(llama, frame, text_length=9, packing=False, time="when")
    assert dataset.inputs.shape == (60, 9)
    assert dataset.groups is None
    assert dataset.times is not None
    assert (dataset.targets[0] == NO_TARGET).sum() == 6
    assert "60 texts (28 are longer and cut), each filled up to a window" in dataset.description


def test_references_are_those_of_all_pairs_of_tokens() -> None:
    draw, length, vocabulary = np.random.default_rng(0), 8, 12
    rows = draw.integers(0, vocabulary, (40, length)) // (1 + draw.integers(0, 3, (40, 1)))
    targets = rows[:, 1:].copy()
    targets[::3, -2:] = NO_TARGET
    names = tuple(map(str, range(length - 1)))
    made = Dataset(
        "t", NextToken(vocabulary), rows, targets, (*names, "x"), np.zeros(length, bool), names, vocabulary=vocabulary
    )
    split = draw_split(made, 0.2, 0.2, 0)
    counts = np.ones((vocabulary, vocabulary))
    for row, target in zip(rows[split.train], targets[split.train], strict=True):
        for before, after in zip(row[:-1], target, strict=True):
            if after != NO_TARGET:
                counts[before, after] += 1
    is_token = targets[split.test] != NO_TARGET
    shares = (counts / counts.sum(1, keepdims=True))[rows[split.test, :-1]]
    truth = targets[split.test].clip(min=0)[..., None]
    expected = -np.log(np.take_along_axis(shares, truth, -1)[..., 0][is_token]).mean()
    scores = references.linear(made, {0: split})[0]
    assert scores["test/log_loss"] == pytest.approx(expected)
    assert scores["test/perplexity"] == pytest.approx(np.exp(expected))
    hits = shares.argmax(-1) == targets[split.test]
    assert scores["test/accuracy"] == pytest.approx(hits[is_token].mean())
    single = np.ones(vocabulary) + np.bincount(
        targets[split.train][targets[split.train] != NO_TARGET], minlength=vocabulary
    )
    likelihoods = np.log(single / single.sum())[truth[..., 0]][is_token]
    assert references.trivial(made, {0: split})[0]["test/log_loss"] == pytest.approx(-likelihoods.mean())


@pytest.mark.slow
def test_a_cohort_trains_as_one_network_as_a_plain_loop_and_in_parts(llama: Path, tmp_path: Path) -> None:
    cell = of(tmp_path, llama, "lora")
    checks.check(cell.config, cell.dataset)
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 2))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(2))
    parts = of(tmp_path, llama, "lora", "trainer.microbatch_size=3")
    (in_parts,) = training.train(parts.config, parts.dataset, parts.entrants(2))
    plain = train_plainly(cell, 2)
    losses = [[point.val_loss for point in result.curve] for result in (together[1], alone, in_parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert losses[0] == pytest.approx(plain.val_losses, rel=1e-5)
    assert losses[0][0] != losses[0][1]
    assert together[1].metrics == pytest.approx(alone.metrics, rel=1e-5)
    assert together[1].metrics == pytest.approx(plain.metrics, rel=1e-5)
    assert together[1].metrics.keys() == {"test/accuracy", "test/log_loss", "test/perplexity"}


def test_the_likelihoods_are_those_of_the_network(llama: Path, tmp_path: Path) -> None:
    import transformers

    cell = of(tmp_path, llama, "full", "dataset.packing=false")
    network = training.network_of(cell.config, cell.dataset).eval()
    assert isinstance(network, Pretrained)
    rows = torch.as_tensor(cell.dataset.inputs[:4])
    plain = getattr(transformers, HEADS["causal_lm"]).from_pretrained(llama).eval()
    for row, outputs in zip(rows, network(rows), strict=True):
        logits = plain(input_ids=row[None]).logits[0, :-1]
        expected = logits.log_softmax(-1).gather(-1, row[1:, None])[:, 0]
        torch.testing.assert_close(outputs[:, 0], expected)
        assert outputs[:, 1].tolist() == logits.argmax(-1).tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_saved_decoder_becomes_files_of_other_programs(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (adaptation, to) in enumerate((("layernorm", "safetensors"), ("lora", "peft"))):
        cell = of(tmp_path, llama, adaptation, "save=all", "budget.epochs=1")
        (result,) = training.train(cell.config, cell.dataset, cell.entrants(seed), keep_in=tmp_path)
        assert convert([str(tmp_path / f"s{seed}"), "--to", to, "--output", str(tmp_path / to)]) == 0
    assert convert([str(tmp_path / "s0"), "--to", "torch-export", "--output", str(tmp_path / "graph")]) == 0
    assert capsys.readouterr().out.count("rows of the data set") == 3
    network = load_weights(tmp_path / "s1")
    split = training._split(cell.config, cell.dataset, cell.entrants(1)[0])
    predictions = network(torch.as_tensor(cell.dataset.inputs[split.test])).detach().numpy()
    assert cell.dataset.evaluate(predictions, cell.dataset.targets[split.test]) == pytest.approx(result.metrics)
    with pytest.raises(DataError, match=r"next tokens are predicted in Python alone"):
        network.predict(pd.DataFrame({"text": ["good film"]}))


def test_a_file_is_cut_into_windows_of_tokens(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("good film bad plot\n" * 40)
    chosen = (f"dataset.path={tmp_path}/my.txt", f"dataset.tokenizer={llama}", "dataset.length=7")
    cell = make_cell("dataset=text", *chosen, "model=pretrained", f"model.path={llama}")
    checks.check(cell.config, cell.dataset)
    good, film, bad, plot = (CODES[word] for word in ("good", "film", "bad", "plot"))
    assert cell.dataset.inputs[:2].tolist() == [
        [START, good, film, bad, plot, good, film, bad],
        [plot, good, film, bad, plot, good, film, bad],
    ]
    assert cell.dataset.inputs.shape == (20, 8)
    assert cell.dataset.groups is None


@pytest.mark.slow
def test_what_cannot_be_foretold_is_refused(llama: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": texts(), "label": ["x"] * 60, "when": range(60)})
    for settings, rule in (
        ({"target": "label"}, r"dataset.target must be left out for next_token, which foretells the text, not 'label'"),
        ({"tokenizer": None}, r"dataset.tokenizer must make the tokens for next_token"),
        ({"text": ["text", "label"]}, r"dataset.text must name one column of texts for next_token"),
        ({"text": "tex"}, r"no column 'tex': its columns are 'text', 'label', 'when'"),
        ({"time": "when"}, r"dataset.time must be left out, because texts share windows: say dataset.packing=false"),
        ({"text_length": 500}, r"at least 10 rows are needed"),
    ):
        asked: dict[str, Any] = {"kind": "next_token", "text": "text", "tokenizer": str(llama), **settings}
        with pytest.raises((ConfigError, DataError), match=rule) as error:
            dataset_of(frame, "t", **asked)
        assert "\n" not in str(error.value)
    endless = tiny_models.tokenizer(tmp_path / "endless")
    with pytest.raises(ConfigError, match=r"dataset.tokenizer must have a token that ends a text"):
        windows(endless, frame)
    for model, rule in (
        (tiny_models.bert(tmp_path / "bert"), r"must be a decoder, which foretells a token from those before it"),
        (tiny_models.vit(tmp_path / "vit"), r"model.path must hold a network of Transformers"),
    ):
        cell = of(tmp_path, tiny_models.tokenizer(model, eos_token="[SEP]"), "full")
        with pytest.raises(ConfigError, match=rule):
            checks.check(cell.config, cell.dataset)


def test_a_report_counts_tokens_where_there_are_no_classes() -> None:
    assert {task.name for task in TASKS.values() if task.per_token or task.answers} <= NOUNS.keys()
