"""Runs in TensorBoard's event files: a folder each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalbench.tracking.libraries import require
from evalbench.tracking.tensorboard import ABOUT
from evalbench.tracking.tracker import flat

HPARAMS = "_hparams_/session_start_info"


def read(where: str) -> Sequence[Mapping[str, Any]]:
    """Return the runs in or below a folder: hyperparameters, and the last value of every scalar.

    PyTorch's `add_hparams` writes into a folder of its own below that of the run, unless told otherwise: such a one
    belongs to the run above it.
    """
    require("tensorboard", "tensorboard")
    folders = sorted({path.parent for path in Path(where).rglob("*tfevents*")})
    rows = {folder: _row(folder, str(folder.relative_to(where))) for folder in folders}
    for folder in folders:
        below = [other for other in folders if other.parent == folder and _has_settings(rows[other])]
        if len(below) == 1 and not _has_settings(rows[folder]):
            rows[folder] = {**rows.pop(below[0]), **rows[folder]}
    return list(rows.values())


def _has_settings(row: Mapping[str, Any]) -> bool:
    return any(key.startswith("config.") for key in row)


def _row(folder: Path, name: str) -> Mapping[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(folder), size_guidance={"images": 1})
    events.Reload()
    row: dict[str, Any] = {"id": name, "name": name}
    content = _hparams(events)
    if content:
        data = plugin_data_pb2.HParamsPluginData.FromString(content)
        for key, value in data.session_start_info.hparams.items():
            row[f"config.{key}"] = _plain(getattr(value, str(value.WhichOneof("kind"))))
    tags = events.Tags()
    for tag in tags["scalars"]:
        row[f"summary.{tag}"] = events.Scalars(tag)[-1].value
    if ABOUT in tags["tensors"]:  # what evalbench's own tracker adds
        text = events.Tensors(ABOUT)[-1].tensor_proto.string_val[0].decode()
        about = json.loads(text.removeprefix("```json").removesuffix("```"))
        row |= {"id": about["id"], "group": about["group"], "job_type": about["job_type"]}
        row |= {f"config.{key}": value for key, value in flat(about["config"])}
    return row


def _plain(value: Any) -> Any:
    """Whole numbers were integers, most likely: the file knows floats alone, and a seed is no 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hparams(events: Any) -> bytes | None:
    """Return what the hparams plugin has stored, whoever wrote it."""
    try:
        contents: Mapping[str, bytes] = events.PluginTagToContent("hparams")
    except KeyError:
        return None
    return contents.get(HPARAMS)
