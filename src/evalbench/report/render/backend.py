"""Matplotlib without a window: figures are drawn as `Figure`s, so a backend that is not there ends nothing."""

import os
from contextlib import suppress

_backend = os.environ.pop("MPLBACKEND", None)  # a notebook's children inherit it, and may lack its module
import matplotlib  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
