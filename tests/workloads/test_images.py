"""Images of folders and lists, data sets of `datasets`, and tables that libraries fetch."""

import sys
from pathlib import Path
from typing import Any

import datasets
import joblib
import numpy as np
import pytest
from datasets import ClassLabel, DatasetDict, Features, Image, Value
from numpy.typing import NDArray
from PIL import Image as Picture
from sklearn.datasets import load_wine
from sklearn.utils import Bunch

from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Dataset, draw_split, fetched, huggingface, images

PIXELS: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (24, 6, 5)).astype(np.uint8)  # (N, height, width)
LABELS = ["cat", "dog"] * 12


def write(folder: Path, mode: str = "L", suffix: str = "png") -> Path:
    """Write images into a folder of each class."""
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        path = folder / label / f"{number:02}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(pixels).convert(mode).save(path)
    return folder


def same(dataset: Dataset, order: Any) -> bool:
    return bool((dataset.inputs.reshape(-1, 6, 5) == PIXELS[order]).all())


def test_a_folder_of_each_class(tmp_path: Path) -> None:
    dataset = images.folder(str(write(tmp_path / "pets")))
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    assert (dataset.name, dataset.image, dataset.classes) == ("pets", (1, 6, 5), ("cat", "dog"))
    assert same(dataset, [*range(0, 24, 2), *range(1, 24, 2)])
    assert dataset.targets.tolist() == [0] * 12 + [1] * 12
    assert images.folder(str(tmp_path / "pets")).fingerprint == dataset.fingerprint
    scaled = images.folder(str(tmp_path / "pets"), size=[3, 4], channels="rgb")
    assert scaled.image == (3, 3, 4)
    assert images.folder(str(write(tmp_path / "colours", "RGB"))).image == (3, 6, 5)


def test_folders_of_training_and_test_images_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path / "pets" / "train")
    write(tmp_path / "pets" / "test")
    dataset = images.folder(str(tmp_path / "pets"))
    assert draw_split(dataset, 0.2, 0.2, seed=3).test.tolist() == list(range(24))  # "test" comes first
    write(tmp_path / "pets" / "val")
    dataset = images.folder(str(tmp_path / "pets"))
    split = draw_split(dataset, 0.2, 0.2, seed=3)
    parts = [part.tolist() for part in (split.test, split.train, split.validation)]  # by name
    assert parts == [list(range(24)), list(range(24, 48)), list(range(48, 72))]


def test_a_list_of_images(tmp_path: Path) -> None:
    write(tmp_path)
    lines = [f"{label}/{number:02}.png,{number},{label}" for number, label in enumerate(LABELS)]
    lines[3] = lines[3].removesuffix("dog")
    listing = tmp_path / "labels.csv"
    listing.write_text("file,id,label\n" + "\n".join(lines))
    dataset = images.listed_in_csv(str(listing), missing_target="drop")
    kept = [row for row in range(24) if row != 3]
    assert same(dataset, kept)
    assert dataset.targets.tolist() == [row % 2 for row in kept]
    assert dataset.description == ("columns that are not used: id; 1 of 24 rows left out because they have no target")
    numbers = images.listed_in_csv(str(listing), target="id", kind="regression")
    assert numbers.targets.tolist() == list(range(24))
    with pytest.raises(DataError, match="'label' is missing in line 5"):
        images.listed_in_csv(str(listing))
    listing.write_text("file,label\n" + "\n".join([*lines, "cat/99.png,0,cat"]).replace(",0", "").replace(",1", ""))
    with pytest.raises(DataError, match="no column 'image': its columns are 'file', 'label'"):
        images.listed_in_csv(str(listing), image="image")


def test_images_that_do_not_fit_are_told_at_once(tmp_path: Path) -> None:
    root = write(tmp_path / "pets")
    (root / "cat" / "broken.png").write_bytes(b"no image")
    Picture.fromarray(PIXELS[0, :3]).save(root / "dog" / "small.png")
    Picture.fromarray(PIXELS[0].astype(np.uint16)).save(root / "dog" / "wide.png")
    with pytest.raises(
        DataError, match=r"3 things .*broken\.png.* 8 bits, .*wide\.png.* 25 of 5 × 6, 1 of 5 × 3: say "
    ):
        images.folder(str(root))
    for settings, reason in (({"size": 0}, "dataset.size must be"), ({"channels": "cmyk"}, "must be grey or rgb")):
        with pytest.raises(ConfigError, match=reason):
            images.folder(str(root), **settings)
    (tmp_path / "empty").mkdir()
    for path, reason in (("none", "no such folder"), ("empty", "no images in folders")):
        with pytest.raises(DataError, match=reason):
            images.folder(str(tmp_path / path))


