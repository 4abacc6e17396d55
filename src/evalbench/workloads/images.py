"""Image files: a folder for each class, or a CSV file of paths and labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.workloads import csv, decoding
from evalbench.workloads.arrays import label_table
from evalbench.workloads.cached import CachedArray, version
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.decoding import Header
from evalbench.workloads.encoding import encode
from evalbench.workloads.table import RawTable, listed, refuse

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
MODES = {"grey": "L", "rgb": "RGB"}
GREY, WIDE = {"1", "L", "LA"}, {"I", "F", "I;16", "I;16B", "I;16L"}
PIXELS_VERSION = 1
"""Part of the names of cached pixels: it changes when they are decoded in another way."""
TRAIN, TEST, VALIDATION = "train", "test", {"val", "valid", "validation"}


def folder(
    path: str,
    name: str | None = None,
    size: Any = None,
    channels: str | None = None,
    cache_folder: str | None = None,
    **settings: Any,
) -> Dataset:
    """Read a folder with a folder of images for each class.

    If it has the folders `train` and `test` instead, or also `val`, each with the folders of the classes, every split
    tests on the images of `test` and validates on those of `val`. Decoded images are kept in `cache_folder`. The other
    settings are those of every table, see `Choices`. Raises `DataError` for a folder that cannot be used.
    """
    choices, shape, mode = Choices(name, **settings), _shape(size), _mode(channels)
    root = Path(str(path))
    if not root.is_dir():
        raise DataError(f"{path}: no such folder: set dataset.path to a folder with a folder of images for each class")
    parts = _subfolders(root)
    names = {part.name for part in parts}
    split = TRAIN in names and bool(names & {TEST, *VALIDATION})
    labelled = [
        (file, kind.name, part.name)
        for part in (parts if split else [root])
        for kind in _subfolders(part)
        for file in files_in(kind)
    ]
    if not labelled:
        raise DataError(
            f"{path}: no images in folders: set dataset.path to a folder with a folder of images for each class"
        )
    files, labels, names_of_parts = zip(*labelled, strict=True)
    wrong: list[str] = []
    table = label_table(np.array(labels, dtype=object), str(path), wrong)
    return encode(
        table,
        root.resolve().name if name is None else name,
        choices,
        wrong,
        given=decoded(files, shape, mode, wrong, cache_folder),
        scaled=shape is not None,
        held_out=np.flatnonzero([split and one == TEST for one in names_of_parts]),
        validated=np.flatnonzero([split and one in VALIDATION for one in names_of_parts]),
    )


def listed_in_csv(
    path: str,
    image: str | None = None,
    name: str | None = None,
    size: Any = None,
    channels: str | None = None,
    cache_folder: str | None = None,
    **settings: Any,
) -> Dataset:
    """Read the images whose paths, relative to a CSV file, are in its column `image`, by default the first.

    The other settings are those of every table, see `Choices`. Raises `DataError` if something cannot be used.
    """
    choices, shape, mode = Choices(name, **settings), _shape(size), _mode(channels)
    wrong: list[str] = []
    table = csv.read(Path(str(path)), None, wrong)
    names = list(table.columns)
    image, targets = names[0] if image is None else image, choices.targets(names)
    absent = [one for one in (image, *targets) if one not in names]
    refuse(str(path), [f"no column {one!r}: its columns are {listed(map(repr, names), 8)}" for one in absent])
    paths = [Path(str(path)).parent / text for text in table.columns[image].values]
    lost = np.array([not file.is_file() for file in paths])
    if lost.any():
        which = table.listed_values(image, lost)
        refuse(
            str(path), [*wrong, f"no such image file as {which}: paths are relative to the folder of {Path(path).name}"]
        )
    labels = RawTable(
        table.source, {one: table.columns[one] for one in targets}, table.numbers, table.unit, table.comma
    )
    label = Path(str(path)).stem if name is None else name
    unused = [one for one in names if one not in (image, *targets)]
    remarks = [f"columns that are not used: {listed(unused)}"] if unused else []
    pixels = decoded(paths, shape, mode, wrong, cache_folder)
    scaled = shape is not None
    return encode(labels, label, choices, wrong, given=pixels, remarks=remarks, scaled=scaled)


def decoded(
    files: Iterable[Any],
    shape: tuple[int, int] | None,
    mode: str | None,
    wrong: list[str],
    folder: str | None = None,
    made_from: Any = None,
) -> NDArray[np.uint8]:
    """Return images of files or of PIL as pixels `(N, channels, height, width)` in a file; faults go to `wrong`.

    Args:
        files: paths, or images of PIL; they are read one after the other, twice.
        shape: height and width to which all are scaled; None: all have the same already.
        mode: `L` or `RGB`; None: `L` if all images are grey.
        wrong: gets what is wrong.
        folder: of the cache; None: the pixels are not kept.
        made_from: plain values by which the cache knows images of PIL.
    """
    paths = [str(file) for file in files] if isinstance(files, list | tuple) and not _are_opened(files) else None
    if paths is not None:
        made_from = [version(Path(path)) for path in paths]
    cached = CachedArray(folder, [made_from, shape, mode, PIXELS_VERSION])
    kept = cached.read()
    if kept is not None:
        return kept
    headers = [decoding.header(file) for file in files] if paths is None else decoding.headers(paths)
    count = len(headers)
    if not _is_uniform(paths or [f"image {number}" for number in range(count)], headers, shape, wrong):
        return np.zeros((count, 1, 1, 1), np.uint8)
    good = [one for one in headers if one is not None]
    mode = mode or ("L" if all(one[0] in GREY for one in good) else "RGB")
    height, width = shape or good[0][1][::-1]

    def fill(path: Path, offset: int) -> None:
        if paths is not None:
            refused = decoding.write(paths, mode, (width, height), str(path), offset)
            if refused:
                raise DataError(refused)
            return
        with path.open("r+b") as out:
            out.seek(offset)
            for image in files:
                out.write(decoding.pixels(image, mode, (width, height)).data)

    return cached.write((count, len(mode), height, width), fill)


def _are_opened(files: Sequence[Any]) -> bool:
    return bool(files) and not isinstance(files[0], str | Path)


def _is_uniform(
    names: Sequence[str], headers: Sequence[Header | None], shape: tuple[int, int] | None, wrong: list[str]
) -> bool:
    """Return whether images can be read and have one size; add to `wrong` what is not so."""
    before = len(wrong)
    broken = [name for name, header in zip(names, headers, strict=True) if header is None]
    if broken:
        wrong.append(f"these are no images that can be read: {listed(broken)}: remove or replace them")
    wide = [name for name, header in zip(names, headers, strict=True) if header and header[0] in WIDE]
    if wide:
        wrong.append(f"pixels must have 8 bits, which these lack: {listed(wide)}: convert them")
    sizes = Counter(header[1] for header in headers if header is not None)
    if shape is None and len(sizes) > 1:
        counted = listed((f"{count:,} of {width} × {height}" for (width, height), count in sizes.most_common()), 3)
        wrong.append(f"images must have one size, not {counted}: say dataset.size=32, to which all are scaled")
    return len(wrong) == before


def files_in(path: Path) -> list[Path]:
    """Return the files of images in a folder and the folders below it, sorted."""
    files = sorted(path.rglob("*"))
    return [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]


def is_colourful(file: Any) -> bool:
    """Return whether an image has colours, by its header."""
    header = decoding.header(file)
    return header is not None and header[0] not in GREY


def _subfolders(path: Path) -> list[Path]:
    return sorted(part for part in path.iterdir() if part.is_dir() and not part.name.startswith("."))


def _shape(size: Any) -> tuple[int, int] | None:
    sides = size if isinstance(size, list | tuple) else [size, size]
    if size is None:
        return None
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        rule = "must be a number of pixels, or height and width"
        raise ConfigError("dataset.size", rule, size, "for example dataset.size=32 or dataset.size=[32,48]")
    return sides[0], sides[1]


def _mode(channels: Any) -> str | None:
    if channels is not None and channels not in MODES:
        raise ConfigError("dataset.channels", "must be grey or rgb", channels, "leave it out: evalbench detects it")
    return None if channels is None else MODES[channels]
