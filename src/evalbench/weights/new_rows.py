"""Rows to predict: a table in a file or a frame, a folder of images, or arrays, as the model was trained on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalbench.errors import DataError
from evalbench.tasks import Kind, Task
from evalbench.workloads import array_files, arrays, csv, frames, images
from evalbench.workloads.inputs import Told
from evalbench.workloads.preprocessing import Encoding, ImageInput
from evalbench.workloads.table import RawTable, listed, refuse

ARRAYS = (".npy", ".npz", ".safetensors")
NO_TEXT = (*frames.FORMATS, *ARRAYS, *images.SUFFIXES)


@dataclass(frozen=True, eq=False)
class NewRows:
    """`N` rows, as a data set would hold them."""

    index: "pd.Index[Any]"
    """How people find each row; its name says what it is."""
    inputs: NDArray[Any]
    """`(N, D)`: numbers, NaN for missing values, or int64 tokens."""
    notes: list[str]
    """What could not be treated as in training."""
    first_tokens: list[list[int]] = field(default_factory=list)
    """See `Told.first_tokens`."""


@dataclass(frozen=True)
class TableFile:
    """How a file with a table is read."""

    delimiter: str | None = None
    """Of a text file; None: it is detected."""
    sheet: str | int = 0
    """Of an Excel file, by its name or number."""
    usual: str | None = None
    """The delimiter that the file of the training was said to have."""

    @classmethod
    def of(cls, dataset: Any) -> "TableFile":
        """Return how the file of the training was read, given the configuration of its data set."""
        said = dataset if isinstance(dataset, Mapping) else {}
        sheet, usual = said.get("sheet"), csv.checked_delimiter(said.get("delimiter"))
        return cls(sheet=0 if sheet is None else sheet, usual=usual)

    def asked(self, rows: Any, delimiter: str | None, sheet: str | int | None, decimal: str | None) -> "TableFile":
        """Return how other rows are read, as somebody asks; raise `DataError` if their file has no such thing."""
        path = Path(rows) if isinstance(rows, str | Path) else None
        suffix = "" if path is None else path.suffix.lower()
        is_text = path is not None and not path.is_dir() and suffix not in NO_TEXT
        source = f"the {type(rows).__name__}" if path is None else str(path)
        for what, given, fits, files in (
            ("sheet", sheet, suffix == ".xlsx", "an Excel file"),
            ("delimiter", delimiter, is_text, "a text file"),
            ("decimal sign", decimal, is_text, "a text file"),
        ):
            if given is not None and not fits:
                raise DataError(f"{source} must be {files} to have the {what} {given!r}: leave that out")
        return replace(self, delimiter=delimiter, sheet=self.sheet if sheet is None else sheet)


AS_DETECTED = TableFile()


def read(rows: Any, encoding: Encoding, task: Task, file: TableFile = AS_DETECTED) -> NewRows:
    """Return rows of any source; raise `DataError` with all that is wrong with them."""
    if (task.per_token and task.padding is None) or task is Kind.NEXT_TOKEN:
        raise DataError("next tokens are predicted in Python alone: call load_weights(…) with rows of tokens")
    if encoding.image is not None:
        return _images(rows, encoding.image, file)
    wrong: list[str] = []
    table, index = _table(rows, encoding, wrong, file)
    told = Told(table, wrong)
    inputs = encoding.inputs(told)
    refuse(table.source, wrong)
    return NewRows(index, inputs, told.notes, told.first_tokens)


def _table(rows: Any, encoding: Encoding, wrong: list[str], file: TableFile) -> "tuple[RawTable, pd.Index[Any]]":
    if isinstance(rows, str | Path):
        path = _existing(rows)
        if path.suffix in ARRAYS:
            return _table(_array(path), encoding, wrong, file)
        kind = frames.FORMATS.get(".parquet" if path.is_dir() else path.suffix.lower())
        if kind is frames.EXCEL:
            kind = frames.excel_sheet(file.sheet)
        if kind is not None:
            table = _raw(kind.opened(path), str(path), encoding, wrong, kind.first)
        else:
            table = csv.read(path, file.delimiter, wrong, encoding.texts, least=1, usual=file.usual)
        return table, pd.Index(table.numbers, name=table.unit)
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2:
            raise DataError(f"rows must be an array (N, D), not of the shape {rows.shape}: reshape them")
        rows = pd.DataFrame({f"feature {number}": column for number, column in enumerate(rows.T)})
    if not frames.is_frame(rows):
        raise DataError(f"rows must be a frame, an array or a path, not {type(rows).__name__}: give one of these")
    table = _raw(rows, "the frame", encoding, wrong)
    return table, rows.index if isinstance(rows, pd.DataFrame) else pd.Index(table.numbers, name=table.unit)


def _raw(rows: Any, source: str, encoding: Encoding, wrong: list[str], first: int = 0) -> RawTable:
    dropped = list(encoding.beside)
    return frames.raw_table(rows, source, wrong, first, dropped, least=1, lists=encoding.has_lists)


def _images(rows: Any, image: ImageInput, file: TableFile) -> NewRows:
    size = f"{image.width} × {image.height}"
    if isinstance(rows, str | Path) and _existing(rows).suffix in ARRAYS:
        rows = _array(Path(rows))
    if isinstance(rows, np.ndarray):
        if image.scaled is not None:
            raise DataError("images must be files, as in training, not an array: give their folder")
        pixels = arrays.channels_first(rows) if rows.ndim in (3, 4) else rows
        if pixels.shape[1:] != (image.channels, image.height, image.width):
            rule = f"images must be {size} with {image.channels} channels, as in training"
            raise DataError(f"{rule}, not of the shape {rows.shape}: convert them")
        return NewRows(pd.RangeIndex(len(rows), name="row"), pixels.reshape(len(rows), -1), [])
    if image.scaled is None:
        raise DataError("images must be an array, as in training, not files: give a .npy file or an array")
    files, index = _files(rows, file)
    wrong: list[str] = []
    source, mode = str(rows) if isinstance(rows, str | Path) else "images", "L" if image.channels == 1 else "RGB"
    shape = (image.height, image.width) if image.scaled else None
    decoded = images.decoded(files, shape, mode, wrong)
    if not wrong and decoded.shape[2:] != (image.height, image.width):
        wrong.append(f"images must be {size}, as in training, not {decoded.shape[3]} × {decoded.shape[2]}: scale them")
    refuse(source, wrong)
    colourful = sum(images.is_colourful(file) for file in files) if mode == "L" else 0
    notes = [f"{colourful:,} images have colours: the model sees them in grey, as all were in training"]
    return NewRows(index, decoded.reshape(len(decoded), -1), notes if colourful else [])


def _files(rows: Any, file: TableFile) -> "tuple[Sequence[Any], pd.Index[Any]]":
    """Return files or images of PIL, and their names."""
    if not isinstance(rows, str | Path):
        return list(rows), pd.RangeIndex(len(rows), name="row")
    path = Path(rows)
    if path.is_dir():
        files = images.files_in(path)
        names = [one.relative_to(path).as_posix() for one in files]
        if not files:
            raise DataError(f"{path}: no images: give a folder with images, or a CSV file of their paths")
    elif path.suffix.lower() in images.SUFFIXES:
        files, names = [path], [path.name]
    else:
        wrong: list[str] = []
        table = csv.read(path, file.delimiter, wrong, least=1, usual=file.usual)
        names = list(next(iter(table.columns.values())).values)
        files = [path.parent / name for name in names]
        lost = [name for name, one in zip(names, files, strict=True) if not one.is_file()]
        if lost:
            wrong.append(f"no such image files: {listed(map(repr, lost))}: paths are relative to its folder")
        refuse(str(path), wrong)
    return files, pd.Index(names, name="file")


def _existing(path: str | Path) -> Path:
    if not Path(path).exists():
        raise DataError(f"{path}: no such file or folder: give the rows to predict")
    return Path(path)


def _array(path: Path) -> NDArray[Any]:
    opened = array_files.opened(str(path))
    if isinstance(opened, np.ndarray):
        return opened
    names = [name for name in opened if name != "targets"]
    if len(names) != 1:
        raise DataError(f"{path}: must hold one array of inputs, not {listed(map(repr, names)) or 'none'}: save one")
    array: NDArray[Any] = opened[names[0]]
    return array
