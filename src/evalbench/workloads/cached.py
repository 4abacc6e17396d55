"""Arrays that take long to make, kept as files: read by row from there, and made anew if a file is not whole."""

import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalbench.errors import ConfigError, DataError

log = logging.getLogger(__name__)


class CachedArray:
    """An array in a folder, named by what it was made from; without a folder in an unnamed file.

    A `.npy` file, with a mark behind the numbers that is written last. It gets its name when it is whole, so that a
    process that is killed leaves no file of that name.
    """

    def __init__(self, folder: str | Path | None, made_from: Any) -> None:
        """Take the folder and plain values: an array of other values is another one; raise `ConfigError`."""
        if not isinstance(folder, str | Path | None):
            raise ConfigError("dataset.cache_folder", "must be text", folder, "give the path of a folder, or null")
        self._mark = hashlib.sha256(json.dumps(made_from).encode()).digest()
        self._folder = None if folder is None else Path(folder)
        self.path = None if self._folder is None else self._folder / f"{self._mark.hex()[:32]}.npy"

    def read(self) -> NDArray[Any] | None:
        """Return the array, mapped from its file; None if there is none, or, with a warning, if it is not whole."""
        if self.path is None or not self.path.exists():
            return None
        try:
            return self._opened(self.path)
        except Exception as error:  # of any bytes
            log.warning("%s is no whole file of the cache (%s): it is made anew", self.path, error)
            return None

    def _opened(self, path: Path) -> NDArray[Any]:
        array = np.load(path, mmap_mode="c", allow_pickle=False)  # writable, but never written to the file
        with path.open("rb") as file:
            file.seek(array.offset + array.nbytes)
            if file.read() != self._mark:
                raise ValueError("its end differs")
        return array  # type: ignore[no-any-return]

    def write(
        self,
        shape: tuple[int, ...],
        fill: Callable[[Path, int], None],
        dtype: Any = np.uint8,
        fortran_order: bool = False,
    ) -> NDArray[Any]:
        """Make the array: `fill` gets a file and the byte at which the numbers begin; return it as `read` does.

        Raises `DataError` if the folder cannot be written.
        """
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(".npy.tmp", dir=self._folder)
        except OSError as error:
            raise self._unwritable(error) from error
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
                header = {"descr": descr, "fortran_order": fortran_order, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                offset = file.tell()
            fill(path, offset)
            with path.open("r+b") as file:
                file.seek(offset + math.prod(shape) * np.dtype(dtype).itemsize)
                file.write(self._mark)
                file.flush()
                os.fsync(file.fileno())
            if self.path is None:
                return self._opened(path)
            path.replace(self.path)
            return self._opened(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            path.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> DataError:
        where = self._folder or tempfile.gettempdir()
        reason = error.strerror or str(error)
        return DataError(f"{where}: cannot keep arrays ({reason}): free space, or set dataset.cache_folder")


def version(path: Path) -> tuple[str, int, int]:
    """Return a file's whole path, bytes and time of its last change, by which the cache knows it."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns
