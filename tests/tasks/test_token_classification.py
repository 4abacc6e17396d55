"""Tags of tokens: padding counts nowhere, entities are those of conlleval, and any source gives the same data."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tagged
from conftest import make_cell
from contracts.task import TaskContract
from evalbench import load_weights, models
from evalbench.engine import checks, training
from evalbench.engine.data import Data
from evalbench.engines import Outlets, of
from evalbench.engines.module_cohort import as_cohort
from evalbench.errors import ConfigError, DataError, EvalbenchError
from evalbench.models.transformer import Tagger, Transformer
from evalbench.parts.loss import TrainingLoss
from evalbench.parts.row_weights import TokenWeights
from evalbench.predict.__main__ import main
from evalbench.seeds import Role, derive
from evalbench.tasks.spans import Spans, are_spans
from evalbench.tasks.task import NO_TARGET
from evalbench.tasks.token_classification import UNKNOWN, TokenClassification
from evalbench.workloads import Dataset, csv, dataset_of, draw_split, fit_scaling, frames, huggingface, references

TAGS = ("B-PER", "I-PER", "O")
WORDS = np.array([2, 3, 4, 5, 6, 7])
"""Tokens; the first three are mostly persons."""


def drawn(rows: int = 80, length: int = 6) -> Dataset:
    """Return sentences of 1 to 6 tokens, whose tag the token tells in most cases."""
    generator = np.random.default_rng(0)
    inputs, targets = np.zeros((rows, length), np.int64), np.full((rows, length), NO_TARGET)
    for row in range(rows):
        size = int(generator.integers(1, length + 1))
        inputs[row, :size] = generator.choice(WORDS, size)
        noise = generator.integers(0, 3, size)
        targets[row, :size] = np.where(generator.random(size) < 0.8, np.clip(inputs[row, :size] - 2, 0, 2), noise)
    features = tuple(f"token {number}" for number in range(length))
    kind, numeric = TokenClassification(TAGS), np.zeros(length, bool)
    return Dataset("t", kind, inputs, targets, features, numeric, TAGS, vocabulary=8, min_count=2)


class TestTokenClassification(TaskContract):
    dataset = drawn()
    loss, perfect = nn.CrossEntropyLoss(ignore_index=NO_TARGET), np.eye(3)[dataset.targets.clip(0)]
    refused: ClassVar = {
        "an int64 tag for each token": np.zeros(80, np.int64),
        "padding must be 0 behind the tokens of a row, with -100 as its tag": np.zeros((80, 6), np.int64),
        "tags must be numbers from 0 to 2": np.where(dataset.targets == 1, 7, dataset.targets),
        "every token has the same tag": dataset.targets.clip(max=0),
    }

    def test_bad_targets_are_refused_in_one_line(self) -> None:
        for rule, targets in self.refused.items():
            with pytest.raises(DataError) as error:
                Dataset(
                    "t", self.dataset.kind, self.dataset.inputs, targets, self.dataset.features, self.dataset.numeric,
                    TAGS, vocabulary=8,
                )  # fmt: skip
            assert rule in str(error.value)
            assert "\n" not in str(error.value)


# ── entities ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def scored(tags: tuple[str, ...], truth: list[list[str]], chosen: list[list[str]]) -> float:
    """Return entity F1 of sentences, padded to one length."""
    most = max(map(len, truth))
    codes = torch.tensor([[*map(tags.index, row), *[NO_TARGET] * (most - len(row))] for row in truth])
    picked = torch.tensor([[*map(tags.index, row), *[0] * (most - len(row))] for row in chosen])
    return Spans(tags).f1(F.one_hot(picked, len(tags)).double(), codes).item()


def test_entities_are_counted_as_in_the_example_of_seqeval() -> None:
    truth = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    chosen = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    tags = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER")
    assert (scored(tags, truth, chosen), scored(tags, truth, truth)) == (0.5, 1.0)
    outside = [["O"] * len(row) for row in truth]
    assert scored(tags, truth, outside) == scored(tags, outside, outside) == 0.0


TYPES = ("PER", "LOC")


@pytest.mark.parametrize(
    ("tags", "f1"),  # by f1_score of seqeval 1.2.2
    [
        (("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), 0.6470588235294118),
        (("O", *(f"{where}-{kind}" for kind in TYPES for where in "BIES")), 0.7508090614886731),
        (("O", "I-PER", "I-LOC", "B-LOC"), 0.6726457399103138),
    ],
    ids=["IOB2", "BIOES", "IOB1"],
)
def test_any_sequence_of_tags_has_the_entities_of_seqeval(tags: tuple[str, ...], f1: float) -> None:
    draw, change = random.Random(0), random.Random(1)
    truth = [[draw.choice(tags) for _ in range(draw.randint(1, 9))] for _ in range(40)]
    chosen = [[tag if change.random() < 0.7 else change.choice(tags) for tag in row] for row in truth]
    assert scored(tags, truth, chosen) == pytest.approx(f1, abs=1e-12)
    bilou = tuple(tag.replace("E-", "L-").replace("S-", "U-") for tag in tags)
    renamed = [[[bilou[tags.index(tag)] for tag in row] for row in rows] for rows in (truth, chosen)]
    assert scored(bilou, *renamed) == scored(tags, truth, chosen)


def test_only_tags_of_entities_are_read_as_such() -> None:
    assert are_spans(("O", "B-PER", "I-PER"))
    assert not any(map(are_spans, [("O",), ("NOUN", "VERB"), ("O", "B-PER", "X-PER"), ()]))
    assert [metric.name for metric in TokenClassification(("NN", "VB")).measured] == [
        "accuracy", "macro_f1", "log_loss",
    ]  # fmt: skip


# ── padding ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [Tagger, Transformer])
def test_outputs_do_not_depend_on_the_padded_length(kind: type[nn.Module]) -> None:
    tokens, more = torch.tensor([[3, 4, 5, 2], [6, 7, 0, 0]]), {"padding": 0} if kind is Tagger else {}
    torch.manual_seed(0)
    long = kind(vocabulary=8, in_features=9, out_features=3, activation=nn.ReLU, gain=1.4, width=8, heads=2, **more)
    short = kind(vocabulary=8, in_features=4, out_features=3, activation=nn.ReLU, gain=1.4, width=8, heads=2, **more)
    state = long.state_dict()
    state["embedding.positions"] = state["embedding.positions"][:4]
    short.load_state_dict(state)
    real = tokens != 0
    outputs = long(F.pad(tokens, (0, 5)))[:, :4]
    torch.testing.assert_close(outputs[real], short(tokens)[real])
    torch.testing.assert_close(short(tokens[1:, :2].repeat(1, 2) * torch.tensor([1, 1, 0, 0]))[0, :2], outputs[1, :2])
    assert short(torch.zeros(2, 4, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize("loss", ["default", "focal", "cross_entropy", "label_smoothing"])
def test_every_loss_is_a_mean_over_the_tokens_of_a_batch_also_in_parts(loss: str) -> None:
    config = make_cell(*tagged.CHOSEN, "model=tagger", f"loss={loss}").config.loss
    dataset = drawn()
    targets = torch.as_tensor(dataset.targets[:12])
    outputs = torch.randn(12, 6, 3, generator=torch.Generator().manual_seed(0))
    weigh, rows = TokenWeights(None, torch.float32), torch.zeros(1, 1, 12, dtype=torch.int64)
    given = weigh(targets[None, None], rows, torch.zeros(1))[0, 0]
    trained = TrainingLoss(config, dataset.kind, weighted=True)
    real = targets != NO_TARGET
    alone = trained(outputs[real][None], torch.stack([targets[real], torch.ones(int(real.sum()))], -1)[None])
    torch.testing.assert_close(trained(outputs, given), alone)
    if loss in ("default", "cross_entropy"):
        torch.testing.assert_close(alone, nn.CrossEntropyLoss(ignore_index=-100)(outputs.mT, targets))
    parts = [trained(outputs[part], given[part]) * len(outputs[part]) / 12 for part in (slice(0, 5), slice(5, 12))]
    torch.testing.assert_close(torch.stack(parts).sum(), alone)


def test_weights_of_tags_and_rows_leave_padding_out() -> None:
    cell = make_cell(*tagged.TAGGER, "loss.class_weights={B-PER: 3.0, O: 0.0}", "optimizer=bgd")
    counts = np.bincount(cell.dataset.targets[cell.dataset.targets >= 0])
    cohort, splits = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    targets = cell.dataset.targets[splits[1].train]
    (rows,) = cohort.batches.chunks(0, 1, 1)
    _, given = cohort._batch(rows, cohort._keys(0, 1))
    weights = given[0, 1, ..., 1]
    real = torch.as_tensor(targets != NO_TARGET)
    assert len(counts) == 5
    assert not weights[~real].any()
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    names = cell.dataset.classes
    each = {name: set(weights[torch.as_tensor(targets == code)].tolist()) for code, name in enumerate(names)}
    assert each["O"] == {0.0}
    assert len(each["B-LOC"]) == 1
    assert each["B-PER"].pop() == pytest.approx(3 * each["B-LOC"].pop())


def test_a_weight_of_two_is_a_sentence_that_stands_twice() -> None:
    cell = make_cell(*tagged.TAGGER, "optimizer=bgd")
    weights = np.resize(np.array([1, 2, 3, 0], dtype=np.float32), tagged.SENTENCES)
    cell = replace(cell, dataset=replace(cell.dataset, weights=weights))
    cohort, (_, split) = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    (rows,) = cohort.batches.chunks(0, 1, 1)
    _, losses, _ = cohort._compute(rows[0], cohort._keys(0, 1)[0])
    repeated = np.repeat(split.train, weights[split.train].astype(int))
    inputs, targets = cohort.data.gather(torch.as_tensor(repeated)[None, None], [1])
    seed = derive(cell.config.root_seed, cell.dataset.name, Role.INIT, 1)
    network = models.build_seeded(seed, cell.config.model, cell.config.activation, training.shape_of(cell.dataset))
    expected = nn.CrossEntropyLoss(ignore_index=-100)(network(inputs[0, 0]).mT, targets[0, 0])
    assert losses[1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_token_that_training_rows_have_once_is_unknown_to_the_split() -> None:
    dataset = dataset_of(tagged.frame(), "t", tokens="words", target="tags")
    encoding = dataset.encoding
    assert encoding is not None
    splits = [draw_split(dataset, 0.2, 0.2, seed) for seed in range(2)]
    data, rows = Data(dataset, splits, torch.float32), np.arange(tagged.SENTENCES)
    gathered, _ = data.gather(torch.as_tensor(rows).expand(1, 2, -1), [0, 1])
    words = encoding.columns[0].words  # type: ignore[attr-defined]
    for member, split in enumerate(splits):
        scaling = fit_scaling(dataset, split.train)
        assert scaling.known is not None
        every = list(itertools.chain.from_iterable(tagged.sentences()["words"][row] for row in split.train))
        expected = [True, True, *(every.count(word) >= 2 for word in words)]
        assert scaling.known.tolist() == expected
        np.testing.assert_array_equal(gathered[0, member], scaling.inputs(dataset, rows))
        assert (scaling.inputs(dataset, rows[::3]) == UNKNOWN).sum(1).min() >= 1


def test_dropped_tokens_are_no_padding_and_padding_stays() -> None:
    cell = make_cell(*tagged.TAGGER, "augmentation=token_dropout", "augmentation.probability=0.9")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    (rows,) = cohort.batches.chunks(0, 1, 1)
    before, _ = cohort.data.gather(rows, [0, 1])
    after, _ = cohort._batch(rows, cohort._keys(0, 1))
    assert torch.equal(after == 0, before == 0)
    assert (after != before).double().mean() > 0.3


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

ASKED: dict[str, Any] = {"tokens": "words", "target": "tags"}


def test_the_same_sentences_are_the_same_data_from_any_source(workspace: Path) -> None:
    table = tagged.frame()
    expected = dataset_of(table, "t", **ASKED)
    assert expected.description == (
        "60 sentences with 343 tokens and 5 tags (O: 42% of the tokens); entities by their first and last token;"
        " columns that are not used: id; words: 37 different tokens, of which those that a split's training rows have"
        " less than 2 times are one unknown token"
    )
    table.to_parquet("t.parquet")
    table.assign(words=table.words.map(json.dumps), tags=table.tags.map(json.dumps)).to_csv("json.csv", index=False)
    table.to_csv("python.csv", index=False)
    table.assign(words=table.words.map(" ".join), tags=table.tags.map(" ".join)).to_csv("spaces.csv", index=False)
    names = sorted({tag for tags in table.tags for tag in tags}, reverse=True)
    feature = datasets.Sequence(datasets.ClassLabel(names=names))
    given = {"words": list(table.words), "tags": [[names.index(tag) for tag in tags] for tags in table.tags]}
    features = datasets.Features({"words": datasets.Sequence(datasets.Value("string")), "tags": feature})
    datasets.Dataset.from_dict(given, features).save_to_disk("hub")
    made = [
        frames.parquet("t.parquet", **ASKED),
        *(csv.load(f"{name}.csv", "t", **ASKED) for name in ("json", "python", "spaces")),
        huggingface.load("hub", name="t", **ASKED),
        dataset_of(tagged.sentences(), "t", **ASKED),
    ]
    assert {dataset.fingerprint for dataset in made} == {expected.fingerprint}
    assert "words: split at white space" in made[3].description


def changed(row: int, words: Any, tags: Any) -> pd.DataFrame:
    table = tagged.frame(20)
    table.at[row, "words"], table.at[row, "tags"] = words, tags
    return table


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        (
            changed(3, ["a"], ["O", "O"]),
            {},
            "'words' and 'tags' must have as many tokens as tags, not 1 and 2 in row 3",
        ),
        (changed(3, [], []), {}, "the target 'tags' is missing in row 3: .* or leave these rows out with dataset.miss"),
        (changed(3, ["a", None], ["O", "O"]), {}, "'words' must have lists of texts or whole numbers, not .* in row 3"),
        (changed(3, ["a"], [None]), {}, r"'tags' must have lists of texts or whole numbers, not '\(None,\)' in row 3"),
        (tagged.frame(20).assign(words="[broken"), {"kind": "token_classification"}, "as many tokens as tags"),
        (tagged.frame(20), {"tokens": "word"}, "no column 'word': its columns are 'id', 'words', 'tags'"),
        (tagged.frame(20), {"target": "words"}, "dataset.target must be another column than dataset.tokens"),
        (
            tagged.frame(20)[["tags", "words"]],
            {"target": None},
            "must be another column than dataset.tokens, not 'words'",
        ),
        (tagged.frame(20), {"target": ["tags", "id"]}, "must be multilabel or regression for several targets"),
        (tagged.frame(20), {"kind": "count"}, "dataset.kind must be token_classification if dataset.tokens is given"),
        (tagged.frame(20), {"tokens": None, "kind": "token_classification"}, "dataset.tokens must name the column of"),
        (tagged.frame(20), {"length": 0}, "dataset.length must be a whole number of at least 1, not 0"),
        (tagged.frame(20), {"tokens": None}, "column 'words' holds lists, as only the columns of dataset.tokens and"),
    ],
)
def test_what_is_wrong_with_sentences_is_one_line(table: pd.DataFrame, settings: Any, message: str) -> None:
    with pytest.raises(EvalbenchError, match=message) as error:
        dataset_of(table, "t", **{**ASKED, **settings})
    assert "\n" not in str(error.value)


def test_long_sentences_are_cut_and_empty_ones_left_out_if_asked() -> None:
    dataset = dataset_of(changed(3, [], []), "t", **ASKED, length=4, missing_target="drop")
    assert dataset.inputs.shape == (19, 4)
    assert "1 of 20 rows left out because they have no target" in dataset.description
    longer = [len(words) - 4 for row, words in enumerate(tagged.sentences(20)["words"]) if len(words) > 4 and row != 3]
    said = f"{len(longer)} of 19 sentences are longer than 4 tokens: their last {sum(longer)} tokens are left out"
    assert said in dataset.description


def test_a_number_without_a_name_is_no_tag(workspace: Path) -> None:
    feature = datasets.Sequence(datasets.ClassLabel(names=["O", "X"]))
    given = {"words": [["a", "b"]] * 12, "tags": [[0, 1]] * 11 + [[0, -1]]}
    features = datasets.Features({"words": datasets.Sequence(datasets.Value("string")), "tags": feature})
    datasets.Dataset.from_dict(given, features).save_to_disk("hub")
    with pytest.raises(DataError, match=r"'tags' must have lists of texts .* in row 11"):
        huggingface.load("hub", **ASKED)


# ── models, engines, predictions ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*tagged.CHOSEN, "model=mlp"), "choose model=transformer, or model=tagger for tags"),
        ((*tagged.CHOSEN, "model=encoder"), "choose model=transformer, or model=tagger for tags"),
        ((*tagged.CHOSEN, "model=cnn"), "needs images"),
        ((*tagged.CHOSEN, "model=ridge"), r"model must be a network on frame \(token_classification\)"),
        (("dataset=python_source", "dataset.num_rows=54", "model=tagger"), "needs a tag for every token"),
        (("dataset=iris", "model=tagger"), "needs tokens"),
        ((*tagged.TAGGER, "augmentation=mixup"), "needs numbers, as tokens have no mean"),
        ((*tagged.TAGGER, "resampling=balanced"), "resampling"),
        ((*tagged.TAGGER, "augmentation=token_dropout", "augmentation.token=0"), "must be null or a token from 1 to"),
    ],
)
def test_what_does_not_fit_tags_is_refused_in_one_line(overrides: tuple[str, ...], message: str) -> None:
    cell = make_cell(*overrides)
    with pytest.raises(ConfigError, match=message) as error:
        of(cell.config).check(cell.config, cell.dataset)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_module_trains_on_tags_in_a_cohort_as_in_fits_of_its_own() -> None:
    module = ("model=lightning", "model._target_=tagged.Module", "budget.epochs=3", "num_seeds=2")
    scores = []
    for more in ((), ("+model.alone=true",)):
        cell = make_cell(*tagged.CHOSEN, *module, *more)
        if not more:
            as_cohort(cell.config, cell.dataset)  # raises unless it is taken over
        for _, results in of(cell.config).train_all(cell.config, cell.dataset, cell.entrants(1), cell.id):
            assert not isinstance(results, Exception)
            scores += [result.metrics for result in results]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert scores[0]["test/accuracy"] > 0.5


@pytest.mark.slow
def test_a_saved_tagger_predicts_what_was_tested(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = make_cell(*tagged.TAGGER, "save=all", "budget.epochs=12", "optimizer.batch_size=6")
    checks.check(cell.config, cell.dataset)
    ((_, trained),) = of(cell.config).train_all(
        cell.config, cell.dataset, cell.entrants(2), cell.id, Outlets(keep_in=workspace)
    )
    assert not isinstance(trained, Exception)
    split = training._split(cell.config, cell.dataset, cell.entrants(2)[0])
    table = tagged.frame().iloc[split.test]
    with pytest.warns(UserWarning, match=r"\d+ of \d+ tokens are unknown to the model"):
        predicted = load_weights(workspace / "s2").predict(table[["words"]])
    assert predicted.index.tolist() == split.test.tolist()
    assert list(map(len, predicted.prediction)) == list(map(len, table.words)) == list(map(len, predicted.probability))
    right = [a == b for both in zip(predicted.prediction, table.tags, strict=True) for a, b in zip(*both, strict=True)]
    assert np.mean(right) == pytest.approx(trained[0].metrics["test/accuracy"])
    trivial = references.trivial(cell.dataset, {2: split})[2]
    assert trained[0].metrics["test/entity_f1"] > 0.3 > trivial["test/entity_f1"] == 0

    table.assign(words=table.words.map(json.dumps)).to_csv("new.csv", index=False)
    assert main([str(workspace / "s2"), "new.csv", "--output", "tags.csv"]) == 0
    assert [json.loads(cells) for cells in pd.read_csv("tags.csv").prediction] == predicted.prediction.tolist()
    pd.DataFrame({"words": [["Ada", "saw"] * 9, []]}).to_parquet("long.parquet")
    assert main([str(workspace / "s2"), "long.parquet"]) == 2
    assert "column 'words' has no tokens in row 1: leave" in capsys.readouterr().err
    pd.DataFrame({"words": [["Ada", "new"] * 9]}).to_parquet("long.parquet")
    assert main([str(workspace / "s2"), "long.parquet"]) == 0
    said = capsys.readouterr().err
    assert "1 of 1 sentences are longer than 10 tokens: their last 8 tokens are left out" in said
    assert "5 of 10 tokens are unknown to the model" in said
