"""Data sets of the Hugging Face hub, or of a local folder, through `datasets`: memory-mapped Arrow tables."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.errors import DataError
from evalbench.workloads.arrays import label_table
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.encoding import encode
from evalbench.workloads.frames import raw_table
from evalbench.workloads.images import decoded
from evalbench.workloads.table import listed, refuse

SAVED = ("dataset_dict.json", "state.json")
"""Files of a folder that `save_to_disk` wrote."""


def load(
    path: str,
    config: str | None = None,
    split: str | None = None,
    test_split: str | None = None,
    validation_split: str | None = None,
    image: str | None = None,
    cache_folder: str | None = None,
    name: str | None = None,
    **settings: Any,
) -> Dataset:
    """Return a data set of the hub by its name, or of a folder.

    `settings` are those of every table, see `Choices`. Raises `DataError` if it cannot be used.

    Args:
        path: a folder that `save_to_disk` wrote or that `datasets.load_dataset` reads, or a name of the hub.
        config: the configuration, if the data set has several.
        split: the rows to use; None: those of `train`, or of the only split.
        test_split: every split tests on its rows; None: those of `test`, if `split` is not given.
        validation_split: every split validates on its rows; None: each split draws its own.
        image: the column of images, which are then the only input.
        cache_folder: keeps the decoded images.
        name: of the workload; None: the last part of the path.
        **settings: those of every table.
    """
    label = Path(str(path)).name if name is None else name
    choices = Choices(name, **settings)
    parts = _opened(str(path), config)
    chosen, given, remarks = _chosen(str(path), parts, split, test_split, validation_split)
    columns = {part: frame_of(rows, image) for part, rows in chosen.items()}
    frame = pd.concat(columns.values(), ignore_index=True)
    part_of_row = np.repeat(list(columns), [len(one) for one in columns.values()])
    rows: dict[str, Any] = {field: np.flatnonzero(part_of_row == part) for field, part in given.items()}
    wrong: list[str] = []
    if image is None:
        table = raw_table(frame, str(path), wrong, dropped=choices.unread(label), lists=choices.tokens is not None)
        return encode(table, label, choices, wrong, remarks=remarks, **rows)
    targets = choices.targets(list(frame.columns))
    absent = [one for one in (image, *targets) if one not in [*frame.columns, *_features(chosen)]]
    refuse(str(path), [f"no column {one!r}: there are {listed(map(repr, _features(chosen)), 8)}" for one in absent])
    unused = [str(one) for one in frame.columns if one not in targets]
    remarks += [f"columns that are not used: {listed(unused)}"] if unused else []
    made_from = [[str(path), part, rows._fingerprint, len(rows), image] for part, rows in chosen.items()]
    pixels = decoded(_Images(list(chosen.values()), image), None, None, wrong, cache_folder, made_from)
    labels = label_table({name: frame[name] for name in targets}, str(path), wrong)
    return encode(labels, label, choices, wrong, given=pixels, remarks=remarks, scaled=False, **rows)


class _Images:
    """The images of parts of `datasets`, decoded one after the other each time that they are iterated."""

    def __init__(self, parts: Sequence[Any], column: str) -> None:
        self._parts, self._column = [rows.select_columns([column]) for rows in parts], column

    def __iter__(self) -> Iterator[Any]:
        return (row[self._column] for rows in self._parts for row in rows)


def frame_of(rows: Any, image: str | None = None) -> pd.DataFrame:
    """Return the columns of rows of `datasets` without that of the images; names of classes replace their numbers.

    A class of -1, by which hidden targets are marked, is missing.
    """
    plain = rows.remove_columns([image]) if image in rows.column_names else rows
    frame: pd.DataFrame = plain.with_format("arrow")[:].to_pandas(date_as_object=False, ignore_metadata=True)
    for name, feature in plain.features.items():
        if type(feature).__name__ == "ClassLabel":
            frame[name] = pd.Categorical.from_codes(frame[name].fillna(-1).astype(int), feature.names)
        elif type(getattr(feature, "feature", None)).__name__ == "ClassLabel":
            frame[name] = [_named(codes, feature.feature.names) for codes in frame[name]]
    return frame


def _named(codes: Any, names: Sequence[str]) -> Any:
    """Return the names of classes of a list; a number without a name is left out as None."""
    if codes is None:
        return None
    return [names[code] if code is not None and 0 <= code < len(names) else None for code in codes]


def _opened(path: str, config: str | None) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{path}: needs datasets, which is not installed: pip install datasets") from error
    folder = Path(path)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each try of a download; the last one is told
    datasets.disable_progress_bars()
    try:
        if any((folder / file).exists() for file in SAVED):
            opened = datasets.load_from_disk(path)
        else:
            opened = datasets.load_dataset(path, config)
    except Exception as error:  # of the library and of the network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "give a folder that it reads" if folder.exists() else "connect to a network once, or give a folder"
        raise DataError(f"{path}: datasets cannot load it ({type(error).__name__}: {reason}): {remedy}") from error
    return opened if isinstance(opened, Mapping) else {"train": opened}


def _chosen(
    path: str, parts: Mapping[str, Any], split: str | None, test_split: str | None, validation_split: str | None
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the rows to use by split, the splits to test and validate on, and a remark on those that are not used."""
    absent = [one for one in (split, test_split, validation_split) if one is not None and one not in parts]
    refuse(path, [f"no split {one!r}: there are {listed(map(repr, parts), 8)}" for one in absent])
    first = split or ("train" if "train" in parts or len(parts) > 1 else next(iter(parts)))
    if first not in parts:
        raise DataError(f"{path}: it has the splits {listed(map(repr, parts), 8)}: choose one with dataset.split=NAME")
    if split is None and test_split is None and "test" in parts and first != "test":
        test_split = "test"
    if validation_split in (first, test_split) and validation_split is not None:
        rule = "dataset.validation_split must be a split of its own"
        raise DataError(f"{path}: {rule}, not {validation_split!r}: name another, or leave it out")
    given = {"held_out": test_split, "validated": validation_split}
    rows = {field: name for field, name in given.items() if name is not None and name != first}
    names = list(dict.fromkeys([first, *rows.values()]))
    unused = [f"{name} ({len(rows):,} rows)" for name, rows in parts.items() if name not in names]
    remarks = [f"splits that are not used: {listed(unused)}"] if unused else []
    return {name: parts[name] for name in names}, rows, remarks


def _features(chosen: Mapping[str, Any]) -> list[str]:
    return list(next(iter(chosen.values())).column_names)
