"""Words with tags as tokens of a pretrained model: the first token of a word has its tag."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

import tagged
import tiny_models
from conftest import make_cell
from evalbench import load_weights
from evalbench.cell import Cell
from evalbench.convert.__main__ import main as convert
from evalbench.engine import checks, training
from evalbench.errors import ConfigError, DataError
from evalbench.tasks.spans import Spans
from evalbench.tasks.task import NO_TARGET
from evalbench.workloads import dataset_of, tokenizers
from plain import train as train_plainly

PAD, START, END = 0, 2, 3
KNOWN = {word: 4 + number for number, word in enumerate(tiny_models.WORDS)}
LETTERS = {letter: 16 + number for number, letter in enumerate("abcdefghijkl")}
ASKED: dict[str, Any] = {"tokens": "words", "target": "tags"}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tokenizer(tiny_models.bert(tmp_path_factory.mktemp("bert")))


def sentences(rows: int = 60) -> pd.DataFrame:
    """Return sentences of one to five words, whose last one is split into letters and has a tag of its own."""
    words = [
        [tiny_models.WORDS[(row * 5 + index) % 12] for index in range(row % 5)] + ["jackal"] for row in range(rows)
    ]
    entities = {"good": "B-A", "fine": "I-A", "great": "B-B", "jackal": "I-B"}
    return pd.DataFrame({"words": words, "tags": [[entities.get(word, "O") for word in row] for row in words]})


def of(folder: Path, model: Path, adaptation: str, *more: str) -> Cell:
    sentences().to_parquet(folder / "tagged.parquet")
    data = (f"dataset.path={folder}/tagged.parquet", "dataset.tokens=words", "dataset.target=tags")
    tokens = ("dataset.tokenizer=${model.path}", "dataset.text_length=10", f"model.path={model}", "optimizer.lr=0.01")
    return make_cell("dataset=parquet", "model=pretrained", *data, *tokens, f"adaptation={adaptation}", *more)


def test_the_first_token_of_a_word_has_its_tag(bert: Path) -> None:
    table = {
        "words": [["Bad", "dab", "the"], ["dab", "\u200b", "film"]] * 6,
        "tags": [["X", "Y", "O"], ["Y", "O", "X"]] * 6,
    }
    dataset = dataset_of(table, "t", **ASKED, tokenizer=str(bert), text_length=7)
    d, a, b = LETTERS["d"], LETTERS["a"] + 12, LETTERS["b"] + 12  # inside a word
    assert dataset.inputs[:2].tolist() == [
        [START, KNOWN["bad"], d, a, b, KNOWN["the"], END],
        [START, d, a, b, 1, KNOWN["film"], END],
    ]
    assert dataset.classes == ("O", "X", "Y")
    none = NO_TARGET
    assert dataset.targets[:2].tolist() == [[none, 1, 2, none, none, 0, none], [none, 2, none, none, 0, 1, none]]
    assert (dataset.kind.padding, dataset.vocabulary, dataset.min_count) == (PAD, 40, None)
    assert dataset.description.startswith("12 sentences with 36 words and 3 tags (")


def test_words_that_are_cut_have_no_tag(bert: Path) -> None:
    table = {"words": [["the", "film", "dab", "was"], ["bad"]] * 6, "tags": [["O", "X", "O", "X"], ["X"]] * 6}
    dataset = dataset_of(table, "t", **ASKED, tokenizer=str(bert), text_length=5)
    assert dataset.inputs[0].tolist() == [START, KNOWN["the"], KNOWN["film"], LETTERS["d"], END]
    assert dataset.targets[:2].tolist() == [[-100, 0, 1, 0, -100], [-100, 1, -100, -100, -100]]
    said = "6 of 12 sentences are longer than 5 tokens: their last 6 words are left out, and their tags with them"
    assert said in dataset.description
    shorter = dataset_of(table, "t", **ASKED, tokenizer=str(bert), text_length=9, length=2)
    assert (shorter.targets != NO_TARGET).sum(1)[:2].tolist() == [2, 1]
    assert "longer than 9 tokens or 2 words: their last 12 words" in shorter.description


def test_a_tokenizer_of_bytes_sees_the_spaces_between_words(tmp_path: Path) -> None:
    known = {token: number for number, token in enumerate(["<s>", "<pad>", "a", "b", "Ġ", "Ġa"])}
    made = Tokenizer(models.BPE(known, [("Ġ", "a")], unk_token="<s>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    wrapper: Any = PreTrainedTokenizerFast
    wrapper(tokenizer_object=made, pad_token="<pad>").save_pretrained(tmp_path)
    rows, first_tokens, are_cut = tokenizers.words([["ab", "a", "b"], ["a"]], str(tmp_path), 6)
    assert rows.tolist() == [[2, 3, 5, 4, 3, 1], [2, 1, 1, 1, 1, 1]]  # as the texts "ab a b" and "a"
    assert (first_tokens, are_cut) == ([[0, 2, 3], [0]], [False, False])
    assert rows.tolist() == tokenizers.tokens(["ab a b", "a"], str(tmp_path), 6)[0].tolist()


def test_an_entity_goes_on_over_further_tokens_of_its_words() -> None:
    tags = ("O", "B-A", "I-A")
    words, pieces = torch.tensor([[1, 2, 0]]), torch.tensor([[NO_TARGET, 1, NO_TARGET, 2, NO_TARGET, 0, NO_TARGET]])
    chosen = F.one_hot(torch.tensor([[2, 1, 0, 2, 1, 0, 1]]), 3).double()
    assert Spans(tags).f1(chosen, pieces).item() == Spans(tags).f1(F.one_hot(words, 3).double(), words).item() == 1


@pytest.mark.parametrize("adaptation", ["full", "probe", "lora"])
@pytest.mark.slow
def test_a_cohort_trains_as_one_network_and_as_a_plain_loop(bert: Path, tmp_path: Path, adaptation: str) -> None:
    cell = of(tmp_path, bert, adaptation, "optimizer.batch_size=12", "budget.epochs=2", "trainer.verify=false")
    checks.check(cell.config, cell.dataset)
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(2))
    plain = train_plainly(cell, 2)
    losses = [[point.val_loss for point in result.curve] for result in (together[2], alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(plain.val_losses, rel=1e-5)
    assert losses[0][0] != losses[0][1]
    assert together[2].metrics == pytest.approx(alone.metrics, rel=1e-5)
    assert together[2].metrics == pytest.approx(plain.metrics, rel=1e-5)
    assert {"test/entity_f1", "test/accuracy"} <= together[2].metrics.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_saved_network_gives_one_tag_per_word_and_so_do_other_programs(bert: Path, tmp_path: Path) -> None:
    import transformers

    cell = of(tmp_path, bert, "full", "save=all", "budget.epochs=8", "optimizer=adam", "optimizer.lr=0.02")
    training.train(cell.config, cell.dataset, cell.entrants(0), keep_in=tmp_path)
    network = load_weights(tmp_path / "s0")
    table = pd.DataFrame({"words": [["good", "jackal", "film"], ["jackal"], ["the"] * 12]})
    with pytest.warns(UserWarning, match=r"1 of 3 sentences are longer than 10 tokens: their last 4 words are left"):
        tags = network.predict(table).prediction
    assert list(map(len, tags)) == [3, 1, 12]
    assert tags[2][8:] == [None] * 4
    for to in ("safetensors", "torch-export"):
        assert convert([str(tmp_path / "s0"), "--to", to, "--output", str(tmp_path / to)]) == 0
    pipeline = transformers.pipeline("token-classification", str(tmp_path / "safetensors"))
    entities = pipeline("good jackal film", ignore_labels=[])
    whole = [one["entity"] for one in entities if not one["word"].startswith("##")]
    assert [one["word"] for one in entities[:2]] == ["good", "j"]
    assert whole == tags[0]
    assert len(set(whole)) > 1

    cell = of(tmp_path, bert, "lora", "save=all", "budget.epochs=1", "trainer.verify=false")
    training.train(cell.config, cell.dataset, cell.entrants(1), keep_in=tmp_path)
    assert convert([str(tmp_path / "s1"), "--to", "peft", "--output", str(tmp_path / "peft")]) == 0


def test_words_that_cannot_be_tokens_are_refused(bert: Path, tmp_path: Path) -> None:
    table = sentences()
    asked = {**ASKED, "tokenizer": str(bert)}
    table["tags"] = [["O"]] * len(table)
    with pytest.raises(DataError, match=r"'words' and 'tags' must have as many tokens as tags, not 2 and 1 in row 1"):
        dataset_of(table, "t", **asked)
    with pytest.raises(DataError, match=r"the tokenizer has no token for a word in rows 0, 1, 2, .*: leave these"):
        dataset_of(sentences(), "t", **asked, text_length=2)
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer", "pad_token": "<pad>"}')
    with pytest.raises(
        ConfigError, match=r"must tell which word a token belongs to, not 'ByT5Tokenizer': save the mod"
    ):
        dataset_of(sentences(), "t", **{**asked, "tokenizer": str(slow)})
    cell = of(tmp_path, bert, "full", "dataset.tokenizer=null")
    with pytest.raises(ConfigError, match=r"tokens of 'words', which are evalbench's own: say 'dataset.tokenizer=\$"):
        checks.check(cell.config, cell.dataset)
    images = tiny_models.tokenizer(tiny_models.vit(tmp_path / "vit"))
    cell = of(tmp_path, images, "full")
    with pytest.raises(ConfigError, match=r"model.path must hold a network of Transformers"):
        checks.check(cell.config, cell.dataset)


def test_a_network_of_evalbench_takes_these_tokens_too(bert: Path) -> None:
    cell = make_cell(*tagged.TAGGER, f"dataset.tokenizer={bert}", "dataset.text_length=20", "budget.epochs=2")
    checks.check(cell.config, cell.dataset)
    (result,) = training.train(cell.config, cell.dataset, cell.entrants(0))
    assert 0 < result.metrics["test/accuracy"] <= 1
