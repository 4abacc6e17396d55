"""Map-style data sets of PyTorch, whose rows have numbers: read once into arrays."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from evalbench.config.component import ANYTHING
from evalbench.errors import DataError
from evalbench.workloads.arrays import from_arrays, label_table, plain
from evalbench.workloads.choices import Choices
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.encoding import encode
from evalbench.workloads.images import decoded

SAMPLERS = ("SequentialSampler", "RandomSampler")
LIGHTNING = ("pytorch_lightning", "lightning")
STREAM = (
    "an iterable-only stream has no rows by number, which splits that are paired by seed need: write it to Arrow once,"
    " with datasets.Dataset.from_generator(lambda: stream).save_to_disk(path), and use dataset=huggingface"
)


def is_a(thing: Any, name: str) -> bool:
    """Return whether an object is of a class with a name, without an import of that class."""
    return any(kind.__name__ == name for kind in type(thing).__mro__)


def loader_rows(loader: Any, name: str) -> Any:
    """Return the map-style data set that a `DataLoader` reads; raise `DataError` for a loader that changes its rows."""
    rows = loader.dataset
    if is_a(rows, "IterableDataset"):
        raise DataError(f"{name}: {STREAM}")
    sampler, collate = type(loader.sampler).__name__, getattr(loader.collate_fn, "__name__", "collate_fn")
    if sampler not in SAMPLERS:
        rule = f"a DataLoader must not choose rows by its own {sampler}, because splits do: give its data set"
        raise DataError(f"{name}: {rule}")
    if collate not in ("default_collate", "default_convert"):
        rule = f"a DataLoader must not change rows by its own {collate}: change them in the data set's __getitem__"
        raise DataError(f"{name}: {rule}")
    return rows


def module_rows(module: Any, name: str, validation: str | None) -> dict[str, list[Any]]:
    """Return the data sets of a `LightningDataModule` by part: `train`, `val` and `test`.

    Validation rows join the training rows if `validation` is `drawn`, from which each seed then draws its own.
    """
    parts: dict[str, list[Any]] = {}
    _called(name, "prepare_data", module.prepare_data)
    for stage, hooks in (("fit", ("train", "val")), ("test", ("test",))):
        _called(name, f"setup({stage!r})", partial(module.setup, stage))
        parts |= {hook: _loaders(module, hook, name) for hook in hooks}
    if not parts["train"]:
        raise DataError(f"{name}: {type(module).__name__} must have a train_dataloader: write one")
    if len(parts["test"]) > 1:
        raise DataError(f"{name}: {type(module).__name__} has {len(parts['test'])} test loaders: give it one")
    return {**parts, "train": [*parts["train"], *parts["val"]], "val": []} if validation == "drawn" else parts


def _loaders(module: Any, hook: str, name: str) -> list[Any]:
    """Return the data sets that a hook of a module gives, none if the module has no hook of its own."""
    method = getattr(module, f"{hook}_dataloader")
    if method.__module__.partition(".")[0] in LIGHTNING:
        return []
    loaders = _called(name, method.__name__, method)
    every = list(loaders.values()) if isinstance(loaders, dict) else loaders
    return [loader_rows(one, name) for one in (every if isinstance(every, list | tuple) else [every])]


def is_stream(thing: Any) -> bool:
    """Return whether an object gives rows one after the other only."""
    return hasattr(thing, "__next__") or (hasattr(thing, "__iter__") and not hasattr(thing, "__getitem__"))


def map_style(
    parts: Mapping[str, Sequence[Any]], name: str, choices: Choices, classes: Sequence[str] | None = None
) -> Dataset:
    """Return the data set of map-style data sets one after the other, each row `(input, target)`.

    Every split validates on the rows of the part `val`, and tests on those of `test`, if there are such parts.
    `classes` are names of targets from 0. Raises `DataError` for a stream, or rows that do not fit together.
    """
    rows: list[tuple[Any, Any]] = []
    given: dict[str, Any] = {}
    for name_of_part, each in parts.items():
        first = len(rows)
        for part in each:
            if not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
                raise DataError(f"{name}: {STREAM}")
            rows += [_row(part, number, name) for number in range(len(part))]
        given[name_of_part] = np.arange(first, len(rows))
    if not rows:
        raise DataError(f"{name}: the data set has no rows: give it data")
    tests, validated = given.get("test"), given.get("val")
    targets = _stacked([target for _, target in rows], name, "targets")
    if classes is not None and targets.dtype.kind in "iu" and targets.max() < len(classes):
        targets = np.array([str(classes[target]) for target in targets], dtype=object)
    if is_a(rows[0][0], "Image"):
        wrong: list[str] = []
        pixels = decoded([image for image, _ in rows], None, None, wrong)
        return encode(
            label_table(targets, name, wrong),
            name,
            choices,
            wrong,
            given=pixels,
            held_out=tests,
            validated=validated,
            scaled=False,
        )
    inputs = _stacked([one for one, _ in rows], name, "inputs")
    return from_arrays(name, inputs, targets, choices, name, tests, validated)


def _row(part: Any, number: int, name: str) -> tuple[Any, Any]:
    row = _called(name, f"row {number}", lambda: part[number])
    if not isinstance(row, tuple | list) or len(row) != 2:
        kind = f"{len(row)} values" if isinstance(row, tuple | list) else type(row).__name__
        raise DataError(f"{name}: row {number} must be (input, target), not {kind}: return two values")
    return row[0], row[1]


def _called(name: str, what: str, call: Callable[[], Any]) -> Any:
    """Return what code of the user's returns; raise `DataError` for an error of it."""
    try:
        return call()
    except ANYTHING as error:
        reason = (str(error).strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{name}: {what} raised {type(error).__name__}: {reason}: correct its code") from error


def _stacked(values: Sequence[Any], name: str, what: str) -> Any:
    arrays = [plain(value, name, what) for value in values]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        which = " and ".join(map(str, sorted(shapes)[:2]))
        raise DataError(f"{name}: {what} must have one shape, not {which}: pad or cut them")
    return np.stack(arrays)
