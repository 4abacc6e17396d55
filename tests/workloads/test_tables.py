"""Tables of every format: one way from columns to inputs, and one message for all that is wrong."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

import evalbench
from evalbench.engine.data import Data
from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Dataset, Kind, arrays, csv, dataset_of, draw_split, fit_scaling, frames
from evalbench.workloads.inputs import bucket
from evalbench.workloads.target_encoding import FOLDS, SMOOTHING

NUM_ROWS = 300


def people() -> pd.DataFrame:
    """A table with a column of every type, two holes, and a class of five rows."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": [None, *generator.normal(40, 9, NUM_ROWS - 1).round(1)],
            "city": [f"c{number}" for number in generator.integers(0, 150, NUM_ROWS)],
            "colour": pd.Categorical(generator.choice(["red", "blue"], NUM_ROWS)),
            "member": generator.random(NUM_ROWS) < 0.5,
            "day": pd.date_range("2024-01-01", periods=NUM_ROWS, freq="37h"),
            "code": generator.integers(1, 4, NUM_ROWS),
            "y": [None, *["a", "b"] * 147, *["c"] * 5],
        }
    )


CHOICES: dict[str, Any] = {"missing_target": "drop", "rare": "drop", "rare_rows": 20, "high_cardinality": "target"}
FILES: dict[str, tuple[Callable[[pd.DataFrame, Path], Any], Callable[..., Dataset]]] = {
    "csv": (lambda frame, path: frame.to_csv(path, index=False), csv.load),
    "parquet": (lambda frame, path: frame.to_parquet(path), frames.parquet),
    "feather": (lambda frame, path: frame.to_feather(path), frames.feather),
    "arrow": (lambda frame, path: frame.to_feather(path, compression="uncompressed"), frames.arrow),
    "xlsx": (lambda frame, path: frame.to_excel(path, index=False), frames.excel),
}


@pytest.mark.slow
def test_a_table_is_the_same_data_set_in_every_format(tmp_path: Path) -> None:
    frame = people()
    expected = frames.table(frame, "people", **CHOICES)
    assert expected.features == (
        "age", "city: target", "colour=blue", "colour=red", "member=False", "member=True",
        "day: days since 2024-01-02", "day: season, sine", "day: season, cosine", "day: weekday, sine",
        "day: weekday, cosine", "day: time of day, sine", "day: time of day, cosine", "code",
    )  # fmt: skip
    assert len(expected.targets) == NUM_ROWS - 6
    assert expected.description == (
        "1 of 300 rows left out because they have no target; 5 rows of classes with fewer than 20 rows left out: 'c'"
        " (5); categories as the mean target of the training rows, of other fifths for these rows: city; dates as days"
        " since the first, and season, weekday and time of day as sine and cosine: day"
    )
    for suffix, (write, load) in FILES.items():
        path = tmp_path / f"people.{suffix}"
        write(frame, path)
        assert load(str(path), **CHOICES).fingerprint == expected.fingerprint, suffix
    with pa.ipc.new_stream(tmp_path / "stream.arrow", (table := pa.Table.from_pandas(frame)).schema) as stream:
        stream.write_table(table)
    others = [frames.arrow(str(tmp_path / "stream.arrow"), **CHOICES)]
    read = pl.read_csv(tmp_path / "people.csv")
    for given in (table, pl.read_parquet(tmp_path / "people.parquet"), read, read.lazy()):
        others.append(dataset_of(given, "people", **CHOICES))
    others.append(dataset_of(pd.read_csv(tmp_path / "people.csv"), "people", **CHOICES))
    assert {other.fingerprint for other in others} == {expected.fingerprint}


def test_types_are_used_as_they_are() -> None:
    frame = pd.DataFrame(
        {
            "word": ["1", "NA", "x", None] * 5,
            "code": pd.Categorical([7, 8, 9, 7] * 5),
            "whole": pd.array([1, 2, None, 4] * 5, dtype="Int64"),
            "truth": pd.array([True, None, False, True] * 5, dtype="boolean"),
            "span": pd.to_timedelta([12, 24, 36, 48] * 5, unit="h"),
            "day": [pd.Timestamp("2024-03-01").date(), None] * 10,
            "mixed": [1, "2.5", "3 %", None] * 5,
            "zip": [10115, 20095, 80331, 10115] * 5,
            "y": [0.5, 1.5, 2.5, 3.5] * 5,
        }
    )
    dataset = frames.table(frame, "t", kind="regression", categories="zip")
    assert dataset.features == (
        "word=(missing)", "word=1", "word=NA", "word=x", "code=7", "code=8", "code=9", "whole",
        "truth=(missing)", "truth=False", "truth=True", "span", "day: days since 2024-03-01", "day: season, sine",
        "day: season, cosine", "day: weekday, sine", "day: weekday, cosine", "mixed=(missing)", "mixed=1", "mixed=2.5",
        "mixed=3 %", "zip=10115", "zip=20095", "zip=80331",
    )  # fmt: skip
    assert dataset.inputs[0, [7, 11, 12]].tolist() == [1, 0.5, 0]
    season = 2 * np.pi * 60 / 366  # 1 March of a leap year, a Friday
    assert dataset.inputs[0, 13:17] == pytest.approx(
        [np.sin(season), np.cos(season), np.sin(8 * np.pi / 7), np.cos(8 * np.pi / 7)], abs=1e-6
    )
    assert np.isnan(dataset.inputs[1, 12:17]).all()


