"""Data in files: decoded images in a cache, rows by number, statistics in blocks."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from evalbench.errors import DataError
from evalbench.workloads import Dataset, Kind, array_files, arrays, blocks, decoding, draw_split, fit_scaling, images
from evalbench.workloads.cached import CachedArray
from evalbench.workloads.choices import Choices

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 255, (24, 6, 5, 3)).astype(np.uint8)  # (N, height, width, channels)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for number, pixels in enumerate(PIXELS):
        path = tmp_path / "pets" / ("cat", "dog")[number // 12] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "pets"


def in_file(array: np.ndarray, path: Path) -> np.ndarray:
    np.save(path, array)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def expected() -> list[list[int]]:
    return PIXELS.transpose(0, 3, 1, 2).reshape(24, -1).tolist()


def test_images_are_decoded_once_by_processes(
    pets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoding, "FILES", 5)
    monkeypatch.setattr(decoding, "MOST_IN_PROCESS", 0)
    cache = pets.parent / "cache"
    dataset = images.folder(str(pets), cache_folder=str(cache))
    assert isinstance(dataset.inputs, np.memmap)
    assert (dataset.inputs.dtype, dataset.inputs.tolist()) == (np.uint8, expected())
    (file,) = cache.iterdir()
    monkeypatch.setattr(decoding, "headers", None)  # nothing is decoded again
    again = images.folder(str(pets), cache_folder=str(cache))
    assert again.fingerprint == dataset.fingerprint
    assert not caplog.records
    monkeypatch.undo()
    for content in (b"", b"no array", file.read_bytes()[:-1], file.read_bytes()[:-1] + b"?"):
        file.write_bytes(content)
        assert images.folder(str(pets), cache_folder=str(cache)).fingerprint == dataset.fingerprint
    assert [record.getMessage().startswith(f"{file} is no whole file of the cache") for record in caplog.records] == (
        [True] * 4
    )
    os.utime(pets / "cat" / "00.png", (0, 0))  # its content may differ
    images.folder(str(pets), cache_folder=str(cache))
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_is_not_completed_leaves_no_file(pets: Path) -> None:
    cached = CachedArray(pets, "mine")

    def fails(path: Path, offset: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached.write((3, 2), fails)
    assert cached.read() is None
    assert {path.name for path in pets.iterdir()} == {"cat", "dog"}
    (pets / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot keep arrays \(.*\): free space, or set dataset\.cache_"):
        CachedArray(pets / "file", "mine").write((3, 2), fails)
    (pets / "cat" / "00.png").write_bytes((pets / "cat" / "00.png").read_bytes()[:80])
    with pytest.raises(DataError, match=r"these are no images that can be read: .*00\.png: remove or replace"):
        images.folder(str(pets), cache_folder=str(pets / "cache"))
    assert not (pets / "cache").exists()


def test_bytes_are_scaled_by_channel(pets: Path) -> None:
    dataset = images.folder(str(pets))
    split = draw_split(dataset, 0.2, 0.2, seed=1)
    scaling = fit_scaling(dataset, split.train)
    channels = PIXELS.transpose(0, 3, 1, 2)[split.train].astype(np.float64)
    assert scaling.mean.reshape(3, 30) == pytest.approx(np.repeat(channels.mean((0, 2, 3))[:, None], 30, 1), rel=1e-12)
    assert scaling.std.reshape(3, 30) == pytest.approx(np.repeat(channels.std((0, 2, 3))[:, None], 30, 1), rel=1e-12)


def test_statistics_and_fingerprint_are_those_of_the_whole_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = RANDOM.normal(5, 2, (1000, 3)).astype(np.float32)
    inputs[::7, 1] = np.nan

    def made(array: np.ndarray) -> Dataset:
        targets = np.arange(1000) % 2
        return Dataset("mine", Kind.BINARY, array, targets, ("a", "b", "c"), np.ones(3, bool), ("0", "1"))

    whole, rows = made(inputs), np.arange(0, 1000, 3)
    scaling, fingerprint = fit_scaling(whole, rows), whole.fingerprint
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 100)
    mapped = made(in_file(inputs, tmp_path / "inputs.npy"))
    assert mapped.fingerprint == fingerprint
    assert mapped.has_missing
    assert fit_scaling(mapped, rows).mean == pytest.approx(scaling.mean, rel=1e-12)
    assert fit_scaling(mapped, rows).std == pytest.approx(scaling.std, rel=1e-12)
    part = mapped.take(rows)
    assert isinstance(part.inputs, np.memmap)
    np.testing.assert_array_equal(part.inputs, inputs[rows])
    with pytest.raises(DataError, match="must be finite or missing"):
        made(in_file(np.where(inputs > 10, np.inf, inputs), tmp_path / "infinite.npy"))


def test_arrays_of_files_stay_there(tmp_path: Path) -> None:
    numbers, labels = RANDOM.normal(0, 1, (60, 4)).astype(np.float32), np.arange(60) % 3
    np.save(tmp_path / "numbers.npy", numbers)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "images.npy", PIXELS.transpose(0, 3, 1, 2))
    np.save(tmp_path / "kinds.npy", np.arange(24) % 2)
    dataset = arrays.npy(str(tmp_path / "numbers.npy"), str(tmp_path / "labels.npy"), name="mine")
    assert isinstance(dataset.inputs, np.memmap)
    in_memory = arrays.from_arrays("mine", numbers, labels, Choices(), "mine")
    assert dataset.fingerprint == in_memory.fingerprint
    assert (dataset.features, dataset.classes) == (in_memory.features, in_memory.classes)
    less = arrays.npy(str(tmp_path / "numbers.npy"), str(tmp_path / "labels.npy"), drop=["feature 1"])
    assert less.features == ("feature 0", "feature 2", "feature 3")
    pictures = arrays.npy(str(tmp_path / "images.npy"), str(tmp_path / "kinds.npy"))
    assert isinstance(pictures.inputs, np.memmap)
    assert (pictures.image, pictures.inputs.tolist()) == ((3, 6, 5), expected())


def arrays_of(folder: Path, numbers: np.ndarray, pictures: np.ndarray) -> dict[str, str]:
    """Return files with the same arrays: mapped, packed by zip, and with numbers at odd bytes."""
    held: dict[str, Any] = {
        "inputs": numbers,
        "targets": np.arange(60) % 3,
        "images": pictures,
        "none": np.zeros((0, 3)),
    }
    np.savez(folder / "plain.npz", **held)
    np.savez_compressed(folder / "packed.npz", **held)
    np.savez(folder / "odd.npz", x=np.zeros(2, np.uint8), **held)
    save_file(held, folder / "plain.safetensors")
    return {path.stem + path.suffix: str(path) for path in folder.iterdir()}


def test_named_arrays_stay_in_their_file(tmp_path: Path) -> None:
    numbers = RANDOM.normal(0, 1, (60, 4)).astype(np.float32)
    pictures = PIXELS.transpose(0, 3, 1, 2).copy()
    expected_one = arrays.from_arrays("mine", numbers, np.arange(60) % 3, Choices(), "mine")
    (tmp_path / "files").mkdir()
    for name, path in arrays_of(tmp_path / "files", numbers, pictures).items():
        opened = array_files.opened(path)
        assert opened["none"].shape == (0, 3)
        np.testing.assert_array_equal(opened["images"], pictures)
        dataset = arrays.named(path, name="mine")
        assert dataset.fingerprint == expected_one.fingerprint
        assert isinstance(dataset.inputs, np.memmap) == name.startswith("plain")
        assert isinstance(opened["images"], np.memmap) == (name != "packed.npz")
        if isinstance(dataset.inputs, np.memmap):  # what is written into the file is seen: nothing was copied
            with Path(path).open("r+b") as file:
                file.seek(dataset.inputs.offset)
                file.write(np.float32(123).tobytes())
            assert dataset.inputs[0, 0] == 123


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_compressed_array_is_extracted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(array_files, "MOST_EXTRACTED", 0)
    numbers = RANDOM.normal(0, 1, (60, 4)).astype(np.float32)
    np.savez_compressed(tmp_path / "packed.npz", inputs=np.asarray(numbers, order=order))  # type: ignore[call-overload]
    path, cache = str(tmp_path / "packed.npz"), tmp_path / "cache"
    for _ in range(2):
        extracted = array_files.opened(path, str(cache))["inputs"]
        assert isinstance(extracted, np.memmap)
        np.testing.assert_array_equal(extracted, numbers)
    assert len(list(cache.iterdir())) == 1
    assert isinstance(array_files.opened(path)["inputs"], np.memmap)  # without a cache in an unnamed file


def test_damaged_files_of_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=np.arange(60.0), objects=np.array(["a", None]))
    path = tmp_path / "mine.npz"
    with pytest.raises(DataError, match=r"mine\.npz: cannot be read as arrays \(no plain arrays\): save plain arrays"):
        array_files.opened(str(path))["objects"]
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(17).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as arrays \(Bad CRC-32 for file 'inputs\.npy'\)"):
        array_files.opened(str(path))["inputs"]
    for name, part in (("short.npz", content[:-9]), ("short.safetensors", b"\x40" + bytes(9))):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(DataError, match=rf"{name}: cannot be read as arrays"):
            array_files.opened(str(tmp_path / name))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "none")
    with pytest.raises(DataError, match="no array 'inputs': there are"):
        arrays.named(str(path))
