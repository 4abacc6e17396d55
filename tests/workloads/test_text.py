import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import make_cell
from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Dataset, Kind, draw_split, fit_scaling, references
from evalbench.workloads.text import MODULES, VOCABULARY, load, python_source


def spell(tokens: np.ndarray) -> str:
    return "".join("?" if VOCABULARY[token] == "other" else VOCABULARY[token] for token in tokens)


def write(folder: Path, text: str) -> str:
    path = folder / "words.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_windows_share_no_character_and_targets_are_the_next_ones(tmp_path: Path) -> None:
    text = "".join(chr(97 + place % 26) for place in range(53)) + "é\n" * 3
    dataset = load(write(tmp_path, text), length=4)
    assert (dataset.name, dataset.kind, dataset.vocabulary) == ("words", Kind.LANGUAGE, 98)
    assert dataset.num_outputs == len(VOCABULARY) == 98
    spelled = [(spell(inputs), spell(targets)) for inputs, targets in zip(dataset.inputs, dataset.targets, strict=True)]
    assert spelled[:2] == [("abcd", "bcde"), ("fghi", "ghij")]
    assert spelled[-1] == ("yza?", "za?\n")
    assert len(spelled) == 11  # of 59 characters in windows of 5; what is left over is left out


def test_fewer_rows_are_spread_evenly(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(chr(33 + place) * 4 for place in range(90)))
    every = load(path, length=3)
    some = load(path, length=3, num_rows=10)
    assert np.array_equal(some.inputs, every.inputs[np.linspace(0, 89, 10).round().astype(int)])


def test_the_library_of_this_python_is_the_same_text_every_time() -> None:
    one, two = (python_source("python_source", num_rows=50) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != python_source("python_source", num_rows=51).fingerprint
    assert one.inputs.shape == one.targets.shape == (50, 64)
    assert "source of Python 3." in one.description
    first = (Path(sysconfig.get_path("stdlib")) / f"{MODULES[0]}.py").read_text(encoding="utf-8")
    assert spell(one.inputs[0]) == first[:64]
    assert sorted(MODULES) == list(MODULES)


def test_splits_cover_all_windows_and_scaling_leaves_tokens_alone() -> None:
    dataset = make_cell("dataset=python_source", "dataset.num_rows=50").dataset
    split = draw_split(dataset, 0.2, 0.2, 0)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.validation, split.test])), np.arange(50))
    scaling = fit_scaling(dataset, split.train)
    assert np.array_equal(scaling.inputs(dataset, split.test), dataset.inputs[split.test])
    assert (scaling.target_mean, scaling.target_std) == (0.0, 1.0)


def tiny(inputs: list[list[int]]) -> Dataset:
    windows = np.array(inputs, dtype=np.int64)
    return Dataset(
        name="tiny",
        kind=Kind.LANGUAGE,
        inputs=windows[:, :-1],
        targets=windows[:, 1:],
        features=("0", "1"),
        numeric=np.zeros(2, dtype=bool),
        classes=("a", "b", "c"),
        vocabulary=3,
    )


def test_metrics_are_means_over_tokens() -> None:
    dataset = tiny([[0, 1, 2]] * 10)
    probabilities = np.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [0.3, 0.3, 0.4]]])
    values = dataset.kind.evaluate(probabilities, np.array([[0, 0], [2, 1]]))
    assert values["test/accuracy"] == 0.5
    assert values["test/log_loss"] == pytest.approx(-np.mean(np.log([0.5, 0.1, 0.6, 0.3])))
    assert values["test/perplexity"] == pytest.approx((0.5 * 0.1 * 0.6 * 0.3) ** -0.25)
    assert np.isfinite(dataset.kind.evaluate(np.eye(3)[[[0, 0]]], np.array([[1, 1]]))["test/perplexity"])


def test_references_count_tokens_and_pairs_of_tokens() -> None:
    dataset = tiny([[0, 1, 2]] * 12)
    split = draw_split(dataset, 0.2, 0.2, 0)
    assert references.trivial(dataset, {0: split})[0] == pytest.approx(
        {"test/accuracy": 0.5, "test/log_loss": np.log(2), "test/perplexity": 2.0}  # half 1, half 2
    )
    right = (len(split.train) + 1) / (len(split.train) + 3)  # one is added to each of the three counts
    assert references.linear(dataset, {0: split})[0] == pytest.approx(
        {"test/accuracy": 1.0, "test/log_loss": -np.log(right), "test/perplexity": 1 / right}
    )


def test_a_pair_of_characters_says_more_than_one() -> None:
    dataset = make_cell("dataset=python_source", "dataset.num_rows=500").dataset
    split = draw_split(dataset, 0.2, 0.2, 0)
    trivial, linear = (predictor(dataset, {0: split})[0] for predictor in (references.trivial, references.linear))
    assert trivial["test/accuracy"] < linear["test/accuracy"]
    assert linear["test/log_loss"] < trivial["test/log_loss"]


def test_rows_of_tokens_may_have_a_class_each() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, (60, 8))
    dataset = Dataset(
        name="rows",
        kind=Kind.BINARY,
        inputs=tokens,
        targets=(tokens == 0).any(1).astype(np.int64),
        features=tuple(map(str, range(8))),
        numeric=np.zeros(8, dtype=bool),
        classes=("without", "with"),
        vocabulary=5,
    )
    assert references.linear(dataset, {0: draw_split(dataset, 0.2, 0.2, 0)})[0]["test/accuracy"] > 0.7


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("", {}, "the file is empty"),
        ("too short", {}, "9 characters are too few for 10 windows of 64: give more text or a smaller dataset.length"),
        ("abc" * 100, {"length": 4, "num_rows": 500}, r"for 500 windows of 4.*or dataset\.num_rows"),
        ("é" * 1000, {}, "not ASCII"),
        ("a" * 1000, {}, "every next token is the same"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str, settings: dict[str, int], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as error:
        load(write(tmp_path, text), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_no_such_file_no_such_encoding_and_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.txt"))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 1000)
    with pytest.raises(DataError, match="not text in UTF-8"):
        load(str(tmp_path / "latin.txt"))
    with pytest.raises(ConfigError, match=r"dataset\.length"):
        python_source("python_source", length=0)
    with pytest.raises(ConfigError, match=r"dataset\.num_rows"):
        python_source("python_source", num_rows=3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vocabulary": None}, "needs tokens"),
        ({"vocabulary": 2}, "from 0 to 1"),
        ({"classes": ("a", "b")}, "every token a name"),
        ({"targets": np.zeros(12, dtype=np.int64)}, "every place of a window needs a target"),
        ({"image": (1, 2, 2)}, "does not have 2 pixels"),
    ],
)
def test_a_loader_that_contradicts_itself_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        replace(tiny([[0, 1, 2]] * 12), **changes)  # type: ignore[arg-type]
