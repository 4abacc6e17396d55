"""Labels, several numbers, ordered classes and counts of tables of every format."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.feather
import pytest
import torch
from PIL import Image
from statsmodels.datasets import randhie
from torch.utils.data import TensorDataset

from conftest import make_cell
from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Dataset, Kind, csv, dataset_of, draw_split, fit_scaling, frames, images

ROWS = 60
GENERATOR = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": GENERATOR.normal(size=ROWS),
        "city": GENERATOR.choice(list("abcdefgh"), ROWS),
        "rain": GENERATOR.choice(["no", "Yes"], ROWS),
        "snow": GENERATOR.integers(0, 2, ROWS),
        "fog": GENERATOR.random(ROWS) < 0.5,
        "level": np.resize(["mid", "low", "high"], ROWS),
        "visits": GENERATOR.poisson(2, ROWS),
        "far": GENERATOR.normal(size=ROWS) * 50,
        "odd": ["maybe", *["yes", "no"] * 29, None],
    }
)
LABELS = ["rain", "snow", "fog"]


def read(**settings: Any) -> Dataset:
    return frames.table(FRAME[[*dict.fromkeys(["x", "city", *settings.pop("columns")])]], "t", **settings)


def test_labels_are_read_from_words_numbers_and_truth_values(tmp_path: Path) -> None:
    dataset = read(columns=LABELS, target=LABELS, kind="multilabel")
    expected = np.column_stack([FRAME["rain"] == "Yes", FRAME["snow"], FRAME["fog"]]).astype(np.int64)
    assert (dataset.kind, dataset.classes, dataset.num_outputs) == (Kind.MULTILABEL, tuple(LABELS), 3)
    assert (dataset.targets == expected).all()
    assert not any(label in feature for label in LABELS for feature in dataset.features)
    FRAME[["x", "city", *LABELS]].to_csv(tmp_path / "t.csv", index=False)
    assert csv.load(str(tmp_path / "t.csv"), target=LABELS, kind="multilabel").fingerprint == dataset.fingerprint


def test_several_numbers_have_a_scale_each_and_a_mean_of_a_category_each() -> None:
    targets = ["visits", "far"]
    dataset = read(columns=targets, target=targets, kind="regression", high_cardinality="target")
    assert (dataset.kind, dataset.classes) == (Kind.MULTI_OUTPUT, ("visits", "far"))
    split = draw_split(dataset, 0.2, 0.2, 0)
    scaling = fit_scaling(dataset, split.train)
    assert scaling.target_mean == pytest.approx(FRAME.loc[split.train, targets].mean().to_numpy(), rel=1e-6)
    assert scaling.target_std == pytest.approx(FRAME.loc[split.train, targets].std(ddof=0).to_numpy(), rel=1e-6)
    many = pd.DataFrame({"x": 1.0, "city": [f"c{row % 40}" for row in range(ROWS)]}).join(FRAME[targets])
    coded = frames.table(many, "t", target=targets, kind="regression", high_cardinality="target")
    assert coded.features == ("x", "city: target visits", "city: target far")
    means = fit_scaling(coded, split.train).target_means
    assert means is not None
    seen = means.of(coded.codes, split.test)
    rows = (
        many.loc[split.train]
        .groupby("city")["far"]
        .agg(["sum", "size"])
        .reindex(many.loc[split.test, "city"])
        .fillna(0)
    )
    smooth = (rows["sum"] + 10 * many.loc[split.train, "far"].mean()) / (rows["size"] + 10)
    assert np.corrcoef(seen[:, 1], smooth)[0, 1] == pytest.approx(1)


def test_one_target_in_a_list_is_one_target() -> None:
    alone = read(columns=["visits"], target=["visits"], kind="regression")
    assert alone.fingerprint == read(columns=["visits"], kind="regression").fingerprint
    assert (alone.kind, alone.targets.shape) == (Kind.REGRESSION, (ROWS,))


def test_classes_have_the_declared_order_or_that_of_numbers() -> None:
    named = read(columns=["level"], kind="ordinal", order=["low", "mid", "high"])
    assert (named.kind, named.classes, named.num_outputs) == (Kind.ORDINAL, ("low", "mid", "high"), 2)
    assert named.targets[:3].tolist() == [1, 0, 2]
    stars = FRAME[["x"]].assign(stars=np.resize([10, 9, 1], ROWS))
    assert frames.table(stars, "t", kind="ordinal").classes == ("1", "9", "10")
    assert frames.table(stars, "t", kind="ordinal", order=["10", "1", "9"]).targets[:3].tolist() == [0, 2, 1]


def test_classes_have_the_order_of_their_type(tmp_path: Path) -> None:
    levels = pd.Categorical(FRAME["level"], ["none", "low", "mid", "high"], ordered=True)  # no row has the first
    typed = FRAME[["x"]].assign(level=levels)
    expected = frames.table(FRAME[["x", "level"]], "t", kind="ordinal", order=["low", "mid", "high"])
    typed.to_parquet(tmp_path / "t.parquet")
    arrow = pa.Table.from_pandas(typed)
    pa.feather.write_feather(arrow, str(tmp_path / "t.feather"))
    assert arrow.schema.field("level").type.ordered
    for dataset in (
        frames.table(typed, "t", kind="ordinal"),
        frames.table(typed, "t", kind="ordinal", order=["low", "mid", "high"]),
        frames.table(arrow, "t", kind="ordinal"),
        frames.table(
            polars.DataFrame(FRAME[["x"]]).with_columns(
                polars.Series("level", FRAME["level"], dtype=polars.Enum(["low", "mid", "high"]))
            ),
            "t",
            kind="ordinal",
        ),
        frames.parquet(str(tmp_path / "t.parquet"), kind="ordinal"),
        frames.feather(str(tmp_path / "t.feather"), kind="ordinal"),
    ):
        assert dataset.classes == ("low", "mid", "high")
        assert dataset.fingerprint == expected.fingerprint
    reason = "must be that of its type, 'low', 'mid', 'high', not 'high', 'mid', 'low': leave dataset.order out"
    with pytest.raises(DataError, match=reason):
        frames.table(typed, "t", kind="ordinal", order=["high", "mid", "low"])
    without = typed.assign(level=levels.as_unordered())
    with pytest.raises(DataError, match="the order of the classes of 'level' is not known"):
        frames.table(without, "t", kind="ordinal")
    sizes = FRAME[["x"]].assign(size=pd.Categorical(np.resize([3, 1, 2], ROWS), [3, 1, 2], ordered=True))
    assert frames.table(sizes, "t", kind="ordinal").classes == ("3", "1", "2")


def test_counts_are_divided_by_the_mean_of_the_training_rows() -> None:
    dataset = read(columns=["visits"], kind="count")
    split = draw_split(dataset, 0.2, 0.2, 0)
    scaling = fit_scaling(dataset, split.train)
    assert scaling.target_mean == 0
    assert scaling.target_std == pytest.approx(FRAME["visits"][split.train].mean())


def test_arrays_images_and_pytorch_give_several_targets(tmp_path: Path) -> None:
    inputs, labels = GENERATOR.normal(size=(ROWS, 2)), GENERATOR.integers(0, 2, (ROWS, 3))
    expected = dataset_of((inputs, labels), "t", kind="multilabel")
    assert (expected.classes, expected.targets.tolist()) == (("target 0", "target 1", "target 2"), labels.tolist())
    pairs = TensorDataset(torch.tensor(inputs), torch.tensor(labels).float())
    assert dataset_of(pairs, "t", kind="multilabel").fingerprint == expected.fingerprint
    pixels = GENERATOR.integers(0, 255, (ROWS, 4, 4), dtype=np.uint8)
    assert dataset_of((pixels, labels), "t", kind="regression").kind is Kind.MULTI_OUTPUT
    for row in range(ROWS):
        Image.fromarray(pixels[row]).save(tmp_path / f"{row}.png")
    files = pd.DataFrame({"file": [f"{row}.png" for row in range(ROWS)], "cat": labels[:, 0], "dog": labels[:, 1]})
    files.to_csv(tmp_path / "t.csv", index=False)
    listed = images.listed_in_csv(str(tmp_path / "t.csv"), target=["cat", "dog"], kind="multilabel")
    assert (listed.image, listed.classes) == ((1, 4, 4), ("cat", "dog"))
    assert listed.targets.tolist() == labels[:, :2].tolist()
    with pytest.raises(DataError, match=r"say dataset\.kind=multilabel or regression for several"):
        dataset_of((inputs, labels), "t")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target": LABELS}, "dataset.kind must be multilabel or regression for several targets"),
        ({"target": LABELS, "kind": "count"}, "dataset.kind must be multilabel or regression for several targets"),
        ({"target": "rain", "kind": "multilabel"}, "dataset.target must be a list of two labels or more"),
        ({"target": ["rain", "rain"], "kind": "multilabel"}, "dataset.target must name columns once each"),
        ({"target": []}, "dataset.target must name columns once each"),
        ({"target": {"rain": 1}}, "dataset.target must be a list of columns"),
        ({"target": ["rain", "sun"], "kind": "multilabel"}, "no column 'sun'"),
        ({"target": ["rain", "odd"], "kind": "multilabel"}, "the target 'odd' is missing in row 59"),
        (
            {"target": ["rain", "odd"], "kind": "multilabel", "missing_target": "drop"},
            "a label must be yes or no (or 1 and 0, true and false), not 'maybe' in row 0, as 'odd' has",
        ),
        ({"target": "level", "kind": "ordinal"}, "the classes of 'level' is not known, because they are no numbers"),
        ({"target": "level", "kind": "ordinal", "order": ["low", "mid"]}, "because dataset.order lacks 'high'"),
        ({"target": "level", "kind": "ordinal", "order": ["low", "mid", "high", "top"]}, "has 'top', which no row has"),
        (
            {"target": "level", "kind": "ordinal", "order": "low", "rare": "merge"},
            "dataset.rare must not merge classes",
        ),
        ({"target": "level", "order": ["low"]}, "dataset.order must be left out"),
        ({"target": "snow", "kind": "ordinal"}, "two classes have no order that matters"),
        ({"target": "far", "kind": "count"}, "a count must be at least 0, not '-"),
        ({"target": "level", "kind": "count"}, "a count target must be a number, not 'mid' in row 0"),
        (
            {"target": ["far", "level"], "kind": "regression"},
            "a regression target must be a number, not 'mid' in row 0",
        ),
    ],
)
def test_targets_that_do_not_fit_are_refused_in_one_line(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(reason)) as error:
        frames.table(FRAME, "t", **settings)
    assert "\n" not in str(error.value)


def test_visits_to_a_doctor_have_their_persons() -> None:
    dataset, table = make_cell("dataset=randhie").dataset, randhie.load_pandas().data
    assert (dataset.kind, dataset.inputs.shape) == (Kind.COUNT, (20190, 17))
    assert np.array_equal(dataset.targets, table["mdvis"])
    for column, documented in {"coins": "lncoins", "disea": "disea", "physlm": "physlm", "hlthp": "hlthp"}.items():
        given = dataset.inputs[:, dataset.features.index(column)]
        assert given == pytest.approx(table[documented].to_numpy(), abs=1e-5)
    assert dataset.groups is not None
    years = np.bincount(dataset.groups)
    assert (len(years), years.min(), years.max()) == (5912, 1, 5)
