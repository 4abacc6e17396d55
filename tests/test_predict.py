"""A saved model predicts rows as people have them: what was tested, or one line that says why not."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.datasets import fair

import evalbench
from conftest import make_cell
from evalbench.cell import Cell
from evalbench.engines import Outlets, of
from evalbench.engines.predicted import split_of
from evalbench.errors import DataError
from evalbench.predict.__main__ import main
from evalbench.trial import Entrant, TrialResult
from evalbench.weights.new_rows import read
from evalbench.workloads import Dataset, arrays, csv, images, surveys
from evalbench.workloads.choices import Choices
from evalbench.workloads.preprocessing import Encoding

ROWS = 240
SMALL = ("budget.epochs=2", "model.width=8")


def people() -> pd.DataFrame:
    """A table with a column of every kind."""
    generator = np.random.default_rng(0)
    draw = generator.integers
    frame = pd.DataFrame(
        {
            "age": [None, *generator.normal(40, 9, ROWS - 1).round(1)],
            "price": [f"${number:,.2f}" for number in generator.random(ROWS) * 3000],
            "city": [f"c{number}" for number in draw(0, 130, ROWS)],
            "colour": generator.choice(["red", "blue", ""], ROWS),
            "member": generator.choice(["true", "FALSE"], ROWS),
            "zip": [f"{number:03}" for number in draw(1, 4, ROWS)],
            "day": pd.date_range("2024-01-01", periods=ROWS, freq="37h").strftime("%Y-%m-%dT%H:%M"),
            "seen": pd.date_range("2020-03-01", periods=ROWS).strftime("%d.%m.%Y"),
            "note": generator.choice(["good, but dear", "bad!", "fine"], ROWS),
            "id": np.arange(ROWS),
        }
    )
    frame["y"] = np.where((frame.age.fillna(40) > 40) ^ (frame.colour == "red"), "yes", "no")
    return frame


SETTINGS: dict[str, Any] = {
    "categories": ["zip"],
    "text": "note",
    "text_features": 8,
    "dates": {"seen": "%d.%m.%Y"},
    "drop": ["id"],
}
ASKED = (
    "dataset=csv", "dataset.path=people.csv", "dataset.categories=[zip]", "dataset.text=note",
    "dataset.text_features=8", 'dataset.dates={seen: "%d.%m.%Y"}', "dataset.drop=[id]",
)  # fmt: skip


def trained(folder: Path, *overrides: str) -> tuple[Cell, TrialResult, Path]:
    """Train and save one trial; return its cell, its result and the folder of its model."""
    cell = make_cell(*overrides, "save=all")
    engine = of(cell.config)
    engine.check(cell.config, cell.dataset)
    ((_, results),) = engine.train_all(cell.config, cell.dataset, cell.entrants(3), cell.id, Outlets(keep_in=folder))
    assert not isinstance(results, Exception), results
    return cell, results[0], folder / "s3"


def test_rows_of_any_format_become_the_inputs_of_the_training(workspace: Path) -> None:
    for how in ("target", "hash", "drop"):
        frame = people()
        frame.to_csv("people.csv", index=False)
        dataset = csv.load("people.csv", high_cardinality=how, **SETTINGS)
        assert dataset.encoding is not None
        encoding = Encoding.read(json.loads(json.dumps(dataset.encoding.spec())))
        assert encoding == dataset.encoding
        frame.drop(columns=["y", "id"]).iloc[::-1].to_csv("new.csv", index=False)
        given = read("new.csv", encoding, dataset.kind)
        np.testing.assert_array_equal(given.inputs, dataset.inputs[::-1])
        assert (given.index.name, list(given.index)) == ("line", list(range(2, ROWS + 2)))
        assert given.notes == []
    typed = people().assign(price=lambda table: table.price.str.lstrip("$").str.replace(",", "").astype(float))
    typed = typed.assign(colour=typed.colour.replace("", None), member=typed.member == "true")
    typed = typed.assign(day=pd.to_datetime(typed.day), seen=pd.to_datetime(typed.seen, format="%d.%m.%Y"))
    typed.to_parquet("new.parquet")
    np.testing.assert_array_equal(read("new.parquet", encoding, dataset.kind).inputs, dataset.inputs)
    np.testing.assert_array_equal(read(typed, encoding, dataset.kind).inputs, dataset.inputs)


@pytest.mark.slow
def test_new_files_are_read_like_the_file_of_the_training(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"a": np.arange(40) / 8, "b": np.arange(40) % 7 / 4, "y": np.arange(40) % 2})
    table.to_csv("table.csv", sep=":", decimal=",", index=False)
    table.to_csv("other.csv", sep="#", index=False)
    with pd.ExcelWriter("table.xlsx") as book:
        pd.DataFrame({"note": ["about"]}).to_excel(book, sheet_name="About", index=False)
        for name in ("Rows", "New"):
            table.to_excel(book, sheet_name=name, index=False)
    forest = ("model=random_forest", "model.n_estimators=2")
    text = trained(workspace / "text", "dataset=csv", "dataset.path=table.csv", "dataset.delimiter=':'", *forest)[2]
    sheet = trained(workspace / "sheet", "dataset=excel", "dataset.path=table.xlsx", "dataset.sheet=Rows", *forest)[2]
    expected = None
    for model, rows, *options in (
        (text, "table.csv"),
        (text, "other.csv", "--delimiter", "#", "--decimal", "point"),
        (text, "table.xlsx", "--sheet", "Rows"),
        (sheet, "table.xlsx"),
        (sheet, "table.xlsx", "--sheet", "2"),
    ):
        assert main([str(model), rows, *options, "--output", "out.csv", "--trust", "sklearn"]) == 0, capsys.readouterr()
        predicted = pd.read_csv("out.csv").iloc[:, 1:]
        expected = predicted if expected is None else expected
        pd.testing.assert_frame_equal(predicted, expected)
    capsys.readouterr()
    for rows, asked, reason in (
        ("table.xlsx", ("--sheet", "Old"), "table.xlsx: no sheet 'Old': there are 'About', 'Rows', 'New': name one"),
        (
            "table.xlsx",
            ("--delimiter", ","),
            "table.xlsx must be a text file to have the delimiter ',': leave that out",
        ),
        ("other.csv", ("--sheet", "Rows"), "other.csv must be an Excel file to have the sheet 'Rows'"),
        ("table.xlsx", ("--decimal", "comma"), "table.xlsx must be a text file to have the decimal sign 'comma'"),
        ("other.csv", ("--delimiter", "##"), "--delimiter must be one character, not '##'"),
        ("table.xlsx", (), "columns that the model was trained with are missing: 'a', 'b'"),
    ):
        assert main([str(text), rows, *asked, "--trust", "sklearn"]) == 2
        assert reason in capsys.readouterr().err


ENGINES: dict[str, tuple[str, ...]] = {
    "network": (*ASKED, *SMALL, "dataset.high_cardinality=target"),
    "float64": (*ASKED, *SMALL, "dataset.high_cardinality=hash", "trainer.precision=64-true"),
    "numbers": ("dataset=diabetes", *SMALL),
    "tokens": ("dataset=csv", "dataset.path=texts.csv", "dataset.text=note", "dataset.text_as=tokens",
               "dataset.text_length=8", "model=encoder", *SMALL),
    "forest": (*ASKED, "dataset.high_cardinality=target", "model=random_forest", "model.n_estimators=5"),
    "missing values kept": (*ASKED, "dataset.high_cardinality=hash", "model=boosted_trees", "model.max_iter=5"),
    "numbers by trees": ("dataset=diabetes", "model=random_forest", "model.n_estimators=3"),
    "several labels": ("dataset=csv", "dataset.path=several.csv", "dataset.kind=multilabel",
                       "dataset.target=[one,two]", "model=random_forest", "model.n_estimators=3"),
    "several numbers": ("dataset=csv", "dataset.path=several.csv", "dataset.kind=regression",
                        "dataset.target=[one,two]", "dataset.high_cardinality=target", *SMALL),
    "several numbers by trees": ("dataset=csv", "dataset.path=several.csv", "dataset.kind=regression",
                                 "dataset.target=[one,two]", "model=boosted_trees", "model.max_iter=3"),
    "lightning": (*ASKED, "dataset.high_cardinality=target", "model=lightning",
                  "model._target_=peoples_modules.Own", "budget.epochs=2"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("overrides", ENGINES.values(), ids=ENGINES.keys())
def test_predictions_for_the_test_rows_have_the_score_of_the_test(
    workspace: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...]
) -> None:
    table = people()
    table.to_csv("people.csv", index=False)
    table[["note", "y"]].to_csv("texts.csv", index=False)
    several = table[["age", "colour"]].assign(one=(table.y == "yes").astype(int), two=(table.id % 3 == 0).astype(int))
    several.to_csv("several.csv", index=False)
    cell, result, path = trained(workspace / "kept", *overrides)
    data, test = cell.dataset, split_of(cell.config, cell.dataset, Entrant(3)).test
    if "dataset=diabetes" in overrides:
        table = pd.DataFrame(data.inputs, columns=list(data.features))
    source = (
        pd.read_csv(cell.config.dataset.arguments["path"], dtype=str, keep_default_na=False)
        if "dataset=csv" in overrides
        else table
    )
    source.iloc[test].to_csv("test.csv", index=False)
    trust = ["--trust", "sklearn", "--trust", "peoples_modules"]
    assert main([str(path), "test.csv", "--output", "predictions.csv", *trust]) == 0
    assert f"{len(test)} predictions of" in capsys.readouterr().out
    predicted = pd.read_csv("predictions.csv")
    assert list(predicted.line) == list(range(2, len(test) + 2))
    what = "probability" if data.kind.is_classification else "prediction"
    columns = [f"{what}: {name}" for name in data.classes] or "prediction"
    again = data.evaluate(predicted[columns].to_numpy(copy=True), data.targets[test])
    assert again == pytest.approx(result.metrics, rel=1e-4)
    if "prediction" in predicted and data.classes:
        assert (predicted.prediction == table.y.iloc[test].to_numpy()).mean() == result.metrics["test/accuracy"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of people that was saved once."""
    folder = tmp_path_factory.mktemp("saved")
    people().to_csv(folder / "people.csv", index=False)
    asked = [text.replace("=people.csv", f"={folder / 'people.csv'}") for text in ASKED]
    return trained(folder / "cell", *asked, *SMALL, "dataset.high_cardinality=target")[2]


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(list(map(str, arguments)))
    return code, capsys.readouterr().err


