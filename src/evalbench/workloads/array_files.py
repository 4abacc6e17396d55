"""Files of arrays: `.npy`, `.npz` and `.safetensors`, whose numbers stay in their file where that can be."""

import json
import math
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError
from evalbench.workloads.cached import CachedArray, version

Read = Callable[[], NDArray[Any]]
TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1",
}  # fmt: skip
"""The types of safetensors that NumPy has."""
MOST_EXTRACTED = 2**26
"""Bytes up to which an array that cannot be mapped is read into memory, and not extracted into a file."""
BLOCK = 2**20


class ArraysOfFile(Mapping[str, NDArray[Any]]):
    """The arrays of a file by name, each opened when it is asked for; raises `DataError` for one that cannot be."""

    def __init__(self, path: str, reads: Mapping[str, Read]) -> None:
        self._path = path
        self._reads = reads

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = _read(self._path, self._reads[name])
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._reads)

    def __len__(self) -> int:
        return len(self._reads)


def opened(path: Any, cache_folder: str | None = None) -> Any:
    """Return the array of a `.npy` file, or the arrays by name of a `.npz` or `.safetensors` file.

    They are mapped from the file. An array of a `.npz` file that is compressed, or does not begin at a multiple of its
    numbers' size, is extracted into `cache_folder` once, if it is large. Raises `DataError` for other files.
    """
    if not isinstance(path, str):
        raise ConfigError("dataset.path", "must be text", path, "give the path of the file")
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file: set dataset.path to a .npy, .npz or .safetensors file")
    if path.endswith(".safetensors"):
        return ArraysOfFile(path, _read(path, partial(_safetensors, path)))
    if path.endswith(".npz") or zipfile.is_zipfile(path):
        return ArraysOfFile(path, _read(path, partial(_npz, path, cache_folder)))
    return _read(path, partial(np.load, path, mmap_mode="r", allow_pickle=False))


def _read(path: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DataError:
        raise
    except Exception as error:  # of each library its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = "no plain arrays" if "pickle" in reason else reason
        raise DataError(f"{path}: cannot be read as arrays ({reason}): save plain arrays of numbers") from error


def _safetensors(path: str) -> dict[str, Read]:
    """Return the tensors of a file; its layout is that of https://github.com/huggingface/safetensors#format."""
    from safetensors import safe_open

    with safe_open(path, "np"), Path(path).open("rb") as file:  # checks the header
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {name: partial(_tensor, path, 8 + size, about) for name, about in header.items()}


def _tensor(path: str, start: int, about: Mapping[str, Any]) -> NDArray[Any]:
    if about["dtype"] not in TYPES:
        raise ValueError(f"NumPy has no type {about['dtype']}")
    return _mapped(path, np.dtype(TYPES[about["dtype"]]), start + about["data_offsets"][0], tuple(about["shape"]))


def _npz(path: str, cache_folder: str | None) -> dict[str, Read]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    return {name.removesuffix(".npy"): partial(_member, path, name, cache_folder) for name in members}


def _member(path: str, name: str, cache_folder: str | None) -> NDArray[Any]:
    """Return an array of a `.npz` file, whose check sum is compared before the array is mapped."""
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        about = archive.getinfo(name)
        shape, fortran_order, dtype = _npy_header(member)
        header = member.tell()
        start = _start(path, about) + header
        if about.compress_type == zipfile.ZIP_STORED and start % dtype.alignment == 0:
            while member.read(BLOCK):
                pass
            return _mapped(path, dtype, start, shape, "F" if fortran_order else "C")
        if about.file_size <= MOST_EXTRACTED:
            member.seek(0)
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array
        cached = CachedArray(cache_folder, ["npz", version(Path(path)), name])
        kept = cached.read()

        def fill(file: Path, offset: int) -> None:
            with file.open("r+b") as out:
                out.seek(offset)
                shutil.copyfileobj(member, out, BLOCK)

        return cached.write(shape, fill, dtype, fortran_order) if kept is None else kept


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type; the file is then at its first number."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    number = np.lib.format.read_magic(member)
    if number not in readers:
        raise ValueError(f"no array of numbers, but of the version {number}")
    shape, fortran_order, dtype = readers[number](member)
    if dtype.hasobject:
        raise ValueError("pickled objects")
    return shape, fortran_order, dtype


def _start(path: str, member: zipfile.ZipInfo) -> int:
    """Return the byte at which the content of a member begins, behind its header of 30 bytes, its name and more."""
    with Path(path).open("rb") as file:
        file.seek(member.header_offset + 26)
        name, more = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + 30 + name + more)


def _mapped(path: str, dtype: np.dtype[Any], start: int, shape: tuple[int, ...], order: Any = "C") -> NDArray[Any]:
    if math.prod(shape) == 0:  # which cannot be mapped
        return np.empty(shape, dtype)
    array: NDArray[Any] = np.memmap(path, dtype, "r", start, shape, order)
    return array if array.flags.aligned else np.array(array)