def test_a_data_set_of_datasets(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "size": Value("int32"), "label": ClassLabel(names=["bad", "good"])})
    rows = {"text": ["a good film", "a bad film"] * 12, "size": list(range(24)), "label": [1, 0] * 11 + [1, -1]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.save_to_disk(tmp_path / "reviews")
    dataset = huggingface.load(str(tmp_path / "reviews"), text="text", text_features=8, missing_target="drop")
    assert (dataset.name, dataset.classes) == ("reviews", ("bad", "good"))
    assert dataset.features[-2:] == ("text: words 7", "size")
    assert dataset.targets.tolist() == [1, 0] * 11 + [1]
    parts = DatasetDict(train=whole.select(range(14)), test=whole.select(range(14, 22)), other=whole.select([22]))
    parts.save_to_disk(tmp_path / "parts")
    split = huggingface.load(str(tmp_path / "parts"), drop="text")
    assert draw_split(split, 0.2, 0.2, seed=0).test.tolist() == list(range(14, 22))
    assert split.description == "splits that are not used: other (1 rows)"
    validated = huggingface.load(str(tmp_path / "parts"), drop="text", validation_split="other")
    assert (draw_split(validated, 0.2, 0.2, seed=0).validation.tolist(), validated.description) == ([22], "")
    with pytest.raises(DataError, match=r"validation_split must be a split of its own, not 'test'"):
        huggingface.load(str(tmp_path / "parts"), validation_split="test")
    whole.to_parquet(tmp_path / "folder" / "train.parquet")
    with pytest.raises(DataError, match="no split 'dev': there are 'train', 'test', 'other'"):
        huggingface.load(str(tmp_path / "parts"), split="dev")


def test_images_of_datasets(tmp_path: Path) -> None:
    features = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Picture.fromarray(pixels) for pixels in PIXELS], "label": [0, 1] * 12}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "pets")
    dataset = huggingface.load(str(tmp_path / "pets"), image="image")
    assert same(dataset, range(24))
    assert dataset.targets.tolist() == [0, 1] * 12
    with pytest.raises(DataError, match="no column 'picture': there are 'image', 'label'"):
        huggingface.load(str(tmp_path / "pets"), image="picture")


TORCHVISION = """
class Tiny:
    classes = ["cat", "dog"]
    def __init__(self, root, train, download):
        if root == "nowhere":
            raise OSError("no network")
        self.rows = range(20) if train else range(20, 24)
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, number):
        return [self.rows[number], 1.0], number % 2
class Single:
    def __init__(self, root): ...
    def __getitem__(self, number): ...
"""


def test_a_data_set_of_torchvision_keeps_its_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torchvision", None)
        with pytest.raises(DataError, match="CIFAR10: needs torchvision, which cannot be imported"):
            fetched.torchvision("CIFAR10")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "datasets.py").write_text(TORCHVISION)  # as the package calls its classes
    monkeypatch.syspath_prepend(str(tmp_path))
    dataset = fetched.torchvision("Tiny")
    assert (dataset.classes, dataset.inputs[:, 0].tolist()) == (("cat", "dog"), list(range(24)))
    assert draw_split(dataset, 0.2, 0.2, seed=0).test.tolist() == [20, 21, 22, 23]
    with pytest.raises(DataError, match=r"Tiny of torchvision cannot be fetched \(OSError: no network\): connect to a"):
        fetched.torchvision("Tiny", folder="nowhere")
    for name, reason in (("Nothing", "the name of a class of torchvision"), ("Single", "a training and a test part")):
        with pytest.raises(ConfigError, match=reason):
            fetched.torchvision(name)
    for module in ("torchvision", "torchvision.datasets"):
        del sys.modules[module]


def test_tables_that_libraries_fetch(tmp_path: Path) -> None:
    wine = load_wine(as_frame=True)
    table = fetched.from_bunch(wine, "wine", {})
    assert (table.classes, table.inputs.shape) == (("0", "1", "2"), (178, 13))
    frame = wine.frame.rename(columns={"alcohol": "other"})
    named = Bunch(frame=frame, target_names=["target"], details={"name": "wine"})
    assert fetched.from_bunch(named, "wine", {}).features == ("other", *table.features[1:])
    named.target_names = ["target", "other"]
    assert fetched.from_bunch(named, "wine", {"target": "target"}).features == table.features[1:]
    with pytest.raises(DataError, match=r"it names 2 targets: choose one, with dataset\.target="):
        fetched.from_bunch(named, "wine", {})
    kept = tmp_path / "covertype"
    kept.mkdir()
    joblib.dump(np.random.default_rng(0).integers(0, 9, (40, 54)), kept / "samples_py3", compress=9)
    joblib.dump(np.arange(40) % 2 + 1, kept / "targets_py3", compress=9)
    forest = fetched.sklearn("covtype", folder=str(tmp_path))
    assert (forest.classes, forest.inputs.shape) == (("1", "2"), (40, 54))
    with pytest.raises(ConfigError, match=r"dataset\.name must be a table that scikit-learn fetches: california_hous"):
        fetched.sklearn("iris")
    with pytest.raises(ConfigError, match=r"dataset\.id must be the number"):
        fetched.openml("adult")  # type: ignore[arg-type]