def test_all_that_is_wrong_with_rows_is_told_in_one_line(
    workspace: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = people().drop(columns=["age", "y"]).assign(size=1, member=3)
    wrong["price"] = wrong["price"].str.replace("$", "€")
    wrong.loc[4, "day"] = "tomorrow"
    wrong.loc[5, "seen"] = "2020-01-01"
    wrong.to_csv("wrong.csv", index=False)
    code, line = said(capsys, saved, "wrong.csv")
    assert code == 2
    assert line.count("\n") == 1
    for text in (
        "6 things are wrong",
        "columns that the model was trained with are missing: 'age': add them",
        "columns that the model does not know: 'size': leave them out",
        "column 'price' must hold numbers in $, as in training, not '€",
        "column 'member' must hold categories, as in training, not '3' in line 2",
        "column 'day' must hold dates like 2026-01-31, as in training, not 'tomorrow' in line 6",
        "column 'seen' must have dates like '%d.%m.%Y', not '2020-01-01' in line 7",
    ):
        assert text in line
    with pytest.raises(
        DataError, match="column 'age' must hold numbers with a decimal point, as in training, not 'old' in row 0"
    ):
        evalbench.load_weights(saved).predict(people().assign(age="old"))


def test_categories_that_training_did_not_have_are_told_and_no_row_is_lost(
    workspace: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = people().head(6)
    new["city"], new["colour"] = "nowhere", ["pink", *new["colour"][1:]]
    new.to_csv("new.csv", index=False)
    code, notes = said(capsys, saved, "new.csv")
    assert code == 0
    assert "6 predictions of mlp-adam trained on people, seed 3" in notes
    assert "note: city has a category that training did not have in 6 rows ('nowhere'): it gets the mean of" in notes
    assert "note: colour has a category that training did not have in 1 row ('pink'): all its indicators are 0" in notes
    model = evalbench.load_weights(saved)
    with pytest.warns(UserWarning, match="nowhere"), pytest.warns(UserWarning, match="pink"):
        predicted = model.predict(new.set_index(pd.Index(list("abcdef"), name="key")))
    assert list(predicted.index) == list("abcdef")
    assert predicted.filter(like="probability").sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.slow
def test_a_model_is_called_by_its_evaluation_technique_data_set_or_trial(
    workspace: Path, inline: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = said(capsys, "mine", "new.csv")
    assert (code, line.count("\n")) == (2, 1)
    assert "there is no saved model 'mine': outputs/weights has none: train with save=best" in line
    more = ("num_seeds=2", "tracker=none", "cost.rounds=0", "budget.epochs=1", "save=all", "evaluation.name=mine")
    inline("-m", "optimizer=sgd,adam", "dataset=iris", *more)
    features = make_cell("dataset=iris").dataset.features
    pd.DataFrame(np.ones((3, 4)), columns=list(features)).to_csv("new.csv", index=False)
    (kept,) = Path("outputs/weights").glob("iris-mlp-sgd-*")
    about = {seed: json.loads((kept / seed / "model.json").read_text()) for seed in ("s0", "s1")}
    best = min(about.values(), key=lambda one: one["selection"])["seed"]
    for name in ("mine/sgd", "sgd", "mine/sgd/iris", str(kept), kept.name):
        assert said(capsys, name, "new.csv")[1].splitlines()[-1].endswith(f"of mlp-sgd trained on iris, seed {best}")
    for model in ("mine/sgd/s1", about["s1"]["trial"], about["s1"]["trial"][:8], kept / "s1" / "model.json"):
        assert said(capsys, model, "new.csv")[1].splitlines()[-1].endswith("seed 1")
    for name in ("mine", "reports/mine", "iris"):
        code, line = said(capsys, name, "new.csv")
        assert (code, "names several saved models: give one of mine/adam/iris, mine/sgd/iris" in line) == (2, True)
    assert "there is no saved model 'mine/rprop': there are mine/adam/iris" in said(capsys, "mine/rprop", "new.csv")[1]


def picture(path: Path, size: tuple[int, int], mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90).save(path)


def test_images_have_the_size_and_channels_of_the_training(workspace: Path) -> None:
    for number in range(12):
        picture(Path(f"train/{'ab'[number % 2]}/{number}.png"), (6, 4), "L")
    exact, scaled = images.folder("train"), images.folder("train", size=3)
    for name, size, mode in (("2.png", (6, 4), "L"), ("sub/1.png", (6, 4), "RGB")):
        picture(Path("new") / name, size, mode)
    assert exact.encoding is not None
    assert scaled.encoding is not None
    given = read("new", exact.encoding, exact.kind)
    assert list(given.index) == ["2.png", "sub/1.png"]
    assert given.inputs.shape == (2, 24)
    assert given.notes == ["1 images have colours: the model sees them in grey, as all were in training"]
    picture(Path("new/3.png"), (9, 4), "L")
    assert read("new", scaled.encoding, scaled.kind).inputs.shape == (3, 9)
    with pytest.raises(DataError, match="images must have one size"):
        read("new", exact.encoding, exact.kind)
    with pytest.raises(DataError, match="images must be 6 × 4, as in training, not 9 × 4: scale them"):
        read("new/3.png", exact.encoding, exact.kind)
    Path("list.csv").write_text("path\nnew/2.png\nnew/none.png\n")
    with pytest.raises(DataError, match=r"no such image files: 'new/none\.png'"):
        read("list.csv", exact.encoding, exact.kind)


def test_arrays_and_shipped_data_sets_are_predicted_too(workspace: Path) -> None:
    generator = np.random.default_rng(0)
    numbers, labels = generator.normal(size=(30, 3)).astype(np.float32), np.array(["a", "b"] * 15)
    table = arrays.from_arrays("t", numbers, labels, Choices("t"), "t")
    cubes = arrays.from_arrays("t", numbers.reshape(30, 3, 1), labels, Choices("t"), "t")
    np.save("new.npy", numbers[:4])
    np.save("images.npy", numbers[:4].reshape(4, 3, 1))
    for dataset, path in ((table, "new.npy"), (cubes, "images.npy")):
        assert dataset.encoding is not None
        np.testing.assert_array_equal(read(path, dataset.encoding, dataset.kind).inputs, numbers[:4])
    with pytest.raises(DataError, match="images must be 1 × 3 with 1 channels, as in training, not of the shape"):
        read("new.npy", cubes.encoding or Encoding(), cubes.kind)
    survey = surveys.load("fair")
    assert survey.encoding is not None
    fair.load_pandas().data.to_csv("fair.csv", index=False)
    np.testing.assert_array_equal(read("fair.csv", survey.encoding, survey.kind).inputs, survey.inputs)


def damage(model: Path, change: Callable[[dict[str, object]], None]) -> None:
    description = json.loads((model / "model.json").read_text())
    change(description)
    (model / "model.json").write_text(json.dumps(description))


def test_a_model_that_cannot_predict_says_why(workspace: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people().to_csv("new.csv", index=False)
    for name, change, reason in (
        ("older", lambda about: about.pop("encoding"), "saved by a version that kept no encoding of columns"),
        ("newer", lambda about: about.update(version=9), "version must be 1 to 2, not 9: use the evalbench that"),
        ("odd", lambda about: about.update(encoding={"columns": 3}), "must hold model.json and weights.safetensors"),
    ):
        shutil.copytree(saved, name)
        damage(Path(name), change)
        code, line = said(capsys, name, "new.csv")
        assert (code, line.count("\n"), reason in line) == (2, 1, True), line
    for arguments, reason in (
        (("new.csv",), "the following arguments are required: rows"),
        ((saved, "none.csv"), "none.csv: no such file or folder: give the rows to predict"),
        ((saved, "new.csv", "--output", "out.xlsx"), "--output must end with .csv or .parquet, not 'out.xlsx'"),
        ((saved, "new.csv", "--output", "new.csv"), "--output must not be the file of the rows"),
        ((saved, "new.csv", "--output", "no/out.csv"), "--output must be in a folder that exists, not 'no'"),
        ((saved.parents[1], "new.csv"), "there is no saved model"),
    ):
        code, line = said(capsys, *arguments)
        assert (code, line.count("\n"), reason in line) == (2, 1, True), line


def test_types_that_skops_does_not_know_must_be_trusted(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    people().to_csv("people.csv", index=False)
    forest = (*ASKED, "dataset.high_cardinality=hash", "model=random_forest", "model.n_estimators=2")
    _, _, path = trained(workspace / "kept", *forest)
    code, line = said(capsys, path, "people.csv")
    assert (code, line.count("\n")) == (2, 1)
    assert "skops does not know as harmless (sklearn.tree._tree.Tree): if you trust its author, say --trust skl" in line
    damage(path, lambda about: about.update(model={"_target_": "planted.Net"}))
    assert "must be an estimator of scikit-learn, not 'planted.Net'" in said(capsys, path, "people.csv")[1]
    (path / "estimator.skops").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")  # a pickle
    damage(path, lambda about: about.update(model={"_target_": "sklearn.ensemble.RandomForestClassifier"}))
    assert "is no estimator that skops has saved" in said(capsys, path, "people.csv")[1]
    assert not Path("ran").exists()
    monkeypatch.setitem(sys.modules, "skops", None)
    assert "needs skops, which is not installed: pip install" in said(capsys, path, "people.csv")[1]


def test_a_data_set_without_columns_of_its_own_has_one_for_each_feature() -> None:
    dataset: Dataset = make_cell("dataset=wine").dataset
    frame = pd.DataFrame(dataset.inputs, columns=list(dataset.features))
    np.testing.assert_array_equal(read(frame, Encoding.plain(dataset.features), dataset.kind).inputs, dataset.inputs)