def test_dates_in_other_formats(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-28", periods=20, tz="Europe/Berlin")
    expected = frames.table(pd.DataFrame({"day": days.tz_localize(None), "y": ["a", "b"] * 10}), "t")
    for pattern in ("%d.%m.%Y", "%m/%d/%y", "%Y%m%d", "%d-%b-%Y"):
        path = tmp_path / "days.csv"
        pd.DataFrame({"day": days.strftime(pattern), "y": ["a", "b"] * 10}).to_csv(path, index=False)
        assert csv.load(str(path), dates={"day": pattern}).fingerprint == expected.fingerprint
    whole = pd.DataFrame({"day": days.strftime("%Y%m%d").astype(int), "y": ["a", "b"] * 10})
    assert frames.table(whole, "t", dates={"day": "%Y%m%d"}).fingerprint == expected.fingerprint
    with pytest.raises(DataError, match=r"'day' must have dates like '%Y%m%d', not '28-Jan-2024' in line 2"):
        csv.load(str(path), dates={"day": "%Y%m%d"})


def test_many_categories_are_refused_hashed_or_left_out() -> None:
    frame = pd.DataFrame({"x": range(60), "city": [f"c{row}" for row in range(60)], "y": ["a", "b"] * 30})
    with pytest.raises(
        DataError, match=r"'city' has 60 different values.*say dataset\.high_cardinality=hash or target"
    ):
        frames.table(frame, "t")
    assert frames.table(frame, "t", high_cardinality="drop").features == ("x",)
    hashed = frames.table(frame, "t", high_cardinality="hash", hash_features=8)
    assert hashed.inputs[:, 1:].argmax(1).tolist() == [bucket(f"c{row}", 8) for row in range(60)]
    assert bucket("Köln", 64) == 59  # the same on every machine
    assert "categories hashed to 8 indicators each (CRC-32): city" in hashed.description


@pytest.mark.parametrize("kind", ["numbers", "two classes", "three classes"])
def test_target_encoding_sees_training_rows_only_and_never_a_rows_own_target(kind: str) -> None:
    generator = np.random.default_rng(1)
    rows, cities = 400, generator.integers(0, 210, 400)
    targets = {"numbers": generator.normal(size=rows), "two classes": generator.integers(0, 2, rows)}.get(
        kind, generator.integers(0, 3, rows)
    )
    frame = pd.DataFrame({"city": [f"c{city}" for city in cities], "x": range(rows), "y": targets})
    dataset = frames.table(
        frame, "t", high_cardinality="target", kind="regression" if kind == "numbers" else "classification"
    )
    width = 3 if kind == "three classes" else 1
    assert dataset.inputs.shape == (rows, width + 1)
    split = draw_split(dataset, 0.2, 0.2, seed=0)
    scaling = fit_scaling(dataset, split.train)
    every = np.arange(rows)
    encoded = scaling.inputs(dataset, every)[:, 0]
    values = (targets == 0) if width == 3 else targets  # the first column is the share of class 0
    folds = scaling.target_means.folds  # type: ignore[union-attr]

    def mean(row: int) -> float:
        fitted = [one for one in split.train if folds[one] != folds[row] or folds[row] == FOLDS]
        same = [values[one] for one in fitted if cities[one] == cities[row]]
        return float((sum(same) + SMOOTHING * np.mean(values[fitted])) / (len(same) + SMOOTHING))

    expected = np.array([mean(row) for row in range(rows)])
    training = expected[split.train]
    assert encoded == pytest.approx((expected - training.mean()) / training.std(), abs=1e-6)
    other = frames.table(
        frame.assign(y=np.where(np.isin(every, split.test), targets[::-1], targets)),
        "t", high_cardinality="target", kind="regression" if kind == "numbers" else "classification",
    )  # fmt: skip
    assert fit_scaling(other, split.train).inputs(other, every)[:, 0] == pytest.approx(
        encoded
    )  # test targets do not matter
    splits = [split, draw_split(dataset, 0.2, 0.2, seed=1)]
    data = Data(dataset, splits, torch.float64)
    chosen = torch.as_tensor(np.stack([part.train[:5] for part in splits]))[None]  # (1, C, B)
    for members in ([0, 1], [1]):
        gathered, _ = data.gather(chosen[:, members], members)
        for position, member in enumerate(members):
            rows_of = chosen[0, member].numpy()
            alone = fit_scaling(dataset, splits[member].train).inputs(dataset, rows_of)
            assert gathered[0, position].numpy() == pytest.approx(alone)


def test_rare_classes_are_refused_left_out_or_merged() -> None:
    frame = pd.DataFrame({"x": range(30), "y": [*["a", "b"] * 12, *["c"] * 4, "d", "e"]})
    with pytest.raises(DataError, match=r"every class of 'y' needs at least 5 rows .* not 'c' \(4\), 'd' \(1\), 'e' "):
        frames.table(frame, "t")
    dropped = frames.table(frame, "t", rare="drop")
    assert (dropped.classes, len(dropped.inputs)) == (("a", "b"), 24)
    assert dropped.description.startswith("6 rows of classes with fewer than 5 rows left out: 'c' (4), 'd' (1)")
    merged = frames.table(frame, "t", rare="merge")
    assert merged.classes == ("a", "b", "(other)")
    assert merged.targets.tolist() == [0, 1] * 12 + [2] * 6
    with pytest.raises(DataError, match=r"not 'd' .*together they have 2: say dataset\.rare=drop, or"):
        frames.table(frame[frame["y"].isin(["a", "b", "d", "e"])], "t", rare="merge")


def test_texts_are_counted_words_or_tokens() -> None:
    frame = pd.DataFrame({"review": ["Good, good film!", None, "bad film"] * 6, "x": range(18), "y": ["a", "b"] * 9})
    words = frames.table(frame, "t", text="review", text_features=16)
    assert words.inputs.shape == (18, 17)
    assert np.expm1(words.inputs[:3, :16]).sum(1).round().tolist() == [5, 0, 2]
    assert words.inputs[0, :16].max() == pytest.approx(np.log1p(2), abs=0.7)
    with pytest.raises(DataError, match=r"must be the only input, not beside 'x': leave these out with dataset\.drop="):
        frames.table(frame, "t", text="review", text_as="tokens")
    tokens = frames.table(frame, "t", text=["review"], text_as="tokens", drop="x", text_features=100, text_length=4)
    assert (tokens.vocabulary, tokens.inputs.shape) == (100, (18, 4))
    good, comma, film = (1 + bucket(word, 99) for word in ("good", ",", "film"))
    assert tokens.inputs[0].tolist() == [good, comma, good, film]
    assert tokens.inputs[1].tolist() == [0, 0, 0, 0]
    assert "6 of 18 texts are longer" in tokens.description


def test_all_that_is_wrong_with_a_frame_is_said_at_once() -> None:
    frame = people().assign(waves=np.full(NUM_ROWS, 1j), rest=pd.Series([[1]] * NUM_ROWS), far=np.inf)
    with pytest.raises(
        DataError, match=r"2 things are wrong: \(1\) column 'waves' holds complex numbers.*holds lists, as"
    ):
        frames.table(frame, "t", target="y")
    with pytest.raises(DataError) as refused:
        frames.table(frame, "t", target="y", drop=["waves", "rest", "nothing"])
    for part in ("4 things", "no column 'nothing'", "'city' has", "'far' has an infinite", "'y' is missing in row 0:"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rare": "keep"}, r"dataset\.rare must be refuse, drop or merge, not 'keep'"),
        ({"missing_target": True}, r"dataset\.missing_target must be refuse or drop"),
        ({"high_cardinality": "embed"}, r"dataset\.high_cardinality must be refuse, drop, hash or target"),
        ({"rare_rows": 1}, r"dataset\.rare_rows must be a whole number of at least 5"),
        ({"hash_features": 2.5}, r"dataset\.hash_features must be a whole number"),
        ({"text": 7}, r"dataset\.text must be a list of columns"),
        ({"text_as": "bytes"}, r"dataset\.text_as must be words or tokens"),
    ],
)
def test_a_setting_without_a_meaning_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        frames.table(people(), "t", **settings)


def test_arrays_of_files_and_of_python(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(30, 3)), np.arange(30) % 3 + 5
    expected = dataset_of((inputs, targets), "t")
    assert expected.classes == ("5", "6", "7")
    assert expected.inputs.tolist() == inputs.astype(np.float32).tolist()
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", targets)
    np.save(tmp_path / "xy.npy", np.column_stack([inputs, targets]))
    np.savez(tmp_path / "both.npz", inputs=inputs, labels=targets)
    save_file({"inputs": inputs, "targets": targets}, tmp_path / "both.safetensors")
    for dataset in (
        arrays.npy(str(tmp_path / "x.npy"), str(tmp_path / "y.npy")),
        arrays.npy(str(tmp_path / "xy.npy"), target="feature 3"),
        arrays.named(str(tmp_path / "both.npz"), targets="labels"),
        arrays.named(str(tmp_path / "both.safetensors")),
        dataset_of({"inputs": torch.tensor(inputs), "targets": torch.tensor(targets)}, "t"),
        dataset_of(np.column_stack([inputs, targets]), "t"),
    ):
        assert dataset.fingerprint == expected.fingerprint
    with pytest.raises(DataError, match=r"no array 'targets': there are 'inputs', 'labels': set dataset\.inputs and"):
        arrays.named(str(tmp_path / "both.npz"))
    for given, reason in (
        ((inputs, targets[:9]), r"one value for each of 30 inputs, not the shape \(9,\)"),
        ((np.zeros((30, 2, 2, 2, 2)), targets), "1 to 4 axes"),
        ((np.zeros((30, 8, 8), "complex"), targets), "images must be numbers"),
        (np.zeros((30, 8, 8)), "need targets in an array of their own"),
        ("abc", "must be a frame .* not str"),
    ):
        with pytest.raises(DataError, match=reason):
            dataset_of(given, "t")


@pytest.mark.parametrize(("shape", "image"), [((8, 6), (1, 8, 6)), ((3, 8, 6), (3, 8, 6)), ((8, 6, 3), (3, 8, 6))])
def test_images_have_their_channels_first(shape: tuple[int, ...], image: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, *shape)).astype(np.uint8)
    dataset = dataset_of((pixels, np.array(["cat", "dog"] * 10)), "t")
    assert (dataset.kind, dataset.image, dataset.classes) == (Kind.BINARY, image, ("cat", "dog"))
    red = pixels if len(shape) == 2 else pixels[:, 0] if shape[0] == 3 else pixels[..., 0]
    assert (dataset.inputs.reshape(20, *image)[:, 0] == red).all()


@pytest.mark.slow
def test_a_saved_model_predicts_target_encoded_rows(workspace: Path) -> None:
    frame = people().drop(columns="day")
    dataset = frames.table(frame, "people", **CHOICES)
    overrides = ["tracker=none", "cost.rounds=0", "budget.epochs=1", "save=all", "model.width=4"]
    evalbench.evaluate(overrides, datasets={"people": dataset}, num_seeds=1)
    (path,) = Path("outputs/weights").rglob("s0")
    predictor = evalbench.load_weights(path)
    split = draw_split(dataset, 0.2, 0.2, seed=0)
    assert predictor(torch.as_tensor(dataset.inputs[split.test])).shape == (len(split.test), 2)


def test_columns_about_rows_are_no_inputs() -> None:
    frame = pd.DataFrame({"person": ["b", "a", "c", "a"] * 5, "day": range(20), "worth": 2.0, "x": range(20)})
    frame["y"] = ["no", "yes"] * 10
    known = dataset_of(frame, "mine", group="person", time="day", weight="worth")
    assert known.features == ("x",)  # numbers of a day only order the rows
    told = {name: array.tolist() for name, array in known.about_rows.items()}
    assert told == {"groups": [1, 0, 2, 0] * 5, "times": list(range(20)), "weights": [2.0] * 20}
    assert known.take(np.arange(8, 20)).about_rows["groups"].tolist() == [1, 0, 2, 0] * 3
    assert known.fingerprint != replace(known, groups=None).fingerprint


def test_missing_values_are_counted_by_column() -> None:
    frame = pd.DataFrame({"age": [1.5, None, None, 4.0] * 5, "town": ["a", "b", None, "a"] * 5, "size": 1.0})
    described = dataset_of(frame.assign(y=["no", "yes"] * 10), "mine").description
    assert "missing numbers as the mean of the training rows: age (10)" in described
    assert "missing categories as a category of their own: town (5)" in described


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group": "nobody"}, "no column 'nobody'"),
        ({"group": "person"}, "dataset.group=person is missing in rows 3, 7, 11, 15, 19: fill it in"),
        ({"time": "word"}, "dataset.time=word must have numbers, or dates like 2026-01-31"),
        ({"weight": "word"}, "dataset.weight=word must have numbers of at least 0, not 'w' in row 0"),
        ({"weight": "less"}, "not '-1.0' in row 0"),
        ({"weight": "none"}, "must be above 0 in some rows"),
    ],
)
def test_columns_about_rows_are_refused(settings: dict[str, str], reason: str) -> None:
    frame = pd.DataFrame({"person": ["a", "b", "c", None] * 5, "word": "w", "less": -1.0, "none": 0, "x": range(20)})
    frame["y"] = ["no", "yes"] * 10
    with pytest.raises(DataError, match=re.escape(reason)):
        dataset_of(frame, "mine", **settings)
